package node_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kraft-dev/kraft-operator/test/cluster"
	"github.com/kraft-dev/kraft-operator/test/e2e/load"
)

// metadataGap is the bar for metadata writes while the active controller leaves.
const metadataGap = 500 * time.Millisecond

// TestRollEverythingUnderLoad restarts every node in the operator's order by SIGTERM while records are produced and
// a topic's config is written again and again. The active controller leaves three times, and its median gap counts: other tests
// share the machine.
func TestRollEverythingUnderLoad(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"3+3", "three combined"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec := layouts[name]
			spec.Processes = true
			spec.Config = map[string]string{"min.insync.replicas": "2"}
			c := cluster.Start(t, spec)
			adm := admin(c)
			createTopic(t, adm, "t", 6, 3)
			p := produce(t, c, "t", 500)
			p.advance(100)
			var gaps []time.Duration
			for range 3 {
				for _, n := range standbysFirst(t, c) {
					active := leads(n)
					gap := restart(t, c, n)
					if active {
						gaps = append(gaps, gap)
					}
					waitISR(t, c, adm, "t")
				}
				if len(gaps) >= 3 {
					break
				}
			}
			produceGap := p.ledger.LongestGap()
			t.Log(p.audit())
			slices.Sort(gaps)
			bench(t, "roll/"+name+"/produce_longest_gap", produceGap.Milliseconds(), "ms")
			for _, g := range gaps {
				bench(t, "roll/"+name+"/metadata_gap_active_leaves", g.Milliseconds(), "ms")
			}
			require.LessOrEqual(t, gaps[len(gaps)/2], metadataGap, "gaps: %v", gaps)
		})
	}
}

// standbysFirst is the order of a roll: standby controllers, the active one, then brokers.
func standbysFirst(t *testing.T, c *cluster.Cluster) []*cluster.Node {
	active := activeController(t, c)
	var out []*cluster.Node
	for _, n := range c.Controllers {
		if n != active {
			out = append(out, n)
		}
	}
	out = append(out, active)
	for _, n := range c.Brokers {
		if !n.Controller {
			out = append(out, n)
		}
	}
	return out
}

// restart stops a node by SIGTERM and starts it again; it returns the longest gap in metadata writes meanwhile.
func restart(t *testing.T, c *cluster.Cluster, n *cluster.Node) time.Duration {
	t.Helper()
	var writes load.Ledger
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- load.Metadata(ctx, &writes, "t", 10*time.Millisecond, kgo.SeedBrokers(c.Bootstrap()...))
	}()
	more := func() {
		want := writes.Total() + 20
		c.Eventually("metadata writes go on", patience, func() bool { return writes.Total() >= want })
	}
	more()
	began := time.Now()
	require.NoError(t, n.Stop(), n.Log())
	stopped := time.Since(began)
	more()
	n.Start()
	n.WaitReady()
	more()
	cancel()
	require.NoError(t, <-done)
	failed, first := writes.Failures()
	require.Zero(t, failed, "metadata write: %v", first)
	t.Logf("node %d left in %s, longest gap in metadata writes %s", n.ID, stopped, writes.LongestGap())
	return writes.LongestGap()
}
