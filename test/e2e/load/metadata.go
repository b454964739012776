package load

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// metadataBase is the value of a writer's first write; any is a valid number of milliseconds and of bytes.
const metadataBase = 600_000_000

// MetadataWriter writes one config of one topic again and again (IncrementalAlterConfigs, through a broker), a larger
// number each time, and books each answer: what stands in the end tells whether an acknowledged write was lost.
type MetadataWriter struct {
	Topic string
	Key   string        // of a writer's own: retention.ms unless set
	Every time.Duration // from write to write; a slow answer delays the next
	Ledger
}

func (w *MetadataWriter) key() string {
	if w.Key == "" {
		return "retention.ms"
	}
	return w.Key
}

// Run writes until ctx ends. The ledger's LongestGap is then the longest gap in metadata writes.
func (w *MetadataWriter) Run(ctx context.Context, opts ...kgo.Opt) error {
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	t := time.NewTicker(w.Every)
	defer t.Stop()
	w.Start(time.Now())
	for i := int64(0); ; i++ {
		select {
		case <-ctx.Done():
			w.Stop(time.Now())
			return nil
		case <-t.C:
		}
		v := fmt.Sprint(metadataBase + i)
		r, err := adm.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: w.key(), Value: &v}}, w.Topic)
		if err == nil && len(r) > 0 {
			err = r[0].Err
		}
		switch {
		case err == nil:
			w.Acked("metadata", i, time.Now())
		case ctx.Err() == nil:
			w.Failed(err)
		}
	}
}

// Lost asks for the config as it stands and returns how many of the latest acknowledged writes it lacks: 0 when nothing
// was lost. A write that nobody acknowledged may have been taken, so more than the latest is no fault.
func (w *MetadataWriter) Lost(ctx context.Context, opts ...kgo.Opt) (int64, error) {
	last := w.last("metadata")
	if last < 0 {
		return 0, nil
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return 0, err
	}
	defer cl.Close()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	lost := int64(0)
	for { // a broker may be a moment behind, and one that has just started may not be reached yet
		v, err := topicConfig(ctx, kadm.NewClient(cl), w.Topic, w.key())
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
