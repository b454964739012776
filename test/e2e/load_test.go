//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kraft-dev/kraft-operator/test/e2e/load"
)

// background is what runs while something is done to the cluster: producers that book every record, writers of metadata and
// a consumer. Of producers and writers there are two each. One has a default client, which waits a quarter of a second and
// more before it asks another broker, and up to 10 s for a connection: it writes little, twenty times a second, for its gaps alone. The other asks
// the next one at once, and stays with one that answers, so that its gaps are the cluster's and not the client's.
type background struct {
	t        testing.TB
	topic    string
	opts     []kgo.Opt
	began    time.Time
	took     time.Duration       // from began until what was done had its effect
	records  load.Ledger         // of the quick producer
	metadata load.MetadataWriter // of the quick client
	patient  struct {            // of default clients
		records  load.Ledger
		metadata load.MetadataWriter
	}
	consumed load.Ledger
	machine  load.Machine
	stop     context.CancelFunc // of producers and writers
	wg       sync.WaitGroup
	leave    context.CancelFunc // of the consumer, after it has seen everything
	consumer sync.WaitGroup
}

// quick makes a client that doesn't wait before it tries again.
func quick(opts []kgo.Opt) []kgo.Opt {
	return append([]kgo.Opt{
		kgo.DialTimeout(25 * time.Millisecond), kgo.MetadataMinAge(10 * time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 10 * time.Millisecond }),
	}, opts...)
}

// logged has a client write all it does to a file in E2E_CLIENT_LOGS, if that is set: what it waited for in a gap.
func logged(t testing.TB, name string, opts []kgo.Opt) []kgo.Opt {
	dir := os.Getenv("E2E_CLIENT_LOGS")
	if dir == "" {
		return opts
	}
	f, err := os.Create(filepath.Join(dir, name+".log"))
	require.NoError(t, err)
	t.Cleanup(func() { f.Close() })
	stamp := func() string { return time.Now().Format("15:04:05.000 ") }
	return append([]kgo.Opt{kgo.WithLogger(kgo.BasicLogger(f, kgo.LogLevelDebug, stamp))}, opts...)
}

// startLoad creates topic and begins: 1,000 writes of metadata a second, and 500 records. Every part of the test has a topic of its
// own, so that books are closed one by one.
func startLoad(t testing.TB, topic string) *background {
	t.Helper()
	b := &background{t: t, topic: topic, opts: []kgo.Opt{kgo.SeedBrokers(external(t)...)}}
	b.metadata = load.MetadataWriter{Topic: topic, Keys: []string{"retention.ms", "retention.bytes", "delete.retention.ms", "flush.ms"}, Every: time.Millisecond, Connected: true}
	b.patient.metadata = load.MetadataWriter{Topic: topic, Keys: []string{"max.compaction.lag.ms"}, Every: 50 * time.Millisecond}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	require.NoError(t, load.EnsureTopic(ctx, topic, 6, 3, b.opts...))
	running, stop := context.WithCancel(context.Background())
	reading, leave := context.WithCancel(context.Background())
	b.stop, b.leave = stop, leave
	t.Cleanup(func() { // where a part fails before its books are closed
		stop()
		leave()
		b.wg.Wait()
		b.consumer.Wait()
	})
	produce := func(l *load.Ledger, producer string, rate int64, opts []kgo.Opt) {
		b.wg.Go(func() {
			if err := load.Produce(running, l, producer, topic, 0, -1, rate, 100, opts...); err != nil {
				t.Errorf("producer %s: %v", producer, err)
			}
		})
	}
	produce(&b.records, topic, 500, logged(t, topic+"-produce", quick(b.opts)))
	produce(&b.patient.records, topic+"-patient", 20, logged(t, topic+"-patient-produce", b.opts))
	write := func(w *load.MetadataWriter, opts []kgo.Opt) {
		b.wg.Go(func() {
			if err := w.Run(running, opts...); err != nil {
				t.Errorf("metadata writer: %v", err)
			}
		})
	}
	write(&b.metadata, logged(t, topic+"-metadata", quick(b.opts)))
	write(&b.patient.metadata, logged(t, topic+"-patient-metadata", b.opts))
	b.wg.Go(func() {
		if err := b.machine.Watch(running, filepath.Dir(env(t, "KUBECONFIG"))); err != nil { // where the nodes' disks are
			t.Error(err)
		}
	})
	b.consumer.Go(func() {
		if err := load.Consume(reading, &b.consumed, topic, topic, b.opts...); err != nil {
			t.Errorf("consumer: %v", err)
		}
	})
	b.until("the first acknowledgements", func() bool {
		return min(b.records.Total(), b.patient.records.Total(), b.metadata.Total(), b.patient.metadata.Total(), b.consumed.Total()) > 0
	})
	b.began = time.Now()
	return b
}

func (b *background) until(what string, cond func() bool) {
	b.t.Helper()
	eventually(b.t, what, time.Minute, cond)
}

// flow waits until more is acknowledged and consumed than now: every path works.
func (b *background) flow() {
	b.t.Helper()
	records, metadata, consumed := b.records.Total(), b.metadata.Total(), b.consumed.Total()
	b.until("records and metadata go on", func() bool {
		return b.records.Total() > records && b.metadata.Total() > metadata && b.consumed.Total() > consumed
	})
}

// tail goes on for a while, so that what comes late is seen: a client that dials a dead address notices after 10 s, but
// the gap is counted as it grows.
func (b *background) tail() {
	b.t.Helper()
	b.took = time.Since(b.began)
	end := time.Now().Add(5 * time.Second)
	b.until("5 s more of load", func() bool { return time.Now().After(end) })
	b.flow()
}

