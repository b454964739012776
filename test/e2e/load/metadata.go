package load

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"golang.org/x/sync/errgroup"
)

// metadataBase is the value of a writer's first write; any is a valid number of milliseconds and of bytes.
const metadataBase = 600_000_000

// MetadataWriter writes configs of one topic again and again (IncrementalAlterConfigs, through a broker), a larger number
// each time, and books each answer: what stands in the end tells whether an acknowledged write was lost.
type MetadataWriter struct {
	Topic string
	Keys  []string      // of a writer's own, retention.ms unless set; each is written by a client of its own, one write after the other
	Every time.Duration // from write to write of all keys together; a slow answer delays the next write of its key
	// Connected: it asks the broker that answered last, and another one when that fails, as Kafka's own admin client prefers nodes that it is
	// connected to. franz-go goes round all, the seeds that it was given too: it calls at a broker that is down again and again, and Linux refuses
	// that (ICMP, from a Service without endpoints) a few times, then once a second; the other calls are lost, and take the dial timeout.
	Connected bool
	Ledger
}

func (w *MetadataWriter) keys() []string {
	if len(w.Keys) == 0 {
		return []string{"retention.ms"}
	}
	return w.Keys
}

// Run writes until ctx ends. The ledger's LongestGap is then the longest time in which no write was acknowledged.
func (w *MetadataWriter) Run(ctx context.Context, opts ...kgo.Opt) error {
	w.Start(time.Now())
	defer func() { w.Stop(time.Now()) }()
	g, ctx := errgroup.WithContext(ctx)
	for _, key := range w.keys() {
		g.Go(func() error { return w.write(ctx, key, opts...) })
	}
	return g.Wait()
}

// write is the loop of one key.
func (w *MetadataWriter) write(ctx context.Context, key string, opts ...kgo.Opt) error {
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return err
	}
	defer cl.Close()
	alter := through(kadm.NewClient(cl))
	if w.Connected {
		alter = (&connected{cl: cl}).alter
	}
	t := time.NewTicker(w.Every * time.Duration(len(w.keys())))
	defer t.Stop()
	for i := int64(0); ; i++ {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		v := fmt.Sprint(metadataBase + i)
		switch err := alter(ctx, w.Topic, key, v); {
		case err == nil:
			w.Acked(key, i, time.Now())
		case ctx.Err() == nil:
			w.Failed(err)
		}
	}
}

func through(adm *kadm.Client) func(ctx context.Context, topic, key, value string) error {
	return func(ctx context.Context, topic, key, value string) error {
		r, err := adm.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: key, Value: &value}}, topic)
		if err == nil && len(r) > 0 {
			err = r[0].Err
		}
		return err
	}
}

// connected asks one broker as long as it answers.
type connected struct {
	cl      *kgo.Client
	brokers []int32 // the first is asked
	failed  int     // in a row
}

func (c *connected) alter(ctx context.Context, topic, key, value string) error {
	if len(c.brokers) == 0 || c.failed > len(c.brokers) {
		meta := kmsg.NewPtrMetadataRequest()
		meta.Topics = []kmsg.MetadataRequestTopic{}
		resp, err := meta.RequestWith(ctx, c.cl)
		if err != nil {
			return err
		}
		c.brokers, c.failed = nil, 0
		for _, b := range resp.Brokers {
			c.brokers = append(c.brokers, b.NodeID)
		}
		if len(c.brokers) == 0 {
			return kerr.BrokerNotAvailable
		}
	}
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.Resources = []kmsg.IncrementalAlterConfigsRequestResource{{
		ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: topic,
		Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: key, Op: kmsg.IncrementalAlterConfigOpSet, Value: &value}},
	}}
	resp, err := req.RequestWith(ctx, c.cl.Broker(int(c.brokers[0])))
	if err == nil && len(resp.Resources) > 0 {
		err = kerr.ErrorForCode(resp.Resources[0].ErrorCode)
	}
	if err == nil {
		c.failed = 0
		return nil
	}
	c.failed++
	c.brokers = append(c.brokers[1:], c.brokers[0])
	return err
}

// Lost asks for the configs as they stand and returns how many of the latest acknowledged writes they lack: 0 when nothing
// was lost. A write that nobody acknowledged may have been taken, so more than the latest is no fault.
func (w *MetadataWriter) Lost(ctx context.Context, opts ...kgo.Opt) (lost int64, err error) {
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	for _, key := range w.keys() {
		n, err := w.lostOf(ctx, adm, key)
		if lost += n; err != nil {
			return lost, err
		}
	}
	return lost, nil
}

func (w *MetadataWriter) lostOf(ctx context.Context, adm *kadm.Client, key string) (int64, error) {
	last := w.last(key)
	if last < 0 {
		return 0, nil
	}
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	lost := int64(0)
	for { // a broker may be a moment behind, and one that has just started may not be reached yet
		v, err := topicConfig(ctx, adm, w.Topic, key)
		if err == nil {
			var stands int64
			if stands, err = strconv.ParseInt(v, 10, 64); err == nil {
				if lost = max(0, metadataBase+last-stands); lost == 0 {
					return 0, nil
				}
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return lost, err
		}
	}
}

func topicConfig(ctx context.Context, adm *kadm.Client, topic, key string) (string, error) {
	all, err := adm.DescribeTopicConfigs(ctx, topic)
	if err != nil {
		return "", err
	}
	for _, r := range all {
		if r.Err != nil {
			return "", r.Err
		}
		for _, c := range r.Configs {
			if c.Key == key {
				return c.MaybeValue(), nil
			}
		}
	}
	return "", fmt.Errorf("topic %s: no config %s: %w", topic, key, kerr.UnknownServerError)
}
