package broker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/config"
)

// autoCreator creates topics that clients asked for, and the internal ones, by CreateTopics to the active controller: one request at a time
// for each topic.
type autoCreator struct {
	b *Broker

	mu      sync.Mutex
	running map[string]bool
	waiting map[string]bool // internal topics that wait for as many brokers as their replication factor
}

func newAutoCreator(b *Broker) *autoCreator {
	return &autoCreator{b: b, running: map[string]bool{}, waiting: map[string]bool{}}
}

// createTimeout bounds one CreateTopics.
const createTimeout = 30 * time.Second

// topic begins to create a topic, unless that is already under way, and returns what the client is told meanwhile: to ask again.
func (c *autoCreator) topic(name string) error {
	req, least := c.request(name)
	usable := len(alive(c.b.cfg.Loader.Current(), c.b.cfg.InterBroker))
	if usable < least {
		if !isInternal(name) {
			return kerr.InvalidReplicationFactor
		}
		c.mu.Lock()
		c.waiting[name] = true
		c.mu.Unlock()
		return kerr.UnknownTopicOrPartition
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.running[name] {
		return kerr.UnknownTopicOrPartition
	}
	c.running[name] = true
	c.b.asking.Go(func() {
		err := c.ask(req)
		c.mu.Lock()
		delete(c.running, name)
		c.mu.Unlock()
		if err != nil {
			c.b.cfg.Logger.Warn("Creating a topic", "topic", name, "cause", err)
		}
	})
	return kerr.UnknownTopicOrPartition
}

// creating reports whether a topic is being created for a client of this broker.
func (c *autoCreator) creating(name string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.running[name]
}

// imageChanged tries the internal topics again that waited for brokers.
func (c *autoCreator) imageChanged() {
	c.mu.Lock()
	var names []string
	for name := range c.waiting {
		names = append(names, name)
	}
	clear(c.waiting)
	c.mu.Unlock()
	for _, name := range names {
		if _, ok := c.b.cfg.Loader.Current().TopicByName(name); !ok {
			_ = c.topic(name)
		}
	}
}

// request is what a topic is created with, and how many brokers it needs. -1 leaves a number to the controller.
func (c *autoCreator) request(name string) (req *kmsg.CreateTopicsRequest, least int) {
	r := c.b.settings.Load().resolver
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, -1, -1
	set := func(key, value string) {
		t.Configs = append(t.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: key, Value: kmsg.StringPtr(value)})
	}
	switch name {
	case OffsetsTopic:
		t.NumPartitions, t.ReplicationFactor = int32(r.Int(config.OffsetsTopicPartitions)), int16(r.Int(config.OffsetsTopicReplication))
		set(config.CleanupPolicy, "compact")
		set(config.CompressionType, "producer")
		set(config.SegmentBytes, r.Value(config.OffsetsTopicSegmentBytes))
		least = int(t.ReplicationFactor)
	case TransactionTopic:
		t.NumPartitions, t.ReplicationFactor = int32(r.Int("transaction.state.log.num.partitions")), int16(r.Int(config.TransactionTopicReplication))
		set(config.CleanupPolicy, "compact")
		set(config.CompressionType, "uncompressed")
		set(config.MinInsyncReplicas, r.Value(config.TransactionTopicMinISR))
		set(config.SegmentBytes, r.Value("transaction.state.log.segment.bytes"))
		set(config.UncleanLeaderElection, "false")
		least = int(t.ReplicationFactor)
	default:
		least = r.Int(config.DefaultReplicationFactor)
	}
	q := kmsg.NewPtrCreateTopicsRequest()
	q.Topics = []kmsg.CreateTopicsRequestTopic{t}
	q.TimeoutMillis = int32(createTimeout / time.Millisecond)
	return q, least
}

func (c *autoCreator) ask(req *kmsg.CreateTopicsRequest) error {
	ctx, cancel := context.WithTimeout(c.b.ctx, createTimeout)
	defer cancel()
	resp, err := c.b.forward.Do(ctx, req)
	if err != nil {
		return err
	}
	r, ok := resp.(*kmsg.CreateTopicsResponse)
	if !ok {
		return fmt.Errorf("answered with %T", resp)
	}
	for i := range r.Topics {
		if err := kerr.ErrorForCode(r.Topics[i].ErrorCode); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
			return err
		}
	}
	return nil
}
