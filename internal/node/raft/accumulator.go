package raft

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
	"github.com/kraft-dev/kraft-operator/internal/quorum/disk"
	"github.com/kraft-dev/kraft-operator/internal/storage/record"
	"github.com/kraft-dev/kraft-operator/internal/storage/record/control"
)

// Bounds: Kafka's largest metadata batch, and how much may wait for the disk.
const (
	maxBatchBytes   = 8 << 20
	maxWaitingBytes = 64 << 20
)

// accumulator gives offsets to records before they are written. It is the only allocator of offsets while this
// node leads; it is open in one epoch at a time and is dropped whole when leadership ends.
type accumulator struct {
	mu       sync.Mutex
	open     bool
	epoch    int32
	next     int64
	prepared []preparedBatch
	released int // how many of prepared may be drained
	bytes    int
	builder  *record.Builder
	wake     chan struct{} // capacity 1: something was released
}

type preparedBatch struct {
	batch   record.Batch
	at      time.Time
	control []quorum.ControlRecord // nil: a data batch
}

func newAccumulator() *accumulator {
	return &accumulator{wake: make(chan struct{}, 1), builder: record.NewBuilder(record.BuilderConfig{})}
}

// start opens the accumulator for an epoch that this node leads.
func (a *accumulator) start(epoch int32, next int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open, a.epoch, a.next = true, epoch, next
	a.prepared, a.released, a.bytes = nil, 0, 0
}

// stop drops everything.
func (a *accumulator) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open = false
	a.prepared, a.released, a.bytes = nil, 0, 0
}

// prepare gives offsets to the records of one call, which become one batch, and returns the last one.
func (a *accumulator) prepare(epoch int32, records [][]byte, now time.Time) (int64, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.open || epoch != a.epoch {
		return 0, fmt.Errorf("epoch %d, open in %d: %w", epoch, a.epoch, ErrNotLeader)
	}
	if len(records) == 0 {
		return 0, errors.New("no records to append")
	}
	a.builder.Reset(record.BuilderConfig{BaseOffset: a.next, Epoch: epoch})
	ms := now.UnixMilli()
	for _, value := range records {
		a.builder.Append(ms, nil, value)
		if a.builder.Size() > maxBatchBytes {
			return 0, fmt.Errorf("%d records, the largest batch is %d bytes: %w", len(records), maxBatchBytes, ErrBatchTooLarge)
		}
	}
	if a.bytes+a.builder.Size() > maxWaitingBytes {
		return 0, fmt.Errorf("%d bytes wait: %w", a.bytes, ErrBufferFull)
	}
	batch, err := a.builder.Build()
	if err != nil {
		return 0, err
	}
	batch = slices.Clone(batch) // the builder's bytes are used again
	a.prepared = append(a.prepared, preparedBatch{batch: batch, at: now})
	a.bytes += len(batch)
	a.next += int64(len(records))
	return a.next - 1, nil
}

// control gives offsets to the engine's own records, one control batch behind whatever was prepared. It is let go with
// that, at once if nothing is held back. It is never refused for lack of room; once this epoch is over it is moot.
func (a *accumulator) control(epoch int32, records []quorum.ControlRecord, now time.Time) {
	a.mu.Lock()
	if !a.open || epoch != a.epoch {
		a.mu.Unlock()
		return
	}
	batch := record.Batch(control.AppendBatch(nil, a.next, epoch, now.UnixMilli(), disk.ControlRecords(records)...))
	held := a.released < len(a.prepared)
	a.prepared = append(a.prepared, preparedBatch{batch: batch, at: now, control: records})
	a.bytes += len(batch)
	a.next += int64(len(records))
	if !held {
		a.released = len(a.prepared)
	}
	a.mu.Unlock()
	if !held {
		a.signal()
	}
}

// release lets everything prepared so far go.
func (a *accumulator) release() {
	a.mu.Lock()
	a.released = len(a.prepared)
	some := a.released > 0
	a.mu.Unlock()
	if some {
		a.signal()
	}
}

func (a *accumulator) signal() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// oldest is when the first released batch was prepared.
func (a *accumulator) oldest() (time.Time, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.released == 0 {
		return time.Time{}, false
	}
	return a.prepared[0].at, true
}

// drain takes all released batches as one proposal; since is when the oldest was prepared.
func (a *accumulator) drain() (p quorum.Propose, since time.Time, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.released == 0 {
		return p, since, false
	}
	since = a.prepared[0].at
	p.Epoch = quorum.Epoch(a.epoch)
	size := 0
	for _, b := range a.prepared[:a.released] {
		size += len(b.batch)
	}
	p.Data = make([]byte, 0, size)
	for _, b := range a.prepared[:a.released] {
		p.Batches = append(p.Batches, quorum.BatchInfo{
			Base: quorum.Offset(b.batch.BaseOffset()), Last: quorum.Offset(b.batch.LastOffset()),
			Epoch: quorum.Epoch(a.epoch), Size: len(b.batch), Control: b.control,
		})
		p.Data = append(p.Data, b.batch...)
	}
	a.bytes -= size
	a.prepared = append([]preparedBatch(nil), a.prepared[a.released:]...)
	a.released = 0
	return p, since, true
}
