package metadata

import (
	"fmt"
	"slices"

	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

func (a *applier) createTopic(rec *TopicRecord) error {
	if old, ok := a.next.topicIDs.get(rec.Name); ok {
		return fmt.Errorf("topic %q exists with id %s", rec.Name, old)
	}
	if old, ok := a.next.topics.get(rec.TopicID); ok {
		return fmt.Errorf("topic id %s is %q already", rec.TopicID, old.Name)
	}
	t := &Topic{ID: rec.TopicID, Name: rec.Name, parts: newOrdered[int32, *Partition]()}
	put(&a.topics, t.ID, t)
	mark(&a.parts, t.ID)
	own(&a.next.topics, a.prev.topics).set(t.ID, t)
	own(&a.next.topicIDs, a.prev.topicIDs).set(t.Name, t.ID)
	d := a.delta.topic(t.ID, t.Name)
	d.Created, d.Deleted = true, false
	return nil
}

// removeTopic deletes the topic, its partitions and its settings.
func (a *applier) removeTopic(rec *RemoveTopicRecord) error {
	t, ok := a.next.topics.get(rec.TopicID)
	if !ok {
		return fmt.Errorf("unknown topic id %s", rec.TopicID)
	}
	d := a.delta.topic(t.ID, t.Name)
	d.Deleted = true
	for i, p := range t.parts.all() {
		a.reindex(PartitionRef{t.ID, i}, p, nil)
		mark(&d.Partitions, i)
	}
	a.next.partitions -= t.parts.len()
	own(&a.next.topics, a.prev.topics).delete(t.ID)
	own(&a.next.topicIDs, a.prev.topicIDs).delete(t.Name)
	delete(a.topics, t.ID)
	delete(a.parts, t.ID)
	a.deleteConfigs(ConfigResource{ResourceTopic, t.Name})
	return nil
}

func (a *applier) storePartition(t *Topic, i int32, old, p *Partition) {
	if !a.parts[t.ID] {
		t.parts = t.parts.copy()
		mark(&a.parts, t.ID)
	}
	t.parts.set(i, p)
	if old == nil {
		a.next.partitions++
	}
	a.reindex(PartitionRef{t.ID, i}, old, p)
	mark(&a.delta.topic(t.ID, t.Name).Partitions, i)
}

func (a *applier) setPartition(rec *PartitionRecord) error {
	if rec.PartitionID < 0 {
		return fmt.Errorf("partition %d is negative", rec.PartitionID)
	}
	p := &Partition{
		Replicas: slices.Clip(rec.Replicas), ISR: slices.Clip(rec.ISR),
		Removing: slices.Clip(rec.RemovingReplicas), Adding: slices.Clip(rec.AddingReplicas),
		ELR: slices.Clip(rec.EligibleLeaderReplicas), LastKnownELR: slices.Clip(rec.LastKnownELR),
		Directories: slices.Clip(rec.Directories),
		Leader:      rec.Leader, LeaderEpoch: rec.LeaderEpoch, PartitionEpoch: rec.PartitionEpoch,
		LeaderRecoveryState: rec.LeaderRecoveryState,
	}
	if len(p.Directories) == 0 { // before 3.7-IV2: every replica counts as migrating
		p.Directories = make([]uuid.UUID, len(p.Replicas))
	}
	if err := p.check(); err != nil {
		return fmt.Errorf("partition %s-%d: %w", rec.TopicID, rec.PartitionID, err)
	}
	t, err := a.ownTopic(rec.TopicID)
	if err != nil {
		return err
	}
	old, _ := t.parts.get(rec.PartitionID)
	a.storePartition(t, rec.PartitionID, old, p.share())
	return nil
}

// UnchangedLeader in a PartitionChangeRecord keeps the leader and its epoch.
const UnchangedLeader int32 = -2

func (a *applier) changePartition(rec *PartitionChangeRecord) error {
	t, err := a.ownTopic(rec.TopicID)
	if err != nil {
		return err
	}
	old, ok := t.parts.get(rec.PartitionID)
	if !ok {
		return fmt.Errorf("topic %q has no partition %d", t.Name, rec.PartitionID)
	}
	p, err := old.Changed(rec)
	if err != nil {
		return fmt.Errorf("partition %s-%d: %w", t.Name, rec.PartitionID, err)
	}
	a.storePartition(t, rec.PartitionID, old, p)
	return nil
}

// Changed returns p after rec: a leader that is present, even the same one, bumps the leader epoch; every
// change bumps the partition epoch.
func (p *Partition) Changed(rec *PartitionChangeRecord) (*Partition, error) {
	n := *p
	for _, set := range []struct {
		field *[]int32
		value []int32
	}{
		{&n.ISR, rec.ISR}, {&n.Replicas, rec.Replicas}, {&n.Removing, rec.RemovingReplicas},
		{&n.Adding, rec.AddingReplicas}, {&n.ELR, rec.EligibleLeaderReplicas}, {&n.LastKnownELR, rec.LastKnownELR},
	} {
		if set.value != nil {
			*set.field = slices.Clip(set.value)
		}
	}
	switch {
	case rec.Directories != nil:
		n.Directories = slices.Clip(rec.Directories)
	case rec.Replicas != nil:
		n.Directories = p.carryDirectories(n.Replicas)
	}
	if rec.Leader != UnchangedLeader {
		n.Leader = rec.Leader
		n.LeaderEpoch++
	}
	if rec.LeaderRecoveryState != -1 {
		n.LeaderRecoveryState = rec.LeaderRecoveryState
	}
	n.PartitionEpoch++
	if err := n.check(); err != nil {
		return nil, err
	}
	return n.share(), nil
}

// carryDirectories keeps the directories of the replicas that stay; new ones are unassigned. Only a record of
// a metadata.version without directories leaves them out.
func (p *Partition) carryDirectories(replicas []int32) []uuid.UUID {
	dirs := make([]uuid.UUID, len(replicas))
	for i, id := range replicas {
		if old := slices.Index(p.Replicas, id); old >= 0 {
			dirs[i] = p.Directories[old]
		}
	}
	return dirs
}

// check refuses what would break the image's own invariants; whether the state makes sense is the
// controller's business.
func (p *Partition) check() error {
	switch {
	case len(p.Directories) != len(p.Replicas):
		return fmt.Errorf("%d directories for %d replicas", len(p.Directories), len(p.Replicas))
	case p.Leader < NoLeader:
		return fmt.Errorf("leader %d", p.Leader)
	case p.LeaderRecoveryState != LeaderRecovered && p.LeaderRecoveryState != LeaderRecovering:
		return fmt.Errorf("leader recovery state %d: must be 0 or 1", p.LeaderRecoveryState)
	}
	return nil
}

// share lets equal lists be one: most partitions have all replicas in sync.
func (p *Partition) share() *Partition {
	if slices.Equal(p.ISR, p.Replicas) {
		p.ISR = p.Replicas
	}
	return p
}

func (p *Partition) equal(q *Partition) bool {
	return slices.Equal(p.Replicas, q.Replicas) && slices.Equal(p.ISR, q.ISR) &&
		slices.Equal(p.Removing, q.Removing) && slices.Equal(p.Adding, q.Adding) &&
		slices.Equal(p.ELR, q.ELR) && slices.Equal(p.LastKnownELR, q.LastKnownELR) &&
		slices.Equal(p.Directories, q.Directories) && p.Leader == q.Leader && p.LeaderEpoch == q.LeaderEpoch &&
		p.PartitionEpoch == q.PartitionEpoch && p.LeaderRecoveryState == q.LeaderRecoveryState
}

// clearELR empties the ELR of one topic, or of all when the name is empty, as a change of each partition that
// has any.
func (a *applier) clearELR(rec *ClearElrRecord) error {
	if rec.TopicName != "" {
		id, ok := a.next.topicIDs.get(rec.TopicName)
		if !ok {
			return fmt.Errorf("unknown topic %q", rec.TopicName)
		}
		return a.clearTopicELR(id)
	}
	var ids []uuid.UUID
	for id := range a.next.topics.all() {
		ids = append(ids, id)
	}
	for _, id := range ids {
		if err := a.clearTopicELR(id); err != nil {
			return err
		}
	}
	return nil
}

func (a *applier) clearTopicELR(id uuid.UUID) error {
	t, _ := a.next.topics.get(id)
	var with []int32
	for i, p := range t.parts.all() {
		if len(p.ELR)+len(p.LastKnownELR) > 0 {
			with = append(with, i)
		}
	}
	for _, i := range with {
		rec := NewPartitionChangeRecord()
		rec.TopicID, rec.PartitionID = id, i
		rec.EligibleLeaderReplicas, rec.LastKnownELR = []int32{}, []int32{}
		if err := a.changePartition(rec); err != nil {
			return err
		}
	}
	return nil
}
