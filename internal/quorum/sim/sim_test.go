package sim

import (
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
)

// TestSeeds plays seeds: SIM_SEEDS of them (default 200), from SIM_SEED0. make test plays others beside it.
func TestSeeds(t *testing.T) {
	seeds, seed0 := 200, uint64(1_000_000)
	if s := os.Getenv("SIM_SEEDS"); s != "" {
		n, err := strconv.Atoi(s)
		require.NoError(t, err, "SIM_SEEDS")
		seeds = n
	}
	if s := os.Getenv("SIM_SEED0"); s != "" {
		n, err := strconv.ParseUint(s, 10, 64)
		require.NoError(t, err, "SIM_SEED0")
		seed0 = n
	}
	if testing.Short() {
		seeds = min(seeds, 100)
	}
	o := Options{Seed0: seed0, Seeds: seeds, Stop: 3, TraceLines: 120, Workers: runtime.NumCPU()}
	require.Zero(t, o.Play(t.Logf))
}

// TestReplay: a seed is the whole story.
func TestReplay(t *testing.T) {
	for seed := range uint64(9) {
		a, b := Run(seed, true), Run(seed, true)
		require.Equal(t, a.Trace, b.Trace, "seed %d", seed)
		require.NotZero(t, a.Committed, "seed %d commits nothing", seed)
	}
}

// TestHandoverIsOneRound: with whole links and fast disks a graceful stop of the leader costs a few round trips in quorums
// of 3, 5 and 7, not an election timeout: the first successor wins its first round.
func TestHandoverIsOneRound(t *testing.T) {
	for _, voters := range []int{3, 5, 7} {
		for seed := range uint64(20) {
			gap, epochs := gap(seed, voters, (*node).leave)
			require.Less(t, gap, 30*time.Millisecond, "voters %d seed %d", voters, seed)
			require.EqualValues(t, 1, epochs, "voters %d seed %d: epochs spent", voters, seed)
		}
	}
}

// TestDeadLeaderIsNoticed: a leader whose process died leaves refused connections; a quorum of Go voters elects the next
// one long before the fetch timeout of 2 s.
func TestDeadLeaderIsNoticed(t *testing.T) {
	for _, voters := range []int{3, 5, 7} {
		for seed := range uint64(20) {
			gap, _ := gap(seed, voters, (*node).crash)
			require.Less(t, gap, 500*time.Millisecond, "voters %d seed %d", voters, seed)
		}
	}
}

// TestReturningVoterDeposesNobody: a voter that was cut off, either way or both, asks for pre-votes and is refused.
func TestReturningVoterDeposesNobody(t *testing.T) {
	for seed := range uint64(30) {
		w, leader := settled(seed, 3+2*int(seed%2))
		require.NotNil(t, leader, "seed %d", seed)
		epoch := leader.q.Status().Epoch
		lost := w.nodes[(leader.id+1)%len(w.nodes)]
		w.s.faults = time.Hour
		for _, o := range w.nodes {
			if seed%3 != 1 {
				w.cut[[2]int{lost.id, o.id}] = true
			}
			if seed%3 != 0 {
				w.cut[[2]int{o.id, lost.id}] = true
			}
		}
		w.runUntil(w.now+10*time.Second, nil)
		w.heal()
		w.runUntil(w.now+10*time.Second, nil)
		require.Equal(t, quorum.Leader, leader.q.Status().Role, "seed %d", seed)
		require.Equal(t, epoch, leader.q.Status().Epoch, "seed %d", seed)
		require.Equal(t, quorum.Follower, lost.q.Status().Role, "seed %d", seed)
	}
}

// TestLaggardIsSentToASnapshot: a voter that was away while the logs were cleaned installs a snapshot and follows on, and
// nobody's leadership suffers. Small pieces, so that it takes hundreds of them.
func TestLaggardIsSentToASnapshot(t *testing.T) {
	for seed := range uint64(20) {
		w, leader := settled(seed, 3+2*int(seed%2))
		require.NotNil(t, leader, "seed %d", seed)
		epoch := leader.q.Status().Epoch
		lost := w.nodes[(leader.id+1)%len(w.nodes)]
		lost.crash()
		had := lost.end()
		w.s.chunk = 13
		w.runUntil(w.now+2*time.Second, nil)
		for _, n := range w.nodes {
			if n.up {
				n.makeSnapshot(n.verified)
			}
		}
		w.runUntil(w.now+time.Second, nil)
		for _, n := range w.nodes {
			if n.up {
				n.clean()
			}
		}
		lost.start()
		w.runUntil(w.now+10*time.Second, nil)
		require.Equal(t, 1, w.happened["snapshots installed"], "seed %d", seed)
		require.Greater(t, lost.q.Status().LogStartOffset, had, "seed %d", seed)
		require.Greater(t, lost.q.Status().HighWatermark, leader.q.Status().HighWatermark-100, "seed %d", seed)
		require.Equal(t, quorum.Leader, leader.q.Status().Role, "seed %d", seed)
		require.Equal(t, epoch, leader.q.Status().Epoch, "seed %d", seed)
	}
}
