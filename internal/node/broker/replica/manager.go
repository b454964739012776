package replica

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sync"

	"github.com/kraft-dev/kraft-operator/internal/node/broker/follow"
	"github.com/kraft-dev/kraft-operator/internal/node/broker/partition"
	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// Target is a partition as the metadata log wants it, with a replica on this broker.
type Target struct {
	Topic      string
	TopicID    uuid.UUID
	Index      int32
	Assignment partition.Assignment
}

// Removal is a partition that has no replica on this broker any more.
type Removal struct {
	Topic   string
	TopicID uuid.UUID
	Index   int32
}

// Manager owns the partitions of one broker.
type Manager struct {
	cfg      Config
	metrics  *metrics
	isr      *isrUpdater
	fetchers *follow.Fetchers

	clean         bool
	previousEpoch int64

	mu     sync.RWMutex
	parts  map[partKey]*Partition
	failed error

	// What the disk held at start, and what is to be removed from it. Only Apply, the tasks and Close touch these, under disk.
	disk       sync.Mutex
	found      map[storage.TopicPartition]uuid.UUID // logs that no partition took yet
	hw         map[storage.TopicPartition]int64
	recovery   map[storage.TopicPartition]int64
	starts     map[storage.TopicPartition]int64
	doomed     []doomed
	written    map[string]map[storage.TopicPartition]int64 // checkpoint file -> what it holds
	firstApply bool
}

// doomed is a folder that waits for its last readers before it is removed.
type doomed struct {
	dir  string
	log  *storage.Log // nil: found at start
	atMs int64
}

// Open reads what the log dir holds: checkpoints, the clean shutdown marker and the partitions' folders. Logs are opened by Apply.
//
// Errors: wrapping storage.ErrCorrupt for a damaged checkpoint; the disk's.
func Open(cfg Config) (*Manager, error) {
	m := &Manager{
		cfg: cfg, parts: map[partKey]*Partition{}, found: map[storage.TopicPartition]uuid.UUID{},
		written: map[string]map[storage.TopicPartition]int64{}, firstApply: true, previousEpoch: -1,
	}
	if m.cfg.OnRoleChange == nil {
		m.cfg.OnRoleChange = func(RoleChange) {}
	}
	m.metrics = newMetrics(m, cfg.Registry)
	m.isr = newISRUpdater(m)
	m.fetchers = follow.New(follow.Config{
		Local: cfg.Local, BrokerEpoch: cfg.BrokerEpoch, Settings: func() follow.Settings { return m.settings().Fetch },
		Address: cfg.Address, NewClient: cfg.NewClient, Logger: cfg.Logger,
	})
	for file, into := range map[string]*map[storage.TopicPartition]int64{
		storage.HighWatermarkFile: &m.hw, storage.RecoveryPointFile: &m.recovery, storage.LogStartOffsetFile: &m.starts,
	} {
		var err error
		if *into, err = storage.ReadOffsetCheckpoint(cfg.FS, cfg.Dir, file); err != nil {
			return nil, err
		}
	}
	epoch, err := storage.ReadCleanShutdown(cfg.FS, cfg.Dir)
	switch {
	case err == nil:
		m.clean, m.previousEpoch = true, epoch
	case !errors.Is(err, fs.ErrNotExist):
		cfg.Logger.Warn("Clean shutdown marker can't be read: logs are checked as after a crash", "cause", err)
	}
	return m, m.scan()
}

// scan lists the partitions' folders.
func (m *Manager) scan() error {
	names, err := m.cfg.FS.List(m.cfg.Dir)
	if err != nil {
		return fmt.Errorf("log dir %s: %w", m.cfg.Dir, err)
	}
	for _, name := range names {
		if name == storage.MetadataPartitionDir {
			continue
		}
		tp, kind, ok := storage.ParseDirName(name)
		switch {
		case !ok:
		case kind == storage.DirDeleted:
			m.doomed = append(m.doomed, doomed{dir: path.Join(m.cfg.Dir, name)})
		case kind == storage.DirLog:
			id, err := storage.ReadPartitionMetadata(m.cfg.FS, path.Join(m.cfg.Dir, name))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
			m.found[tp] = id
		}
	}
	return nil
}

// PreviousEpoch is the broker epoch at the last clean stop, -1 after a crash: what registration carries.
func (m *Manager) PreviousEpoch() int64 { return m.previousEpoch }

