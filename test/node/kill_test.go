package node_test

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/test/cluster"
)

// kills is how often a node is killed.
const kills = 20

// seed is SEED of the environment, or 1: it chooses the order in which nodes are killed.
func seed(t *testing.T) uint64 {
	v := os.Getenv("SEED")
	if v == "" {
		return 1
	}
	n, err := strconv.ParseUint(v, 10, 64)
	require.NoError(t, err)
	return n
}

// TestKillAnyNodeUnderLoad kills one process after the other, controllers and brokers alike, while an idempotent
// producer with acks=all runs. Half of the nodes come back at once, the others when the cluster has gone on without them.
func TestKillAnyNodeUnderLoad(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"3+3", "three combined"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			spec := layouts[name]
			spec.Processes = true
			spec.Config = map[string]string{
				"min.insync.replicas":       "2",
				"broker.session.timeout.ms": "3000", "broker.heartbeat.interval.ms": "500", // so that a broker is fenced while it is away
			}
			killUnderLoad(t, cluster.Start(t, spec))
		})
	}
}

func killUnderLoad(t *testing.T, c *cluster.Cluster) {
	create(t, c, "t", 6, 3)
	p := produce(t, c, "t", 500)
	p.advance(100)
	s := seed(t)
	rng := rand.New(rand.NewPCG(s, 0))
	nodes := c.Nodes()
	for i := range kills {
		victim := nodes[rng.IntN(len(nodes))]
		patient := rng.IntN(2) == 0
		t.Logf("seed %d, kill %d: node %d, back at once: %t, %d acknowledged", s, i, victim.ID, !patient, p.ledger.Total())
		victim.Kill()
		if patient {
			p.advance(200)
		}
		victim.Start()
		victim.WaitReady()
		waitISR(t, c, "t")
		p.advance(50)
	}
	t.Logf("%s after %d kills, longest time without an acknowledgement %s", p.audit(), kills, p.ledger.LongestGap())
}
