package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
)

// maxLine bounds a line that produce reads, in bytes: the default message.max.bytes.
const maxLine = 1 << 20

func produceCommand() *cobra.Command {
	var (
		conn    connection
		topic   string
		keySep  string
		records int64
		size    int
	)
	cmd := &cobra.Command{
		Use:   "produce",
		Short: "Produce a record for each line of standard input, or --records made-up ones",
		Long:  "Produce with acks=all and an idempotent producer. It exits with 0 only if every record was acknowledged.",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cl, err := conn.client(cmd.Context(), kgo.DefaultProduceTopic(topic))
			if err != nil {
				return err
			}
			defer cl.Close()
			p := producer{cl: cl}
			if records > 0 {
				filler := strings.Repeat("x", size)
				for i := range records {
					p.send(cmd.Context(), &kgo.Record{Value: fmt.Appendf(nil, "%d %s", i, filler)})
				}
			} else if err := p.lines(cmd.Context(), cmd.InOrStdin(), keySep); err != nil {
				return err
			}
			acked, err := p.wait()
			fmt.Fprintf(cmd.OutOrStdout(), "acked=%d\n", acked)
			return err
		},
	}
	conn.flags(cmd)
	cmd.Flags().StringVar(&topic, "topic", "", "topic")
	cmd.Flags().StringVar(&keySep, "key-separator", "", "what stands between key and value in a line; none means no keys")
	cmd.Flags().Int64Var(&records, "records", 0, "produce this many made-up records instead of reading lines")
	cmd.Flags().IntVar(&size, "size", 100, "bytes of filler in a made-up record")
	_ = cmd.MarkFlagRequired("topic")
	return cmd
}

// producer sends records and remembers the first failure.
type producer struct {
	cl    *kgo.Client
	wg    sync.WaitGroup
	acked atomic.Int64
	once  sync.Once
	first error
}

func (p *producer) send(ctx context.Context, r *kgo.Record) {
	p.wg.Add(1)
	p.cl.Produce(ctx, r, func(_ *kgo.Record, err error) {
		defer p.wg.Done()
		if err != nil {
			p.once.Do(func() { p.first = err })
			return
		}
		p.acked.Add(1)
	})
}

func (p *producer) lines(ctx context.Context, in io.Reader, keySep string) error {
	sc := bufio.NewScanner(in)
	sc.Buffer(nil, maxLine)
	for sc.Scan() {
		r := &kgo.Record{Value: []byte(sc.Text())}
		if keySep != "" {
			k, v, ok := strings.Cut(sc.Text(), keySep)
			if !ok {
				return fmt.Errorf("line %.40q: no --key-separator %q", sc.Text(), keySep)
			}
			r.Key, r.Value = []byte(k), []byte(v)
		}
		p.send(ctx, r)
	}
	return sc.Err()
}

func (p *producer) wait() (int64, error) {
	p.wg.Wait()
	if p.first != nil {
		return p.acked.Load(), fmt.Errorf("not every record was acknowledged: %w", p.first)
	}
	return p.acked.Load(), nil
}
