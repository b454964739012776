package sim

import (
	"time"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
)

// calm is a quiet network: 1 ms links and disks, and dead ports that say so.
func calm(voters int) scenario {
	return scenario{voters: voters, kraftVersion: 1, latency: time.Millisecond, fsync: time.Millisecond, write: 5 * time.Millisecond, refuse: 1}
}

// settled is a calm quorum with a leader.
func settled(seed uint64, voters int) (*world, *node) {
	w := newWorldOf(seed, calm(voters), nil)
	for _, n := range w.nodes {
		w.after(w.between(0, 10*time.Millisecond), n.start)
	}
	w.planWrite()
	w.runUntil(4*time.Second, nil)
	return w, w.leader()
}

// gap strikes the leader and returns how long nobody committed, and how many epochs were spent.
func gap(seed uint64, voters int, strike func(*node)) (time.Duration, quorum.Epoch) {
	w, leader := settled(seed, voters)
	if leader == nil {
		return time.Hour, 0
	}
	before, epoch := w.now, leader.q.Status().Epoch
	strike(leader)
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
