package node_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	kadmin "github.com/kraft-dev/kraft-operator/internal/admin"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
	"github.com/kraft-dev/kraft-operator/test/cluster"
	"github.com/kraft-dev/kraft-operator/test/e2e/load"
)

// quorum is a cluster's quorum in the hands of somebody at a terminal.
type quorum struct {
	t *testing.T
	c *cluster.Cluster
}

// kraftd runs `kraftd quorum` and returns what it prints.
func (q quorum) kraftd(args ...string) (string, error) {
	q.t.Helper()
	ctx, cancel := context.WithTimeout(q.t.Context(), time.Minute)
	defer cancel()
	at := append([]string{"quorum"}, args...)
	at = append(at, "--bootstrap-controller", strings.Join(q.controllers(), ","))
	out, err := exec.CommandContext(ctx, cluster.Binary(q.t), at...).CombinedOutput()
	q.t.Logf("kraftd quorum %s: %s", strings.Join(args, " "), out)
	return string(out), err
}

func (q quorum) controllers() (out []string) {
	for _, n := range q.c.Controllers {
		out = append(out, n.ControllerAddr())
	}
	return out
}

// must repeats what timed out: a change right after another, or after an election, is refused so.
func (q quorum) must(args ...string) string {
	q.t.Helper()
	var out string
	q.c.Eventually("kraftd quorum "+strings.Join(args, " "), patience, func() bool {
		var err error
		out, err = q.kraftd(args...)
		require.True(q.t, err == nil || strings.Contains(out, "REQUEST_TIMED_OUT") || strings.Contains(out, "NOT_LEADER"), out)
		return err == nil
	})
	return out
}

func (q quorum) add(n *cluster.Node) { q.t.Helper(); q.must("add", "--config", n.ConfigFile) }

func (q quorum) describe() *kadmin.Quorum {
	q.t.Helper()
	var found *kadmin.Quorum
	q.c.Eventually("a leader", patience, func() bool {
		d, err := kadmin.Client{}.DescribeQuorum(q.t.Context(), q.controllers())
		found = d
		return err == nil && d.Leader >= 0 && d.HighWatermark >= 0
	})
	return found
}

// votes waits until exactly these nodes are voters on the leader.
func (q quorum) votes(ids ...int32) {
	q.t.Helper()
	q.c.Eventually(fmt.Sprintf("voters %v", ids), patience, func() bool {
		var have []int32
		for _, v := range q.describe().Voters {
			have = append(have, v.ID)
		}
		return fmt.Sprint(have) == fmt.Sprint(ids)
	})
}

// TestVotersChangeUnderLoad goes from one voter to five and back while a topic's config is written every 10 ms: added one by one,
// the leader removed by itself, handed over by name, a voter's disk replaced under the same id, and every node restarted as what it
// has become. No write fails, none is lost.
func TestVotersChangeUnderLoad(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Spec{Controllers: 5, Voters: 1, Brokers: 1, Processes: true})
	q := quorum{t, c}
	create(t, c, "t", 1, 1)
	writes := load.MetadataWriter{Topic: "t", Every: 10 * time.Millisecond}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- writes.Run(ctx, kgo.SeedBrokers(c.Bootstrap()...))
	}()
	more := func() {
		t.Helper()
		want := writes.Total() + 20
		c.Eventually("metadata writes go on", patience, func() bool { return writes.Total() >= want })
	}
	more()
	q.votes(0)
	for i, n := range c.Controllers[1:] {
		q.add(n)
		q.votes([]int32{0, 1, 2, 3, 4}[:i+2]...)
		more()
	}
	out, err := q.kraftd("add", "--config", c.Controllers[3].ConfigFile)
	require.Error(t, err)
	require.Contains(t, out, "DUPLICATE_VOTER")

	// By name.
	require.Equal(t, int32(0), q.describe().Leader)
	q.must("transfer", "3")
	require.Equal(t, int32(3), q.describe().Leader)
	more()

	// The leader removes itself and hands over.
	q.must("remove", "3")
	q.votes(0, 1, 2, 4)
	c.Eventually("another leads", patience, func() bool { return q.describe().Leader != 3 })
	more()

	// A disk is replaced under the same id: the old key goes, the new one comes.
	lost := c.Controllers[4]
	if q.describe().Leader == 4 {
		q.must("transfer", "0")
	}
	lost.Kill()
	require.NoError(t, os.RemoveAll(filepath.Join(lost.Dir, "data")))
	lost.Start()
	lost.WaitReady()
	out, err = q.kraftd("add", "--config", lost.ConfigFile)
	require.Error(t, err)
	require.Contains(t, out, "DUPLICATE_VOTER")
	q.must("remove", "4")
	q.add(lost)
	q.votes(0, 1, 2, 4)
	more()

	// Each is restarted as what it is now.
	for _, n := range standbysFirst(t, c) {
		if n.Controller {
			require.NoError(t, n.Stop(), n.Log())
			n.Start()
			n.WaitReady()
			more()
		}
	}
	q.votes(0, 1, 2, 4)

	// Down to one: the leader last, so that it goes by itself.
	for _, left := range [][]int32{{1, 2, 4}, {2, 4}, {4}} {
		for _, v := range q.describe().Voters {
			if v.ID != left[0] && (len(left) < 2 || v.ID != left[1]) && (len(left) < 3 || v.ID != left[2]) {
				q.must("remove", fmt.Sprint(v.ID))
			}
		}
		q.votes(left...)
		more()
	}
	out, err = q.kraftd("remove", "4")
	require.Error(t, err)
	require.Contains(t, out, "is the only voter")
	require.Contains(t, q.must("status"), "1 voters (majority 1)")
	cancel()
	require.NoError(t, <-done)
	failed, first := writes.Failures()
	require.Zero(t, failed, "metadata write: %v", first)
	t.Logf("%d metadata writes, longest gap %s", writes.Total(), writes.LongestGap())
}

