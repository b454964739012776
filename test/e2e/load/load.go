package load

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// flushPatience is how long Produce waits for what was sent before it was ended.
const flushPatience = 2 * time.Minute

// Produce sends records first..first+n-1 of producer to topic with a default client (idempotent, acks=all)
// and books each. rate is records a second; 0 means as fast as the client goes. n < 0 runs until ctx ends,
// and then flushes what was sent, for two minutes.
func Produce(ctx context.Context, l *Ledger, producer, topic string, first, n, rate int64, size int, opts ...kgo.Opt) error {
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.DefaultProduceTopic(topic)}, opts...)...)
	if err != nil {
		return err
	}
	defer cl.Close()
	var tick <-chan time.Time
	perTick := int64(1)
	if rate > 0 {
		const period = 10 * time.Millisecond
		t := time.NewTicker(period)
		defer t.Stop()
		tick, perTick = t.C, max(1, rate*int64(period)/int64(time.Second))
	}
	var wg sync.WaitGroup
	l.Start(time.Now())
	for i := int64(0); n < 0 || i < n; i++ {
		if tick != nil && i%perTick == 0 {
			select {
			case <-tick:
			case <-ctx.Done():
			}
		}
		if ctx.Err() != nil {
			break
		}
		seq := first + i
		wg.Add(1)
		// The record's own context never ends: a record that was sent is waited for, so that the books close.
		cl.Produce(context.WithoutCancel(ctx), &kgo.Record{Value: Value(producer, seq, size)}, func(_ *kgo.Record, err error) {
			defer wg.Done()
			if err != nil {
				l.Failed(err)
				return
			}
			l.Acked(producer, seq, time.Now())
		})
	}
	l.Stop(time.Now())
	acked := make(chan struct{})
	go func() {
		defer close(acked)
		wg.Wait()
	}()
	return awaitAcks(ctx, cl, acked)
}

// awaitAcks waits for every record that was sent; once ctx has ended not for ever, or a cluster that is broken for good would keep
// its test from saying so.
func awaitAcks(ctx context.Context, cl *kgo.Client, acked <-chan struct{}) error {
	select {
	case <-acked:
		return nil
	case <-ctx.Done():
	}
	timer := time.NewTimer(flushPatience)
	defer timer.Stop()
	select {
	case <-acked:
		return nil
	case <-timer.C:
	}
	left := cl.BufferedProduceRecords()
	cl.Close() // fails them
	<-acked
	return fmt.Errorf("%d records were not acknowledged %s after the end", left, flushPatience)
}

// ReadBack reads every partition of topic from its start to the end it has now and gives each value to seen.
func ReadBack(ctx context.Context, topic string, seen func(value []byte), opts ...kgo.Opt) error {
	adm, err := kgo.NewClient(opts...)
	if err != nil {
		return err
	}
	defer adm.Close()
	ends, err := endOffsets(ctx, kadm.NewClient(adm), topic)
	if err != nil {
		return err
	}
	left := map[int32]int64{}
	from := map[int32]kgo.Offset{}
	ends.Each(func(o kadm.ListedOffset) {
		from[o.Partition] = kgo.NewOffset().AtStart()
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: from})}, opts...)...)
	if err != nil {
		return err
	}
	defer cl.Close()
	for len(left) > 0 {
		fs := cl.PollFetches(ctx)
		if err := fs.Err0(); err != nil {
			return fmt.Errorf("reading back %s, %d partitions not at their end: %w", topic, len(left), err)
		}
		fs.EachError(func(_ string, _ int32, e error) {
			if !kerr.IsRetriable(e) {
				err = errors.Join(err, e)
			}
		})
		if err != nil {
			return err
		}
		fs.EachRecord(func(r *kgo.Record) {
			if r.Offset < ends[topic][r.Partition].Offset {
				seen(r.Value)
			}
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
	}
	return nil
}

// endOffsets asks until every partition's leader has answered: one that has just become Ready may not be reached for a
// second, and this request of the client isn't tried again by itself.
func endOffsets(ctx context.Context, adm *kadm.Client, topic string) (kadm.ListedOffsets, error) {
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		ends, err := adm.ListEndOffsets(ctx, topic)
		if err == nil {
			err = ends.Error()
		}
		if err == nil {
			return ends, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil, fmt.Errorf("end offsets of %s: %w", topic, err)
		}
	}
}

// EnsureTopic creates topic, or is content with one that stands.
func EnsureTopic(ctx context.Context, topic string, partitions int32, rf int16, opts ...kgo.Opt) error {
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return err
	}
	defer cl.Close()
	for {
		_, err = kadm.NewClient(cl).CreateTopic(ctx, partitions, rf, nil, topic)
		var answer *kerr.Error // of a broker; anything else is a connection's: no broker serves yet
		if err == nil || errors.As(err, &answer) && !kerr.IsRetriable(err) || ctx.Err() != nil {
			break
		}
	}
	if err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("create topic %s: %w", topic, err)
	}
	return nil
}
