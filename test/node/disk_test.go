package node_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kraft-dev/kraft-operator/test/cluster"
	"github.com/kraft-dev/kraft-operator/test/e2e/load"
)

// TestReplacedDiskLeads wipes a broker's disk. It comes back under a fresh directory id, and once in sync it leads like any other.
func TestReplacedDiskLeads(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Spec{Controllers: 3, Brokers: 3, Config: map[string]string{"min.insync.replicas": "1"}})
	createTopic(t, admin(c), "t", 2, 3)
	waitPartitions(t, c, "all in sync", "t", func(p kadm.PartitionDetail) bool { return len(p.ISR) == 3 })
	seeds := kgo.SeedBrokers(c.Bootstrap()...)
	var ledger load.Ledger
	require.NoError(t, load.Produce(bounded(t, patience), &ledger, "go", "t", 0, 2000, 0, 100, seeds))

	wiped := c.Brokers[0]
	require.NoError(t, wiped.Stop())
	require.NoError(t, os.RemoveAll(filepath.Join(wiped.Dir, "data")))
	wiped.Start()
	wiped.WaitReady()
	waitPartitions(t, c, "all in sync", "t", func(p kadm.PartitionDetail) bool { return len(p.ISR) == 3 })
	require.NoError(t, load.Produce(bounded(t, patience), &ledger, "go", "t", 2000, 2000, 0, 100, seeds))

	for _, n := range c.Brokers[1:] {
		require.NoError(t, n.Stop())
	}
	waitPartitions(t, c, "the broker with the new disk leads", "t", func(p kadm.PartitionDetail) bool { return p.Leader == wiped.ID })
	failed, first := ledger.Failures()
	require.Zero(t, failed, "%v", first)
	seen, done := ledger.Audit()
	require.NoError(t, load.ReadBack(bounded(t, patience), "t", seen, kgo.SeedBrokers(wiped.Addr())))
	require.Equal(t, load.Audit{Acked: 4000}, done())
}

// waitPartitions waits until a condition holds for each partition of a topic, as running brokers tell.
func waitPartitions(t *testing.T, c *cluster.Cluster, what, topic string, holds func(kadm.PartitionDetail) bool) {
	t.Helper()
	ctx := bounded(t, 2*patience)
	adm := admin(c, kgo.MetadataMinAge(10*time.Millisecond))
	c.Eventually(what, patience, func() bool {
		topics, err := adm.ListTopics(ctx, topic)
		if err != nil || topics[topic].Err != nil || len(topics[topic].Partitions) == 0 {
			return false
		}
		return !slices.ContainsFunc(topics[topic].Partitions.Sorted(), func(p kadm.PartitionDetail) bool { return p.Err != nil || !holds(p) })
	})
}
