package quorum

import "time"

// Message is a request or response of the raft RPCs, without version: the driver maps it to the wire.
//
// Requests: a field that the received version lacks takes the default given at the field. Responses: a field that the
// answered version lacks is dropped. Topic, partition and listener names are the driver's.
type Message interface{ message() }

// Answer is what every raft response carries: the receiver's leader and epoch, on success and on error.
type Answer struct {
	TopError ErrorCode // top-level error; with it the rest is empty
	Error    ErrorCode // partition error
	Leader   LeaderAndEpoch
	// Endpoint is the leader's address for the listener the request came in on; ID None if not known or
	// the version has no field for it. A Java peer exits over a leader without address (pitfall: always fill it).
	Endpoint Node
}

// Common returns the part all responses share.
func (a *Answer) Common() *Answer { return a }

type response interface {
	Message
	Common() *Answer
}

// VoteRequest asks for a vote or, with PreVote, whether one would be given (KIP-595, KIP-996).
type VoteRequest struct {
	ClusterID *string // nil: not given
	// Voter is the key of the receiver as the sender knows it; NoReplica before version 1.
	Voter           ReplicaKey
	Candidate       ReplicaKey // directory id zero before version 1
	Epoch           Epoch      // replicaEpoch: a pre-vote carries the current epoch, a vote the bumped one
	LastOffsetEpoch Epoch      // epoch of the candidate's last record
	LastOffset      Offset     // the candidate's log end offset (exclusive), in spite of its name
	PreVote         bool       // false before version 2. Version 2 only: not ignorable
}

// VoteResponse answers VoteRequest.
type VoteResponse struct {
	Answer
	Granted bool
}

// BeginQuorumEpochRequest is how a leader announces itself to voters that don't fetch.
type BeginQuorumEpochRequest struct {
	ClusterID *string
	Voter     ReplicaKey // of the receiver; NoReplica before version 1
	Leader    LeaderAndEpoch
	Endpoints []Endpoint // all of the leader's; empty before version 1
}

// BeginQuorumEpochResponse answers BeginQuorumEpochRequest.
type BeginQuorumEpochResponse struct{ Answer }

// EndQuorumEpochRequest says that the leader has resigned, and who should follow it, best first.
type EndQuorumEpochRequest struct {
	ClusterID  *string
	Leader     LeaderAndEpoch
	Successors []ReplicaKey // preferredCandidates; from preferredSuccessors, without directory ids, in version 0
	Endpoints  []Endpoint
}

// EndQuorumEpochResponse answers EndQuorumEpochRequest.
type EndQuorumEpochResponse struct{ Answer }

// FetchRequest is a follower's or observer's request for records; its offset acknowledges all records below.
type FetchRequest struct {
	ClusterID        *string
	Replica          ReplicaKey // ID None or below: anonymous, not tracked. Directory id zero before version 17
	Epoch            Epoch      // currentLeaderEpoch
	FetchOffset      Offset
	LastFetchedEpoch Epoch // 0 for an empty log, never -1
	MaxWait          time.Duration
	MaxBytes         int32 // of the request, not of the partition
	// HighWatermark is the sender's; the answer doesn't wait if the leader's is higher (KIP-1166).
	// UnknownOffset if not known, 1<<63-1 (never) before version 18.
	HighWatermark Offset
}

// NoHighWatermark is FetchRequest.HighWatermark before version 18: a new high watermark alone wakes nobody.
const NoHighWatermark Offset = 1<<63 - 1

// FetchResponse answers FetchRequest. Records, Diverging and Snapshot exclude each other.
type FetchResponse struct {
	Answer
	HighWatermark  Offset // UnknownOffset if not known
	LogStartOffset Offset
	Diverging      *OffsetAndEpoch // the leader's last offset in the largest epoch not above the one asked for
	Snapshot       *OffsetAndEpoch // fetch this snapshot first
	Data           []byte          // whole record batches
	// Batches describes Data. The receiving driver fills it, after checking each batch's length, magic and CRC;
	// if any batch is bad it leaves Data and Batches empty and sets Corrupt (KAFKA-18723). Unused in replies.
	Batches []BatchInfo
	Corrupt bool
}

