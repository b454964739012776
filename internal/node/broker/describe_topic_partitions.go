package broker

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/node/server"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// DescribeTopicPartitions v0 (KIP-966): in pages, with eligible leader replicas. Nothing left out.

// maxPage is max.request.partition.size.limit's default.
const maxPage = 2000

func (b *Broker) describeTopicPartitions(r *server.Request, req *kmsg.DescribeTopicPartitionsRequest) {
	img := b.cfg.Loader.Current()
	resp := kmsg.NewPtrDescribeTopicPartitionsResponse()
	left := int(min(max(req.ResponsePartitionLimit, 1), maxPage))
	from, first := "", int32(0)
	if req.Cursor != nil {
		from, first = req.Cursor.Topic, req.Cursor.Partition
	}
	for _, name := range b.topicsToDescribe(img, req, from) {
		if left == 0 {
			resp.NextCursor = &kmsg.DescribeTopicPartitionsResponseNextCursor{Topic: name}
			break
		}
		if name != from {
			first = 0
		}
		out, next := b.describeTopic(r, img, name, first, left)
		if out == nil {
			continue
		}
		left -= len(out.Partitions)
		resp.Topics = append(resp.Topics, *out)
		if next >= 0 {
			resp.NextCursor = &kmsg.DescribeTopicPartitionsResponseNextCursor{Topic: name, Partition: next}
			break
		}
	}
	r.Reply(resp)
}

// topicsToDescribe are the names asked for, or all, from a name on and in order.
func (b *Broker) topicsToDescribe(img *metadata.Image, req *kmsg.DescribeTopicPartitionsRequest, from string) (names []string) {
	if len(req.Topics) == 0 {
		for name := range img.TopicsFrom(from) {
			names = append(names, name)
		}
		return names
	}
	for i := range req.Topics {
		if req.Topics[i].Topic >= from {
			names = append(names, req.Topics[i].Topic)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// describeTopic is one topic's partitions from first on, at most limit; next is where to go on, -1 at the end.
func (b *Broker) describeTopic(r *server.Request, img *metadata.Image, name string, first int32, limit int) (out *kmsg.DescribeTopicPartitionsResponseTopic, next int32) {
	o := kmsg.NewDescribeTopicPartitionsResponseTopic()
	o.Topic, o.AuthorizedOperations = kmsg.StringPtr(name), notAsked
	t, err := findTopic(img, name, uuid.UUID{}, false)
	if !b.topicAllowed(r, kmsg.ACLOperationDescribe, name) {
		err = kerr.TopicAuthorizationFailed
	}
	if err != nil {
		o.ErrorCode = code(err)
		return &o, -1
	}
	o.TopicID, o.IsInternal, o.AuthorizedOperations = t.ID, isInternal(name), b.topicOperations(r, name)
	for i, p := range t.Partitions() {
		if i < first {
			continue
		}
		if len(o.Partitions) == limit {
			return &o, i
		}
		dp := kmsg.NewDescribeTopicPartitionsResponseTopicPartition()
		dp.Partition, dp.LeaderID, dp.LeaderEpoch = i, p.Leader, p.LeaderEpoch
		dp.Replicas, dp.ISR, dp.OfflineReplicas = p.Replicas, p.ISR, offline(img, p.Replicas)
		dp.EligibleLeaderReplicas, dp.LastKnownELR = orEmpty(p.ELR), orEmpty(p.LastKnownELR)
		if _, ok := endpointOf(img, p.Leader, r.Conn.Listener); !ok {
			dp.ErrorCode, dp.LeaderID = leaderError(img, p.Leader), -1
		}
		o.Partitions = append(o.Partitions, dp)
	}
	return &o, -1
}

// orEmpty makes an empty array of null.
func orEmpty(ids []int32) []int32 {
	if ids == nil {
		return []int32{}
	}
	return ids
}
