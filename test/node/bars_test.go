package node_test

import (
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kraft-dev/kraft-operator/test/cluster"
	"github.com/kraft-dev/kraft-operator/test/e2e/load"
)

// Bars of memory, in KiB.
const (
	freshRSS     = 25 << 10
	afterLoadRSS = 32 << 10
)

// rss is what a process holds, in KiB, by /proc/PID/status.
type rss struct{ anon, file, shmem int }

func (r rss) total() int { return r.anon + r.file + r.shmem }

func (r rss) String() string {
	return fmt.Sprintf("%.1f MiB (anonymous %.1f, file %.1f)", float64(r.total())/1024, float64(r.anon)/1024, float64(r.file)/1024)
}

func rssOf(t *testing.T, pid int) (r rss) {
	t.Helper()
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	for line := range strings.Lines(string(data)) {
		key, value, _ := strings.Cut(line, ":")
		to := map[string]*int{"RssAnon": &r.anon, "RssFile": &r.file, "RssShmem": &r.shmem}[key]
		if to == nil {
			continue
		}
		*to, err = strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(value), " kB"))
		require.NoError(t, err, line)
	}
	return r
}

func role(n *cluster.Node) string {
	switch {
	case n.Controller && n.Broker:
		return "combined"
	case n.Controller:
		return "controller"
	}
	return "broker"
}

// TestIdleMemory holds every node to 25 MiB when it is fresh, and to 32 MiB within a minute after 100,000 records.
func TestIdleMemory(t *testing.T) {
	t.Parallel()
	for name, spec := range layouts {
		spec.Processes = true
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := cluster.Start(t, spec)
			held := func(when string, atMost int) {
				for _, n := range c.Nodes() {
					var r rss
					c.Eventually(fmt.Sprintf("node %d (%s) within %d KiB %s", n.ID, role(n), atMost, when), time.Minute, func() bool {
						r = rssOf(t, n.PID())
						return r.total() <= atMost
					})
					bench(t, fmt.Sprintf("rss/%s/%s_%d/%s", name, role(n), n.ID, when), r, "")
				}
			}
			held("fresh", freshRSS)
			ctx := bounded(t, 3*time.Minute)
			seeds := kgo.SeedBrokers(c.Bootstrap()...)
			require.NoError(t, load.EnsureTopic(ctx, "t", 6, replication(spec), seeds))
			var l load.Ledger
			require.NoError(t, load.Produce(ctx, &l, "go", "t", 0, 100_000, 0, 100, seeds))
			failed, err := l.Failures()
			require.Zero(t, failed, "%v", err)
			seen, done := l.Audit()
			require.NoError(t, load.ReadBack(ctx, "t", seen, seeds))
			require.Equal(t, load.Audit{Acked: 100_000}, done())
			for _, n := range c.Nodes() {
				t.Logf("node %d right after the load: %s", n.ID, rssOf(t, n.PID()))
			}
			held("after_load", afterLoadRSS)
		})
	}
}

// listens waits until something accepts at addr. A client that was refused would wait for its own back-off.
func listens(t *testing.T, addr string) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); <-tick.C {
		if nc, err := net.Dial("tcp", addr); err == nil {
			nc.Close()
			return
		}
	}
	t.Fatalf("nothing listens at %s", addr)
}

// TestServesSoonAfterExec restarts a lone combined node, by SIGTERM and by kill -9, and takes the time from exec to the first
// record that a client gets acknowledged. The bar is 500 ms; the fastest is held to it, since other tests share the machine, and
// there are more tries until one meets it.
func TestServesSoonAfterExec(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Spec{Controllers: 1, Processes: true})
	create(t, c, "t", 6, 1)
	n := c.Brokers[0]
	const bar = 500 * time.Millisecond
	var took []time.Duration
	for i := 0; i < 6 || i < 40 && slices.Min(took) >= bar; i++ {
		send(t, c.Client(), "t", 0, 100)
		how := "sigterm"
		if i%2 == 0 {
			how = "kill"
			n.Kill()
		} else {
			require.NoError(t, n.Stop())
		}
		began := time.Now()
		n.Start()
		listens(t, n.Addr())
		require.NoError(t, c.Client().ProduceSync(bounded(t, patience), &kgo.Record{Topic: "t", Value: []byte("x")}).FirstErr())
		took = append(took, time.Since(began))
		bench(t, "start/"+how+"/exec_to_acknowledged", took[i].Milliseconds(), "ms")
	}
	slices.Sort(took)
	require.Less(t, took[0], bar, "the fastest of %v", took)
}