// FetchSnapshotRequest asks the leader for a piece of one of its snapshots (KIP-630).
type FetchSnapshotRequest struct {
	ClusterID *string
	Replica   ReplicaKey // directory id zero before version 1
	Epoch     Epoch      // currentLeaderEpoch
	ID        OffsetAndEpoch
	Position  int64 // in bytes
	MaxBytes  int32 // of the request
}

// FetchSnapshotResponse answers FetchSnapshotRequest. Data may begin and end inside a batch. With an error, ID and what
// follows it are zero; from the wire, a snapshot id of -1/-1 is kept as such.
type FetchSnapshotResponse struct {
	Answer   // Endpoint is not on the wire before version 1
	ID       OffsetAndEpoch
	Size     int64 // of the whole snapshot, in bytes
	Position int64 // of Data
	Data     []byte
}

// DescribeQuorumRequest asks the leader about everyone.
type DescribeQuorumRequest struct{}

// DescribeQuorumResponse answers DescribeQuorumRequest. The driver turns ages into wall-clock timestamps.
type DescribeQuorumResponse struct {
	Answer
	HighWatermark Offset
	Voters        []ReplicaState
	Observers     []ReplicaState
	Nodes         []Voter // voters with all their listeners
}

// ReplicaState is the leader's view of one replica.
type ReplicaState struct {
	Key          ReplicaKey
	LogEndOffset Offset        // UnknownOffset if it has not fetched
	LastFetch    time.Duration // age, 0 for the leader itself; UnknownAge if it never fetched
	LastCaughtUp time.Duration // age; UnknownAge if it never caught up
}

// UnknownAge is an age not known: timestamp -1 on the wire.
const UnknownAge time.Duration = -1

// UpdateVoterRequest is a voter's word on its own endpoints and supported versions (KIP-853).
type UpdateVoterRequest struct {
	ClusterID *string
	Epoch     Epoch
	Voter     Voter
}

// UpdateVoterResponse answers UpdateVoterRequest. Its error is Answer.Error (the RPC has a single one).
type UpdateVoterResponse struct{ Answer }

// AddVoterRequest asks the leader to add a voter (KIP-853).
type AddVoterRequest struct {
	ClusterID *string
	Voter     ReplicaKey
	Endpoints []Endpoint // one for the leader's first controller listener is needed
	// AckWhenCommitted: answer when the new set is committed, not when its record is in the log. True before
	// version 1, which can't drop it: the sender of false must be able to fetch (KIP-1186).
	AckWhenCommitted bool
}

// AddVoterResponse answers AddVoterRequest. Text is for people; empty on success.
type AddVoterResponse struct {
	Error ErrorCode
	Text  string
}

// RemoveVoterRequest asks the leader to remove the voter with exactly this key (KIP-853).
type RemoveVoterRequest struct {
	ClusterID *string
	Voter     ReplicaKey
}

// RemoveVoterResponse answers RemoveVoterRequest.
type RemoveVoterResponse struct {
	Error ErrorCode
	Text  string
}

// ApiVersionsRequest asks a voter to be for its features. Version 4 is needed: before it kraft.version, whose range begins
// at 0, is left out of the answer. The engine sends it and never receives it.
type ApiVersionsRequest struct{}

// ApiVersionsResponse answers ApiVersionsRequest.
type ApiVersionsResponse struct {
	Error        ErrorCode
	KRaftVersion *VersionRange // supported kraft.version; nil: not among the features
}

func (*AddVoterRequest) message()          {}
func (*AddVoterResponse) message()         {}
func (*RemoveVoterRequest) message()       {}
func (*RemoveVoterResponse) message()      {}
func (*ApiVersionsRequest) message()       {}
func (*ApiVersionsResponse) message()      {}
func (*VoteRequest) message()              {}
func (*VoteResponse) message()             {}
func (*BeginQuorumEpochRequest) message()  {}
func (*BeginQuorumEpochResponse) message() {}
func (*EndQuorumEpochRequest) message()    {}
func (*EndQuorumEpochResponse) message()   {}
func (*FetchRequest) message()             {}
func (*FetchResponse) message()            {}
func (*FetchSnapshotRequest) message()     {}
func (*FetchSnapshotResponse) message()    {}
func (*DescribeQuorumRequest) message()    {}
func (*DescribeQuorumResponse) message()   {}
func (*UpdateVoterRequest) message()       {}
func (*UpdateVoterResponse) message()      {}
