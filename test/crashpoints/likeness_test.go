package crashpoints

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func writesOf(calls ...string) (out []point) {
	w := newWorld()
	for _, c := range calls {
		p := point{Verb: c, Object: "ConfigMap demo-0123456789"}
		p.site = w.siteOf(p)
		out = append(out, p)
	}
	return out
}

// TestPointsAreKnownInAnotherPlay: by which of its kind a write is, and after which write a read comes.
func TestPointsAreKnownInAnotherPlay(t *testing.T) {
	w := newWorld()
	read := point{Verb: "ask", Object: "DescribeQuorum", read: true}
	require.Equal(t, "ask DescribeQuorum after ", w.siteOf(read))
	require.Equal(t, "create ConfigMap demo-<hash> #1", w.siteOf(point{Verb: "create", Object: "ConfigMap demo-0123456789"}))
	require.Equal(t, "create ConfigMap demo-<hash> #2", w.siteOf(point{Verb: "create", Object: "ConfigMap demo-abcdef0123"}))
	require.Equal(t, "ask DescribeQuorum after create ConfigMap demo-<hash> #2", w.siteOf(read))

	one, other := writesOf("create", "status", "create"), writesOf("status", "create", "delete")
	var sites []string
	for _, p := range inBoth(one, other) {
		sites = append(sites, p.site)
	}
	require.Equal(t, []string{"create ConfigMap demo-<hash> #1", "status ConfigMap demo-<hash> #1"}, sites)
}

// TestAModelThatDoesOtherwiseIsFoundOut, and how often something is written doesn't matter.
func TestAModelThatDoesOtherwiseIsFoundOut(t *testing.T) {
	calls := func(names ...string) []string { return firstCalls(writesOf(names...)) }
	require.Empty(t, unlike(calls("create", "status"), calls("status", "create", "status"), calls("create", "status")))
	require.Empty(t, unlike(calls("create", "patch"), calls("create"), calls("create", "patch")), "sometimes it is made")
	require.Equal(t, "only in the model: patch ConfigMap demo-<hash>\nnot in the model: delete ConfigMap demo-<hash>",
		unlike(calls("create", "patch"), calls("create", "delete"), calls("create", "delete")))
}

// TestThinnedPlaysAreOfAllFaults, one of each ten.
func TestThinnedPlaysAreOfAllFaults(t *testing.T) {
	var plays []play
	for i := range 100 {
		plays = append(plays, play{"form", i / len(writeFaults), writeFaults[i%len(writeFaults)]})
	}
	faults := map[Fault]int{}
	for i, x := range thinned(plays, 10) {
		require.Equal(t, i, x.Point/2)
		faults[x.Fault]++
	}
	for _, f := range writeFaults {
		require.Equal(t, 2, faults[f], f)
	}
	require.Equal(t, plays, thinned(plays, 1))
}

// TestAnotherPlayStandsIn: of the same fault, at a later point if there is one, and each once.
func TestAnotherPlayStandsIn(t *testing.T) {
	rest := &spares{plays: []play{{"form", 1, After}, {"form", 2, Before}, {"form", 6, Before}, {"form", 7, Before}}}
	var points []int
	for {
		x, ok := rest.after(play{"form", 5, Before})
		if !ok {
			break
		}
		require.Equal(t, Before, x.Fault)
		points = append(points, x.Point)
	}
	require.Equal(t, []int{6, 7, 2}, points)
	require.Equal(t, []play{{"form", 1, After}}, rest.plays)
}
