// Package loader turns the committed metadata log into images and hands them to publishers, in order (KIP-631).
//
// The raft client's delivery goroutine applies records to a persistent image, which costs microseconds; one goroutine of the
// loader's own publishes. While a publisher works (opening logs, for instance) what arrives is gathered, and published as one
// step. Nothing is published until the image has caught up with the log once: before that, a node would act on its own past.
package loader

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/node/raft"
	"github.com/kraft-dev/kraft-operator/internal/node/snapshots"
)

// CatchUpInterval is how often the loader looks whether it has caught up for the first time.
const CatchUpInterval = 100 * time.Millisecond

// Publisher is told of each step from one image to the next. prev is metadata.Empty() the first time. Calls come in order from one
// goroutine; the next waits until it returns.
type Publisher func(prev, next *metadata.Image, delta *metadata.Delta)

// Config of a Loader.
type Config struct {
	// HighWatermark of the metadata log, exclusive; false while it isn't known.
	HighWatermark func() (int64, bool)
	// LeaderChanged, if set, is told of each leader of the metadata log, from the raft client's goroutine: it must not block.
	LeaderChanged func(raft.LeaderAndEpoch)
	// Fault is called with a record that can't be applied; the loader then stays where it is. On a broker it is logged, on a
	// controller it is fatal.
	Fault func(error)
	// Snapshots makes snapshots of published images; nil: someone else on this node does.
	Snapshots *snapshots.Generator
	Logger    *slog.Logger
}

// Loader is a raft.Listener.
type Loader struct {
	cfg Config

	mu        sync.Mutex
	replayer  *metadata.Replayer
	offset    int64 // of the newest batch, also inside a transaction
	epoch     int32 // of that batch
	timestamp int64 // of that batch, ms
	bytes     int64 // of batches since the last publication
	loaded    bool  // a snapshot was loaded since
	real      bool  // a record was seen
	caughtUp  bool
	faulty    bool
	published *metadata.Image // the last one handed to publishers
	applied   int64           // offset of the image that every publisher has taken
	late      []Publisher     // subscribed since the last publication
	onApplied []func(offset int64)

	publishers []Publisher // only Run touches it
	wake       chan struct{}
	ready      chan struct{} // closed at the first publication
	readyOnce  sync.Once
}

var _ raft.Listener = (*Loader)(nil)

// New makes a loader at the empty image. Run publishes.
func New(cfg Config) *Loader {
	return &Loader{
		cfg: cfg, replayer: metadata.NewReplayer(metadata.Empty()), published: metadata.Empty(), applied: -1, offset: -1,
		wake: make(chan struct{}, 1), ready: make(chan struct{}),
	}
}

// Current is the newest image that was handed to publishers; metadata.Empty() before the first. It is set before they are called.
func (l *Loader) Current() *metadata.Image {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.published
}

// LastAppliedOffset is the offset of the newest image that every publisher has taken, -1 before the first: what heartbeats tell.
func (l *Loader) LastAppliedOffset() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.applied
}

// Ready is closed when the first image has been published.
func (l *Loader) Ready() <-chan struct{} { return l.ready }

// Subscribe adds a publisher. Where images were published before, its first call leads from the empty image to the current one.
func (l *Loader) Subscribe(p Publisher) {
	l.mu.Lock()
	l.late = append(l.late, p)
	l.mu.Unlock()
	l.kick()
}

// OnApplied adds a function that is called after each publication, when LastAppliedOffset tells of it.
func (l *Loader) OnApplied(f func(offset int64)) {
	l.mu.Lock()
	l.onApplied = append(l.onApplied, f)
	l.mu.Unlock()
}

func (l *Loader) kick() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// HandleCommit applies committed batches.
func (l *Loader) HandleCommit(batches []raft.CommittedBatch) {
	l.mu.Lock()
	for most := mostRecords; len(batches) > 0 && !l.faulty; {
		n := raft.RunLength(batches, most)
		switch err := l.applyLocked(batches[:n]); {
		case err != nil && n > 1:
			most = 0 // one by one, up to the batch that is wrong
		case err != nil:
			l.faultLocked(err)
		default:
			batches = batches[n:]
		}
	}
	l.mu.Unlock()
	l.kick()
}

// mostRecords bounds the records that make one step of the image.
const mostRecords = 10_000

// applyLocked applies batches as one step; where it fails nothing of them is applied.
func (l *Loader) applyLocked(batches []raft.CommittedBatch) error {
	var recs []metadata.Record
	var size int64
	for _, b := range batches {
		var err error
		if recs, err = decode(recs, b); err != nil {
			return err
		}
		size += int64(b.SizeBytes)
	}
	last := batches[len(batches)-1]
	if err := l.replayer.Apply(recs, last.LastOffset, last.Epoch); err != nil {
		return err
	}
	l.real = l.real || len(recs) > 0
	l.offset, l.epoch, l.timestamp = last.LastOffset, last.Epoch, last.AppendTimestamp
	l.bytes += size
	return nil
}

