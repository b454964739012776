package broker

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/node/broker/replica"
	"github.com/kraft-dev/kraft-operator/internal/node/server"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// OffsetForLeaderEpoch v2 to 4 (KIP-101, KIP-279, KIP-320): nothing left out.

func (b *Broker) offsetForLeaderEpoch(r *server.Request, req *kmsg.OffsetForLeaderEpochRequest) {
	img := b.cfg.Loader.Current()
	resp := kmsg.NewPtrOffsetForLeaderEpochResponse()
	cluster := b.clusterAllowed(r, kmsg.ACLOperationClusterAction)
	for t := range req.Topics {
		in := &req.Topics[t]
		out := kmsg.OffsetForLeaderEpochResponseTopic{Topic: in.Topic}
		topic, err := findTopic(img, in.Topic, uuid.UUID{}, false)
		if !cluster && !b.topicAllowed(r, kmsg.ACLOperationDescribe, in.Topic) {
			err = kerr.TopicAuthorizationFailed
		}
		for i := range in.Partitions {
			ip := &in.Partitions[i]
			p := kmsg.NewOffsetForLeaderEpochResponseTopicPartition()
			end, perr := replica.EpochEnd{Epoch: -1, EndOffset: -1}, err
			if perr == nil {
				if part, ok := b.replicas.Partition(topic.ID, ip.Partition); ok {
					end, perr = part.EndOfEpoch(ip.CurrentLeaderEpoch, ip.LeaderEpoch)
				} else {
					perr = absent(topic, ip.Partition)
				}
			}
			p.Partition, p.ErrorCode, p.LeaderEpoch, p.EndOffset = ip.Partition, code(perr), end.Epoch, end.EndOffset
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	r.Reply(resp)
}
