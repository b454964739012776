package sim

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// forming is a run of a quorum from empty disks in which one node loses its disk right after event k, its own or another's.
// It returns the events until every node has committed something; 0 for k loses none.
func forming(seed uint64, voters, k int, own bool) (events int, err error) {
	s := calm(voters)
	s.formationSafe, s.wipes, s.drift = true, (voters-1)/2, seed%2 == 0
	s.refuse = float64(seed % 3 / 2)
	s.real = seed%4 == 0
	s.segment, s.segmentMs, s.chunk = 16<<10, 300, 200
	w := newWorldOf(seed, s, nil)
	defer func() {
		if r := recover(); r != nil {
			v, ok := r.(violation)
			if !ok {
				panic(r)
			}
			err = fmt.Errorf("%s", v.text)
		}
	}()
	together := seed%3 > 0
	for _, n := range w.nodes {
		d := w.between(0, 10*time.Millisecond)
		if !together {
			d = w.between(0, 2*time.Second)
		}
		n.comeBack(d)
	}
	w.planWrite()
	w.planClients()
	if seed%4 > 1 { // one that lags
		w.after(w.between(0, 1500*time.Millisecond), func() { w.faultCutOne(w.nodes[w.rng.IntN(len(w.nodes))]) })
	}
	w.afterEvent = func(n *node) {
		if w.steps != k {
			return
		}
		victim := n
		if !own {
			victim = w.nodes[w.rng.IntN(len(w.nodes))]
		}
		w.after(0, func() { w.lose(victim) })
		w.trouble(victim)
	}
	formed := func() bool {
		for _, n := range w.nodes {
			if !n.up || n.committed <= 0 {
				return false
			}
		}
		return true
	}
	w.runUntil(20*time.Second, formed)
	events = w.steps
	w.healed, w.s.faults = true, w.now // from here on nothing is lost
	w.runUntil(w.now+healBound, w.converged())
	w.requireConverged()
	w.requireLinearizable()
	return events, nil
}

// trouble comes seldom alone: the node restarts again, or the leader falls, before the one without memory has found its place.
func (w *world) trouble(victim *node) {
	if w.chance(0.5) {
		w.after(w.between(0, 3*time.Second), func() { w.faultCrash(victim) })
	}
	if w.chance(0.5) {
		w.after(w.between(0, time.Second), func() {
			if l := w.leader(); l != nil {
				w.faultCrash(l)
			}
		})
	}
	if w.chance(0.3) {
		w.after(w.between(0, time.Second), func() { w.faultCutOne(victim) })
	}
}

// TestDiskLostAtEveryEventOfFormation: of quorums of 3 and 5 that form, at every event a node loses its disk and is formatted
// again as the same initial voter. No two leaders lead an epoch, nothing that was committed is lost, and the quorum forms.
// SIM_EVERY=1 takes every event, own and others' disks, of 16 runs; the short run a sample.
func TestDiskLostAtEveryEventOfFormation(t *testing.T) {
	seeds, step := uint64(8), 23
	if os.Getenv("SIM_EVERY") != "" {
		seeds, step = 16, 1
	}
	runs := 0
	for seed := range seeds {
		voters := 3 + 2*int(seed%2)
		events, err := forming(seed, voters, 0, false)
		require.NoError(t, err, "seed %d", seed)
		for k := 1 + int(seed)%step; k <= events+20; k += step {
			for _, own := range []bool{true, false} {
				_, err := forming(seed, voters, k, own)
				require.NoError(t, err, "seed %d, a disk lost after event %d (its own: %v)", seed, k, own)
				runs++
			}
		}
	}
	t.Logf("runs=%d", runs)
	require.Greater(t, runs, 100)
}
