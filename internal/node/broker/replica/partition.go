package replica

import (
	"container/list"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kraft-dev/kraft-operator/internal/node/broker/partition"
	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// Partition is one replica on this broker.
type Partition struct {
	m       *Manager
	topic   string
	topicID uuid.UUID
	index   int32
	log     *storage.Log

	mu      sync.Mutex
	state   *partition.State
	config  TopicConfig
	gone    bool // deleted or moved away
	changes int  // counts what makes parked fetches look again: role, epoch, deletion

	appends   *list.List // *appendWait, acks=all appends below which the high watermark must rise
	fetches   map[*FetchWait]*watch
	deletes   []*deleteWait
	arrived   int64 // bytes ever appended, for parked fetches of followers
	settled   int64 // of these, the bytes below the high watermark, for parked fetches of consumers
	unsettled []mark
	unflushed int64 // records since the last fsync
	lastFlush int64 // ms
}

// mark says how many bytes had arrived when the log ended at end.
type mark struct{ end, arrived int64 }

// maxMarks bounds unsettled: beyond it the newest two are merged, and a consumer's byte count lags a little.
const maxMarks = 1024

func newPartition(m *Manager, topic string, id uuid.UUID, index int32, log *storage.Log, hw int64) *Partition {
	p := &Partition{
		m: m, topic: topic, topicID: id, index: index, log: log, config: m.cfg.TopicConfig(topic),
		state:   partition.New(m.cfg.Local, log.StartOffset(), hw, log.EndOffset()),
		appends: list.New(), fetches: map[*FetchWait]*watch{}, lastFlush: time.Now().UnixMilli(),
	}
	return p
}

func (p *Partition) String() string { return fmt.Sprintf("%s-%d", p.topic, p.index) }

// ID names the partition.
func (p *Partition) ID() (topic string, id uuid.UUID, index int32) {
	return p.topic, p.topicID, p.index
}

func (p *Partition) limits() partition.Limits {
	return partition.Limits{LagMaxMs: p.m.settings().LagMaxMs, MinISR: p.config.MinISR}
}

// Status is a partition at one moment.
type Status struct {
	Role                                        partition.Role
	Leader                                      int32
	LeaderEpoch, PartitionEpoch                 int32
	LogStartOffset, HighWatermark, LogEndOffset int64
	Replicas, ISR                               []int32 // shared, not to be written to
	UnderMinISR                                 bool
}

// Status returns the partition as it stands.
func (p *Partition) Status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.state
	return Status{
		Role: s.Role(), Leader: s.Leader(), LeaderEpoch: s.LeaderEpoch(), PartitionEpoch: s.PartitionEpoch(),
		LogStartOffset: s.LogStartOffset(), HighWatermark: s.HighWatermark(), LogEndOffset: s.LogEndOffset(),
		Replicas: s.Replicas(), ISR: s.ISR(), UnderMinISR: s.UnderMinISR(p.config.MinISR),
	}
}

// Log is the partition's log, for reads. What it holds past the high watermark may be truncated.
func (p *Partition) Log() *storage.Log { return p.log }

// CheckLeader returns an error unless this broker leads the partition in the given epoch (-1: any), see partition.State.
func (p *Partition) CheckLeader(epoch int32) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.checkLeaderLocked(epoch)
}

func (p *Partition) checkLeaderLocked(epoch int32) error {
	if p.gone {
		return kerr.NotLeaderForPartition
	}
	return p.state.CheckLeader(epoch)
}

// effects are what a change under the lock asks to be done after it is released.
type effects struct {
	appends []finished
	fetches []*FetchWait
	deletes []*deleteWait
	isr     *partition.ISRChange
	flush   bool
}

// run carries the effects out. The partition's lock must not be held.
func (p *Partition) run(fx effects) {
	for _, f := range fx.appends {
		f.wait.op.finish(f.wait.slot, f.err)
	}
	for _, w := range fx.fetches {
		w.fire()
	}
	for _, d := range fx.deletes {
		d.finish(p)
	}
	if fx.isr != nil {
		p.m.isr.submit(p, fx.isr)
	}
	if fx.flush {
		p.flush()
	}
}

