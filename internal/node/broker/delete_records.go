package broker

import (
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/node/server"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// DeleteRecords v0 to 2 (KIP-107): answered when every live replica has moved its log start. Nothing left out.

func (b *Broker) deleteRecords(r *server.Request, req *kmsg.DeleteRecordsRequest) {
	img := b.cfg.Loader.Current()
	resp := kmsg.NewPtrDeleteRecordsResponse()
	open := new(atomic.Int64)
	open.Store(1)
	done := func() {
		if open.Add(-1) == 0 {
			r.Reply(resp)
		}
	}
	resp.Topics = make([]kmsg.DeleteRecordsResponseTopic, len(req.Topics))
	for t := range req.Topics {
		in := &req.Topics[t]
		resp.Topics[t].Topic = in.Topic
		resp.Topics[t].Partitions = make([]kmsg.DeleteRecordsResponseTopicPartition, len(in.Partitions))
		topic, err := findTopic(img, in.Topic, uuid.UUID{}, false)
		switch {
		case !b.topicAllowed(r, kmsg.ACLOperationDelete, in.Topic):
			err = kerr.TopicAuthorizationFailed
		case err == nil && isInternal(in.Topic):
			err = kerr.InvalidTopicException
		}
		for i := range in.Partitions {
			out := &resp.Topics[t].Partitions[i]
			out.Partition, out.LowWatermark, out.ErrorCode = in.Partitions[i].Partition, -1, code(err)
			if err != nil {
				continue
			}
			p, ok := b.replicas.Partition(topic.ID, out.Partition)
			if !ok {
				out.ErrorCode = code(absent(topic, out.Partition))
				continue
			}
			open.Add(1)
			p.DeleteRecords(in.Partitions[i].Offset, time.Duration(req.TimeoutMillis)*time.Millisecond, func(low int64, err error) {
				out.LowWatermark, out.ErrorCode = low, code(err)
				done()
			})
		}
	}
	done()
}
