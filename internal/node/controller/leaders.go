package controller

import (
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
)

// Election types of ElectLeaders (KIP-460).
const (
	electionPreferred int8 = 0
	electionUnclean   int8 = 1
)

// electLeaders serves ElectLeaders v0 to 2. Null topics mean all partitions; then those that already have the wanted
// leader aren't listed.
func electLeaders(tx *tx, req *kmsg.ElectLeadersRequest) (kmsg.Response, error) {
	kind := electPreferred
	switch {
	case req.Version == 0 || req.ElectionType == electionPreferred:
	case req.ElectionType == electionUnclean:
		kind = electUnclean
	default:
		return nil, fail(kerr.InvalidRequest, "Unknown election type %d", req.ElectionType)
	}
	resp := kmsg.NewPtrElectLeadersResponse()
	s := tx.view()
	if req.Topics == nil {
		for name, t := range s.img.Topics() {
			rt := kmsg.ElectLeadersResponseTopic{Topic: name}
			for i := range t.Partitions() {
				if e := tx.electLeader(s, name, i, kind); e == nil || e.code != kerr.ElectionNotNeeded.Code {
					rt.Partitions = append(rt.Partitions, electionAnswer(i, e))
				}
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, nil
	}
	seen := map[metadata.PartitionRef]*apiError{}
	for _, t := range req.Topics {
		rt := kmsg.ElectLeadersResponseTopic{Topic: t.Topic}
		for _, i := range t.Partitions {
			rt.Partitions = append(rt.Partitions, electionAnswer(i, tx.electOnce(s, seen, t.Topic, i, kind)))
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp, nil
}

// electOnce elects a partition that is named twice only once.
func (tx *tx) electOnce(s *state, seen map[metadata.PartitionRef]*apiError, topic string, partition int32, kind electionKind) *apiError {
	ref := metadata.PartitionRef{Partition: partition}
	if t, ok := s.img.TopicByName(topic); ok {
		ref.TopicID = t.ID
		if e, done := seen[ref]; done {
			return e
		}
	}
	e := tx.electLeader(s, topic, partition, kind)
	seen[ref] = e
	return e
}

func electionAnswer(partition int32, e *apiError) kmsg.ElectLeadersResponseTopicPartition {
	return kmsg.ElectLeadersResponseTopicPartition{Partition: partition, ErrorCode: codeOf(e), ErrorMessage: e.text()}
}

func (tx *tx) electLeader(s *state, topic string, partition int32, kind electionKind) *apiError {
	t, ok := s.img.TopicByName(topic)
	if !ok {
		return fail(kerr.UnknownTopicOrPartition, "No such topic as %s", topic)
	}
	p, ok := t.Partition(partition)
	if !ok {
		return fail(kerr.UnknownTopicOrPartition, "No such partition as %s-%d", topic, partition)
	}
	if kind == electPreferred && len(p.Replicas) > 0 && p.Leader == p.Replicas[0] || kind == electUnclean && p.Leader != noLeader {
		return failCode(kerr.ElectionNotNeeded)
	}
	e := tx.election(s, metadata.PartitionRef{TopicID: t.ID, Partition: partition}, p)
	e.kind = kind
	if !tx.elect(e) {
		if kind == electPreferred {
			return failCode(kerr.PreferredLeaderNotAvailable)
		}
		return failCode(kerr.EligibleLeadersNotAvailable)
	}
	return nil
}

// electPreferredLeaders gives leadership back to first replicas that are in sync (auto.leader.rebalance.enable).
func electPreferredLeaders(tx *tx) (again bool, err error) {
	s := tx.view()
	n := 0
	s.imbalanced.Scan(func(ref metadata.PartitionRef) bool {
		if n >= maxElectionsPerRun {
			return false
		}
		p, ok := s.img.Partition(ref.TopicID, ref.Partition)
		if !ok {
			return true
		}
		e := tx.election(s, ref, p)
		e.kind = electPreferred
		if tx.elect(e) {
			n++
		}
		return true
	})
	return n >= maxElectionsPerRun, nil
}

// electUncleanLeaders elects from outside the ISR where a topic prefers that to waiting.
func electUncleanLeaders(tx *tx) (again bool, err error) {
	s := tx.view()
	n := 0
	for ref, p := range s.img.LeaderlessPartitions() {
		if n >= maxElectionsPerRun {
			break
		}
		if e := tx.election(s, ref, p); e.kind == electUnclean && tx.elect(e) {
			n++
		}
	}
	return n >= maxElectionsPerRun, nil
}
