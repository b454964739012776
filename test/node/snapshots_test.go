package node_test

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/config"
	"github.com/kraft-dev/kraft-operator/test/cluster"
	"github.com/kraft-dev/kraft-operator/test/e2e/load"
)

// metric is one gauge of a node.
func metric(t *testing.T, n *cluster.Node, name string) float64 {
	t.Helper()
	m := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindStringSubmatch(n.Metrics())
	require.NotNil(t, m, "no metric %s on node %d", name, n.ID)
	v, err := strconv.ParseFloat(m[1], 64)
	require.NoError(t, err)
	return v
}

const (
	logStart = "kraft_raft_log_start_offset"
	logEnd   = "kraft_raft_log_end_offset"
)

// topics creates topics one after the other, with names of their own.
type topics struct {
	t  *testing.T
	c  *cluster.Cluster
	n  int
	rf int16
}

// until creates topics until a condition holds.
func (s *topics) until(what string, cond func() bool) {
	s.t.Helper()
	adm := admin(s.c)
	s.c.Eventually(what, patience, func() bool {
		createTopic(s.t, adm, fmt.Sprintf("topic-%d", s.n), 3, s.rf)
		s.n++
		return cond()
	})
}

// TestSnapshots: every node makes snapshots by itself and lets its log begin at one. Who comes back behind that, or with nothing, fetches a snapshot
// from the leader, and who starts again loads its own.
func TestSnapshots(t *testing.T) {
	t.Parallel()
	for name, spec := range map[string]cluster.Spec{"3+3": {Controllers: 3, Brokers: 3}, "combined": {Controllers: 3}} {
		t.Run(name, func(t *testing.T) {
			spec.Config = map[string]string{config.MetadataSnapshotBytes: "3000", config.MetadataMaxRetentionBytes: "1"}
			c := cluster.Start(t, spec)
			defer func() {
				if t.Failed() {
					t.Log(c.Logs())
				}
			}()
			made := &topics{t: t, c: c, rf: 3}
			made.until("every log begins at a snapshot", func() bool {
				for _, n := range c.Nodes() {
					if metric(t, n, logStart) == 0 {
						return false
					}
				}
				return true
			})

			active := activeController(t, c)
			away := c.Controllers[0]
			if away == active {
				away = c.Controllers[1]
			}
			behind := []*cluster.Node{away}
			require.NoError(t, away.Stop())
			end := metric(t, active, logEnd) // where whoever is away ends, at most
			if spec.Brokers > 0 {            // an observer that has nothing
				fresh := c.Brokers[2]
				behind = append(behind, fresh)
				require.NoError(t, fresh.Stop())
				require.NoError(t, os.RemoveAll(filepath.Join(fresh.Dir, "data", "__cluster_metadata-0")))
			}
			made.rf = 2
			made.until("the log begins behind the node that is away", func() bool { return metric(t, active, logStart) > end })
			for _, n := range behind {
				n.Start()
				n.WaitReady()
				require.Contains(t, n.Log(), "Installing a snapshot", "node %d", n.ID)
				require.Greater(t, metric(t, n, logStart), end)
			}
			requireTopics(t, c, made.n)

			for _, n := range slices.Backward(c.Nodes()) { // brokers before controllers
				require.NoError(t, n.Stop(), n.Log())
			}
			for _, n := range c.Nodes() {
				n.Start()
			}
			c.WaitReady()
			requireTopics(t, c, made.n)
			var l load.Ledger
			seeds := kgo.SeedBrokers(c.Bootstrap()...)
			require.NoError(t, load.Produce(bounded(t, patience), &l, "go", "topic-0", 0, 1000, 0, 100, seeds))
			seen, done := l.Audit()
			require.NoError(t, load.ReadBack(bounded(t, patience), "topic-0", seen, seeds))
			require.Equal(t, load.Audit{Acked: 1000}, done())
		})
	}
}

// requireTopics asks every broker for all topics.
func requireTopics(t *testing.T, c *cluster.Cluster, n int) {
	t.Helper()
	for _, b := range c.Brokers {
		cl, err := kgo.NewClient(kgo.SeedBrokers(b.Addr()))
		require.NoError(t, err)
		defer cl.Close()
		c.Eventually(fmt.Sprintf("node %d knows %d topics", b.ID, n), patience, func() bool {
			resp, err := cl.SeedBrokers()[0].RetriableRequest(bounded(t, 10*time.Second), kmsg.NewPtrMetadataRequest())
			if err != nil {
				return false
			}
			known := 0
			for _, topic := range resp.(*kmsg.MetadataResponse).Topics {
				if strings.HasPrefix(*topic.Topic, "topic-") && len(topic.Partitions) == 3 {
					known++
				}
			}
			return known == n
		})
	}
}
