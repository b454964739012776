package raft

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
)

// Handing over to a named voter is ElectLeaders for the metadata topic, with the voter's node id for the partition: a
// request that Kafka's clients can send, its brokers forward, and an Apache Kafka controller refuses without harm
// (UNKNOWN_TOPIC_OR_PARTITION), see docs/decisions/0015.

// fromTransfer reports whether an ElectLeaders request is about the quorum.
func fromTransfer(body kmsg.Request) (*quorum.TransferRequest, bool) {
	req, ok := body.(*kmsg.ElectLeadersRequest)
	if !ok || len(req.Topics) != 1 || req.Topics[0].Topic != Topic || len(req.Topics[0].Partitions) != 1 {
		return nil, false
	}
	return &quorum.TransferRequest{To: quorum.NodeID(req.Topics[0].Partitions[0])}, true
}

func toTransfer(body kmsg.Request, m *quorum.TransferResponse) kmsg.Response {
	resp := kmsg.NewPtrElectLeadersResponse()
	if m.Error == quorum.NotLeaderOrFollower && m.Text == "" {
		resp.ErrorCode = kerr.NotController.Code // so that a broker that forwarded it looks for the leader
		return resp
	}
	t, p := kmsg.NewElectLeadersResponseTopic(), kmsg.NewElectLeadersResponseTopicPartition()
	t.Topic = Topic
	if req, ok := fromTransfer(body); ok {
		p.Partition = int32(req.To)
	}
	p.ErrorCode, p.ErrorMessage = int16(m.Error), textTo(m.Text)
	t.Partitions = append(t.Partitions, p)
	resp.Topics = append(resp.Topics, t)
	return resp
}
