package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// configBatch bounds the topics of one DescribeConfigs request.
const configBatch = 500

// DescribeTopics asks the brokers in their order until one answers for every partition and its topic's
// min.insync.replicas. A broker says what it knows, however old that is: the caller picks those that are current.
//
// The next one is asked when one fails, or hasn't answered within nextBroker: one that never answers leaves time for the
// others, and one that has much to tell still has the whole of it.
func (Client) DescribeTopics(ctx context.Context, brokers []string) (*Topics, error) {
	ctx, cancel := context.WithTimeout(ctx, QuestionTimeout)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel() // first: nobody needs the late ones
	type answer struct {
		topics *Topics
		err    error
	}
	answers := make(chan answer, len(brokers)) // so that late ones end
	errs := []error{ErrNobody}
	for asked, got := 0, 0; got < len(brokers); {
		var late <-chan time.Time
		if asked < len(brokers) {
			addr := brokers[asked]
			asked++
			late = time.After(nextBroker)
			wg.Go(func() {
				t, err := topicsOf(ctx, addr)
				if err != nil {
					err = fmt.Errorf("%s: %w", addr, err)
				}
				answers <- answer{t, err}
			})
		}
		select {
		case a := <-answers:
			if a.err == nil {
				return a.topics, nil
			}
			got++
			errs = append(errs, a.err)
		case <-late:
		}
	}
	return nil, fmt.Errorf("describe topics: %w", errors.Join(errs...))
}

func topicsOf(ctx context.Context, addr string) (*Topics, error) {
	cl, err := open(addr)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	broker := cl.SeedBrokers()[0]
	req := kmsg.NewPtrMetadataRequest() // nil topics: all of them
	req.AllowAutoTopicCreation = false
	raw, err := broker.Request(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("asking for Metadata: %w", err)
	}
	meta := raw.(*kmsg.MetadataResponse)
	t := &Topics{}
	for _, b := range meta.Brokers {
		t.Unfenced = append(t.Unfenced, b.NodeID)
	}
	slices.Sort(t.Unfenced)
	var names []string
	for _, mt := range meta.Topics {
		if mt.Topic == nil {
			continue
		}
		if err := kerr.ErrorForCode(mt.ErrorCode); err != nil {
			return nil, fmt.Errorf("topic %s: %w", *mt.Topic, err)
		}
		names = append(names, *mt.Topic)
		for _, p := range mt.Partitions {
			t.Partitions = append(t.Partitions, Partition{Topic: *mt.Topic, Partition: p.Partition, Leader: p.Leader, Replicas: p.Replicas, ISR: p.ISR})
		}
	}
	minISR, err := minISRs(ctx, broker, names)
	if err != nil {
		return nil, err
	}
	for i := range t.Partitions {
		t.Partitions[i].MinISR = minISR[t.Partitions[i].Topic]
	}
	return t, nil
}

func minISRs(ctx context.Context, broker *kgo.Broker, topics []string) (map[string]int, error) {
	out := make(map[string]int, len(topics))
	for batch := range slices.Chunk(topics, configBatch) {
		req := kmsg.NewPtrDescribeConfigsRequest()
		for _, name := range batch {
			r := kmsg.NewDescribeConfigsRequestResource()
			r.ResourceType, r.ResourceName = kmsg.ConfigResourceTypeTopic, name
			r.ConfigNames = []string{"min.insync.replicas"}
			req.Resources = append(req.Resources, r)
		}
		raw, err := broker.Request(ctx, req)
		if err != nil {
			return nil, fmt.Errorf("asking for DescribeConfigs: %w", err)
		}
		for _, r := range raw.(*kmsg.DescribeConfigsResponse).Resources {
			if err := kerr.ErrorForCode(r.ErrorCode); err != nil {
				if errors.Is(err, kerr.UnknownTopicOrPartition) {
					continue // deleted between the two questions
				}
				return nil, fmt.Errorf("min.insync.replicas of %s: %w", r.ResourceName, err)
			}
			for _, c := range r.Configs {
				if c.Name != "min.insync.replicas" || c.Value == nil {
					continue
				}
				n, err := strconv.Atoi(*c.Value)
				if err != nil {
					return nil, fmt.Errorf("min.insync.replicas of %s: %w", r.ResourceName, err)
				}
				out[r.ResourceName] = n
			}
		}
	}
	return out, nil
}
