package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/test/e2e/load"
)

// subject is a running cluster of controllers and one broker whose active controller is made to leave.
type subject interface {
	name() string
	controllers() []string // addresses, by id from 0
	broker() string
	leave(id int) error // SIGTERM, and wait for the end
	kill(id int) error  // kill -9, and wait for the end
	start(id int) error
	logs() string // the last lines of every node's
}

const (
	gapTopic = "bench"
	patience = 2 * time.Minute
	// toStart is for the first topic: six JVMs that start together on two busy cores took longer than patience.
	toStart = 6 * time.Minute
	// settled is how many writes must be answered before and after a leader leaves.
	settledBefore, settledAfter = 100, 200
)

// ways in which the writers reach the active controller.
var ways = []string{"broker", "direct"}

// gaps makes the active controller leave a number of times while two writers of 1 kHz alter one topic's configuration, one through the broker and
// one at the controllers, and returns the longest time between two answers around each, by way. Of a round that takes longer than slow the
// nodes' logs are printed, and what the writers met.
func gaps(s subject, times int, leave func(id int) error, slow time.Duration) (map[string][]time.Duration, error) {
	observer, err := kgo.NewClient(kgo.SeedBrokers(s.broker()))
	if err != nil {
		return nil, err
	}
	defer observer.Close()
	ctx, cancel := context.WithTimeout(context.Background(), toStart)
	defer cancel()
	if err := load.EnsureTopic(ctx, gapTopic, 1, 1, kgo.SeedBrokers(s.broker())); err != nil {
		return nil, err
	}
	out := map[string][]time.Duration{}
	for i := range times {
		leader, err := settledLeader(observer, len(s.controllers()))
		if err != nil {
			return nil, fmt.Errorf("%s, before round %d: %w", s.name(), i, err)
		}
		gap, met, err := oneGap(s, leader, leave)
		if err != nil {
			return nil, fmt.Errorf("%s, round %d: %w", s.name(), i, err)
		}
		for _, w := range ways {
			out[w] = append(out[w], gap[w])
		}
		if slow > 0 && max(gap["broker"], gap["direct"]) > slow {
			fmt.Printf("#   %s, round %d, node %d left: via broker %s, direct %s\n%s\n", s.name(), i, leader, micros(gap["broker"]), micros(gap["direct"]), s.logs())
			for _, w := range ways {
				fmt.Printf("--- writer via %s\n%s", w, met[w])
			}
		}
		if err := s.start(leader); err != nil {
			return nil, err
		}
	}
	for _, w := range ways {
		p := slices.Clone(out[w])
		fmt.Printf("#   %s via=%s n=%d p50=%.1fms p90=%.1fms p99=%.1fms max=%.1fms\n", s.name(), w, len(p),
			millis(percentile(p, 50)), millis(percentile(p, 90)), millis(percentile(p, 99)), millis(p[len(p)-1]))
	}
	return out, nil
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1e3 }

// settledLeader waits until all voters follow one leader closely, and returns it.
func settledLeader(cl *kgo.Client, voters int) (leader int, err error) {
	var last error
	err = waitFor("all voters at the log's end", patience, func() bool {
		leader, last = describedLeader(cl, voters)
		return last == nil
	})
	return leader, errors.Join(err, last)
}

func describedLeader(cl *kgo.Client, voters int) (int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	req := kmsg.NewPtrDescribeQuorumRequest()
	t := kmsg.NewDescribeQuorumRequestTopic()
	t.Topic, t.Partitions = "__cluster_metadata", []kmsg.DescribeQuorumRequestTopicPartition{{}}
	req.Topics = append(req.Topics, t)
	answer, err := cl.SeedBrokers()[0].Request(ctx, req)
	if err != nil {
		return 0, err
	}
	resp := answer.(*kmsg.DescribeQuorumResponse)
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return 0, err
	}
	p := resp.Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
		return 0, err
	}
	if len(p.CurrentVoters) != voters {
		return 0, fmt.Errorf("%d voters", len(p.CurrentVoters))
	}
	for _, v := range p.CurrentVoters {
		if v.ReplicaID != p.LeaderID && (v.LogEndOffset < p.HighWatermark-5 || time.Now().UnixMilli()-v.LastFetchTimestamp > 1500) {
			return 0, fmt.Errorf("voter %d at %d of %d", v.ReplicaID, v.LogEndOffset, p.HighWatermark)
		}
	}
	return int(p.LeaderID), nil
}

// oneGap lets both writers write, takes the leader away, and stops them some answers later.
func oneGap(s subject, leader int, leave func(id int) error) (gap map[string]time.Duration, met map[string]*attempts, err error) {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	ledgers := map[string]*load.Ledger{}
	met = map[string]*attempts{}
	var wg sync.WaitGroup
	failed := make(chan error, len(ways))
	for _, way := range ways {
		l := &load.Ledger{}
		tries := &attempts{}
		ledgers[way], met[way] = l, tries
		to := []string{s.broker()}
		if way == "direct" {
			to = s.controllers()
		}
		wg.Go(func() {
			if err := alter(ctx, l, tries, to); err != nil {
				failed <- err
			}
		})
	}
	defer wg.Wait()
	defer stop()
	answered := func(n int64) error {
		want := map[string]int64{}
		for w, l := range ledgers {
			want[w] = l.Total() + n
		}
		return waitFor("answers to writers", patience, func() bool {
			for w, l := range ledgers {
				if l.Total() < want[w] {
					return len(failed) > 0
				}
			}
			return true
		})
	}
	if err := answered(settledBefore); err != nil {
		return nil, nil, err
	}
	if err := leave(leader); err != nil {
		return nil, nil, err
	}
	if err := answered(settledAfter); err != nil {
		return nil, nil, err
	}
	stop()
	wg.Wait()
	gap = map[string]time.Duration{}
	for w, l := range ledgers {
		gap[w] = l.LongestGap()
	}
	select {
	case err := <-failed:
		return nil, nil, err
	default:
		return gap, met, nil
	}
}

