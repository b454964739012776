package broker

import (
	"slices"
	"strconv"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/node/broker/partition"
	"github.com/kraft-dev/kraft-operator/internal/node/broker/replica"
)

// publish brings this broker to a new image: settings first, then partitions, then who may be in an ISR.
func (b *Broker) publish(prev, next *metadata.Image, delta *metadata.Delta) {
	if len(delta.Features) > 0 {
		b.featuresEpoch.Store(next.Offset)
	}
	changed := b.configsChanged(next, delta)
	targets, removals := b.localChanges(prev, next, delta)
	if err := b.replicas.Apply(targets, removals); err != nil {
		b.fail(err)
		return // never ready: a log that can't be opened must not be led
	}
	for _, topic := range changed {
		b.replicas.TopicConfigChanged(topic)
	}
	if len(delta.Brokers) > 0 {
		b.replicas.BrokersChanged()
		b.brokersChanged.Store(true)
	}
	b.dirs.imageTaken(next, delta)
	b.create.imageChanged()
	b.waits.imageTaken()
	b.once.Do(func() { close(b.applied) })
}

// appliedImage tells the controller at once that this broker has taken a change of the brokers: another one that shuts down waits
// until all active brokers know (KIP-841).
func (b *Broker) appliedImage(int64) {
	if b.brokersChanged.Swap(false) {
		b.life.Wake()
		if b.unfencedIn(b.cfg.Loader.Current()) {
			b.serves.Do(func() { close(b.running) })
		}
	}
}

// configsChanged takes new settings and returns the topics whose logs they touch; "" is all.
func (b *Broker) configsChanged(next *metadata.Image, delta *metadata.Delta) (topics []string) {
	own := strconv.Itoa(int(b.cfg.NodeID))
	for res := range delta.Configs {
		switch {
		case res.Type == metadata.ResourceBroker && (res.Name == "" || res.Name == own):
			b.settings.Store(newSettings(b.cfg.Static, b.cfg.NodeID, next))
			return []string{""}
		case res.Type == metadata.ResourceTopic:
			topics = append(topics, res.Name)
		}
	}
	return topics
}

// localChanges are the changed partitions that have, or had, a replica here.
func (b *Broker) localChanges(prev, next *metadata.Image, delta *metadata.Delta) (targets []replica.Target, removals []replica.Removal) {
	for id, td := range delta.Topics {
		for i := range td.Partitions {
			p, ok := next.Partition(id, i)
			if ok && slices.Contains(p.Replicas, b.cfg.NodeID) {
				targets = append(targets, replica.Target{Topic: td.Name, TopicID: id, Index: i, Assignment: partition.Assignment{
					Replicas: p.Replicas, ISR: p.ISR, Leader: p.Leader, LeaderEpoch: p.LeaderEpoch,
					PartitionEpoch: p.PartitionEpoch, LeaderRecoveryState: p.LeaderRecoveryState,
				}})
				continue
			}
			if old, had := prev.Partition(id, i); had && slices.Contains(old.Replicas, b.cfg.NodeID) {
				removals = append(removals, replica.Removal{Topic: td.Name, TopicID: id, Index: i})
			}
		}
	}
	return targets, removals
}

// roleChanged tells the coordinators of partitions that came or went.
func (b *Broker) roleChanged(c replica.RoleChange) {
	if c.Topic != OffsetsTopic || b.groups == nil {
		return
	}
	if c.Role == partition.Leader && !c.Deleted {
		b.groups.BecomeLeader(c.Partition, c.LeaderEpoch)
	} else {
		b.groups.BecomeFollower(c.Partition)
	}
}
