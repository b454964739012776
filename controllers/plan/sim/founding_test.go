package sim

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/controllers/plan"
)

// TestAClusterFormsOnceInAnyOrderOfEvents, and every kind of step and of event comes on the way.
func TestAClusterFormsOnceInAnyOrderOfEvents(t *testing.T) {
	seen, events := map[plan.FormationAction]int{}, map[string]int{}
	for seed := range uint64(300) {
		w := held(t, playFormation, seed)
		for do, times := range w.steps {
			seen[do] += times
		}
		for what, times := range w.events {
			events[what] += times
		}
	}
	for do := plan.FormationSettled; do <= plan.FormationWait; do++ {
		require.Positive(t, seen[do], "step %d was never taken: %v", do, seen)
	}
	for _, what := range []string{
		"disk lost before forming", "disk lost while forming", "disk lost after forming", "annotations taken off", "other voters", "a stranger",
		"moved here", "adopts", "a quorum forms", "the operator dies", "the operator sleeps",
	} {
		require.Greater(t, events[what], 20, "%s: %v", what, events)
	}
}
