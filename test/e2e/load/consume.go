package load

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Consume reads topic from its start as a member of group until ctx ends, commits what it has read, and books each record
// that it sees under its producer's name. A record can be seen twice, after a rebalance; what counts is that none is missed
// and the longest time in which none came, the ledger's LongestGap.
func Consume(ctx context.Context, l *Ledger, topic, group string, opts ...kgo.Opt) error {
	cl, err := kgo.NewClient(append([]kgo.Opt{
		kgo.ConsumeTopics(topic), kgo.ConsumerGroup(group), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	}, opts...)...)
	if err != nil {
		return err
	}
	defer cl.Close()
	for {
		fs := cl.PollFetches(ctx)
		if ctx.Err() != nil {
			return nil
		}
		var broken error
		fs.EachError(func(_ string, p int32, e error) {
			if session := (*kgo.ErrGroupSession)(nil); errors.As(e, &session) {
				return // the client joins again by itself
			}
			if loss := (*kgo.ErrDataLoss)(nil); errors.As(e, &loss) || !kerr.IsRetriable(e) && errors.As(e, new(*kerr.Error)) {
				broken = errors.Join(broken, fmt.Errorf("partition %d: %w", p, e))
			}
		})
		if broken != nil {
			return broken
		}
		now := time.Now()
		fs.EachRecord(func(r *kgo.Record) {
			producer, seq, err := ParseValue(r.Value)
			if err != nil {
				l.Failed(err)
				return
			}
			if l.Total() == 0 {
				l.Start(now)
			}
			l.Acked(producer, seq, now)
		})
	}
}
