package controller

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
)

// isrMember is one broker of a proposed ISR; epoch -1 is not checked (versions before 3).
type isrMember struct {
	id    int32
	epoch int64
}

// alterPartition serves AlterPartition v2 and 3 (KIP-497, KIP-704, KIP-841, KIP-903): a leader proposes its ISR.
func alterPartition(tx *tx, req *kmsg.AlterPartitionRequest) (kmsg.Response, error) {
	if _, e := checkBrokerEpoch(tx.view(), req.BrokerID, req.BrokerEpoch); e != nil {
		return nil, e
	}
	resp := kmsg.NewPtrAlterPartitionResponse()
	for _, t := range req.Topics {
		rt := kmsg.NewAlterPartitionResponseTopic()
		rt.TopidID = t.TopicID
		_, known := tx.view().img.TopicByID(t.TopicID)
		for _, p := range t.Partitions {
			rp := kmsg.NewAlterPartitionResponseTopicPartition()
			rp.Partition = p.Partition
			if !known {
				rp.ErrorCode = kerr.UnknownTopicID.Code
			} else {
				tx.alterOne(req, metadata.PartitionRef{TopicID: t.TopicID, Partition: p.Partition}, &p, &rp)
			}
			rt.Partitions = append(rt.Partitions, rp)
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp, nil
}

func (tx *tx) alterOne(req *kmsg.AlterPartitionRequest, ref metadata.PartitionRef, in *kmsg.AlterPartitionRequestTopicPartition, out *kmsg.AlterPartitionResponseTopicPartition) {
	s := tx.view()
	p, ok := s.img.Partition(ref.TopicID, ref.Partition)
	if !ok {
		out.ErrorCode = kerr.UnknownTopicOrPartition.Code
		return
	}
	members := proposedISR(req.Version, in)
	if why := checkAlterPartition(s, req.BrokerID, p, in, members); why != nil {
		tx.cfg.Logger.Debug("Rejecting AlterPartition", "brokerID", req.BrokerID, "topicID", ref.TopicID, "partition", ref.Partition,
			"leaderEpoch", in.LeaderEpoch, "partitionEpoch", in.PartitionEpoch, "err", why)
		out.ErrorCode = why.code
		return
	}
	e := tx.election(s, ref, p)
	e.isr = make([]int32, len(members))
	for i, m := range members {
		e.isr[i] = m.id
	}
	e.recovery = in.LeaderRecoveryState
	next := p
	if rec := e.decide(); rec != nil {
		tx.emit(rec)
		var err error
		if next, err = p.Changed(rec); err != nil {
			panic(err) // the record was made for this partition
		}
	}
	if next.Leader != p.Leader {
		// The change completed a reassignment that moved the leader away from the sender: its state is of no more use to it.
		out.ErrorCode = kerr.NewLeaderElected.Code
		return
	}
	out.LeaderID, out.LeaderEpoch, out.PartitionEpoch = next.Leader, next.LeaderEpoch, next.PartitionEpoch
	out.ISR, out.LeaderRecoveryState = next.ISR, next.LeaderRecoveryState
}

func proposedISR(version int16, in *kmsg.AlterPartitionRequestTopicPartition) []isrMember {
	var out []isrMember
	if version < 3 {
		for _, id := range in.NewISR {
			out = append(out, isrMember{id, -1})
		}
		return out
	}
	for _, m := range in.NewEpochISR {
		out = append(out, isrMember{m.BrokerID, m.BrokerEpoch})
	}
	return out
}

// checkAlterPartition applies Kafka's checks in Kafka's order. A sender that knows newer epochs than this controller
// should look for another: NOT_CONTROLLER.
func checkAlterPartition(s *state, sender int32, p *metadata.Partition, in *kmsg.AlterPartitionRequestTopicPartition, isr []isrMember) *apiError {
	switch {
	case in.LeaderEpoch > p.LeaderEpoch:
		return fail(kerr.NotController, "leader epoch %d is newer than the known %d", in.LeaderEpoch, p.LeaderEpoch)
	case in.PartitionEpoch > p.PartitionEpoch:
		return fail(kerr.NotController, "partition epoch %d is newer than the known %d", in.PartitionEpoch, p.PartitionEpoch)
	case in.LeaderEpoch < p.LeaderEpoch:
		return fail(kerr.FencedLeaderEpoch, "leader epoch %d is older than the current %d", in.LeaderEpoch, p.LeaderEpoch)
	case sender != p.Leader:
		return fail(kerr.InvalidRequest, "the current leader is %d", p.Leader)
	case in.PartitionEpoch < p.PartitionEpoch:
		return fail(kerr.InvalidUpdateVersion, "partition epoch %d is older than the current %d", in.PartitionEpoch, p.PartitionEpoch)
	}
	if e := checkProposedISR(p, in.LeaderRecoveryState, isr); e != nil {
		return e
	}
	for _, m := range isr {
		b, ok := s.img.Broker(m.id)
		switch {
		case !ok:
			return fail(kerr.IneligibleReplica, "broker %d is not registered", m.id)
		case b.InControlledShutdown:
			return fail(kerr.IneligibleReplica, "broker %d is shutting down", m.id)
		case b.Fenced:
			return fail(kerr.IneligibleReplica, "broker %d is fenced", m.id)
		case m.epoch != -1 && m.epoch != b.Epoch:
			return fail(kerr.IneligibleReplica, "broker %d has epoch %d, not %d", m.id, b.Epoch, m.epoch)
		}
	}
	return nil
}

func checkProposedISR(p *metadata.Partition, recovery int8, isr []isrMember) *apiError {
	leads := false
	for i, m := range isr {
		if !slices.Contains(p.Replicas, m.id) {
			return fail(kerr.InvalidRequest, "ISR member %d is not a replica", m.id)
		}
		if slices.ContainsFunc(isr[:i], func(o isrMember) bool { return o.id == m.id }) {
			return fail(kerr.InvalidRequest, "ISR member %d is listed twice", m.id)
		}
		leads = leads || m.id == p.Leader
	}
	switch {
	case !leads:
		return fail(kerr.InvalidRequest, "the ISR lacks the leader")
	case recovery != metadata.LeaderRecovered && recovery != metadata.LeaderRecovering:
		return fail(kerr.InvalidRequest, "unknown leader recovery state %d", recovery)
	case recovery == metadata.LeaderRecovering && len(isr) > 1:
		return fail(kerr.InvalidRequest, "the ISR has more than the leader, which is still recovering from an unclean election")
	case recovery == metadata.LeaderRecovering && p.LeaderRecoveryState == metadata.LeaderRecovered:
		return fail(kerr.InvalidRequest, "the leader recovery state can't go from recovered to recovering")
	}
	return nil
}
