package metadata

import (
	"bytes"
	"cmp"
	"iter"
	"maps"
	"slices"

	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// Image is the whole metadata after the record at Offset: immutable, and sharing with its predecessor all that
// did not change, so it may be read from any goroutine and kept for any time. Apply makes the next one.
//
// What its methods return (pointers, slices and maps) is shared and must not be written.
type Image struct {
	Offset int64 // last applied offset, inclusive; -1 for Empty
	Epoch  int32 // leader epoch of that offset; -1 for Empty

	features       *pmap[string, int16] // metadata.version among them; none at level 0
	brokers        *pmap[int32, *Broker]
	controllers    *pmap[int32, *Controller]
	topics         *pmap[uuid.UUID, *Topic]
	topicIDs       *pmap[string, uuid.UUID]
	roles          *pmap[roleKey, Role]
	counts         *pmap[int32, Counts]
	partitions     int
	configs        *pmap[ConfigResource, map[string]string]
	quotas         *pmap[string, *QuotaEntry] // by QuotaKey
	nextProducerID int64
	acls           *pmap[uuid.UUID, *AccessControlEntryRecord]
	scram          *pmap[ScramKey, *UserScramCredentialRecord]
	tokens         *pmap[string, *DelegationTokenRecord]
}

// Broker is one broker's registration.
type Broker struct {
	ID                   int32
	Epoch                int64 // compared for equality only
	IncarnationID        uuid.UUID
	Listeners            []Endpoint
	Features             []FeatureRange
	Rack                 *string
	Fenced               bool
	InControlledShutdown bool
	MigratingZKBroker    bool
	LogDirs              []uuid.UUID
	CordonedLogDirs      []uuid.UUID
}

// Active tells whether the broker may lead: unfenced and not shutting down.
func (b *Broker) Active() bool { return !b.Fenced && !b.InControlledShutdown }

// Listener returns the endpoint named name.
func (b *Broker) Listener(name string) (Endpoint, bool) {
	i := slices.IndexFunc(b.Listeners, func(e Endpoint) bool { return e.Name == name })
	if i < 0 {
		return Endpoint{}, false
	}
	return b.Listeners[i], true
}

// HasOnlineDir tells whether a replica assigned to dir is online on b: its registered directories count, and so
// do the reserved ids for "migrating" and "unassigned" (KIP-858). A broker that registered none counts any.
func (b *Broker) HasOnlineDir(dir uuid.UUID) bool {
	return len(b.LogDirs) == 0 || dir == DirMigrating || dir == DirUnassigned || slices.Contains(b.LogDirs, dir)
}

// Reserved directory ids in partition assignments (KIP-858).
var (
	DirMigrating  = uuid.UUID{}
	DirUnassigned = uuid.UUID{15: 1}
	DirLost       = uuid.UUID{15: 2}
)

// Controller is one controller's registration (metadata.version 3.7-IV0 and later).
type Controller struct {
	ID               int32
	IncarnationID    uuid.UUID
	ZKMigrationReady bool
	Listeners        []Endpoint
	Features         []FeatureRange
}

// Topic is one topic and its partitions.
type Topic struct {
	ID    uuid.UUID
	Name  string
	parts *pmap[int32, *Partition]
}

// Partition returns partition i.
func (t *Topic) Partition(i int32) (*Partition, bool) { return t.parts.get(i) }

// Partitions yields the partitions in order of their ids.
func (t *Topic) Partitions() iter.Seq2[int32, *Partition] { return t.parts.all() }

// PartitionCount is the number of partitions.
func (t *Topic) PartitionCount() int { return t.parts.len() }

// NoLeader is the leader of a partition that has none.
const NoLeader int32 = -1

// Leader recovery states (KIP-704).
const (
	LeaderRecovered  int8 = 0
	LeaderRecovering int8 = 1
)

// Partition is the state of one partition. Directories is parallel to Replicas.
type Partition struct {
	Replicas     []int32
	ISR          []int32
	Removing     []int32
	Adding       []int32
	ELR          []int32 // eligible leader replicas (KIP-966)
	LastKnownELR []int32
	Directories  []uuid.UUID

	Leader              int32 // NoLeader if none
	LeaderEpoch         int32
	PartitionEpoch      int32
	LeaderRecoveryState int8
}

// Directory is the log directory assigned to the replica on broker id; DirUnassigned if it has no replica.
func (p *Partition) Directory(id int32) uuid.UUID {
	if i := slices.Index(p.Replicas, id); i >= 0 && i < len(p.Directories) {
		return p.Directories[i]
	}
	return DirUnassigned
}

// PartitionRef names one partition.
type PartitionRef struct {
	TopicID   uuid.UUID
	Partition int32
}

// Resource types of ConfigRecord (Kafka's ConfigResource.Type).
const (
	ResourceTopic         int8 = 2
	ResourceBroker        int8 = 4
	ResourceBrokerLogger  int8 = 8
	ResourceClientMetrics int8 = 16
	ResourceGroup         int8 = 32
)

// ConfigResource names what a config belongs to. A broker's name is its id, "" for the cluster-wide default.
type ConfigResource struct {
	Type int8
	Name string
}

// QuotaEntry is the quotas of one entity.
type QuotaEntry struct {
	Entity []QuotaEntity // sorted by type; a nil name is the default entity
	Values map[string]float64
}

// ScramKey names one SCRAM credential: Kafka's mechanism number (1 SHA-256, 2 SHA-512) and the user.
type ScramKey struct {
	Mechanism int8
	Name      string
}

func compareUUID(a, b uuid.UUID) int { return bytes.Compare(a[:], b[:]) }

// Empty is the image before the first record.
func Empty() *Image {
	return &Image{
		Offset:      -1,
		Epoch:       -1,
		features:    newOrdered[string, int16](),
		brokers:     newOrdered[int32, *Broker](),
		controllers: newOrdered[int32, *Controller](),
		topics:      newPmap[uuid.UUID, *Topic](compareUUID),
		topicIDs:    newOrdered[string, uuid.UUID](),
		roles:       newPmap[roleKey, Role](compareRoleKeys),
		counts:      newOrdered[int32, Counts](),
		configs: newPmap[ConfigResource, map[string]string](func(a, b ConfigResource) int {
			return cmp.Or(cmp.Compare(a.Type, b.Type), cmp.Compare(a.Name, b.Name))
		}),
		quotas: newOrdered[string, *QuotaEntry](),
		acls:   newPmap[uuid.UUID, *AccessControlEntryRecord](compareUUID),
		scram: newPmap[ScramKey, *UserScramCredentialRecord](func(a, b ScramKey) int {
			return cmp.Or(cmp.Compare(a.Mechanism, b.Mechanism), cmp.Compare(a.Name, b.Name))
		}),
		tokens: newOrdered[string, *DelegationTokenRecord](),
	}
}

// MetadataVersion is the finalized metadata.version, 0 before the first FeatureLevelRecord.
func (img *Image) MetadataVersion() MetadataVersion {
	v, _ := img.features.get(FeatureMetadataVersion)
	return MetadataVersion(v)
}

// Feature is a finalized feature's level, 0 if it isn't finalized.
func (img *Image) Feature(name string) int16 {
	v, _ := img.features.get(name)
	return v
}

// Features returns every finalized feature, metadata.version included, as a fresh map.
func (img *Image) Features() map[string]int16 { return maps.Collect(img.features.all()) }

// Broker returns a registered broker, fenced or not.
func (img *Image) Broker(id int32) (*Broker, bool) { return img.brokers.get(id) }

// Brokers yields the registered brokers in order of their ids.
func (img *Image) Brokers() iter.Seq2[int32, *Broker] { return img.brokers.all() }

// BrokerCount is the number of registered brokers.
func (img *Image) BrokerCount() int { return img.brokers.len() }

// Controller returns a registered controller.
func (img *Image) Controller(id int32) (*Controller, bool) { return img.controllers.get(id) }

// Controllers yields the registered controllers in order of their ids.
func (img *Image) Controllers() iter.Seq2[int32, *Controller] { return img.controllers.all() }

// TopicByID returns a topic.
func (img *Image) TopicByID(id uuid.UUID) (*Topic, bool) { return img.topics.get(id) }

// TopicByName returns a topic.
func (img *Image) TopicByName(name string) (*Topic, bool) {
	id, ok := img.topicIDs.get(name)
	if !ok {
		return nil, false
	}
	return img.topics.get(id)
}

// Topics yields every topic in order of its name.
func (img *Image) Topics() iter.Seq2[string, *Topic] {
	return func(yield func(string, *Topic) bool) {
		for name, id := range img.topicIDs.all() {
			if t, _ := img.topics.get(id); !yield(name, t) {
				return
			}
		}
	}
}

// TopicsFrom is Topics, starting with the first name not less than name.
func (img *Image) TopicsFrom(name string) iter.Seq2[string, *Topic] {
	return func(yield func(string, *Topic) bool) {
		for name, id := range img.topicIDs.from(name) {
			if t, _ := img.topics.get(id); !yield(name, t) {
				return
			}
		}
	}
}

// TopicCount is the number of topics.
func (img *Image) TopicCount() int { return img.topics.len() }

// PartitionCount is the number of partitions of all topics.
func (img *Image) PartitionCount() int { return img.partitions }

// Partition returns one partition.
func (img *Image) Partition(topic uuid.UUID, i int32) (*Partition, bool) {
	t, ok := img.topics.get(topic)
	if !ok {
		return nil, false
	}
	return t.parts.get(i)
}

// Config returns a resource's dynamic settings, nil if it has none.
func (img *Image) Config(resourceType int8, name string) map[string]string {
	m, _ := img.configs.get(ConfigResource{resourceType, name})
	return m
}

// ConfigValue returns one dynamic setting.
func (img *Image) ConfigValue(resourceType int8, name, key string) (string, bool) {
	v, ok := img.Config(resourceType, name)[key]
	return v, ok
}

// Configs yields every resource that has dynamic settings.
func (img *Image) Configs() iter.Seq2[ConfigResource, map[string]string] { return img.configs.all() }

// NextProducerID is the first producer id that isn't given to a broker yet.
func (img *Image) NextProducerID() int64 { return img.nextProducerID }

// ACLs yields the access control entries.
func (img *Image) ACLs() iter.Seq2[uuid.UUID, *AccessControlEntryRecord] { return img.acls.all() }

// ScramCredential returns one user's credential.
func (img *Image) ScramCredential(mechanism int8, user string) (*UserScramCredentialRecord, bool) {
	return img.scram.get(ScramKey{mechanism, user})
}

// ScramCredentials yields every credential.
func (img *Image) ScramCredentials() iter.Seq2[ScramKey, *UserScramCredentialRecord] {
	return img.scram.all()
}

// Quotas yields every entity's quotas, by QuotaKey.
func (img *Image) Quotas() iter.Seq2[string, *QuotaEntry] { return img.quotas.all() }

// Quota returns the quotas of one entity, nil if it has none.
func (img *Image) Quota(entity []QuotaEntity) map[string]float64 {
	if q, ok := img.quotas.get(QuotaKey(entity)); ok {
		return q.Values
	}
	return nil
}

// DelegationToken returns one token.
func (img *Image) DelegationToken(id string) (*DelegationTokenRecord, bool) {
	return img.tokens.get(id)
}

// DelegationTokens yields every token by its id.
func (img *Image) DelegationTokens() iter.Seq2[string, *DelegationTokenRecord] {
	return img.tokens.all()
}