func (m *Manager) settings() Settings { return m.cfg.Settings().withDefaults() }

func (m *Manager) fatal(err error) {
	m.mu.Lock()
	first := m.failed == nil
	if first {
		m.failed = err
	}
	m.mu.Unlock()
	if first {
		m.cfg.Logger.Error("The disk failed", "cause", err)
		m.cfg.Fatal(err)
	}
}

// Partition finds a replica on this broker.
func (m *Manager) Partition(id uuid.UUID, index int32) (*Partition, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	p, ok := m.parts[partKey{id, index}]
	return p, ok
}

// all is every replica, in no order.
func (m *Manager) all() []*Partition {
	m.mu.RLock()
	defer m.mu.RUnlock()
	out := make([]*Partition, 0, len(m.parts))
	for _, p := range m.parts {
		out = append(out, p)
	}
	return out
}

// Partitions is every replica, by topic and number.
func (m *Manager) Partitions() []*Partition {
	out := m.all()
	slices.SortFunc(out, func(a, b *Partition) int {
		if a.topic != b.topic {
			if a.topic < b.topic {
				return -1
			}
			return 1
		}
		return int(a.index - b.index)
	})
	return out
}

// Apply brings the replicas to what the metadata log wants. The first call must name every replica of this broker: logs on disk
// that it doesn't name are set aside as strays, never removed. It is called from one goroutine.
//
// Errors: a log that can't be opened, wrapping storage.ErrCorrupt where it is damaged: the node must not start.
func (m *Manager) Apply(targets []Target, removals []Removal) error {
	m.disk.Lock()
	defer m.disk.Unlock()
	for _, r := range removals {
		if err := m.remove(r); err != nil {
			return err
		}
	}
	if err := m.open(targets); err != nil {
		return err
	}
	if m.firstApply {
		m.firstApply = false
		if err := m.setAsideStrays(); err != nil {
			return err
		}
		if err := storage.RemoveCleanShutdown(m.cfg.FS, m.cfg.Dir); err != nil {
			return fmt.Errorf("clean shutdown marker: %w", err)
		}
	}
	for _, t := range targets {
		p, _ := m.Partition(t.TopicID, t.Index)
		if err := m.transition(p, t.Assignment); err != nil {
			return err
		}
	}
	return nil
}

// newLogs is how many logs are made at a time: that is waiting for fsyncs, which the disk does together.
const newLogs = 16

