// Command kraftload produces with books, reads everything back and says what was acknowledged, lost or duplicated.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kraft-dev/kraft-operator/test/e2e/load"
)

var version = "dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := root().ExecuteContext(ctx); err != nil {
		os.Exit(1)
	}
}

func root() *cobra.Command {
	var (
		bootstrap, topic, kcat, after string
		records, rate                 int64
		size                          int
		partitions                    int32
		rf                            int16
		timeout                       time.Duration
	)
	cmd := &cobra.Command{
		Use:           "kraftload",
		Short:         "Produce records with acks=all, keep books, read back and audit",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: false,
	}
	cmd.PersistentFlags().StringVar(&bootstrap, "bootstrap", "localhost:9092", "host:port,… of brokers")
	cmd.PersistentFlags().StringVar(&topic, "topic", "demo", "topic")
	opts := func() []kgo.Opt { return []kgo.Opt{kgo.SeedBrokers(strings.Split(bootstrap, ",")...)} }

	run := &cobra.Command{
		Use:   "run",
		Short: "Create the topic, produce, read back; the last line is acked=… lost=… duplicated=…",
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			if err := load.EnsureTopic(ctx, topic, partitions, rf, opts()...); err != nil {
				return err
			}
			var l load.Ledger
			if err := load.Produce(ctx, &l, "go", topic, 0, records, rate, size, opts()...); err != nil {
				return err
			}
			if err := waitFile(ctx, after); err != nil {
				return err
			}
			if err := bookKcat(&l, kcat); err != nil {
				return err
			}
			return report(ctx, &l, topic, opts()...)
		},
	}
	run.Flags().Int64Var(&records, "records", 100_000, "records to produce")
	run.Flags().Int64Var(&rate, "rate", 0, "records a second; 0 is as fast as it goes")
	run.Flags().IntVar(&size, "size", 100, "bytes a value")
	run.Flags().Int32Var(&partitions, "partitions", 6, "partitions of the topic")
	run.Flags().Int16Var(&rf, "replication-factor", 3, "replication factor of the topic")
	run.Flags().DurationVar(&timeout, "timeout", 5*time.Minute, "give up after this long")
	run.Flags().StringVar(&kcat, "kcat", "", "file of lines that kcat produced to the same topic with acks=all; audited too")

	run.Flags().StringVar(&after, "after", "", "before reading back, wait until this file exists: the other producer is done")

	lines := &cobra.Command{
		Use:   "lines",
		Short: "Print values for another producer (kcat -P) to send: kraftload lines --records n > file",
		RunE: func(cmd *cobra.Command, _ []string) error {
			for i := range records {
				if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s\n", load.Value("kcat", i, size)); err != nil {
					return err
				}
			}
			return nil
		},
	}
	lines.Flags().Int64Var(&records, "records", 50_000, "how many")
	lines.Flags().IntVar(&size, "size", 100, "bytes a value")
	cmd.AddCommand(run, lines)
	return cmd
}

// waitFile waits until a file exists; an empty name is no wait.
func waitFile(ctx context.Context, name string) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for name != "" {
		if _, err := os.Stat(name); err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", name, ctx.Err())
		}
	}
	return nil
}

// bookKcat books every line of a file as acknowledged: kcat exits with 0 only if all of them were.
func bookKcat(l *load.Ledger, file string) error {
	if file == "" {
		return nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	for _, line := range strings.Split(strings.TrimSpace(string(b)), "\n") {
		producer, seq, err := load.ParseValue([]byte(line))
		if err != nil {
			return err
		}
		l.Acked(producer, seq, time.Now())
	}
	return nil
}

func report(ctx context.Context, l *load.Ledger, topic string, opts ...kgo.Opt) error {
	failed, first := l.Failures()
	seen, done := l.Audit()
	if err := load.ReadBack(ctx, topic, seen, opts...); err != nil {
		return err
	}
	a := done()
	fmt.Printf("failed=%d unknown=%d longest_gap_ms=%d\n%s\n", failed, a.Unknown, l.LongestGap().Milliseconds(), a)
	if failed > 0 {
		return fmt.Errorf("%d records failed, the first with: %w", failed, first)
	}
	if !a.Clean() {
		return errors.New("the audit isn't clean")
	}
	return nil
}
