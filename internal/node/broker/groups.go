package broker

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/node/broker/replica"
	"github.com/kraft-dev/kraft-operator/internal/node/group"
	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/storage/record"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// Offsets is what the group coordinator sees of a broker: the partitions of __consumer_offsets and the metadata.
type Offsets struct{ b *Broker }

var (
	_ group.Partitions = Offsets{}
	_ group.Metadata   = Offsets{}
)

// Offsets returns the group coordinator's view.
func (b *Broker) Offsets() Offsets { return Offsets{b} }

// offsetsTimeout is offsets.commit.timeout.ms's default: how long a write waits for its replicas.
const offsetsTimeout = 5 * time.Second

// loadBytes is offsets.load.buffer.size's default: how much of a partition is read at a time.
const loadBytes = 5 << 20

func (o Offsets) image() *metadata.Image { return o.b.cfg.Loader.Current() }

func (o Offsets) partition(index int32) (*replica.Partition, error) {
	t, ok := o.image().TopicByName(OffsetsTopic)
	if !ok {
		return nil, kerr.UnknownTopicOrPartition
	}
	p, ok := o.b.replicas.Partition(t.ID, index)
	if !ok {
		return nil, absent(t, index)
	}
	return p, nil
}

// Append writes one batch with acks=all.
func (o Offsets) Append(index int32, kvs []group.KV, timestampMs int64, done func(error)) {
	p, err := o.partition(index)
	if err != nil {
		done(err)
		return
	}
	builder := record.NewBuilder(record.BuilderConfig{})
	for _, kv := range kvs {
		builder.Append(timestampMs, kv.Key, kv.Value)
	}
	batch, err := builder.Build()
	if err != nil {
		o.b.cfg.Logger.Error("Encoding group records", "partition", index, "cause", err)
		done(kerr.UnknownServerError)
		return
	}
	op := replica.NewAppendOp(1, func(results []replica.AppendResult) { done(results[0].Err) })
	p.Append(op, 0, batch, -1, storage.OriginCoordinator)
	op.Appended(offsetsTimeout)
}

// Load reads a partition from its start to where it ended at the call.
func (o Offsets) Load(ctx context.Context, index int32, each func(group.KV) error) error {
	p, err := o.partition(index)
	if err != nil {
		return err
	}
	s := p.Status()
	offset := s.LogStartOffset
	for offset < s.LogEndOffset {
		if err := ctx.Err(); err != nil {
			return err
		}
		data, err := p.Load(offset, loadBytes)
		if err != nil {
			return err
		}
		if len(data) == 0 {
			return nil
		}
		if offset, err = eachRecord(data, each); err != nil {
			return fmt.Errorf("%s-%d: %w", OffsetsTopic, index, err)
		}
	}
	return nil
}

// eachRecord hands over the records of whole batches and returns the offset after them.
func eachRecord(data []byte, each func(group.KV) error) (next int64, err error) {
	for len(data) > 0 {
		b, rest, err := record.Split(data)
		if err != nil {
			return 0, err
		}
		data, next = rest, b.NextOffset()
		if b.IsControl() {
			continue
		}
		for rec, err := range b.Records(0) {
			if err != nil {
				return 0, err
			}
			if err := each(group.KV{Key: rec.Key, Value: rec.Value}); err != nil {
				return 0, err
			}
		}
	}
	return next, nil
}

// OffsetsPartitions is the number of partitions of __consumer_offsets.
func (o Offsets) OffsetsPartitions() (int32, bool) {
	t, ok := o.image().TopicByName(OffsetsTopic)
	if !ok {
		return 0, false
	}
	return int32(t.PartitionCount()), true
}

// CreateOffsetsTopic asks the controller for the topic, when there are as many brokers as its replication factor.
func (o Offsets) CreateOffsetsTopic() { _ = o.b.create.topic(OffsetsTopic) }

// OffsetsLeader is who coordinates the groups of a partition.
func (o Offsets) OffsetsLeader(index int32, listener string) (id int32, host string, port int32, ok bool) {
	img := o.image()
	t, ok := img.TopicByName(OffsetsTopic)
	if !ok {
		return 0, "", 0, false
	}
	p, ok := t.Partition(index)
	if !ok {
		return 0, "", 0, false
	}
	e, ok := endpointOf(img, p.Leader, listener)
	return e.ID, e.Host, e.Port, ok
}

// TopicID translates a name.
func (o Offsets) TopicID(name string) (uuid.UUID, bool) {
	t, ok := o.image().TopicByName(name)
	if !ok {
		return uuid.UUID{}, false
	}
	return t.ID, true
}

// TopicName translates an id.
func (o Offsets) TopicName(id uuid.UUID) (string, bool) {
	t, ok := o.image().TopicByID(id)
	if !ok {
		return "", false
	}
	return t.Name, true
}

// PartitionExists tells whether a partition is one of the cluster's.
func (o Offsets) PartitionExists(topic string, index int32) bool {
	t, ok := o.image().TopicByName(topic)
	if !ok {
		return false
	}
	_, ok = t.Partition(index)
	return ok
}
