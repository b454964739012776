// Package cli is what a person does in a pod that has no shell tools: topics, produce and consume.
// It is an ordinary Kafka client (franz-go) and knows nothing of the node that shares its binary.
package cli

import (
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
)

// connection is the flags that every client command has.
type connection struct{ bootstrap []string }

func (c *connection) flags(cmd *cobra.Command) {
	cmd.PersistentFlags().StringSliceVar(&c.bootstrap, "bootstrap-server", []string{"localhost:9092"}, "host:port of one or more brokers")
}

func (c *connection) client(opts ...kgo.Opt) (*kgo.Client, error) {
	return kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(c.bootstrap...), kgo.ClientID("kraftd-cli")}, opts...)...)
}

// Commands returns topic, produce and consume.
func Commands() []*cobra.Command {
	return []*cobra.Command{topicCommand(), produceCommand(), consumeCommand()}
}
