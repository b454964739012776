package raft

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
	"github.com/kraft-dev/kraft-operator/internal/quorum/disk"
	"github.com/kraft-dev/kraft-operator/internal/storage/record"
	"github.com/kraft-dev/kraft-operator/internal/storage/record/control"
)

// Bounds: Kafka's largest metadata batch, how much may wait for the disk, and up to what size calls share a batch, so that
// an answer to a fetch (1 MiB) is filled with whole batches.
const (
	maxBatchBytes   = 8 << 20
	maxWaitingBytes = 64 << 20
	maxSharedBytes  = 256 << 10
	maxKept         = 1 << 20 // of memory, once nothing waits
)

// accumulator gives offsets to records before they are written. It is the only allocator of offsets while this
// node leads; it is open in one epoch at a time and is dropped whole when leadership ends.
//
// As in Kafka, the records of one call stay in one batch, and what small calls bring until the log takes it shares one: with many
// writers a batch's header, checksum, index entry and decoding are paid for once.
type accumulator struct {
	mu       sync.Mutex
	open     bool
	epoch    int32
	next     int64 // the next offset
	first    int64 // the offset of the first record that waits
	calls    []preparedCall
	released int // how many of calls may be drained
	values   []byte
	sizes    []int32 // of the values of all calls, in order
	builder  *record.Builder
	wake     chan struct{} // capacity 1: something was released
}

// preparedCall is what one call brought. It counts from the front of values and sizes.
type preparedCall struct {
	records int
	bytes   int // of the values
	bound   int // what its records take in a batch, at most
	at      time.Time
	control []quorum.ControlRecord // the engine's own: a batch of its own; nil for others
}

// recordOverhead is what a record takes beside its value, at most: length, attributes, timestamp, offset, no key, the value's length, no headers.
const recordOverhead = 5 + 1 + 10 + 5 + 1 + 5 + 1

func newAccumulator() *accumulator {
	return &accumulator{wake: make(chan struct{}, 1), builder: record.NewBuilder(record.BuilderConfig{})}
}

// start opens the accumulator for an epoch that this node leads.
func (a *accumulator) start(epoch int32, next int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open, a.epoch, a.next, a.first = true, epoch, next, next
	a.drop()
}

// stop drops everything.
func (a *accumulator) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open = false
	a.drop()
}

func (a *accumulator) drop() { a.calls, a.released, a.values, a.sizes = nil, 0, nil, nil }

// prepare gives offsets to the records of one call, which become part of one batch, and returns the last one. The values are copied.
func (a *accumulator) prepare(epoch int32, records [][]byte, now time.Time) (int64, error) {
	c := preparedCall{records: len(records), at: now}
	for _, value := range records {
		c.bytes += len(value)
		c.bound += len(value) + recordOverhead
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	switch {
	case !a.open || epoch != a.epoch:
		return 0, fmt.Errorf("epoch %d, open in %d: %w", epoch, a.epoch, ErrNotLeader)
	case len(records) == 0:
		return 0, errors.New("no records to append")
	case record.HeaderSize+c.bound > maxBatchBytes:
		return 0, fmt.Errorf("%d records of %d bytes, the largest batch is %d: %w", len(records), c.bytes, maxBatchBytes, ErrBatchTooLarge)
	case len(a.values)+c.bytes > maxWaitingBytes:
		return 0, fmt.Errorf("%d bytes wait: %w", len(a.values), ErrBufferFull)
	}
	for _, value := range records {
		a.values = append(a.values, value...)
		a.sizes = append(a.sizes, int32(len(value)))
	}
	a.calls = append(a.calls, c)
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
	held := a.released < len(a.calls)
	a.calls = append(a.calls, preparedCall{records: len(records), at: now, control: records})
	a.next += int64(len(records))
	if !held {
		a.released = len(a.calls)
	}
	a.mu.Unlock()
	if !held {
		a.signal()
	}
}

// release lets everything prepared so far go.
func (a *accumulator) release() {
	a.mu.Lock()
	a.released = len(a.calls)
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

// oldest is when the first released call was prepared.
func (a *accumulator) oldest() (time.Time, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.released == 0 {
		return time.Time{}, false
	}
	return a.calls[0].at, true
}

// drain takes all that was released as one proposal; since is when the oldest was prepared.
func (a *accumulator) drain() (p quorum.Propose, since time.Time, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.released == 0 {
		return p, since, false
	}
	since = a.calls[0].at
	p.Epoch = quorum.Epoch(a.epoch)
	bytes, sizes := a.values, a.sizes
	for released := a.calls[:a.released]; len(released) > 0; {
		n := sharing(released)
		info := quorum.BatchInfo{Base: quorum.Offset(a.first), Epoch: p.Epoch, Control: released[0].control}
		before := len(p.Data)
		if info.Control != nil {
			p.Data = control.AppendBatch(p.Data, a.first, a.epoch, released[0].at.UnixMilli(), disk.ControlRecords(info.Control)...)
			a.first += int64(released[0].records)
		} else {
			a.builder.Reset(record.BuilderConfig{BaseOffset: a.first, Epoch: a.epoch})
			ms := released[0].at.UnixMilli() // one for all: Apache Kafka's nodes refuse a metadata batch whose records differ, and exit
			for _, c := range released[:n] {
				for range c.records {
					a.builder.Append(ms, nil, bytes[:sizes[0]])
					bytes, sizes = bytes[sizes[0]:], sizes[1:]
				}
				a.first += int64(c.records)
			}
			batch, err := a.builder.Build()
			if err != nil {
				panic(err) // it is smaller than the bound that prepare checked
			}
			p.Data = append(p.Data, batch...)
		}
		info.Last, info.Size = quorum.Offset(a.first-1), len(p.Data)-before
		p.Batches = append(p.Batches, info)
		released = released[n:]
	}
	// What stays is moved to the front, so that the memory is used again.
	a.values, a.sizes = append(a.values[:0], bytes...), append(a.sizes[:0], sizes...)
	a.calls = append(a.calls[:0], a.calls[a.released:]...)
	a.released = 0
	if cap(a.values) > maxKept && len(a.values) == 0 {
		a.drop()
	}
	return p, since, true
}

// sharing is how many calls, from the first on, go into one batch.
func sharing(calls []preparedCall) int {
	n, bound := 1, record.HeaderSize+calls[0].bound
	for calls[0].control == nil && n < len(calls) && calls[n].control == nil && bound+calls[n].bound <= maxSharedBytes {
		bound += calls[n].bound
		n++
	}
	return n
}
