package sim

import (
	"time"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
)

// handover plays one graceful stop of the leader in a calm network (1 ms links, 1 ms disks). It returns how long nobody
// committed, and how many epochs were spent.
func handover(seed uint64, voters int) (gap time.Duration, epochs quorum.Epoch) {
	calm := scenario{voters: voters, kraftVersion: 1, latency: time.Millisecond, fsync: time.Millisecond, write: 5 * time.Millisecond}
	w := newWorldOf(seed, calm, nil)
	for _, n := range w.nodes {
		w.after(w.between(0, 10*time.Millisecond), n.start)
	}
	w.planWrite()
	w.runUntil(4*time.Second, nil)
	leader := w.leader()
	if leader == nil {
		return time.Hour, 0
	}
	before, epoch := w.now, leader.q.Status().Epoch
	leader.leave()
	w.runUntil(before+10*time.Second, func() bool {
		next := w.leader()
		return next != nil && next != leader && next.q.Status().HighWatermark > 0
	})
	next := w.leader()
	if next == nil {
		return time.Hour, 0
	}
	return w.now - before, next.q.Status().Epoch - epoch
}

// leader is the node that leads the highest epoch.
func (w *world) leader() (found *node) {
	for _, n := range w.nodes {
		if !n.up || n.q.Status().Role != quorum.Leader {
			continue
		}
		if found == nil || n.q.Status().Epoch > found.q.Status().Epoch {
			found = n
		}
	}
	return found
}
