//go:build e2e

package e2e_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kraft-dev/kraft-operator/test/e2e/load"
)

// background is what runs while something is done to the cluster: a producer that books every record, and two writers of
// metadata. One has a default client, which waits a quarter of a second and more before it asks another broker, and up to
// 10 s for a connection; the other asks the next one at once, so that its gaps are the cluster's and not the client's.
type background struct {
	t        testing.TB
	topic    string
	opts     []kgo.Opt
	records  load.Ledger
	metadata load.Ledger // of the quick client
	patient  load.Ledger // of the default client
	stop     context.CancelFunc
	wg       sync.WaitGroup
}

// startLoad creates topic and begins. Every part of the test has a topic of its own, so that books are closed one by one.
func startLoad(t testing.TB, topic string) *background {
	t.Helper()
	b := &background{t: t, topic: topic, opts: []kgo.Opt{kgo.SeedBrokers(external(t)...)}}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	require.NoError(t, load.EnsureTopic(ctx, topic, 6, 3, b.opts...))
	running, stop := context.WithCancel(context.Background())
	b.stop = stop
	b.wg.Go(func() {
		if err := load.Produce(running, &b.records, topic, topic, 0, -1, 500, 100, b.opts...); err != nil {
			t.Errorf("producer: %v", err)
		}
	})
	quick := append([]kgo.Opt{kgo.DialTimeout(100 * time.Millisecond), kgo.RetryBackoffFn(func(int) time.Duration { return 10 * time.Millisecond })}, b.opts...)
	for ledger, opts := range map[*load.Ledger][]kgo.Opt{&b.metadata: quick, &b.patient: b.opts} {
		b.wg.Go(func() {
			if err := load.Metadata(running, ledger, topic, 10*time.Millisecond, opts...); err != nil {
				t.Errorf("metadata writer: %v", err)
			}
		})
	}
	b.until("the first acknowledgements", func() bool {
		return b.records.Total() > 0 && b.metadata.Total() > 0 && b.patient.Total() > 0
	})
	return b
}

func (b *background) until(what string, cond func() bool) {
	b.t.Helper()
	eventually(b.t, what, time.Minute, cond)
}

// flow waits until more is acknowledged than now: both paths work.
func (b *background) flow() {
	b.t.Helper()
	records, metadata := b.records.Total(), b.metadata.Total()
	b.until("records and metadata go on", func() bool { return b.records.Total() > records && b.metadata.Total() > metadata })
}

// tail goes on for a while, so that what comes late is seen: a client that dials a dead address notices after 10 s, but
// the gap is counted as it grows.
func (b *background) tail() {
	b.t.Helper()
	end := time.Now().Add(5 * time.Second)
	b.until("5 s more of load", func() bool { return time.Now().After(end) })
	b.flow()
}

// gaps are the longest times without an acknowledgement.
type gaps struct{ metadata, patient, produce time.Duration }

// bench prints the gaps against the bar of 500 ms, and fails where a client hung: one that waits for a limit of its own does so
// for many seconds. The bar is a benchmark; this is the difference between slow and broken.
func (g gaps) bench(t testing.TB, name string) {
	t.Helper()
	bench(t, name+"_metadata_gap_ms", float64(g.metadata.Milliseconds()), 500, "")
	bench(t, name+"_metadata_gap_default_client_ms", float64(g.patient.Milliseconds()), 500, "")
	bench(t, name+"_produce_gap_ms", float64(g.produce.Milliseconds()), 500, "")
	require.Less(t, max(g.metadata, g.patient, g.produce), 5*time.Second, "a client without an answer for so long hung somewhere")
}

// finish stops the load, reads everything back and checks the books.
func (b *background) finish(what string) gaps {
	b.t.Helper()
	b.stop()
	b.wg.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	seen, done := b.records.Audit()
	require.NoError(b.t, load.ReadBack(ctx, b.topic, seen, b.opts...))
	audit := done()
	n, err := b.records.Failures()
	g := gaps{metadata: b.metadata.LongestGap(), patient: b.patient.LongestGap(), produce: b.records.LongestGap()}
	b.t.Logf("%s: %s failed=%d gaps: metadata %s, with a default client %s, produce %s", what, audit, n, g.metadata, g.patient, g.produce)
	require.True(b.t, audit.Clean(), "%s: %s", what, audit)
	require.Zero(b.t, n, "%s: produce failed: %v", what, err)
	return g
}
