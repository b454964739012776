package controller

import (
	"iter"
	"slices"
	"strconv"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// election prepares the election of one partition by what the state says of its topic and brokers. It keeps the leader if
// that is valid, and goes beyond ISR and ELR only where the topic allows it.
func (tx *tx) election(s *state, ref metadata.PartitionRef, p *metadata.Partition) *election {
	e := newElection(ref, p)
	e.acceptable = s.acceptable(p)
	e.newDirectory = s.newReplicaDirectory
	e.elr = s.elrEnabled()
	e.bumpOnShrink = !s.img.MetadataVersion().ShrinkKeepsLeaderEpoch()
	rules := tx.electionRules(s, ref.TopicID)
	e.minISR = rules.minISR
	if rules.unclean {
		e.kind = electUnclean
	}
	return e
}

// electionRules are a topic's settings that decide elections, in force in one state.
type electionRules struct {
	minISR  int
	unclean bool
}

// rulesCache keeps the rules of one state: an operation may elect for many partitions of a topic.
type rulesCache struct {
	of    *state
	rules map[uuid.UUID]electionRules
}

func (tx *tx) electionRules(s *state, topic uuid.UUID) electionRules {
	if tx.cache.of != s {
		tx.cache = rulesCache{of: s, rules: map[uuid.UUID]electionRules{}}
	}
	r, ok := tx.cache.rules[topic]
	if !ok {
		name := ""
		if t, ok := s.img.TopicByID(topic); ok {
			name = t.Name
		}
		r = electionRules{minISR: tx.minISR(s, name, topic), unclean: tx.topicConfig(s, name, uncleanElectionConfig) == "true"}
		tx.cache.rules[topic] = r
	}
	return r
}

// acceptable says whether a replica may lead: its broker is active and its directory online.
func (s *state) acceptable(p *metadata.Partition) func(int32) bool {
	return func(replica int32) bool {
		b, ok := s.img.Broker(replica)
		return ok && b.Active() && b.HasOnlineDir(p.Directory(replica))
	}
}

// minISR is min.insync.replicas for ELR: of the topic or else the cluster, at most partition 0's replica count.
func (tx *tx) minISR(s *state, topic string, id uuid.UUID) int {
	n, err := strconv.Atoi(tx.topicConfig(s, topic, minISRConfig))
	if err != nil || n < 1 {
		n = 1
	}
	if p, ok := s.img.Partition(id, 0); ok {
		n = min(n, len(p.Replicas))
	}
	return n
}

// elect emits what the election decides, if anything, and says whether it did.
func (tx *tx) elect(e *election) bool {
	rec := e.decide()
	if rec == nil {
		return false
	}
	if e.part.Leader != rec.Leader && rec.LeaderRecoveryState == metadata.LeaderRecovering {
		tx.cfg.Logger.Warn("Electing a leader outside the ISR and ELR, records may be lost",
			"topicID", rec.TopicID, "partition", rec.PartitionID, "leader", rec.Leader, "oldLeader", e.part.Leader)
	}
	tx.emit(rec)
	return true
}

// removeFromISR takes a broker out of the ISRs, and so the leaderships, of some partitions; it is no candidate for them.
// An unclean broker also stops being eligible.
func (tx *tx) removeFromISR(s *state, broker int32, unclean bool, parts iter.Seq2[metadata.PartitionRef, *metadata.Partition]) {
	for ref, p := range parts {
		e := tx.election(s, ref, p)
		acceptable := e.acceptable
		e.acceptable = func(r int32) bool { return r != broker && acceptable(r) }
		e.withoutISR(broker)
		if unclean {
			e.uncleanReplicas = []int32{broker}
		}
		tx.elect(e)
	}
}

// fenceBroker takes a broker out of all ISRs and then fences it; replay must see them in that order.
func (tx *tx) fenceBroker(id int32) {
	s := tx.view()
	b, ok := s.img.Broker(id)
	if !ok {
		return
	}
	tx.removeFromISR(s, id, false, s.img.PartitionsOf(id, metadata.RoleISR))
	if !b.Fenced {
		rec := brokerChange(b)
		rec.Fenced = metadata.ChangeFence
		tx.emit(rec)
	}
}

// unfenceBroker lets a broker take part, and only then lead what has no leader. It rejoins ISRs by AlterPartition alone.
func (tx *tx) unfenceBroker(id int32) {
	b, ok := tx.view().img.Broker(id)
	if !ok {
		return
	}
	rec := brokerChange(b)
	rec.Fenced = metadata.ChangeUnfence
	tx.emit(rec)
	s := tx.view()
	for ref, p := range s.img.LeaderlessPartitions() {
		if slices.Contains(p.Replicas, id) {
			tx.elect(tx.election(s, ref, p))
		}
	}
}

// startControlledShutdown moves a broker's leaderships and ISR memberships away while it still serves (KIP-841).
func (tx *tx) startControlledShutdown(id int32) {
	s := tx.view()
	b, ok := s.img.Broker(id)
	if !ok {
		return
	}
	if !b.InControlledShutdown {
		rec := brokerChange(b)
		rec.InControlledShutdown = metadata.ChangeControlledShutdown
		tx.emit(rec)
	}
	tx.removeFromISR(s, id, false, s.img.PartitionsOf(id, metadata.RoleISR))
}

// offlineDirectories reacts to directories that failed on a broker (KIP-858): its replicas there leave their ISRs.
func (tx *tx) offlineDirectories(id int32, offline []uuid.UUID) {
	s := tx.view()
	b, ok := s.img.Broker(id)
	if !ok || !s.img.MetadataVersion().DirectoryAssignment() {
		return
	}
	var failed, online []uuid.UUID
	for _, d := range b.LogDirs {
		if slices.Contains(offline, d) {
			failed = append(failed, d)
		} else {
			online = append(online, d)
		}
	}
	if len(failed) == 0 {
		return
	}
	tx.removeFromISR(s, id, false, func(yield func(metadata.PartitionRef, *metadata.Partition) bool) {
		for ref, p := range s.img.PartitionsOf(id, metadata.RoleISR) {
			if slices.Contains(failed, p.Directory(id)) && !yield(ref, p) {
				return
			}
		}
	})
	rec := brokerChange(b)
	rec.LogDirs = online
	tx.emit(rec)
}

func brokerChange(b *metadata.Broker) *metadata.BrokerRegistrationChangeRecord {
	rec := metadata.NewBrokerRegistrationChangeRecord()
	rec.BrokerID, rec.BrokerEpoch = b.ID, b.Epoch
	return rec
}
