//go:build mutants

package main

import (
	"sync"

	"github.com/kraft-dev/kraft-operator/internal/quorum/sim"
)

// play plays seeds from 1 on until one has a violation, on several workers. The result is that of the lowest such seed,
// or of the last one, with the events of all seeds up to it.
func play(seeds uint64, workers int) sim.Result {
	var (
		mu    sync.Mutex
		next  = uint64(1)
		stop  = seeds // no seed above it matters any more
		found sim.Result
		steps = make([]int, seeds+1)
		wg    sync.WaitGroup
	)
	take := func() (uint64, bool) {
		mu.Lock()
		defer mu.Unlock()
		seed := next
		next++
		return seed, seed <= stop
	}
	keep := func(r sim.Result) {
		mu.Lock()
		defer mu.Unlock()
		steps[r.Seed] = r.Events
		if r.Seed <= stop && (r.Violation != "" || r.Seed == seeds) {
			stop, found = r.Seed, r
		}
	}
	for range workers {
		wg.Go(func() {
			for seed, ok := take(); ok; seed, ok = take() {
				keep(sim.Run(seed, false))
			}
		})
	}
	wg.Wait()
	found.Events = 0
	for _, n := range steps[:stop+1] {
		found.Events += n
	}
	return found
}
