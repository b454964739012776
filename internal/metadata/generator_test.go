package metadata

import (
	"fmt"
	"iter"
	"math/rand/v2"

	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// generator makes random records that fit an image.
type generator struct{ *rand.Rand }

func (g *generator) uuid() (u uuid.UUID) {
	for i := range u {
		u[i] = byte(g.Uint32())
	}
	return u
}

func pick[K, V any](g *generator, n int, all iter.Seq2[K, V]) (k K, v V, ok bool) {
	if n == 0 {
		return k, v, false
	}
	skip := g.IntN(n)
	for k, v := range all {
		if skip--; skip < 0 {
			return k, v, true
		}
	}
	return k, v, false
}

func (g *generator) ids() []int32 {
	out := []int32{}
	for _, n := range g.Perm(6)[:g.IntN(4)] {
		out = append(out, int32(n))
	}
	return out
}

func (g *generator) dirs(n int) []uuid.UUID {
	out := make([]uuid.UUID, n)
	for i := range out {
		out[i] = g.uuid()
	}
	return out
}

// mv hides fields that the image's metadata.version has no room for, so that a round trip loses nothing.
func (g *generator) partition(mv MetadataVersion, topic uuid.UUID) *PartitionRecord {
	rec := &PartitionRecord{TopicID: topic, PartitionID: int32(g.IntN(5)), Replicas: g.ids(), ISR: g.ids(),
		RemovingReplicas: g.ids(), AddingReplicas: g.ids(), Leader: int32(g.IntN(6)) - 1,
		LeaderEpoch: int32(g.IntN(9)), PartitionEpoch: int32(g.IntN(9)), LeaderRecoveryState: int8(g.IntN(2))}
	if mv.DirectoryAssignment() {
		rec.Directories = g.dirs(len(rec.Replicas))
	}
	if mv.ELR() && g.IntN(2) == 0 {
		rec.EligibleLeaderReplicas, rec.LastKnownELR = g.ids(), g.ids()
	}
	return rec
}

func (g *generator) change(mv MetadataVersion, topic uuid.UUID, i int32) *PartitionChangeRecord {
	rec := NewPartitionChangeRecord()
	rec.TopicID, rec.PartitionID = topic, i
	if g.IntN(2) == 0 {
		rec.ISR = g.ids()
	}
	if g.IntN(2) == 0 {
		rec.Leader = int32(g.IntN(6)) - 1
	}
	if g.IntN(3) == 0 {
		rec.Replicas = g.ids()
		if mv.DirectoryAssignment() {
			rec.Directories = g.dirs(len(rec.Replicas))
		}
		rec.AddingReplicas, rec.RemovingReplicas = g.ids(), g.ids()
	}
	if g.IntN(4) == 0 {
		rec.LeaderRecoveryState = int8(g.IntN(2))
	}
	if mv.ELR() && g.IntN(3) == 0 {
		rec.EligibleLeaderReplicas, rec.LastKnownELR = g.ids(), g.ids()
	}
	return rec
}

func (g *generator) register(mv MetadataVersion) *RegisterBrokerRecord {
	rec := &RegisterBrokerRecord{BrokerID: int32(g.IntN(6)), BrokerEpoch: g.Int64N(1000), IncarnationID: g.uuid(),
		EndPoints: []Endpoint{{Name: "INTERNAL", Host: "h", Port: uint16(g.Uint32())}},
		Features:  []FeatureRange{{Name: FeatureMetadataVersion, MinSupportedVersion: 7, MaxSupportedVersion: 30}},
		Fenced:    g.IntN(2) == 0, InControlledShutdown: g.IntN(2) == 0}
	if g.IntN(2) == 0 {
		rec.Rack = ptr(fmt.Sprint("r", g.IntN(3)))
	}
	if mv.DirectoryAssignment() {
		rec.LogDirs = g.dirs(1 + g.IntN(2))
	}
	if mv.CordonedLogDirs() && g.IntN(2) == 0 {
		rec.CordonedLogDirs = rec.LogDirs[:1]
	}
	return rec
}

func (g *generator) brokerChange(mv MetadataVersion, b *Broker) Record {
	switch g.IntN(4) {
	case 0:
		return &UnregisterBrokerRecord{BrokerID: b.ID, BrokerEpoch: b.Epoch}
	case 1:
		return &FenceBrokerRecord{ID: b.ID, Epoch: b.Epoch}
	case 2:
		return &UnfenceBrokerRecord{ID: b.ID, Epoch: b.Epoch}
	}
	rec := &BrokerRegistrationChangeRecord{BrokerID: b.ID, BrokerEpoch: b.Epoch,
		Fenced: int8(g.IntN(3)) - 1, InControlledShutdown: int8(g.IntN(2))}
	if mv.DirectoryAssignment() {
		rec.LogDirs = g.dirs(g.IntN(3))
	}
	if mv.CordonedLogDirs() {
		rec.CordonedLogDirs = g.dirs(g.IntN(2))
	}
	return rec
}

func (g *generator) record(img *Image) Record {
	mv := img.MetadataVersion()
	switch g.IntN(12) {
	case 0:
		return &TopicRecord{Name: fmt.Sprint("topic-", g.Uint32()), TopicID: g.uuid()}
	case 1, 2:
		if _, t, ok := pick(g, img.TopicCount(), img.Topics()); ok {
			return g.partition(mv, t.ID)
		}
	case 3, 4:
		if ref, _, ok := pick(g, img.PartitionCount(), allPartitions(img)); ok {
			return g.change(mv, ref.TopicID, ref.Partition)
		}
	case 5:
		if _, t, ok := pick(g, img.TopicCount(), img.Topics()); ok && g.IntN(4) == 0 {
			return &RemoveTopicRecord{TopicID: t.ID}
		}
	case 6:
		return g.register(mv)
	case 7:
		if _, b, ok := pick(g, img.BrokerCount(), img.Brokers()); ok {
			return g.brokerChange(mv, b)
		}
	case 8:
		return g.config(img)
	case 9, 10:
		return g.access(img)
	case 11:
		if mv.ControllerRegistration() {
			return &RegisterControllerRecord{ControllerID: int32(g.IntN(3)), IncarnationID: g.uuid(),
				EndPoints: []Endpoint{{Name: "CONTROLLER", Host: "c", Port: 9093}}, Features: []FeatureRange{}}
		}
	}
	return &NoOpRecord{}
}

func allPartitions(img *Image) iter.Seq2[PartitionRef, *Partition] {
	return func(yield func(PartitionRef, *Partition) bool) {
		for _, t := range img.Topics() {
			for i, p := range t.Partitions() {
				if !yield(PartitionRef{t.ID, i}, p) {
					return
				}
			}
		}
	}
}

func (g *generator) config(img *Image) Record {
	name := fmt.Sprint("key.", g.IntN(3))
	if _, t, ok := pick(g, img.TopicCount(), img.Topics()); ok {
		rec := &ConfigRecord{ResourceType: ResourceTopic, ResourceName: t.Name, Name: name}
		if g.IntN(3) > 0 {
			rec.Value = ptr(fmt.Sprint(g.IntN(9)))
		}
		return rec
	}
	return &ConfigRecord{ResourceType: ResourceBroker, Name: name, Value: ptr("")}
}

func (g *generator) access(img *Image) Record {
	switch g.IntN(8) {
	case 0:
		return &AccessControlEntryRecord{ID: g.uuid(), ResourceName: "r", Principal: "User:a", Host: "*"}
	case 1:
		if k, _, ok := pick(g, img.acls.len(), img.ACLs()); ok {
			return &RemoveAccessControlEntryRecord{ID: k}
		}
	case 2:
		return &UserScramCredentialRecord{Name: fmt.Sprint("u", g.IntN(3)), Mechanism: 1, Salt: []byte{1}, Iterations: 4096}
	case 3:
		if k, _, ok := pick(g, img.scram.len(), img.ScramCredentials()); ok {
			return &RemoveUserScramCredentialRecord{Name: k.Name, Mechanism: k.Mechanism}
		}
	case 4:
		entity := []QuotaEntity{{EntityType: "user", EntityName: ptr("a")}, {EntityType: "client-id"}}
		return &ClientQuotaRecord{Entity: entity[g.IntN(2):], Key: fmt.Sprint("q", g.IntN(2)), Value: g.Float64(), Remove: g.IntN(3) == 0}
	case 5:
		return &ProducerIdsRecord{BrokerID: 1, BrokerEpoch: 1, NextProducerID: img.NextProducerID() + 1000}
	case 6:
		return &DelegationTokenRecord{TokenID: fmt.Sprint("t", g.IntN(3)), Owner: "User:a", Renewers: []string{"User:b"}}
	case 7:
		return &RemoveDelegationTokenRecord{TokenID: fmt.Sprint("t", g.IntN(3))}
	}
	return &FeatureLevelRecord{Name: FeatureGroupVersion, FeatureLevel: int16(g.IntN(2))}
}
