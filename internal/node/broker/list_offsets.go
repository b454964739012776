package broker

import (
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/node/broker/replica"
	"github.com/kraft-dev/kraft-operator/internal/node/server"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// ListOffsets v1 to 11: by time, latest and earliest; -3 the largest timestamp (v7, KIP-734), -4 earliest local (v8, KIP-405), -5 latest
// tiered (v9, KIP-1005: there is none), -6 earliest pending upload (v11, KIP-1023: the earliest). Without transactions READ_COMMITTED
// sees what READ_UNCOMMITTED sees.

// sinceVersion is from which version on a special timestamp is known.
var sinceVersion = map[int64]int16{
	replica.Latest: 0, replica.Earliest: 0, replica.MaxTimestamp: 7, replica.EarliestLocal: 8, replica.LatestTiered: 9, replica.EarliestPending: 11,
}

func (b *Broker) listOffsets(r *server.Request, req *kmsg.ListOffsetsRequest) {
	img := b.cfg.Loader.Current()
	resp := kmsg.NewPtrListOffsetsResponse()
	for t := range req.Topics {
		in := &req.Topics[t]
		out := kmsg.ListOffsetsResponseTopic{Topic: in.Topic}
		topic, err := findTopic(img, in.Topic, uuid.UUID{}, false)
		if !b.topicAllowed(r, kmsg.ACLOperationDescribe, in.Topic) {
			err = kerr.TopicAuthorizationFailed
		}
		seen := map[int32]bool{}
		for i := range in.Partitions {
			p := kmsg.NewListOffsetsResponseTopicPartition()
			p.Partition, p.Timestamp, p.Offset, p.LeaderEpoch = in.Partitions[i].Partition, -1, -1, -1
			at, perr := replica.ListedOffset{Timestamp: -1, Offset: -1, LeaderEpoch: -1}, err
			switch {
			case perr != nil:
			case seen[p.Partition]:
				perr = kerr.InvalidRequest
			default:
				at, perr = b.listOffset(req, topic, &in.Partitions[i])
			}
			seen[p.Partition] = true
			p.ErrorCode = code(perr)
			p.Timestamp, p.Offset, p.LeaderEpoch = at.Timestamp, at.Offset, at.LeaderEpoch
			out.Partitions = append(out.Partitions, p)
		}
		resp.Topics = append(resp.Topics, out)
	}
	r.Reply(resp)
}

func (b *Broker) listOffset(req *kmsg.ListOffsetsRequest, topic *metadata.Topic, in *kmsg.ListOffsetsRequestTopicPartition) (replica.ListedOffset, error) {
	none := replica.ListedOffset{Timestamp: -1, Offset: -1, LeaderEpoch: -1}
	if since, ok := sinceVersion[in.Timestamp]; in.Timestamp < 0 && (!ok || req.Version < since) {
		return none, kerr.UnsupportedVersion
	}
	p, ok := b.replicas.Partition(topic.ID, in.Partition)
	if !ok {
		return none, absent(topic, in.Partition)
	}
	epoch := int32(-1)
	if req.Version >= 4 {
		epoch = in.CurrentLeaderEpoch
	}
	at, err := p.ListOffset(in.Timestamp, epoch, req.ReplicaID >= 0)
	if errors.Is(err, kerr.OffsetNotAvailable) && req.Version < 5 {
		err = kerr.LeaderNotAvailable
	}
	return at, err
}