// gaps are the longest times without an acknowledgement, and without a record for the consumer.
type gaps struct{ metadata, produce, patientMetadata, patientProduce, consume time.Duration }

// hung is longer than any wait of a client that works, also on a slow machine, and shorter than a session's or a request's limit.
const hung = 8 * time.Second

// bench prints the gaps against the bar of 500 ms, and fails where a client hung: one that waits for a limit of its own does so
// for many seconds. The bar is a benchmark; this is the difference between slow and broken.
func (g gaps) bench(t testing.TB, name string) {
	t.Helper()
	bench(t, name+"_metadata_gap_ms", float64(g.metadata.Milliseconds()), 500, "")
	bench(t, name+"_produce_gap_ms", float64(g.produce.Milliseconds()), 500, "")
	bench(t, name+"_metadata_gap_default_client_ms", float64(g.patientMetadata.Milliseconds()), 500, "")
	bench(t, name+"_produce_gap_default_client_ms", float64(g.patientProduce.Milliseconds()), 500, "")
	require.Less(t, max(g.metadata, g.patientMetadata, g.produce, g.patientProduce), hung, "a client without an answer for so long hung somewhere")
}

// finish stops the load, reads everything back and checks the books.
func (b *background) finish(what string) gaps {
	b.t.Helper()
	if b.took == 0 {
		b.took = time.Since(b.began)
	}
	b.stop()
	b.wg.Wait()
	b.until("the consumer has seen every acknowledged record", func() bool {
		return b.records.Missing(&b.consumed)+b.patient.records.Missing(&b.consumed) == 0
	})
	b.leave()
	b.consumer.Wait()
	for _, l := range []*load.Ledger{&b.records, &b.patient.records} {
		_, err := l.Failures()
		require.NoError(b.t, err, "%s: produce failed", what)
	}
	g := gaps{
		metadata: b.metadata.LongestGap(), produce: b.records.LongestGap(),
		patientMetadata: b.patient.metadata.LongestGap(), patientProduce: b.patient.records.LongestGap(), consume: b.consumed.LongestGap(),
	}
	b.t.Logf("%s: gaps: metadata %s, produce %s; with default clients %s, %s; consumer %s", what, g.metadata, g.produce, g.patientMetadata, g.patientProduce, g.consume)
	for _, l := range []struct {
		of string
		*load.Ledger
	}{
		{"metadata", &b.metadata.Ledger}, {"produce", &b.records},
		{"metadata with a default client", &b.patient.metadata.Ledger}, {"produce with a default client", &b.patient.records},
	} {
		for _, gap := range l.LongGaps() {
			disk, processor := b.machine.During(gap)
			b.t.Logf("gap in %s from %s: %s; meanwhile an fsync of this machine took %s, and a processor came %s late", l.of, gap.From.Format("15:04:05.000"),
				gap.Took.Round(time.Millisecond), disk.Round(time.Millisecond), processor.Round(time.Millisecond))
		}
	}
	b.close(row{what: what, took: b.took, gaps: g})
	return g
}

// readAgain reads back once more what was acknowledged before, from addresses that may be others.
func (b *background) readAgain(what string, took time.Duration) {
	b.t.Helper()
	b.opts = []kgo.Opt{kgo.SeedBrokers(external(b.t)...)}
	b.close(row{what: what, took: took})
}

// close reads everything back and compares it with the books.
func (b *background) close(r row) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	seen, done := b.records.Audit()
	seenToo, doneToo := b.patient.records.Audit()
	require.NoError(b.t, load.ReadBack(ctx, b.topic, func(value []byte) { seen(value); seenToo(value) }, b.opts...))
	r.audit = done()
	patient := doneToo() // every duplicate is seen by both
	r.audit.Acked += patient.Acked
	r.audit.Lost += patient.Lost
	for _, w := range []*load.MetadataWriter{&b.metadata, &b.patient.metadata} {
		lost, err := w.Lost(ctx, b.opts...)
		require.NoError(b.t, err)
		r.audit.Lost += lost
		r.writes += w.Total()
	}
	report = append(report, r)
	b.t.Logf("%s: %s, metadata writes %d", r.what, r.audit, r.writes)
	require.True(b.t, r.audit.Clean(), "%s: %s", r.what, r.audit)
}

// row is a part of the story in the closing table.
type row struct {
	what   string
	took   time.Duration
	gaps   gaps
	audit  load.Audit
	writes int64 // of metadata, acknowledged
}

var report []row

// printReport prints what was done, and what clients saw of it.
func printReport() {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "seconds\tmetadata gap ms\tproduce gap ms\tconsume gap ms\trecords\tmetadata writes\tlost\tduplicated\t  what\n")
	var all load.Audit
	for _, r := range report {
		fmt.Fprintf(w, "%.1f\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t  %s\n", r.took.Seconds(), r.gaps.metadata.Milliseconds(), r.gaps.produce.Milliseconds(), r.gaps.consume.Milliseconds(),
			r.audit.Acked, r.writes, r.audit.Lost, r.audit.Duplicated, r.what)
		all.Acked, all.Lost, all.Duplicated = all.Acked+r.audit.Acked, all.Lost+r.audit.Lost, all.Duplicated+r.audit.Duplicated
	}
	w.Flush()
	fmt.Printf("\n%s%d parts: %s\n", b.String(), len(report), all)
}
