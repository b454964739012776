//go:build e2e

package e2e_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// voting are the voters that the active controller names, as id@directory.
func voting(t testing.TB) []string {
	t.Helper()
	return strings.Fields(k(t, "get", "kraftcluster", cluster, "-o", `jsonpath={range .status.quorum.voters[*]}{.id}@{.directoryID} {end}`))
}

// votersBothWays: two controllers join, observe, catch up and vote; then two stop voting and leave. Nobody else is restarted.
func votersBothWays(t *testing.T) {
	b := startLoad(t, "voters")
	before := pods(t)
	bench(t, "voters_3_to_5_s", vote(t, 5, 5, false).Seconds(), 30, "")
	require.Len(t, pods(t), 8)
	b.flow()
	for id, p := range before {
		require.Equal(t, p.UID, pods(t)[id].UID, "node %s was restarted by a scale-out", id)
	}
	bench(t, "voters_5_to_3_s", vote(t, 3, 3, false).Seconds(), 30, "")
	require.Len(t, pods(t), 6)
	b.tail()
	b.finish("voters 3 to 5 to 3").bench(t, "voters")
	require.Contains(t, k(t, "get", "pvc", "-o", "name"), "controller-4", "claims stay")
}

// vote changes how many controllers there are and how many of them vote, and returns how long it took until all are Ready.
func vote(t *testing.T, voters, controllers int, crash bool) time.Duration {
	began := time.Now()
	patch(t, fmt.Sprintf(`{"spec":{"quorum":{"voters":%d},"controllers":{"replicas":%d}}}`, voters, controllers))
	if crash {
		crashOperatorMidway(t)
	}
	eventually(t, fmt.Sprintf("%d voters", voters), 2*time.Minute, func() bool { return ready(t, cluster) && len(voting(t)) == voters })
	settled(t)
	return time.Since(began)
}

// lostControllerDisk deletes a claim and its pod under load.
func lostControllerDisk(t *testing.T) {
	b := startLoad(t, "disk-lost")
	bench(t, "disk_lost_s", loseDisk(t, false).Seconds(), 15, "")
	b.tail()
	b.finish("disk lost").bench(t, "disk_lost")
}

// loseDisk deletes a voter's claim and pod, not the active controller's: the node comes back with an empty disk and votes
// again, under another directory id. It returns how long that took.
func loseDisk(t *testing.T, crash bool) time.Duration {
	before, leads := voting(t), leader(t)
	var lost pod
	for _, v := range before {
		if id, _, _ := strings.Cut(v, "@"); id != leads {
			lost = pods(t)[id]
		}
	}
	began := time.Now()
	k(t, "delete", "pvc", "data-"+strings.TrimSuffix(lost.Name, "-0"), "--wait=false")
	k(t, "delete", "pod", lost.Name, "--wait=false")
	if crash {
		crashOperator(t)
	}
	replaced(t, lost)
	eventually(t, "full strength, one voter on a new disk", 2*time.Minute, func() bool {
		now := voting(t)
		return ready(t, cluster) && len(now) == len(before) && strings.Join(now, " ") != strings.Join(before, " ")
	})
	settled(t)
	took := time.Since(began)
	t.Logf("voters before: %v, now: %v", before, voting(t))
	return took
}
