package controller

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
)

// alterPartitionReassignments serves AlterPartitionReassignments v0 and 1 (KIP-455). The new replicas are added at once
// and the old ones leave when AlterPartition shows the new ones in sync; null replicas cancel.
func alterPartitionReassignments(tx *tx, req *kmsg.AlterPartitionAssignmentsRequest) (kmsg.Response, error) {
	resp := kmsg.NewPtrAlterPartitionAssignmentsResponse()
	resp.AllowReplicationFactorChange = req.AllowReplicationFactorChange
	for _, t := range req.Topics {
		rt := kmsg.AlterPartitionAssignmentsResponseTopic{Topic: t.Topic}
		for _, p := range t.Partitions {
			e := tx.reassign(t.Topic, p.Partition, p.Replicas, req.Version == 0 || req.AllowReplicationFactorChange)
			rt.Partitions = append(rt.Partitions, kmsg.AlterPartitionAssignmentsResponseTopicPartition{
				Partition: p.Partition, ErrorCode: codeOf(e), ErrorMessage: e.text(),
			})
		}
		resp.Topics = append(resp.Topics, rt)
	}
	return resp, nil
}

func (tx *tx) reassign(topic string, partition int32, target []int32, factorMayChange bool) *apiError {
	s := tx.view()
	t, ok := s.img.TopicByName(topic)
	if !ok {
		return fail(kerr.UnknownTopicOrPartition, "Unable to find a topic named %s.", topic)
	}
	p, ok := t.Partition(partition)
	if !ok {
		return fail(kerr.UnknownTopicOrPartition, "Unable to find partition %s:%d.", topic, partition)
	}
	e := tx.election(s, metadata.PartitionRef{TopicID: t.ID, Partition: partition}, p)
	if target == nil {
		return tx.cancelReassignment(e, topic)
	}
	if _, err := manualPartition(s, partition, target, -1); err != nil && !onlyInactive(s, target) {
		return err
	}
	if old := len(without(p.Replicas, p.Adding...)); !factorMayChange && len(target) != old {
		return fail(kerr.InvalidReplicationFactor, "The replication factor is changed from %d to %d", old, len(target))
	}
	removing, adding := without(p.Replicas, target...), without(target, p.Replicas...)
	e.setReplicas(append(slices.Clone(target), removing...))
	// Replicas that a reassignment before this one was adding, and which stay, are still to come.
	for _, r := range p.Adding {
		if slices.Contains(target, r) && !slices.Contains(adding, r) {
			adding = append(adding, r)
		}
	}
	e.removing, e.adding = removing, adding
	if len(removing)+len(adding) == 0 {
		e.removing, e.adding = nil, nil
	}
	tx.elect(e)
	return nil
}

// onlyInactive says whether all of a list are registered brokers once each, so that nothing but their state speaks
// against it: a reassignment may name brokers that are down, unlike a new partition.
func onlyInactive(s *state, replicas []int32) bool {
	if len(replicas) == 0 {
		return false
	}
	for i, r := range replicas {
		if _, ok := s.img.Broker(r); !ok || slices.Contains(replicas[:i], r) {
			return false
		}
	}
	return true
}

// cancelReassignment takes out what was being added and keeps what was being removed.
func (tx *tx) cancelReassignment(e *election, topic string) *apiError {
	p := e.part
	if len(p.Adding)+len(p.Removing) == 0 {
		return failCode(kerr.NoReassignmentInProgress)
	}
	replicas, isr := without(p.Replicas, p.Adding...), without(p.ISR, p.Adding...)
	if len(isr) == 0 {
		if e.kind != electUnclean {
			return fail(kerr.InvalidReplicaAssignment, "Unable to revert partition assignment for %s:%d because it would require an unclean leader election.",
				topic, e.id.Partition)
		}
		isr = replicas[:1]
		e.recovery = metadata.LeaderRecovering
	}
	e.setReplicas(replicas)
	e.isr, e.adding, e.removing = isr, nil, nil
	tx.elect(e)
	return nil
}

// listPartitionReassignments serves ListPartitionReassignments v0 from what is committed; null topics mean all.
func listPartitionReassignments(s *state, req *kmsg.ListPartitionReassignmentsRequest) kmsg.Response {
	resp := kmsg.NewPtrListPartitionReassignmentsResponse()
	add := func(topic string, partition int32, p *metadata.Partition) {
		if len(p.Adding)+len(p.Removing) == 0 {
			return
		}
		if n := len(resp.Topics); n == 0 || resp.Topics[n-1].Topic != topic {
			resp.Topics = append(resp.Topics, kmsg.ListPartitionReassignmentsResponseTopic{Topic: topic})
		}
		rt := &resp.Topics[len(resp.Topics)-1]
		rt.Partitions = append(rt.Partitions, kmsg.ListPartitionReassignmentsResponseTopicPartition{
			Partition: partition, Replicas: p.Replicas, AddingReplicas: p.Adding, RemovingReplicas: p.Removing,
		})
	}
	if req.Topics == nil {
		s.reassigning.Scan(func(ref metadata.PartitionRef) bool {
			if t, ok := s.img.TopicByID(ref.TopicID); ok {
				if p, ok := t.Partition(ref.Partition); ok {
					add(t.Name, ref.Partition, p)
				}
			}
			return true
		})
		return resp
	}
	for _, rt := range req.Topics {
		if t, ok := s.img.TopicByName(rt.Topic); ok {
			for _, i := range rt.Partitions {
				if p, ok := t.Partition(i); ok {
					add(rt.Topic, i, p)
				}
			}
		}
	}
	return resp
}
