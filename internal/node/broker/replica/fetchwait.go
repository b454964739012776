package replica

import (
	"sync"
	"sync/atomic"
	"time"
)

// FetchWait is a fetch that waits until minBytes are there, a partition changes its role, or its time is over. It is an entry in
// the lists of its partitions and a timer. Ready is called exactly once.
type FetchWait struct {
	ready    func()
	missing  atomic.Int64 // bytes still to come
	fired    atomic.Bool
	follower bool // waits for the log end, not the high watermark

	mu    sync.Mutex // taken before a partition's, never after
	timer *time.Timer
	on    []*Partition
}

// watch is a FetchWait's place at one partition.
type watch struct{ counted int64 } // the partition's byte count up to which the wait was told

// Seen is a moment of one partition as a read found it: a later wait starts to count there, so that nothing that came between the
// read and the wait is missed.
type Seen struct {
	bytes   int64
	changes int
}

// NewFetchWait makes a wait for missing more bytes.
func NewFetchWait(missing int, follower bool, ready func()) *FetchWait {
	w := &FetchWait{ready: ready, follower: follower}
	w.missing.Store(int64(max(missing, 1)))
	return w
}

// Start watches the partitions, each from the moment its read saw, for at most timeout. It is called once.
func (w *FetchWait) Start(parts []*Partition, seen []Seen, timeout time.Duration) {
	w.mu.Lock()
	w.on = parts
	ready := false
	for i, p := range parts {
		ready = p.watch(w, seen[i]) || ready
	}
	w.timer = time.AfterFunc(timeout, w.fire)
	w.mu.Unlock()
	if ready {
		w.fire()
	}
}

// fire ends the wait.
func (w *FetchWait) fire() {
	if w.Cancel() {
		w.ready()
	}
}

// Cancel ends the wait without calling ready. It reports whether it came first.
func (w *FetchWait) Cancel() bool {
	if !w.fired.CompareAndSwap(false, true) {
		return false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timer != nil {
		w.timer.Stop()
	}
	w.leaveLocked()
	return true
}

func (w *FetchWait) leaveLocked() {
	for _, p := range w.on {
		p.mu.Lock()
		delete(p.fetches, w)
		p.mu.Unlock()
	}
}

// count is the partition's byte count that w follows.
func (p *Partition) countLocked(w *FetchWait) int64 {
	if w.follower {
		return p.arrived
	}
	return p.settled
}

func (p *Partition) seenLocked(follower bool) Seen {
	if follower {
		return Seen{bytes: p.arrived, changes: p.changes}
	}
	return Seen{bytes: p.settled, changes: p.changes}
}

// watch puts w into the partition's list and reports whether it is ready already.
func (p *Partition) watch(w *FetchWait, seen Seen) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.changes != seen.changes {
		return true
	}
	now := p.countLocked(w)
	p.fetches[w] = &watch{counted: now}
	return now > seen.bytes && w.missing.Add(seen.bytes-now) <= 0
}

// wakeFetchesLocked tells waiting fetches of the bytes that came, and collects the ones that have enough.
func (p *Partition) wakeFetchesLocked(fx *effects) {
	for w, at := range p.fetches {
		now := p.countLocked(w)
		if now == at.counted {
			continue
		}
		left := w.missing.Add(at.counted - now)
		at.counted = now
		if left <= 0 {
			delete(p.fetches, w)
			fx.fetches = append(fx.fetches, w)
		}
	}
}
