package quorum

import (
	"fmt"
	"time"

	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// NodeID is node.id; -1 is none. Bootstrap servers, whose id is not known yet, get -2, -3, …
type NodeID int32

// None stands for "no node" in every leader and voted id.
const None NodeID = -1

// Epoch is a leader epoch: bumped by each election, never by anything else. 0 precedes the first election.
type Epoch int32

// Offset is a position in the log. HighWatermark and LogEndOffset are exclusive.
type Offset int64

// maxOffset keeps sums of offsets from overflowing.
const maxOffset Offset = 1 << 60

// UnknownOffset is what the wire says for an offset that is not known, a high watermark for instance.
const UnknownOffset Offset = -1

// Instant is monotonic time since an origin the driver chooses. It never runs backwards and has no
// relation to the wall clock.
type Instant = time.Duration

// Never is the deadline of a Quorum that waits for nothing but events.
const Never Instant = 1<<63 - 1

// ReplicaKey says who votes: a node on one disk, not merely a node (KIP-853). A zero DirectoryID is
// "not known": static voters, and votes read from a version 0 quorum-state.
type ReplicaKey struct {
	ID          NodeID
	DirectoryID uuid.UUID
}

// NoReplica is the key of nobody.
var NoReplica = ReplicaKey{ID: None}

// Known reports whether k names a node at all.
func (k ReplicaKey) Known() bool { return k.ID >= 0 }

func (k ReplicaKey) String() string {
	if k.DirectoryID.IsZero() {
		return fmt.Sprintf("%d", k.ID)
	}
	return fmt.Sprintf("%d@%s", k.ID, k.DirectoryID)
}

// Endpoint is one listener of a voter. Listener names are upper case; hosts may be names not yet resolvable.
type Endpoint struct {
	Listener string
	Host     string
	Port     uint16
}

// Node is where a request goes: an id and one address. Bootstrap servers have ids from -2 downwards.
type Node struct {
	ID   NodeID
	Host string
	Port uint16
}

// VersionRange is a feature's supported range, both ends included.
type VersionRange struct{ Min, Max int16 }

// LeaderAndEpoch is a leader, or None, and the epoch it leads or led.
type LeaderAndEpoch struct {
	LeaderID NodeID
	Epoch    Epoch
}

// OffsetAndEpoch names a position and the epoch of the record before it: a log's end, a divergence
// point, or a snapshot's id (where Offset is exclusive).
type OffsetAndEpoch struct {
	Offset Offset
	Epoch  Epoch
}

// Role is the state of a replica. An observer is not one of them: it is a replica whose key is not in
// the voter set, and it is always Unattached or Follower.
type Role int8

// Roles of KIP-595 and KIP-996.
const (
	Unattached Role = iota
	Prospective
	Candidate
	Leader
	Follower
	Resigned
)

func (o OffsetAndEpoch) String() string { return fmt.Sprintf("%d-%d", o.Offset, o.Epoch) }

func (r Role) String() string {
	return [...]string{"unattached", "prospective", "candidate", "leader", "follower", "resigned"}[r]
}

// ElectionState is the content of the file quorum-state. Both LeaderID and Voted may be set: a follower
// that voted in this epoch.
type ElectionState struct {
	Epoch    Epoch
	LeaderID NodeID     // None if not known
	Voted    ReplicaKey // NoReplica if no vote was cast in Epoch; directory id zero where the file can't hold it
}

// EpochStart is an entry of the leader-epoch cache: the first offset written in an epoch.
type EpochStart struct {
	Epoch Epoch
	Start Offset
}

// SnapshotInfo is a complete snapshot on disk.
type SnapshotInfo struct {
	ID   OffsetAndEpoch // Offset is exclusive
	Size int64          // bytes
}

// LogState is what opening the log found. Everything in it must be on disk: the driver fsyncs a recovered
// log before it calls New. A log that starts above 0 needs a snapshot at its start or later. Where [LogState.SnapshotAhead]
// says so, the driver replaces the log before it calls New.
type LogState struct {
	StartOffset Offset
	EndOffset   Offset
	// Epochs is the leader-epoch-checkpoint, cut to the log: strictly increasing in both. Where it begins above StartOffset
	// the engine moves the start up to a snapshot that is in between or behind, by DropPrefix.
	Epochs    []EpochStart
	Snapshots []SnapshotInfo // ascending by offset; the 0-0 checkpoint is not among them
	// Control holds the KRaftVersion and KRaftVoters records of the 0-0 checkpoint (at offset -1), of the
	// newest snapshot (at its end offset - 1) and of the whole log, in that order.
	Control []ControlAt
}

// ControlAt is a control record at its offset.
type ControlAt struct {
	Offset Offset
	Record ControlRecord
}

// ControlRecord is one control record, decoded. Exactly one of the fields is set. SnapshotHeader and
// SnapshotFooter never reach the engine.
type ControlRecord struct {
	LeaderChange *LeaderChange
	KRaftVersion *int16
	Voters       *VoterSet
}

// LeaderChange is the first record of every leader epoch.
type LeaderChange struct {
	LeaderID       NodeID
	Voters         []NodeID
	GrantingVoters []NodeID
}

// BatchInfo describes one whole record batch inside a Data buffer. The driver has checked its CRC.
type BatchInfo struct {
	Base    Offset
	Last    Offset // inclusive
	Epoch   Epoch  // partitionLeaderEpoch
	Size    int    // bytes in Data
	Control []ControlRecord
}

// Config is fixed for the life of a Quorum. Names in brackets are Kafka's settings.
type Config struct {
	ClusterID   string     // requests that carry another one are refused; "" accepts all
	NodeID      NodeID     // [node.id]; None for a tool that only observes
	DirectoryID uuid.UUID  // of the metadata directory
	Endpoints   []Endpoint // own advertised controller listeners; empty on broker-only nodes
	// Listener is the first of [controller.listener.names]: voters are reached at this listener's endpoint.
	Listener string
	// Controller is true where process.roles has controller. Such a replica flushes before it fetches even
	// while it observes, because a record it has not read yet may make it a voter (KAFKA-17332).
	Controller bool

	BootstrapServers []Node   // [controller.quorum.bootstrap.servers], in order; ids are ignored
	Routes           []Node   // [kraft.routes], a setting of ours: see routes.go
	StaticVoters     VoterSet // [controller.quorum.voters]: kraft.version 0, overridden by any voters record

	ElectionTimeout    time.Duration // [controller.quorum.election.timeout.ms] 1 s
	FetchTimeout       time.Duration // [controller.quorum.fetch.timeout.ms] 2 s
	ElectionBackoffMax time.Duration // [controller.quorum.election.backoff.max.ms] 1 s
	RequestTimeout     time.Duration // [controller.quorum.request.timeout.ms] 2 s
	RetryBackoff       time.Duration // [controller.quorum.retry.backoff.ms] 20 ms
	AppendLinger       time.Duration // [controller.quorum.append.linger.ms] 25 ms: observers are woken at most this often
	FetchMaxBytes      int32         // [controller.quorum.fetch.max.bytes] 1 MiB
	// FetchSnapshotMaxBytes is the most a follower asks for at once [controller.quorum.fetch.snapshot.max.bytes] 1 MiB.
	FetchSnapshotMaxBytes int32
	FetchMaxWait          time.Duration // 500 ms in Kafka, not a setting
	HandoverTimeout       time.Duration // a leader that shuts down waits this long for a successor at its log end

	// FormationSafe refuses amnesia while a quorum forms (a setting of ours): a candidate whose log is empty
	// needs the votes of all voters, and a blank voter (no quorum-state, no log) helps nobody whose log is not
	// empty and gives up its directory id when a leader shows it records. Off, the rules are Kafka's.
	FormationSafe bool

	// AutoJoin [controller.quorum.auto.join.enable]: a controller that observes has itself added (KIP-1186).
	AutoJoin bool

	KRaftVersions VersionRange // supported range of kraft.version; Kafka 4.3 has 0-1
}

// DefaultConfig has the defaults of Apache Kafka 4.3, FormationSafe off, and no identity.
func DefaultConfig() Config {
	return Config{
		NodeID:                None,
		ElectionTimeout:       time.Second,
		FetchTimeout:          2 * time.Second,
		ElectionBackoffMax:    time.Second,
		RequestTimeout:        2 * time.Second,
		RetryBackoff:          20 * time.Millisecond,
		AppendLinger:          25 * time.Millisecond,
		FetchMaxBytes:         1 << 20,
		FetchSnapshotMaxBytes: 1 << 20,
		FetchMaxWait:          500 * time.Millisecond,
		HandoverTimeout:       500 * time.Millisecond,
		KRaftVersions:         VersionRange{Min: 0, Max: 1},
	}
}

// Status is what metrics, readiness and logs want to know. All of it is a copy.
type Status struct {
	Role           Role
	LeaderID       NodeID
	Epoch          Epoch
	Voter          bool // the local key is in the newest voter set, committed or not
	HighWatermark  Offset
	LogStartOffset Offset
	LogEndOffset   Offset
	Flushed        Offset
	// DamagedSnapshots is how often in a row a leader's snapshot has arrived damaged; 0 once one has been installed.
	DamagedSnapshots int
	HandingOver      bool // a leader that takes no more records: it resigns soon
	// LastFetch is when the leader last answered a fetch of ours with success; on the leader it is the last
	// time a majority was seen fetching. 0 = not since the role was entered.
	LastFetch    Instant
	KRaftVersion int16
	Voters       VoterSet
}