// decode adds a batch's records to recs.
func decode(recs []metadata.Record, b raft.CommittedBatch) ([]metadata.Record, error) {
	for i, value := range b.Records {
		rec, _, err := metadata.Decode(value)
		if err != nil {
			return nil, fmt.Errorf("metadata record at offset %d: %w", b.BaseOffset+int64(i), err)
		}
		recs = append(recs, rec)
	}
	return recs, nil
}

func (l *Loader) faultLocked(err error) {
	l.faulty = true
	l.cfg.Logger.Error("Metadata can't be applied; this node stays at its last image", "cause", err)
	if l.cfg.Fault != nil {
		l.cfg.Fault(err)
	}
}

// HandleLoadSnapshot replaces the state. It also clears a fault: the snapshot doesn't depend on what went wrong before.
func (l *Loader) HandleLoadSnapshot(r raft.SnapshotReader) {
	img, seen, err := readSnapshot(r)
	l.mu.Lock()
	if err != nil {
		l.faultLocked(fmt.Errorf("snapshot %d-%d: %w", r.EndOffset(), r.Epoch(), err))
	} else {
		l.replayer.Load(img)
		l.faulty, l.real, l.offset = false, l.real || seen, img.Offset
		l.epoch, l.timestamp, l.bytes, l.loaded = r.Epoch(), r.LastContainedLogTimestamp(), 0, true
	}
	l.mu.Unlock()
	if err := r.Close(); err != nil {
		l.cfg.Logger.Warn("Snapshot could not be closed", "cause", err)
	}
	l.kick()
}

// readSnapshot builds the image of a snapshot; seen: it holds records.
func readSnapshot(r raft.SnapshotReader) (img *metadata.Image, seen bool, err error) {
	img = metadata.Empty()
	last, epoch := r.EndOffset()-1, r.Epoch()
	for b, err := range r.Batches() {
		if err != nil {
			return nil, false, err
		}
		recs, err := decode(nil, b)
		if err != nil {
			return nil, false, err
		}
		if img, err = img.Apply(recs, last, epoch); err != nil {
			return nil, false, err
		}
		seen = seen || len(recs) > 0
	}
	if !seen { // the position counts even when there is nothing in it
		if img, err = img.Apply(nil, last, epoch); err != nil {
			return nil, false, err
		}
	}
	return img, seen, nil
}

// HandleLeaderChange passes the leader on.
func (l *Loader) HandleLeaderChange(leader raft.LeaderAndEpoch) {
	if l.cfg.LeaderChanged != nil {
		l.cfg.LeaderChanged(leader)
	}
	l.kick()
}

// Run publishes until ctx ends.
func (l *Loader) Run(ctx context.Context) error {
	ticker := time.NewTicker(CatchUpInterval)
	defer ticker.Stop()
	tick := ticker.C
	for {
		if l.publish() {
			ticker.Stop()
			tick = nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-l.wake:
		case <-tick:
		}
	}
}

// publish hands the newest stable image to the publishers. It reports whether the loader has caught up.
func (l *Loader) publish() bool {
	l.mu.Lock()
	if !l.caughtUpLocked() {
		l.mu.Unlock()
		return false
	}
	prev, next, delta := l.replayer.Publish()
	at := snapshots.Point{EndOffset: l.offset + 1, Epoch: l.epoch, Timestamp: l.timestamp, Aligned: !l.replayer.InTransaction() && !l.faulty}
	bytes, loaded := l.bytes, l.loaded
	l.bytes, l.loaded = 0, false
	late := l.late
	l.late = nil
	l.published = next
	l.mu.Unlock()
	if prev != next {
		for _, p := range l.publishers {
			p(prev, next, delta)
		}
	}
	if len(late) > 0 {
		empty := metadata.Empty()
		all := metadata.Changes(empty, next)
		for _, p := range late {
			p(empty, next, all)
		}
		l.publishers = append(l.publishers, late...)
	}
	l.mu.Lock()
	l.applied = next.Offset
	tell := l.onApplied
	l.mu.Unlock()
	for _, f := range tell {
		f(next.Offset)
	}
	if s := l.cfg.Snapshots; s != nil && loaded {
		s.Loaded()
	} else if s != nil && prev != next {
		s.Committed(next, at, bytes)
	}
	l.readyOnce.Do(func() { close(l.ready) })
	return true
}

// caughtUpLocked says whether images may be published: the high watermark is known, the image has reached it once, and at
// least one record was seen.
func (l *Loader) caughtUpLocked() bool {
	if l.caughtUp {
		return true
	}
	hw, known := l.cfg.HighWatermark()
	l.caughtUp = known && l.real && l.offset >= hw-1
	return l.caughtUp
}