// open opens the logs of targets that have none yet, a few at a time.
func (m *Manager) open(targets []Target) error {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		first error
	)
	recovering, making := make(chan struct{}, m.settings().RecoveryThreads), make(chan struct{}, newLogs)
	for _, t := range targets {
		if _, ok := m.Partition(t.TopicID, t.Index); ok {
			continue
		}
		tp := storage.TopicPartition{Topic: t.Topic, Partition: t.Index}
		slots := making
		if id, ok := m.found[tp]; ok {
			slots = recovering
			if !id.IsZero() && id != t.TopicID { // an earlier topic of this name
				if err := m.setAside(tp); err != nil {
					return err
				}
				delete(m.hw, tp)
				delete(m.recovery, tp)
				delete(m.starts, tp)
			}
			delete(m.found, tp)
		}
		opt := storage.OpenOptions{
			Clean: m.clean, DurableOffset: m.recovery[tp], RecoveryPoint: m.recovery[tp], StartOffset: m.starts[tp],
			CutHoles: true, NowMs: nowMs(),
		}
		hw := m.hw[tp]
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := m.openOne(t, opt, hw); err != nil {
				mu.Lock()
				first = errors.Join(first, err)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return first
}

func (m *Manager) openOne(t Target, opt storage.OpenOptions, hw int64) error {
	dir := path.Join(m.cfg.Dir, storage.TopicPartition{Topic: t.Topic, Partition: t.Index}.DirName())
	log, report, err := storage.OpenLog(m.cfg.FS, dir, t.TopicID, m.cfg.TopicConfig(t.Topic).Log, opt)
	if err != nil {
		return fmt.Errorf("opening %s-%d: %w", t.Topic, t.Index, err)
	}
	if !report.Created && (report.CutBytes > 0 || report.DroppedSegments > 0) {
		m.cfg.Logger.Warn("Log was cut while it was recovered", "partition", fmt.Sprintf("%s-%d", t.Topic, t.Index),
			"offset", report.CutOffset, "bytes", report.CutBytes, "segments", report.DroppedSegments, "cause", report.CutReason)
	}
	p := newPartition(m, t.Topic, t.TopicID, t.Index, log, hw)
	m.mu.Lock()
	m.parts[partKey{t.TopicID, t.Index}] = p
	m.mu.Unlock()
	return nil
}

// transition applies one assignment and starts or stops fetching.
func (m *Manager) transition(p *Partition, a partition.Assignment) error {
	c, err := p.apply(nowMs(), a)
	if err != nil {
		return err
	}
	if !c.NewEpoch && !c.NewRole {
		return nil
	}
	s := p.Status()
	if s.Role == partition.Follower {
		m.fetchers.Follow(p, s.Leader)
	} else {
		m.fetchers.Unfollow(p)
	}
	m.cfg.OnRoleChange(RoleChange{Topic: p.topic, TopicID: p.topicID, Partition: p.index, Role: s.Role, LeaderEpoch: s.LeaderEpoch})
	return nil
}

// remove ends a replica; its folder is renamed now and removed when readers have had their time.
func (m *Manager) remove(r Removal) error {
	key := partKey{r.TopicID, r.Index}
	m.mu.Lock()
	p := m.parts[key]
	delete(m.parts, key)
	m.mu.Unlock()
	if p == nil {
		return nil
	}
	m.fetchers.Unfollow(p)
	p.retire()
	tp := storage.TopicPartition{Topic: r.Topic, Partition: r.Index}
	to := path.Join(m.cfg.Dir, storage.DeletedDirName(tp, newUUID()))
	if err := m.rename(p.log.Dir(), to); err != nil {
		return err
	}
	m.doomed = append(m.doomed, doomed{dir: to, log: p.log, atMs: nowMs() + m.settings().DeleteDelay.Milliseconds()})
	delete(m.hw, tp)
	delete(m.recovery, tp)
	delete(m.starts, tp)
	m.cfg.OnRoleChange(RoleChange{Topic: p.topic, TopicID: p.topicID, Partition: p.index, Role: partition.Offline, LeaderEpoch: p.Status().LeaderEpoch, Deleted: true})
	return nil
}

func (m *Manager) rename(from, to string) error {
	if err := m.cfg.FS.Rename(from, to); err != nil {
		return fmt.Errorf("setting %s aside: %w", from, err)
	}
	if err := m.cfg.FS.SyncDir(m.cfg.Dir); err != nil {
		return fmt.Errorf("log dir %s: %w", m.cfg.Dir, err)
	}
	return nil
}

// setAsideStrays renames the logs that the metadata log doesn't give to this broker. They are kept: someone may want them.
func (m *Manager) setAsideStrays() error {
	for tp := range m.found {
		if err := m.setAside(tp); err != nil {
			return err
		}
	}
	clear(m.found)
	return nil
}

func (m *Manager) setAside(tp storage.TopicPartition) error {
	from := path.Join(m.cfg.Dir, tp.DirName())
	to := path.Join(m.cfg.Dir, strayDirName(tp, newUUID()))
	m.cfg.Logger.Warn("Log belongs to no replica of this broker; it is set aside", "from", from, "to", to)
	return m.rename(from, to)
}

// TopicConfigChanged applies the settings of one topic, or of all for "", to open logs.
func (m *Manager) TopicConfigChanged(topic string) {
	for _, p := range m.all() {
		if topic == "" || p.topic == topic {
			p.setConfig(m.cfg.TopicConfig(p.topic))
		}
	}
}

// BrokersChanged tells that brokers were fenced, unfenced or registered: who may join an ISR is another question now.
func (m *Manager) BrokersChanged() {
	for _, p := range m.all() {
		var fx effects
		p.mu.Lock()
		if p.state.IsLeader() {
			p.state.SetLocalEpoch(m.cfg.BrokerEpoch())
			p.advanceLocked(nowMs(), &fx)
			p.lowWatermarkLocked(&fx)
		}
		p.mu.Unlock()
		p.run(fx)
	}
}

// Run does the periodic tasks and sends ISR changes until ctx ends.
func (m *Manager) Run(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { m.isr.run(ctx) })
	wg.Go(func() { m.tasks(ctx) })
	wg.Wait()
}

// StopFollowing ends all fetch loops and waits for them: before Close.
func (m *Manager) StopFollowing() { m.fetchers.Close() }