// TestStaticVotersBecomeDynamic starts with controller.quorum.voters, upgrades kraft.version to 1 by UpdateFeatures, and then changes voters
// as ever; the nodes restart with their static setting, which counts no more.
func TestStaticVotersBecomeDynamic(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Spec{Controllers: 4, Voters: 3, Static: true, Brokers: 1, Processes: true})
	q := quorum{t, c}
	create(t, c, "t", 1, 1)
	out, err := q.kraftd("add", "--config", c.Controllers[3].ConfigFile)
	require.Error(t, err)
	require.Contains(t, out, "kraft.version is 0")

	upgrade := func(level int16) error {
		r, err := admin(c).UpdateFeatures(t.Context(), false, kadm.FeatureUpdate{Feature: "kraft.version", MaxVersionLevel: level, UpgradeType: 1})
		for _, f := range r {
			err = errors.Join(err, f.Err)
		}
		return err
	}
	c.Eventually("every voter has told the leader who it is", patience, func() bool { return upgrade(1) == nil })
	require.NoError(t, upgrade(1), "once more is nothing new")
	q.add(c.Controllers[3])
	q.votes(0, 1, 2, 3)
	q.must("remove", "0")
	q.votes(1, 2, 3)
	for _, n := range c.Controllers {
		require.NoError(t, n.Stop(), n.Log())
		n.Start()
		n.WaitReady()
	}
	q.votes(1, 2, 3)
	state, err := os.ReadFile(filepath.Join(c.Controllers[q.describe().Leader].Dir, "data", "__cluster_metadata-0", "quorum-state"))
	require.NoError(t, err)
	require.Contains(t, string(state), `"data_version":1`, "the old form has no room for a directory id")
	create(t, c, "after", 1, 1)
}

// TestRecoverALostMajority loses two of three controllers' disks and goes on with the third: after the right word, and not before.
func TestRecoverALostMajority(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Spec{Controllers: 3, Brokers: 1, Processes: true})
	q := quorum{t, c}
	create(t, c, "before", 1, 1)
	keys := map[int32]string{}
	for _, v := range q.describe().Voters {
		keys[v.ID] = fmt.Sprintf("%d@%s", v.ID, uuid.UUID(v.DirectoryID))
	}
	survivor := c.Controllers[1]
	recoverBy := func(n *cluster.Node, args ...string) (string, error) {
		out, err := exec.CommandContext(t.Context(), cluster.Binary(t), append([]string{"quorum", "recover", "--config", n.ConfigFile}, args...)...).CombinedOutput()
		t.Logf("kraftd quorum recover %s: %s", strings.Join(args, " "), out)
		return string(out), err
	}
	out, err := recoverBy(survivor)
	require.Error(t, err)
	require.Contains(t, out, "locked by another process")
	for _, n := range c.Controllers {
		n.Kill()
	}
	for _, id := range []int{0, 2} {
		require.NoError(t, os.RemoveAll(filepath.Join(c.Controllers[id].Dir, "data")))
	}
	content := func() (out string) {
		for _, f := range []string{"00000000000000000000.log", "quorum-state"} {
			b, err := os.ReadFile(filepath.Join(survivor.Dir, "data", "__cluster_metadata-0", f))
			require.NoError(t, err)
			out += string(b)
		}
		return out
	}
	before := content()
	for _, args := range [][]string{
		nil,
		{"--quarantined", keys[0], "--quarantined", keys[2]},
		{"--accept-data-loss", "--quarantined", keys[0]},
		{"--accept-data-loss", "--quarantined", keys[0], "--quarantined", keys[2], "--survivor", strings.ReplaceAll(keys[2], "@", ":") + ":0:1"},
		{"--accept-data-loss", "--quarantined", keys[0], "--quarantined", keys[2], "--survivor", strings.ReplaceAll(keys[0], "@", ":") + ":999:1"},
	} {
		out, err = recoverBy(survivor, args...)
		require.Error(t, err)
		require.Contains(t, out, keys[0])
		require.Contains(t, out, keys[2])
	}
	require.Contains(t, out, "node 0 has more")
	require.Equal(t, before, content(), "a refusal changes nothing")

	out, err = recoverBy(survivor, "--accept-data-loss", "--quarantined", keys[0], "--quarantined", keys[2])
	require.NoError(t, err, out)
	survivor.Start()
	survivor.WaitReady()
	q.votes(1)
	for _, id := range []int{0, 2} {
		c.Controllers[id].Start()
		c.Controllers[id].WaitReady()
		q.add(c.Controllers[id])
	}
	q.votes(0, 1, 2)
	create(t, c, "after", 1, 1)
	topics, err := admin(c).ListTopics(t.Context(), "before", "after")
	require.NoError(t, errors.Join(err, topics.Error()))
}