// alter writes a topic's configuration at 1 kHz, one request at a time, until ctx ends, and books each that was answered without error. After
// anything else it turns to the next address a millisecond later.
func alter(ctx context.Context, l *load.Ledger, met *attempts, addrs []string) error {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addrs...), kgo.DialTimeout(time.Second), kgo.RequestTimeoutOverhead(5*time.Second))
	if err != nil {
		return err
	}
	defer cl.Close()
	brokers := cl.SeedBrokers()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	at, started := 0, false
	for i := int64(0); ; i++ {
		select {
		case <-ctx.Done():
			l.Stop(time.Now())
			return nil
		case <-tick.C:
		}
		began := time.Now()
		err := alterOnce(ctx, brokers[at], i)
		met.add(began, addrs[at], err)
		if err == nil {
			if !started { // finding the active controller for the first time is no gap
				l.Start(time.Now())
				started = true
			}
			l.Acked("writer", i, time.Now())
		} else {
			at = (at + 1) % len(brokers)
		}
	}
}

func alterOnce(ctx context.Context, b *kgo.Broker, i int64) error {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, gapTopic
	c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	c.Name, c.Op, c.Value = "retention.ms", kmsg.IncrementalAlterConfigOp(kadm.SetConfig), kmsg.StringPtr(fmt.Sprint(600_000_000+i%100_000))
	r.Configs = append(r.Configs, c)
	req.Resources = append(req.Resources, r)
	answer, err := b.Request(ctx, req)
	if err != nil {
		return err
	}
	resp := answer.(*kmsg.IncrementalAlterConfigsResponse)
	if len(resp.Resources) != 1 {
		return fmt.Errorf("%d resources in the answer", len(resp.Resources))
	}
	return kerr.ErrorForCode(resp.Resources[0].ErrorCode)
}

// handoff: graceful leaves of the active controller.
func handoff(h *host, o options, voters int) error {
	leave := func(s subject) func(int) error { return s.leave }
	ours, peer, err := bothGaps(h, o, voters, o.size(100, 5), o.size(20, 2), leave)
	if err != nil {
		return err
	}
	for _, w := range ways {
		line(fmt.Sprintf("handoff_p99_%d", voters), millis(percentile(ours[w], 99)), millis(percentile(peer[w], 99)), false,
			goal{"<=50ms,ratio>=10", func(a, b float64) bool { return a <= 50 && (b == 0 || 10*a <= b) }},
			"unit=ms", "via="+w, fmt.Sprintf("n=%d/%d", len(ours[w]), len(peer[w])), fmt.Sprintf("p50=%.1f/%.1f", millis(percentile(ours[w], 50)), millis(percentile(peer[w], 50))),
			fmt.Sprintf("max=%.1f/%.1f", millis(percentile(ours[w], 100)), millis(percentile(peer[w], 100))))
	}
	return nil
}

// crash: kill -9 of the active controller, default timeouts.
func crash(h *host, o options) error {
	kill := func(s subject) func(int) error { return s.kill }
	ours, peer, err := bothGaps(h, o, 3, o.size(30, 3), o.size(10, 1), kill)
	if err != nil {
		return err
	}
	for _, w := range ways {
		p50, p99, kafkas := millis(percentile(ours[w], 50)), millis(percentile(ours[w], 99)), millis(percentile(peer[w], 50))
		n := fmt.Sprintf("n=%d/%d", len(ours[w]), len(peer[w]))
		line("crash_p50_3", p50, kafkas, false, goal{"ratio>=3", func(a, b float64) bool { return b > 0 && 3*a <= b }}, "unit=ms", "via="+w, n)
		line("crash_p99_3", p99, kafkas, false, goal{"<=peer_p50", func(a, b float64) bool { return b > 0 && a <= b }}, "unit=ms", "via="+w, n, "peer=p50")
	}
	return nil
}

// bothGaps measures this project's nodes and then, where there are jars, Apache Kafka's.
func bothGaps(h *host, o options, voters, times, peerTimes int, leave func(subject) func(int) error) (ours, peer map[string][]time.Duration, err error) {
	s, err := startKraftd(h, o, voters)
	if err != nil {
		return nil, nil, err
	}
	if ours, err = gaps(s, times, leave(s), o.slow); err != nil {
		return nil, nil, err
	}
	h.cleanup() // the two must not share the cores
	if o.kafka == "" {
		fmt.Println("#   no Apache Kafka to compare with: see -kafka")
		return ours, nil, nil
	}
	k, err := startKafka(h, o, voters)
	if err != nil {
		return nil, nil, err
	}
	peer, err = gaps(k, peerTimes, leave(k), 0)
	return ours, peer, err
}
