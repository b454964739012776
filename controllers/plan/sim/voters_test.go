package sim

import (
	"flag"
	"testing"

	"github.com/stretchr/testify/require"
)

var voterSeeds = flag.Uint64("voter-seeds", 150, "seeds of the simulation of voters")

// TestVotersConvergeInAnyOrderOfEvents, with many changes on the way.
func TestVotersConvergeInAnyOrderOfEvents(t *testing.T) {
	changes := 0
	for seed := range *voterSeeds {
		changes += held(t, playVoters, seed).changes
	}
	t.Logf("seeds=%d changes=%d", *voterSeeds, changes)
	require.Greater(t, changes, int(5**voterSeeds))
}
