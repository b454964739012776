//go:build e2e

package e2e_test

import (
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
	began := time.Now()
	patch(t, `{"spec":{"quorum":{"voters":5},"controllers":{"replicas":5}}}`)
	eventually(t, "five voters and Ready", 2*time.Minute, func() bool {
		return ready(t, cluster) && len(voting(t)) == 5 && readyPods(t) == 8
	})
	bench(t, "voters_3_to_5_s", time.Since(began).Seconds(), 30, "")
	b.flow()
	for id, p := range before {
		require.Equal(t, p.UID, pods(t)[id].UID, "node %s was restarted by a scale-out", id)
	}
	began = time.Now()
	patch(t, `{"spec":{"quorum":{"voters":3},"controllers":{"replicas":3}}}`)
	eventually(t, "three voters and Ready", 2*time.Minute, func() bool {
		return ready(t, cluster) && len(voting(t)) == 3 && len(pods(t)) == 6
	})
	bench(t, "voters_5_to_3_s", time.Since(began).Seconds(), 30, "")
	b.tail()
	b.finish("voters 3 to 5 to 3").bench(t, "voters")
	require.Contains(t, k(t, "get", "pvc", "-o", "name"), "controller-4", "claims stay")
}

// lostControllerDisk deletes a claim and its pod: the node comes back with an empty disk, and votes again, under another
// directory id.
func lostControllerDisk(t *testing.T) {
	b := startLoad(t, "disk-lost")
	var was pod
	leads, before := leader(t), voting(t)
	for id, p := range pods(t) {
		if p.Pool == "controllers" && id != leads {
			was = p
		}
	}
	began := time.Now()
	k(t, "delete", "pvc", "data-"+strings.TrimSuffix(was.Name, "-0"), "--wait=false")
	k(t, "delete", "pod", was.Name, "--wait=false")
	replaced(t, was)
	eventually(t, "three voters, one of them on a new disk", 2*time.Minute, func() bool {
		now := voting(t)
		return ready(t, cluster) && len(now) == 3 && strings.Join(now, " ") != strings.Join(before, " ") && readyPods(t) == 6
	})
	bench(t, "disk_lost_s", time.Since(began).Seconds(), 15, "")
	t.Logf("voters before: %v, now: %v", before, voting(t))
	b.tail()
	b.finish("disk lost").bench(t, "disk_lost")
}