// advanceLocked raises a leader's high watermark and collects who waited for it.
func (p *Partition) advanceLocked(nowMs int64, fx *effects) {
	if p.state.AdvanceHighWatermark(nowMs, p.limits(), p.m.cfg.Eligible) {
		p.settleLocked()
		p.committedLocked(fx)
		p.wakeFetchesLocked(fx)
	}
}

// settleLocked counts the bytes that came below the high watermark.
func (p *Partition) settleLocked() {
	hw, n := p.state.HighWatermark(), 0
	for n < len(p.unsettled) && p.unsettled[n].end <= hw {
		n++
	}
	if n > 0 {
		p.settled = max(p.settled+1, p.unsettled[n-1].arrived)
		p.unsettled = append(p.unsettled[:0], p.unsettled[n:]...)
		return
	}
	p.settled++ // it rose, though no mark says by how much
}

func (p *Partition) arrivedLocked(bytes int) {
	p.arrived += int64(bytes)
	m := mark{end: p.state.LogEndOffset(), arrived: p.arrived}
	if n := len(p.unsettled); n >= maxMarks {
		p.unsettled[n-1] = m
	} else {
		p.unsettled = append(p.unsettled, m)
	}
}

// committedLocked collects acks=all appends that the high watermark has passed.
func (p *Partition) committedLocked(fx *effects) {
	for e := p.appends.Front(); e != nil; e = p.appends.Front() {
		w, _ := e.Value.(*appendWait)
		done, err := p.state.Committed(w.required, p.config.MinISR)
		if !done {
			return
		}
		p.appends.Remove(e)
		w.place = nil
		fx.appends = append(fx.appends, finished{w, err})
	}
}

// changedLocked collects everyone who waits, because the partition has another role, epoch or is gone: appends fail.
func (p *Partition) changedLocked(fx *effects) {
	p.changes++
	for e := p.appends.Front(); e != nil; e = p.appends.Front() {
		w, _ := e.Value.(*appendWait)
		p.appends.Remove(e)
		w.place = nil
		fx.appends = append(fx.appends, finished{w, kerr.NotLeaderForPartition})
	}
	for w := range p.fetches {
		fx.fetches = append(fx.fetches, w)
	}
	fx.deletes = append(fx.deletes, p.deletes...)
	p.deletes = nil
}

// apply takes a newer assignment from the metadata log.
func (p *Partition) apply(nowMs int64, a partition.Assignment) (partition.Change, error) {
	var fx effects
	p.mu.Lock()
	p.state.SetLocalEpoch(p.m.cfg.BrokerEpoch())
	c := p.state.Apply(nowMs, a)
	var err error
	if c.AssignEpoch {
		err = p.log.AssignEpoch(p.state.LeaderEpoch(), p.state.LogEndOffset())
	}
	if c.NewEpoch || c.NewRole {
		p.changedLocked(&fx)
	}
	if c.Applied && err == nil {
		p.advanceLocked(nowMs, &fx)
	}
	p.mu.Unlock()
	p.run(fx)
	if err != nil {
		return c, fmt.Errorf("%s: leader epoch %d: %w", p, a.LeaderEpoch, err)
	}
	return c, nil
}

// retire ends the replica: nothing is served from it any more.
func (p *Partition) retire() {
	var fx effects
	p.mu.Lock()
	p.gone = true
	p.state.Unassign()
	p.changedLocked(&fx)
	p.mu.Unlock()
	p.run(fx)
}

// setConfig applies changed settings.
func (p *Partition) setConfig(c TopicConfig) {
	var fx effects
	p.mu.Lock()
	p.config = c
	p.log.SetConfig(c.Log)
	p.advanceLocked(time.Now().UnixMilli(), &fx) // a lower min.insync.replicas may free the high watermark
	p.mu.Unlock()
	p.run(fx)
}

// flush makes the log durable. A failed fsync stops the node.
func (p *Partition) flush() {
	p.mu.Lock()
	p.unflushed, p.lastFlush = 0, time.Now().UnixMilli()
	p.mu.Unlock()
	if err := p.log.Flush(); err != nil && !errors.Is(err, storage.ErrClosed) {
		p.m.fatal(fmt.Errorf("%s: flush: %w", p, err))
	}
}

// diskError stops the node where an append or truncation failed for a reason that isn't the records'.
func (p *Partition) diskError(op string, err error) error {
	err = fmt.Errorf("%s: %s: %w", p, op, err)
	p.m.fatal(err)
	return err
}
