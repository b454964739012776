package metadata

import (
	"iter"
	"maps"
	"slices"
)

// Records yields the records that build img from Empty: metadata.version first, then the other features, then
// brokers, controllers, topics, settings, quotas, producer ids, rights, credentials and tokens. Encode each at
// img.MetadataVersion().RecordVersion(rec). What metadata.version has no record for is left out.
func (img *Image) Records() iter.Seq[Record] {
	return func(yield func(Record) bool) {
		_ = img.featureRecords(yield) && img.clusterRecords(yield) && img.topicRecords(yield) &&
			img.configRecords(yield) && img.accessRecords(yield)
	}
}

func (img *Image) featureRecords(yield func(Record) bool) bool {
	if v := img.MetadataVersion(); v > 0 {
		if !yield(&FeatureLevelRecord{Name: FeatureMetadataVersion, FeatureLevel: int16(v)}) {
			return false
		}
	}
	for name, level := range img.features.all() {
		if name != FeatureMetadataVersion && !yield(&FeatureLevelRecord{Name: name, FeatureLevel: level}) {
			return false
		}
	}
	return true
}

func (img *Image) clusterRecords(yield func(Record) bool) bool {
	for _, b := range img.brokers.all() {
		if !yield(b.record()) {
			return false
		}
	}
	if !img.MetadataVersion().ControllerRegistration() {
		return true
	}
	for _, c := range img.controllers.all() {
		if !yield(&RegisterControllerRecord{
			ControllerID: c.ID, IncarnationID: c.IncarnationID, ZKMigrationReady: c.ZKMigrationReady,
			EndPoints: c.Listeners, Features: c.Features,
		}) {
			return false
		}
	}
	return true
}

func (b *Broker) record() *RegisterBrokerRecord {
	return &RegisterBrokerRecord{
		BrokerID: b.ID, BrokerEpoch: b.Epoch, IncarnationID: b.IncarnationID, EndPoints: b.Listeners,
		Features: b.Features, Rack: b.Rack, Fenced: b.Fenced, InControlledShutdown: b.InControlledShutdown,
		IsMigratingZKBroker: b.MigratingZKBroker, LogDirs: b.LogDirs, CordonedLogDirs: kept(b.CordonedLogDirs),
	}
}

func (img *Image) topicRecords(yield func(Record) bool) bool {
	for _, t := range img.topics.all() {
		if !yield(&TopicRecord{Name: t.Name, TopicID: t.ID}) {
			return false
		}
		for i, p := range t.parts.all() {
			rec := p.Record()
			rec.TopicID, rec.PartitionID = t.ID, i
			if !yield(rec) {
				return false
			}
		}
	}
	return true
}

// Record is p as a PartitionRecord, without its topic and partition id.
func (p *Partition) Record() *PartitionRecord {
	return &PartitionRecord{
		PartitionID: -1, Replicas: p.Replicas, ISR: p.ISR, RemovingReplicas: p.Removing, AddingReplicas: p.Adding,
		Leader: p.Leader, LeaderEpoch: p.LeaderEpoch, PartitionEpoch: p.PartitionEpoch,
		LeaderRecoveryState: p.LeaderRecoveryState, Directories: p.Directories,
		EligibleLeaderReplicas: kept(p.ELR), LastKnownELR: kept(p.LastKnownELR),
	}
}

func (img *Image) configRecords(yield func(Record) bool) bool {
	for res, m := range img.configs.all() {
		for _, name := range slices.Sorted(maps.Keys(m)) {
			value := m[name]
			if !yield(&ConfigRecord{ResourceType: res.Type, ResourceName: res.Name, Name: name, Value: &value}) {
				return false
			}
		}
	}
	return true
}

func (img *Image) accessRecords(yield func(Record) bool) bool {
	for _, q := range img.quotas.all() {
		for _, key := range slices.Sorted(maps.Keys(q.Values)) {
			if !yield(&ClientQuotaRecord{Entity: q.Entity, Key: key, Value: q.Values[key]}) {
				return false
			}
		}
	}
	if img.nextProducerID > 0 {
		if !yield(&ProducerIdsRecord{BrokerID: -1, BrokerEpoch: -1, NextProducerID: img.nextProducerID}) {
			return false
		}
	}
	return yieldAll(img.acls, yield) && yieldAll(img.scram, yield) && yieldAll(img.tokens, yield)
}

func yieldAll[K any, R Record](m *pmap[K, R], yield func(Record) bool) bool {
	for _, rec := range m.all() {
		if !yield(rec) {
			return false
		}
	}
	return true
}
