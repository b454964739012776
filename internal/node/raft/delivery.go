package raft

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"sync"
	"sync/atomic"

	"github.com/kraft-dev/kraft-operator/internal/quorum/disk"
	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/storage/record"
)

// deliverBytes is how much of the log is read for one HandleCommit.
const deliverBytes = 1 << 20

// maxRecordsBytes bounds a decompressed metadata batch; Kafka writes them uncompressed, up to 8 MiB.
const maxRecordsBytes = 16 << 20

// source is what delivery reads: the disk.
type source interface {
	ReadCommitted(from, maxOffset int64, maxBytes int) ([]byte, error)
	StartOffset() int64
	OpenSnapshot(id storage.SnapshotID) (*storage.Snapshot, error)
}

// delivery hands snapshots, committed batches and leader changes to listeners, in order, from one goroutine.
//
// A listener that has nothing, or whose next offset is below the log's start, gets the newest snapshot first: at a start, after
// an installation, and where the prefix it had not read yet was dropped.
type delivery struct {
	disk source
	fail func(error)
	wake chan struct{}

	mu        sync.Mutex
	hw        int64              // exclusive; -1 not known
	newest    storage.SnapshotID // 0-0: there is none
	listeners []*listenerState
	current   leaderChange // replayed to a listener that comes later
}

// leaderChange is delivered once its listener has everything below after; 0 means at once.
type leaderChange struct {
	LeaderAndEpoch
	after int64
}

type listenerState struct {
	Listener
	next    atomic.Int64 // moved by the delivery goroutine; 0: it has nothing
	changes []leaderChange
}

func newDelivery(disk source, fail func(error)) *delivery {
	return &delivery{disk: disk, fail: fail, wake: make(chan struct{}, 1), hw: -1, current: leaderChange{LeaderAndEpoch: LeaderAndEpoch{LeaderID: -1}}}
}

func (d *delivery) signal() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

func (d *delivery) register(l Listener) {
	d.mu.Lock()
	d.listeners = append(d.listeners, &listenerState{Listener: l, changes: []leaderChange{d.current}})
	d.mu.Unlock()
	d.signal()
}

func (d *delivery) committed(hw int64) {
	d.mu.Lock()
	d.hw = max(d.hw, hw)
	d.mu.Unlock()
	d.signal()
}

// newestSnapshot takes the last of the complete snapshots.
func (d *delivery) newestSnapshot(all []disk.Snapshot) {
	if len(all) == 0 {
		return
	}
	d.mu.Lock()
	d.newest = all[len(all)-1].ID
	d.mu.Unlock()
	d.signal()
}

// newestEnd is the exclusive end of the newest snapshot, 0 if there is none.
func (d *delivery) newestEnd() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.newest.EndOffset
}

// lowest is the smallest offset that a listener still needs of the log.
func (d *delivery) lowest() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	low := int64(math.MaxInt64)
	for _, l := range d.listeners {
		low = min(low, l.next.Load())
	}
	return low
}

// leaderChanged queues a change. One that names this node and was not delivered yet is void: it has lost
// the leadership before its state machine could take it up.
func (d *delivery) leaderChanged(c leaderChange) {
	d.mu.Lock()
	d.current = c
	for _, l := range d.listeners {
		if n := len(l.changes); n > 0 && l.changes[n-1].after > 0 {
			l.changes = l.changes[:n-1]
		}
		l.changes = append(l.changes, c)
	}
	d.mu.Unlock()
	d.signal()
}

func (d *delivery) run(ctx context.Context) {
	for {
		select {
		case <-d.wake:
		case <-ctx.Done():
			return
		}
		for d.round(ctx) {
		}
	}
}

// round gives each listener one thing; it returns whether there was any.
func (d *delivery) round(ctx context.Context) (progress bool) {
	d.mu.Lock()
	listeners, hw, newest := d.listeners, d.hw, d.newest
	d.mu.Unlock()
	for _, l := range listeners {
		if ctx.Err() != nil {
			return false
		}
		some, err := d.serve(l, hw, newest)
		if err != nil {
			d.fail(err)
			return false
		}
		progress = progress || some
	}
	return progress
}

// serve gives one listener the next thing, if there is any.
func (d *delivery) serve(l *listenerState, hw int64, newest storage.SnapshotID) (some bool, err error) {
	if c, ok := d.takeChange(l); ok {
		l.HandleLeaderChange(c.LeaderAndEpoch)
		return true, nil
	}
	next, start := l.next.Load(), d.disk.StartOffset()
	if next >= hw {
		return false, nil
	}
	if newest.EndOffset > 0 && (next == 0 || next < start) {
		if newest.EndOffset > hw || newest.EndOffset < start {
			return false, nil // the one to load is about to be told of
		}
		return d.load(l, newest)
	}
	batches, err := d.read(next, hw)
	if err != nil && next < d.disk.StartOffset() {
		return true, nil // dropped meanwhile: the snapshot is next
	}
	if err != nil || len(batches) == 0 {
		return false, err
	}
	l.HandleCommit(batches)
	l.next.Store(batches[len(batches)-1].LastOffset + 1)
	return true, nil
}

// load hands a snapshot over; the listener closes it.
func (d *delivery) load(l *listenerState, id storage.SnapshotID) (bool, error) {
	s, err := d.disk.OpenSnapshot(id)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil // a newer one has taken its place, and is about to be told of
	}
	if err != nil {
		return false, err
	}
	l.HandleLoadSnapshot(snapshotReader{s})
	l.next.Store(id.EndOffset)
	return true, nil
}

func (d *delivery) takeChange(l *listenerState) (leaderChange, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(l.changes) == 0 || l.changes[0].after > l.next.Load() {
		return leaderChange{}, false
	}
	c := l.changes[0]
	l.changes = l.changes[1:]
	return c, true
}

func (d *delivery) read(from, hw int64) ([]CommittedBatch, error) {
	data, err := d.disk.ReadCommitted(from, hw, deliverBytes)
	if err != nil {
		return nil, fmt.Errorf("deliver the metadata log at %d: %w", from, err)
	}
	return DecodeBatches(data, hw)
}

// DecodeBatches decodes whole batches that end at or below limit.
func DecodeBatches(data []byte, limit int64) ([]CommittedBatch, error) {
	var out []CommittedBatch
	for len(data) > 0 {
		b, rest, err := record.Split(data)
		if err != nil {
			return nil, fmt.Errorf("metadata log: %w", err)
		}
		data = rest
		if b.NextOffset() > limit {
			break
		}
		c, err := decodeBatch(b)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

// decodeBatch keeps the batch's bytes.
func decodeBatch(b record.Batch) (CommittedBatch, error) {
	c := CommittedBatch{BaseOffset: b.BaseOffset(), LastOffset: b.LastOffset(), Epoch: b.Epoch(), AppendTimestamp: b.MaxTimestamp(), SizeBytes: len(b)}
	if b.IsControl() {
		return c, nil
	}
	c.Records = make([][]byte, 0, b.Count())
	for r, err := range b.Records(maxRecordsBytes) {
		if err != nil {
			return c, fmt.Errorf("metadata log, batch at %d: %w", b.BaseOffset(), err)
		}
		c.Records = append(c.Records, r.Value)
	}
	return c, nil
}
