package sim

import (
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestSeeds plays seeds for a while: SIM_SEEDS of them (default 1500), from SIM_SEED0.
func TestSeeds(t *testing.T) {
	seeds, seed0 := 1500, uint64(1)
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
		seeds = min(seeds, 300)
	}
	require.Zero(t, Report(seed0, seeds, 3, 120, t.Logf))
}

// TestReplay: a seed is the whole story.
func TestReplay(t *testing.T) {
	for seed := range uint64(5) {
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
			gap, epochs := handover(seed, voters)
			require.Less(t, gap, 30*time.Millisecond, "voters %d seed %d", voters, seed)
			require.EqualValues(t, 1, epochs, "voters %d seed %d: epochs spent", voters, seed)
		}
	}
}
