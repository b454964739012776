package sim

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/controllers/plan"
)

func TestBudgetsFollowTheData(t *testing.T) {
	all := func(plan.Node) bool { return true }
	f := newFleet(1, 3, 3, 0)
	require.Equal(t, 1, plan.Budget(f.snapshot(), all))
	f.nodes[0].Pod = nil
	require.Equal(t, 0, plan.Budget(f.snapshot(), all), "a second absence would cost the majority")
	s := f.snapshot()
	s.Quorum = nil
	require.Equal(t, 0, plan.Budget(s, all), "nobody answers: a drain can wait")

	b := newFleet(1, 3, 3, 3)
	brokers := func(n plan.Node) bool { return n.Broker }
	require.Equal(t, 1, plan.Budget(b.snapshot(), brokers))
	b.behind[1001] = true
	require.Equal(t, 0, plan.Budget(b.snapshot(), brokers), "a partition is at min.insync.replicas")

	one := newFleet(1, 1, 1, 1)
	one.partner[1000] = 1000
	one.behind[1000] = true
	require.Equal(t, 1, plan.Budget(one.snapshot(), brokers), "a drain of a single node isn't held up for ever")
}
