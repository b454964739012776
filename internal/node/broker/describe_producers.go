package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/node/server"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// DescribeProducers v0 (KIP-664): the idempotent producers that a partition's leader knows.

func (b *Broker) describeProducers(r *server.Request, req *kmsg.DescribeProducersRequest) {
	img := b.cfg.Loader.Current()
	resp := kmsg.NewPtrDescribeProducersResponse()
	for t := range req.Topics {
		in := &req.Topics[t]
		out := kmsg.DescribeProducersResponseTopic{Topic: in.Topic}
		topic, err := findTopic(img, in.Topic, uuid.UUID{}, false)
		if !b.topicAllowed(r, kmsg.ACLOperationRead, in.Topic) {
			err = kerr.TopicAuthorizationFailed
		}
		for _, index := range in.Partitions {
			p := kmsg.NewDescribeProducersResponseTopicPartition()
			p.Partition = index
			perr := err
			if perr == nil {
				if part, ok := b.replicas.Partition(topic.ID, index); !ok {
					perr = absent(topic, index)
				} else if perr = part.CheckLeader(-1); perr == nil {
					for _, s := range part.Log().Producers() {
						a := kmsg.NewDescribeProducersResponseTopicPartitionActiveProducer()
						a.ProducerID, a.ProducerEpoch, a.LastSequence = s.ProducerID, int32(s.Epoch), s.LastSequence
						a.LastTimestamp, a.CoordinatorEpoch, a.CurrentTxnStartOffset = s.LastTimestamp, s.CoordinatorEpoch, s.CurrentTxnFirstOff
						p.ActiveProducers = append(p.ActiveProducers, a)
					}
				}
			}
			p.ErrorCode = code(perr)
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	r.Reply(resp)
}
