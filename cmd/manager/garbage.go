package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// How much garbage may come between two collections: a share of the live heap, which is small as most of the heap is the cache of what
// the clusters consist of (make bench-operator), but never less than leastGarbage. A collection marks the whole heap at once, and with
// few clusters a quarter of it is made every few passes: it cost as much as the passes, on processors that nodes want, too.
const (
	gcPercent    = 25
	leastGarbage = 8 << 20 // bytes
)

// percentFor is GOGC for a live heap of so many bytes; of one that was never looked through nothing is known.
func percentFor(live uint64) int {
	if live == 0 {
		return gcPercent
	}
	return max(gcPercent, int(100*leastGarbage/max(live, leastGarbage/4)))
}

// collections keeps GOGC where the live heap wants it, also in a manager that stands by.
type collections struct{}

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (collections) NeedLeaderElection() bool { return false }

// Start looks at the live heap until ctx ends.
func (collections) Start(ctx context.Context) error {
	sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}} // as the last collection found it
	set := gcPercent
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		metrics.Read(sample)
		if p := percentFor(sample[0].Value.Uint64()); p*10 < set*9 || p*9 > set*10 { // setting it stops the world
			debug.SetGCPercent(p)
			set = p
		}
	}
}
