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
	"github.com/twmb/franz-go/pkg/kgo"

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

// admin is an admin client of c.
func admin(c *cluster.Cluster, opts ...kgo.Opt) *kadm.Client { return kadm.NewClient(c.Client(opts...)) }

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

// waitISR waits until every partition of the topic has all of its replicas in sync.
func waitISR(t *testing.T, c *cluster.Cluster, adm *kadm.Client, topic string) {
	t.Helper()
	var last string
	c.Eventually("every replica of "+topic+" in sync: "+last, patience, func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		topics, err := adm.ListTopics(ctx, topic)
		if err != nil || topics[topic].Err != nil || len(topics[topic].Partitions) == 0 {
			return false
		}
		for _, p := range topics[topic].Partitions {
			if p.Err != nil || p.Leader < 0 || len(p.ISR) < len(p.Replicas) {
				last = fmt.Sprintf("%+v", p)
				return false
			}
		}
		return true
	})
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
