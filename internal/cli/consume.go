package cli

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"
)

func consumeCommand() *cobra.Command {
	var (
		conn          connection
		topic, group  string
		fromBeginning bool
		keys, quiet   bool
		maxRecords    int64
		idle          time.Duration
	)
	cmd := &cobra.Command{
		Use:   "consume",
		Short: "Print a topic's records, one a line",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			opts := []kgo.Opt{kgo.ConsumeTopics(topic)}
			if group != "" {
				opts = append(opts, kgo.ConsumerGroup(group))
			}
			start := kgo.NewOffset().AtEnd()
			if fromBeginning {
				start = kgo.NewOffset().AtStart()
			}
			cl, err := conn.client(cmd.Context(), append(opts, kgo.ConsumeResetOffset(start))...)
			if err != nil {
				return err
			}
			defer cl.Close()
			out := bufio.NewWriter(cmd.OutOrStdout())
			defer out.Flush()
			n, err := consume(cmd.Context(), cl, maxRecords, idle, func(r *kgo.Record) {
				switch {
				case quiet:
				case keys:
					fmt.Fprintf(out, "%s\t%s\n", r.Key, r.Value)
				default:
					fmt.Fprintf(out, "%s\n", r.Value)
				}
			}, out.Flush)
			fmt.Fprintf(cmd.ErrOrStderr(), "consumed=%d\n", n)
			return err
		},
	}
	conn.flags(cmd)
	cmd.Flags().StringVar(&topic, "topic", "", "topic")
	cmd.Flags().StringVar(&group, "group", "", "consumer group; offsets are committed to it")
	cmd.Flags().BoolVar(&fromBeginning, "from-beginning", false, "start at the first record where the group has no offset")
	cmd.Flags().BoolVar(&keys, "keys", false, "print keys too, before a tab")
	cmd.Flags().BoolVar(&quiet, "quiet", false, "count only")
	cmd.Flags().Int64Var(&maxRecords, "max-records", 0, "stop after this many; 0 is no limit")
	cmd.Flags().DurationVar(&idle, "idle", 0, "stop when nothing came for this long; 0 waits for ever")
	_ = cmd.MarkFlagRequired("topic")
	return cmd
}

// consume polls until ctx ends, limit records came (0: no limit) or nothing came for idle (0: no limit).
func consume(ctx context.Context, cl *kgo.Client, limit int64, idle time.Duration, each func(*kgo.Record), flush func() error) (n int64, err error) {
	for limit == 0 || n < limit {
		pollCtx, cancel := ctx, context.CancelFunc(func() {})
		if idle > 0 {
			pollCtx, cancel = context.WithTimeout(ctx, idle)
		}
		fetches := cl.PollFetches(pollCtx)
		cancel()
		if ctx.Err() != nil || errors.Is(fetches.Err0(), context.DeadlineExceeded) {
			return n, nil //nolint:nilerr // the end that was asked for
		}
		if err := fetches.Err(); err != nil {
			return n, err
		}
		for it := fetches.RecordIter(); !it.Done() && (limit == 0 || n < limit); n++ {
			each(it.Next())
		}
		if err := flush(); err != nil {
			return n, err
		}
	}
	return n, nil
}
