// Package cli is what a person does in a pod that has no shell tools: topics, produce and consume.
// It is an ordinary Kafka client (franz-go) and knows nothing of the node that shares its binary.
package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
)

// connection is the flags that every client command has.
type connection struct {
	bootstrap []string
	wait      time.Duration
}

func (c *connection) flags(cmd *cobra.Command) {
	cmd.PersistentFlags().StringSliceVar(&c.bootstrap, "bootstrap-server", []string{"localhost:9092"}, "host:port of one or more brokers")
	cmd.PersistentFlags().DurationVar(&c.wait, "connect-timeout", 30*time.Second, "how long to wait for a broker that answers: a Service may be younger than its addresses")
}

// client connects, and waits for a broker that answers.
func (c *connection) client(ctx context.Context, opts ...kgo.Opt) (*kgo.Client, error) {
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(c.bootstrap...), kgo.ClientID("kraftd-cli")}, opts...)...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.wait)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		if err = cl.Ping(ctx); err == nil {
			return cl, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			cl.Close()
			return nil, fmt.Errorf("no broker answered at %s within %s: %w", strings.Join(c.bootstrap, ","), c.wait, err)
		}
	}
}

// Commands returns topic, produce, consume and quorum.
func Commands() []*cobra.Command {
	return []*cobra.Command{topicCommand(), produceCommand(), consumeCommand(), quorumCommand()}
}
