package broker

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/node/broker/replica"
	"github.com/kraft-dev/kraft-operator/internal/node/server"
	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/storage/record"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// Produce v3 to 13: idempotent producers (KIP-98), error records (KIP-467), leader hints from v10 (KIP-951), topic ids in v13 (KIP-516).
// Left out: transactions (a transactional id is refused with TRANSACTIONAL_ID_AUTHORIZATION_FAILED).

// adminClientID is the client that Kafka lets write to internal topics.
const adminClientID = "__admin_client"

// slot is one partition of a produce request.
type slot struct {
	topic, partition int // its place in the request
	id               uuid.UUID
	index            int32
}

// produce appends each partition's batch and answers when as many replicas as acks asks for have them.
func (b *Broker) produce(r *server.Request, req *kmsg.ProduceRequest) {
	var slots []slot
	for t := range req.Topics {
		for i := range req.Topics[t].Partitions {
			slots = append(slots, slot{topic: t, partition: i, index: req.Topics[t].Partitions[i].Partition})
		}
	}
	op := replica.NewAppendOp(len(slots), func(results []replica.AppendResult) { b.produced(r, req, slots, results) })
	img := b.cfg.Loader.Current()
	refused := produceRefusal(req)
	for n := range slots {
		s := &slots[n]
		t := &req.Topics[s.topic]
		if refused != nil {
			op.Fail(n, refused, nil)
			continue
		}
		b.produceOne(r, req, img, op, n, s, t)
	}
	op.Appended(time.Duration(req.TimeoutMillis) * time.Millisecond)
}

// produceRefusal is why a request as a whole can't be appended.
func produceRefusal(req *kmsg.ProduceRequest) error {
	switch {
	case req.Acks < -1 || req.Acks > 1:
		return kerr.InvalidRequiredAcks
	case req.TransactionID != nil:
		return kerr.TransactionalIDAuthorizationFailed
	}
	return nil
}

func (b *Broker) produceOne(r *server.Request, req *kmsg.ProduceRequest, img *metadata.Image, op *replica.AppendOp, n int, s *slot, t *kmsg.ProduceRequestTopic) {
	topic, err := findTopic(img, t.Topic, t.TopicID, req.Version >= 13)
	if err == nil && !b.topicAllowed(r, kmsg.ACLOperationWrite, topic.Name) || err != nil && !b.topicAllowed(r, kmsg.ACLOperationWrite, t.Topic) {
		err = kerr.TopicAuthorizationFailed
	}
	if err != nil {
		op.Fail(n, err, nil)
		return
	}
	s.id = topic.ID
	if isInternal(topic.Name) && r.ClientID != adminClientID {
		op.Fail(n, kerr.InvalidTopicException, fmt.Errorf("cannot append to internal topic %s", topic.Name))
		return
	}
	p, ok := b.replicas.Partition(topic.ID, s.index)
	if !ok {
		op.Fail(n, absent(topic, s.index), nil)
		return
	}
	records := t.Partitions[s.partition].Records
	if err, detail := checkBatch(records, req.Version); err != nil {
		op.Fail(n, err, detail)
		return
	}
	p.Append(op, n, records, req.Acks, storage.OriginClient)
}

// checkBatch holds what version 3 and later promise: exactly one batch of magic 2, zstd only from v7 on.
func checkBatch(records []byte, version int16) (err *kerr.Error, detail error) {
	batch, rest, split := record.Split(records)
	switch {
	case len(records) == 0:
		return kerr.InvalidRecord, fmt.Errorf("a produce request must hold a record batch for each partition")
	case split != nil && len(records) > 16 && records[16] != record.Magic:
		return kerr.UnsupportedForMessageFormat, split
	case split != nil:
		return kerr.CorruptMessage, split
	case len(rest) > 0:
		return kerr.InvalidRecord, fmt.Errorf("a produce request must hold exactly one record batch for each partition")
	case batch.Compression() == record.Zstd && version < 7:
		return kerr.UnsupportedCompressionType, fmt.Errorf("zstd needs Produce version 7")
	case batch.IsTransactional():
		return kerr.InvalidTxnState, fmt.Errorf("transactions are not supported")
	}
	return nil, nil
}

// produced answers a produce request.
func (b *Broker) produced(r *server.Request, req *kmsg.ProduceRequest, slots []slot, results []replica.AppendResult) {
	b.metrics.produce.Observe(sinceSeconds(r.Received))
	if req.Acks == 0 {
		for i, res := range results {
			if res.Err != nil { // the only way to tell a producer that doesn't listen
				r.Close(fmt.Errorf("produce with acks=0, partition %d: %w", slots[i].index, res.Err))
				return
			}
		}
		r.ReplyNone()
		return
	}
	resp := kmsg.NewPtrProduceResponse()
	resp.Topics = make([]kmsg.ProduceResponseTopic, len(req.Topics))
	for t := range req.Topics {
		resp.Topics[t].Topic, resp.Topics[t].TopicID = req.Topics[t].Topic, req.Topics[t].TopicID
		resp.Topics[t].Partitions = make([]kmsg.ProduceResponseTopicPartition, 0, len(req.Topics[t].Partitions))
	}
	nodes := map[int32]bool{}
	for n, s := range slots {
		p := b.producedOne(r, s, results[n])
		if r.Version >= 10 && p.ErrorCode == kerr.NotLeaderForPartition.Code {
			if h, ok := b.leaderHint(s.id, s.index, r.Conn.Listener); ok {
				p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch = h.leader, h.epoch
				if h.known && !nodes[h.leader] {
					nodes[h.leader] = true
					resp.Brokers = append(resp.Brokers, kmsg.ProduceResponseBroker{NodeID: h.node.ID, Host: h.node.Host, Port: h.node.Port, Rack: h.node.Rack})
				}
			}
		}
		resp.Topics[s.topic].Partitions = append(resp.Topics[s.topic].Partitions, p)
	}
	r.Reply(resp)
}

func (b *Broker) producedOne(r *server.Request, s slot, res replica.AppendResult) kmsg.ProduceResponseTopicPartition {
	p := kmsg.NewProduceResponseTopicPartition()
	p.Partition, p.ErrorCode = s.index, code(res.Err)
	p.BaseOffset, p.LogAppendTime, p.LogStartOffset = res.BaseOffset, res.LogAppendTime, res.LogStart
	if res.Err != nil {
		p.BaseOffset, p.LogAppendTime, p.LogStartOffset = -1, -1, -1
		if res.Detail != nil {
			p.ErrorMessage = kmsg.StringPtr(res.Detail.Error())
		}
	}
	return p
}
