package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// observed is how many records an observer has to follow.
const observed = 10_000

// follows starts a broker of one kind under a leader of the other kind.
func (w *world) follows(broker, leader kind) {
	what := fmt.Sprintf("a %s broker under a %s leader ", broker, leader)
	n := w.newNode(int32(1000+int(broker)), broker)
	n.broker = true
	if !w.check(what+"registers and is unfenced", func() {
		w.lead(leader)
		n.format()
		w.brokers = append(w.brokers, n)
		n.start()
		eventually(electsWithin, "the broker answers", func() error { return n.serves() })
		w.caughtUp()
	}) {
		return
	}
	w.check(fmt.Sprintf("%sfollows it for %d records", what, observed), func() {
		before := w.lead(leader)
		w.writeMany(before.leader)
		after := w.caughtUp()
		want(after.leader == before.leader && after.epoch == before.epoch, "%s led in epoch %d, now %s in epoch %d", before.leader, before.epoch, after.leader, after.epoch)
		want(after.highWatermark >= before.highWatermark+observed, "only %d records", after.highWatermark-before.highWatermark)
		_, err := readEntries(n.metadataLog(), after.highWatermark)
		need(err, "its log")
		logs := w.logsOf(after)
		mine, err := readBatches(n.metadataLog(), after.highWatermark)
		need(err, "its log")
		want(mine[0].BaseOffset() <= before.highWatermark, "its log begins at %d: some of the records came in a snapshot", mine[0].BaseOffset())
		_, err = sameBytes(logs[after.leader.id], mine)
		need(err, "its log and the leader's")
	})
	topic := "through-" + broker.String()
	w.check(what+"forwards kadm's CreateTopics, and serves records", func() { need(n.serveTopic(topic), "topic %s", topic) })
	w.check(what+"forwards to the next leader, of its own kind", func() {
		w.lead(broker)
		need(n.serveTopic(topic+"-2"), "topic %s-2", topic)
	})
	w.check(what+"stops in order", func() {
		w.lead(leader)
		n.stop()
		w.brokers = slices.DeleteFunc(w.brokers, func(b *node) bool { return b == n })
	})
	w.gone = append(w.gone, n)
}

// brokerAmongJava lets a Java broker meet in a quorum of Java nodes what the other worlds' brokers meet, for the lines that it logs. A voter
// makes room for it: three JVMs are enough for a small machine.
func (w *world) brokerAmongJava() {
	w.check("a Java broker sees leaders come and go", func() {
		w.caughtUp()
		w.voters[2].stop()
		n := w.newNode(1001, javaKind)
		n.broker = true
		n.format()
		w.brokers = append(w.brokers, n)
		n.start()
		eventually(electsWithin, "the broker answers", func() error { return n.serves() })
		w.elected().leader.stop()
		w.repair()
		w.caughtUp()
		need(n.serveTopic("among-Java"), "a topic")
		n.stop()
	})
}

// serves tells whether a broker answers clients: it opens its listener when it is unfenced.
func (n *node) serves() error {
	_, err := ask[*kmsg.MetadataResponse](n.addr(), newest(kmsg.NewPtrMetadataRequest()))
	return err
}

// writeMany writes the records through AlterClientQuotas, a thousand a request.
func (w *world) writeMany(leader *node) {
	const each = 1000
	for done := 0; done < observed; done += each {
		req := newest(kmsg.NewPtrAlterClientQuotasRequest())
		for i := range each {
			entity := kmsg.NewAlterClientQuotasRequestEntryEntity()
			entity.Type, entity.Name = "client-id", kmsg.StringPtr(fmt.Sprintf("many-%s-%05d", leader.kind, done+i))
			op := kmsg.NewAlterClientQuotasRequestEntryOp()
			op.Key, op.Value = "consumer_byte_rate", float64(1+i)
			entry := kmsg.NewAlterClientQuotasRequestEntry()
			entry.Entity, entry.Ops = append(entry.Entity, entity), append(entry.Ops, op)
			req.Entries = append(req.Entries, entry)
		}
		resp, err := askWithin[*kmsg.AlterClientQuotasResponse](electsWithin, leader.addr(), req)
		need(err, "%d quotas", each)
		for _, e := range resp.Entries {
			need(errorOf(e.ErrorCode, e.ErrorMessage), "a quota")
		}
	}
}

// serveTopic makes a topic through a broker by kadm, produces to it and consumes from it.
func (n *node) serveTopic(topic string) error {
	ctx, cancel := context.WithTimeout(context.Background(), electsWithin)
	defer cancel()
	cl, err := kgo.NewClient(kgo.SeedBrokers(n.addr()), kgo.ConsumeTopics(topic), kgo.MetadataMinAge(50*time.Millisecond), kgo.DefaultProduceTopic(topic))
	if err != nil {
		return err
	}
	defer cl.Close()
	adm := kadm.NewClient(cl)
	for {
		_, err := adm.CreateTopic(ctx, 1, 1, nil, topic) // here: nobody else is unfenced
		if err == nil || errors.Is(err, kerr.TopicAlreadyExists) {
			break
		}
		if ctx.Err() != nil {
			return err
		}
	}
	if err := cl.ProduceSync(ctx, kgo.StringRecord("a record")).FirstErr(); err != nil {
		return fmt.Errorf("produce: %w", err)
	}
	fetches := cl.PollFetches(ctx)
	if err := fetches.Err(); err != nil {
		return fmt.Errorf("consume: %w", err)
	}
	if fetches.NumRecords() != 1 {
		return fmt.Errorf("%d records", fetches.NumRecords())
	}
	return nil
}
