package node_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/test/cluster"
	"github.com/kraft-dev/kraft-operator/test/e2e/load"
)

// patience bounds each wait of this suite. It is long, since everything shares two cores; no test depends on it.
const patience = 90 * time.Second

// bounded gives a context for one test's requests.
func bounded(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits for a condition where there is no cluster.Cluster.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	require.Eventually(t, cond, patience, 20*time.Millisecond, what)
}

// admin is an admin client of c.
func admin(c *cluster.Cluster, opts ...kgo.Opt) *kadm.Client {
	return kadm.NewClient(c.Client(opts...))
}

// createTopic creates a topic and fails the test if it can't.
func createTopic(t *testing.T, adm *kadm.Client, topic string, partitions int32, rf int16, configs ...string) {
	t.Helper()
	settings := map[string]*string{}
	for i := 0; i < len(configs); i += 2 {
		settings[configs[i]] = &configs[i+1]
	}
	r, err := adm.CreateTopic(bounded(t, patience), partitions, rf, settings, topic)
	require.NoError(t, errors.Join(err, r.Err), r.ErrMessage)
}

// topicOf asks one broker for a topic, and no cache.
func topicOf(t *testing.T, n *cluster.Node, topic string) (found kmsg.MetadataResponseTopic, err error) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(n.Addr()))
	require.NoError(t, err)
	defer cl.Close()
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = append(req.Topics, kmsg.MetadataRequestTopic{Topic: &topic})
	resp, err := cl.SeedBrokers()[0].RetriableRequest(bounded(t, 10*time.Second), req)
	if err != nil {
		return found, err
	}
	found = resp.(*kmsg.MetadataResponse).Topics[0]
	return found, kerr.ErrorForCode(found.ErrorCode)
}

// create creates a topic and waits until every running broker says that all replicas are in sync.
func create(t *testing.T, c *cluster.Cluster, topic string, partitions int32, rf int16, configs ...string) {
	t.Helper()
	createTopic(t, admin(c), topic, partitions, rf, configs...)
	waitISR(t, c, topic)
}

// producing is an idempotent acks=all producer with a default client that runs until it is stopped.
type producing struct {
	t      *testing.T
	c      *cluster.Cluster
	topic  string
	ledger load.Ledger
	stop   context.CancelFunc
	done   chan error
}

// produce starts a producer of rate records a second.
func produce(t *testing.T, c *cluster.Cluster, topic string, rate int64) *producing {
	ctx, cancel := context.WithCancel(t.Context())
	p := &producing{t: t, c: c, topic: topic, stop: cancel, done: make(chan error, 1)}
	go func() {
		p.done <- load.Produce(ctx, &p.ledger, "go", topic, 0, -1, rate, 100, kgo.SeedBrokers(c.Bootstrap()...))
	}()
	t.Cleanup(cancel)
	return p
}

// advance waits until n more records were acknowledged.
func (p *producing) advance(n int64) {
	p.t.Helper()
	want := p.ledger.Total() + n
	p.c.Eventually(fmt.Sprintf("%d more records acknowledged (%d stand)", n, p.ledger.Total()), patience, func() bool { return p.ledger.Total() >= want })
}

// audit stops the producer and checks that what was acknowledged stands in the topic once.
func (p *producing) audit() load.Audit {
	p.t.Helper()
	p.stop()
	require.NoError(p.t, <-p.done)
	failed, first := p.ledger.Failures()
	require.Zero(p.t, failed, "failed produce: %v", first)
	seen, done := p.ledger.Audit()
	require.NoError(p.t, load.ReadBack(bounded(p.t, patience), p.topic, seen, kgo.SeedBrokers(p.c.Bootstrap()...)))
	a := done()
	require.True(p.t, a.Clean(), "%s\n%s", a, p.c.Logs())
	require.Zero(p.t, a.Unknown, "records that nobody produced")
	return a
}

// waitISR waits until every running broker says that every partition of the topic has a leader and all of its replicas in sync.
func waitISR(t *testing.T, c *cluster.Cluster, topic string) {
	t.Helper()
	for _, n := range c.Brokers {
		c.Eventually(fmt.Sprintf("node %d has every replica of %s in sync", n.ID, topic), patience, func() bool {
			if !n.Running() {
				return true
			}
			found, err := topicOf(t, n, topic)
			if err != nil || len(found.Partitions) == 0 {
				return false
			}
			for _, p := range found.Partitions {
				if p.ErrorCode != 0 || p.Leader < 0 || len(p.ISR) < len(p.Replicas) {
					return false
				}
			}
			return true
		})
	}
}

// leads tells whether a controller says that it is the active one.
func leads(n *cluster.Node) bool {
	return n.Running() && strings.Contains(n.Metrics(), "\nkraft_raft_current_state 3\n")
}

// activeController waits until one controller leads.
func activeController(t *testing.T, c *cluster.Cluster) *cluster.Node {
	t.Helper()
	var active *cluster.Node
	c.Eventually("an active controller", patience, func() bool {
		for _, n := range c.Controllers {
			if n.Running() && n.Ready() == nil && leads(n) {
				active = n
				return true
			}
		}
		return false
	})
	return active
}

// bench prints a figure in the form that bench/ collects.
func bench(t *testing.T, name string, value any, unit string) {
	t.Helper()
	t.Logf("BENCH %s %v %s", name, value, unit)
}
