package metadata

import (
	"cmp"
	"iter"
	"math"
	"slices"

	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// Role is a set of what a broker is for a partition.
type Role uint8

const (
	RoleReplica Role = 1 << iota // in Replicas
	RoleISR                      // in ISR
	RoleLeader                   // the leader
	RoleELR                      // in ELR
)

// Counts is how many partitions a broker has in each role.
type Counts struct{ Replicas, ISR, Leaders, ELR int }

func (c *Counts) add(r Role, n int) {
	if r&RoleReplica != 0 {
		c.Replicas += n
	}
	if r&RoleISR != 0 {
		c.ISR += n
	}
	if r&RoleLeader != 0 {
		c.Leaders += n
	}
	if r&RoleELR != 0 {
		c.ELR += n
	}
}

// roleKey orders the index by broker, so that a broker's partitions are one range of it.
type roleKey struct {
	broker    int32
	topic     uuid.UUID
	partition int32
}

func compareRoleKeys(a, b roleKey) int {
	if c := cmp.Compare(a.broker, b.broker); c != 0 {
		return c
	}
	if c := compareUUID(a.topic, b.topic); c != 0 {
		return c
	}
	return cmp.Compare(a.partition, b.partition)
}

// PartitionsOf yields the partitions for which broker has at least one of roles, in order of topic id and
// partition. It costs what the broker holds, not what the cluster holds.
func (img *Image) PartitionsOf(broker int32, roles Role) iter.Seq2[PartitionRef, *Partition] {
	return func(yield func(PartitionRef, *Partition) bool) {
		var topic *Topic
		for k, r := range img.roles.from(roleKey{broker: broker, partition: math.MinInt32}) {
			if k.broker != broker {
				return
			}
			if r&roles == 0 {
				continue
			}
			if topic == nil || topic.ID != k.topic {
				topic, _ = img.topics.get(k.topic)
			}
			p, _ := topic.parts.get(k.partition)
			if !yield(PartitionRef{k.topic, k.partition}, p) {
				return
			}
		}
	}
}

// LeaderlessPartitions yields the partitions that have no leader.
func (img *Image) LeaderlessPartitions() iter.Seq2[PartitionRef, *Partition] {
	return img.PartitionsOf(NoLeader, RoleLeader)
}

// BrokerCounts is how many partitions a broker has in each role.
func (img *Image) BrokerCounts(broker int32) Counts {
	c, _ := img.counts.get(broker)
	return c
}

// LeaderlessCount is the number of partitions that have no leader.
func (img *Image) LeaderlessCount() int { return img.BrokerCounts(NoLeader).Leaders }

// roleOf is what broker is for p, which may be nil.
func roleOf(p *Partition, broker int32) (r Role) {
	if p == nil {
		return 0
	}
	if slices.Contains(p.Replicas, broker) {
		r |= RoleReplica
	}
	if slices.Contains(p.ISR, broker) {
		r |= RoleISR
	}
	if p.Leader == broker {
		r |= RoleLeader
	}
	if slices.Contains(p.ELR, broker) {
		r |= RoleELR
	}
	return r
}

// reindex moves one partition in the index from its old state to its new one; either may be nil.
func (a *applier) reindex(ref PartitionRef, old, next *Partition) {
	var buf [16]int32
	ids := buf[:0]
	for _, p := range []*Partition{old, next} {
		if p == nil {
			continue
		}
		ids = append(ids, p.Leader)
		ids = append(ids, p.Replicas...)
		ids = append(ids, p.ISR...)
		ids = append(ids, p.ELR...)
	}
	slices.Sort(ids)
	for _, id := range slices.Compact(ids) {
		was, is := roleOf(old, id), roleOf(next, id)
		if was == is {
			continue
		}
		roles := own(&a.next.roles, a.prev.roles)
		key := roleKey{id, ref.TopicID, ref.Partition}
		if is == 0 {
			roles.delete(key)
		} else {
			roles.set(key, is)
		}
		c := a.count(id)
		c.add(was, -1)
		c.add(is, 1)
	}
}

// count returns id's counts of this pass; flushCounts stores them.
func (a *applier) count(id int32) *Counts {
	c, ok := a.counts[id]
	if !ok {
		v, _ := a.prev.counts.get(id)
		c = &v
		put(&a.counts, id, c)
	}
	return c
}

func (a *applier) flushCounts() {
	for id, c := range a.counts {
		if *c == (Counts{}) {
			own(&a.next.counts, a.prev.counts).delete(id)
			continue
		}
		own(&a.next.counts, a.prev.counts).set(id, *c)
	}
}
