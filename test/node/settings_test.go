package node_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	clusteradmin "github.com/kraft-dev/kraft-operator/internal/admin"
	"github.com/kraft-dev/kraft-operator/test/cluster"
)

// TestRunningNodesTakeDynamicDefaults by the operator's own client: set at the active controller, in force at the
// brokers without a restart, over what their files say; and reset.
func TestRunningNodesTakeDynamicDefaults(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Spec{Controllers: 1, Brokers: 2, Config: map[string]string{"min.insync.replicas": "1", "message.max.bytes": "900000"}})
	create(t, c, "t", 1, 2)
	leader, client := c.Controllers[0].ControllerAddr(), clusteradmin.Client{}
	minISR := func() int {
		topics, err := client.DescribeTopics(t.Context(), []string{c.Brokers[1].Addr()})
		require.NoError(t, err)
		return topics.Partitions[0].MinISR
	}
	require.Equal(t, 1, minISR())
	require.NoError(t, client.AlterDynamicDefaults(t.Context(), leader, map[string]string{"min.insync.replicas": "2", "log.retention.ms": "60000"}, nil))
	got, err := client.DynamicDefaults(t.Context(), leader)
	require.NoError(t, err)
	require.Equal(t, "2", got["min.insync.replicas"])
	require.Equal(t, "60000", got["log.retention.ms"])
	c.Eventually("the brokers know", patience, func() bool { return minISR() == 2 })
	require.NoError(t, client.AlterDynamicDefaults(t.Context(), leader, nil, []string{"log.retention.ms"}))
	got, err = client.DynamicDefaults(t.Context(), leader)
	require.NoError(t, err)
	require.NotContains(t, got, "log.retention.ms")
	require.ErrorContains(t, client.AlterDynamicDefaults(t.Context(), leader, map[string]string{"num.partitions": "2"}, nil), "Cannot update these configs dynamically")
	require.NoError(t, client.UnregisterBroker(t.Context(), leader, 4711), "one that was never there")
}

// TestBrokersShowThatTheyAreCurrent: the operator asks only those brokers for the topics of which the active controller
// says that they have its log. One that fetches no more isn't one of them for long.
func TestBrokersShowThatTheyAreCurrent(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Spec{Controllers: 1, Brokers: 2})
	current := func(id int32) bool {
		q, err := clusteradmin.Client{}.DescribeQuorum(t.Context(), []string{c.Controllers[0].ControllerAddr()})
		return err == nil && slices.ContainsFunc(q.Observers, func(r clusteradmin.Replica) bool {
			return r.ID == id && r.SinceCaughtUp >= 0 && r.SinceCaughtUp <= 2*time.Second
		})
	}
	gone, stays := c.Brokers[0], c.Brokers[1]
	c.Eventually("both are current", patience, func() bool { return current(gone.ID) && current(stays.ID) })
	gone.Kill()
	c.Eventually("one is no more", patience, func() bool { return !current(gone.ID) })
	require.True(t, current(stays.ID))
}
