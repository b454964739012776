package raft

import (
	"context"
	"fmt"
	"sync"

	"github.com/kraft-dev/kraft-operator/internal/storage/record"
)

// deliverBytes is how much of the log is read for one HandleCommit.
const deliverBytes = 1 << 20

// maxRecordsBytes bounds a decompressed metadata batch; Kafka writes them uncompressed, up to 8 MiB.
const maxRecordsBytes = 16 << 20

// delivery hands committed batches and leader changes to listeners, in order, from one goroutine.
type delivery struct {
	log  Log
	fail func(error)
	wake chan struct{}

	mu        sync.Mutex
	hw        int64 // exclusive; -1 not known
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
	next    int64 // owned by the delivery goroutine
	changes []leaderChange
}

func newDelivery(log Log, fail func(error)) *delivery {
	return &delivery{log: log, fail: fail, wake: make(chan struct{}, 1), hw: -1, current: leaderChange{LeaderAndEpoch: LeaderAndEpoch{LeaderID: -1}}}
}

func (d *delivery) signal() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

func (d *delivery) register(l Listener) {
	d.mu.Lock()
	d.listeners = append(d.listeners, &listenerState{Listener: l, next: d.log.StartOffset(), changes: []leaderChange{d.current}})
	d.mu.Unlock()
	d.signal()
}

func (d *delivery) committed(hw int64) {
	d.mu.Lock()
	d.hw = max(d.hw, hw)
	d.mu.Unlock()
	d.signal()
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
	listeners, hw := d.listeners, d.hw
	d.mu.Unlock()
	for _, l := range listeners {
		if ctx.Err() != nil {
			return false
		}
		if c, ok := d.takeChange(l); ok {
			l.HandleLeaderChange(c.LeaderAndEpoch)
			progress = true
			continue
		}
		if l.next >= hw {
			continue
		}
		batches, err := d.read(l.next, hw)
		if err != nil {
			d.fail(err)
			return false
		}
		if len(batches) == 0 {
			continue
		}
		l.HandleCommit(batches)
		l.next = batches[len(batches)-1].LastOffset + 1
		progress = true
	}
	return progress
}

func (d *delivery) takeChange(l *listenerState) (leaderChange, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(l.changes) == 0 || l.changes[0].after > l.next {
		return leaderChange{}, false
	}
	c := l.changes[0]
	l.changes = l.changes[1:]
	return c, true
}

func (d *delivery) read(from, hw int64) ([]CommittedBatch, error) {
	data, err := d.log.Read(from, hw, deliverBytes)
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
		c := CommittedBatch{BaseOffset: b.BaseOffset(), LastOffset: b.LastOffset(), Epoch: b.Epoch(), AppendTimestamp: b.MaxTimestamp(), SizeBytes: len(b)}
		if !b.IsControl() {
			c.Records = make([][]byte, 0, b.Count())
			for r, err := range b.Records(maxRecordsBytes) {
				if err != nil {
					return nil, fmt.Errorf("metadata log, batch at %d: %w", b.BaseOffset(), err)
				}
				c.Records = append(c.Records, r.Value)
			}
		}
		out = append(out, c)
	}
	return out, nil
}
