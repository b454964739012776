package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/test/cluster"
)

// restart: kill -9 of a follower while the others serve. The log holds a million records and a snapshot of about the first half; time runs
// from exec until the leader has answered a fetch of it. Until it is ready, which takes its controller to have replayed the log, is told beside it.
func restart(h *host, o options) error {
	records, times := o.size(1_000_000, 20_000), o.size(10, 2)
	s, err := startFilled(h, o, records)
	if err != nil {
		return err
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(s.broker()))
	if err != nil {
		return err
	}
	defer cl.Close()
	var took, ready []time.Duration
	for i := range times {
		leader, err := settledLeader(cl, len(s.controllers()))
		if err != nil {
			return err
		}
		follower := s.c.Controllers[(leader+1+i%2)%len(s.controllers())]
		follower.Kill()
		began := time.Now()
		follower.Start()
		if err := waitFast(follower, hasFetched); err != nil {
			return err
		}
		took = append(took, time.Since(began))
		if err := waitFast(follower, func(err error) bool { return err == nil }); err != nil {
			return err
		}
		ready = append(ready, time.Since(began))
	}
	snapshot := snapshotsOf(s.c.Controllers[0])
	line("restart_1M", millis(percentile(took, 99)), 0, false, goal{"<=1000ms", func(a, _ float64) bool { return a <= 1000 && snapshot != "none" }},
		"unit=ms", fmt.Sprintf("records=%d", records), "snapshots="+snapshot, fmt.Sprintf("n=%d", times), fmt.Sprintf("p50=%.0f", millis(percentile(took, 50))),
		fmt.Sprintf("ready_p50=%.0f", millis(percentile(ready, 50))))
	return nil
}

// hasFetched: a controller that has fetched from the leader is ready, or says how far it has replayed.
func hasFetched(notReady error) bool {
	return notReady == nil || strings.Contains(notReady.Error(), "has replayed the metadata log up to")
}

func waitFast(n *cluster.Node, enough func(notReady error) bool) error {
	deadline := time.Now().Add(patience)
	for !enough(n.Ready()) {
		if time.Now().After(deadline) {
			return fmt.Errorf("node %d isn't ready\n%s", n.ID, n.Log())
		}
		time.Sleep(time.Millisecond)
	}
	return nil
}

func snapshotsOf(n *cluster.Node) string {
	found, err := filepath.Glob(filepath.Join(n.Dir, "data", "__cluster_metadata-0", "*.checkpoint"))
	if err != nil {
		return "none"
	}
	var ends []string
	for _, f := range found {
		if end := strings.TrimLeft(strings.Split(filepath.Base(f), "-")[0], "0"); end != "" {
			ends = append(ends, end)
		}
	}
	if len(ends) == 0 {
		return "none"
	}
	return strings.Join(ends, ",")
}

// quotaBytes is about what one quota record of startFilled takes in the log.
const quotaBytes = 62

// perRequest is how many quotas one request alters.
const perRequest = 500

// startFilled starts three controllers and a broker and writes client quotas of as many users, so that the state grows with the log. The
// bound on bytes between snapshots makes one at about half of them.
func startFilled(h *host, o options, records int) (*kraftd, error) {
	s, err := startKraftdWith(h, o, 3, map[string]string{
		"metadata.log.max.record.bytes.between.snapshots": fmt.Sprint(records / 2 * quotaBytes),
		"metadata.log.max.snapshot.interval.ms":           "0",
	})
	if err != nil {
		return nil, err
	}
	clients, err := kgo.NewClient(kgo.SeedBrokers(s.controllers()...))
	if err != nil {
		return nil, err
	}
	defer clients.Close()
	began := time.Now()
	for from := 0; from < records; from += perRequest {
		if err := alterQuotas(clients, from); err != nil {
			return nil, fmt.Errorf("records from %d on: %w", from, err)
		}
	}
	fmt.Printf("#   wrote %d records in %s\n", records, time.Since(began).Round(time.Second))
	return s, nil
}

func alterQuotas(cl *kgo.Client, from int) error {
	req := kmsg.NewPtrAlterClientQuotasRequest()
	for i := range perRequest {
		e := kmsg.NewAlterClientQuotasRequestEntry()
		e.Entity = append(e.Entity, kmsg.AlterClientQuotasRequestEntryEntity{Type: "user", Name: kmsg.StringPtr(fmt.Sprintf("user-%07d", from+i))})
		e.Ops = append(e.Ops, kmsg.AlterClientQuotasRequestEntryOp{Key: "producer_byte_rate", Value: float64(1<<20 + i)})
		req.Entries = append(req.Entries, e)
	}
	var last error
	return errors.Join(waitFor("an active controller", patience, func() bool {
		for _, b := range cl.SeedBrokers() {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			answer, err := b.Request(ctx, req)
			cancel()
			if last = err; err != nil {
				continue
			}
			entries := answer.(*kmsg.AlterClientQuotasResponse).Entries
			if len(entries) != perRequest {
				last = fmt.Errorf("%d entries in the answer", len(entries))
				continue
			}
			if last = kerr.ErrorForCode(entries[0].ErrorCode); last == nil {
				return true
			}
		}
		return false
	}), last)
}
