package quorum

import "github.com/kraft-dev/kraft-operator/internal/uuid"

// Event is something that happened. Events are values; a Quorum keeps no reference to their slices after Step,
// except Data on its way into an Append or a WriteSnapshot.
type Event interface{ event() }

// Start is the first event, once. It applies the startup rules and emits the first effects.
type Start struct{}

// Tick says that Deadline has come. An early or superfluous Tick does no harm.
type Tick struct{}

// Request is a peer's or client's request. It is answered by exactly one Reply with the same ReplyTo,
// in this Step or a later one (parked fetches), or never if the Quorum is dropped.
type Request struct {
	ReplyTo  uint64 // chosen by the driver, unique among unanswered requests
	Listener string // name of the listener the request came in on
	Message  Message
	// BadPartition: the request does not name exactly partition 0 of this engine's topic. The engine answers
	// it after the cluster id was checked, with the error of that RPC.
	BadPartition bool
}

// Response is the answer to the Send with the same Correlation. Late and repeated ones are ignored.
type Response struct {
	Correlation uint64
	Message     Message
}

// SendFailure says why a Send has no answer.
type SendFailure int8

// Failures to get an answer. The engine has its own request timeout; the driver needn't keep one.
const (
	Disconnected         SendFailure = iota // connection closed or no route; treated as BROKER_NOT_AVAILABLE
	Refused                                 // nobody listens there: connection refused or reset
	VersionMismatch                         // the peer has no version that can carry the request: UNSUPPORTED_VERSION
	AuthenticationFailed                    // NETWORK_EXCEPTION
)

// SendFailed ends the Send with the same Correlation without an answer.
type SendFailed struct {
	Correlation uint64
	Failure     SendFailure
}

// ElectionPersisted completes PersistElection Seq and all before it.
type ElectionPersisted struct{ Seq uint64 }

// Flushed completes Flush Seq and all before it: every Append and Truncate emitted before that Flush is on disk.
type Flushed struct{ Seq uint64 }

// ReadDone completes Read Token. Data holds whole batches from Read.From on, at least one if there is one below
// the log end, at most Read.MaxBytes after the first. An error stops the node, it has no event.
type ReadDone struct {
	Token uint64
	Data  []byte
}

// SnapshotRead completes ReadSnapshot Token with bytes from its Position on, at least one. Missing: the file is gone, as
// when it was deleted meanwhile. Another error stops the node, it has no event.
type SnapshotRead struct {
	Token   uint64
	Data    []byte
	Missing bool
}

// SnapshotInstalled completes InstallSnapshot Token. Not OK: the download was damaged and is deleted, the log is as it was;
// it is fetched again. OK: snapshot and empty log are durable. Control holds the snapshot's KRaftVersion and KRaftVoters
// records, at its end offset - 1.
type SnapshotInstalled struct {
	Token   uint64
	OK      bool
	Size    int64 // bytes
	Control []ControlAt
}

// SnapshotCreated says that the state machine's snapshot is complete and durable. Its offset is not above the last
// Committed and ends a batch, its epoch is that of its last record; [Quorum.VotersAt] and [Quorum.KRaftVersionAt] of its
// offset - 1 are what its header says. One that is there already changes nothing, nor does one below the log's start; one
// that contradicts the log is reported by a NoteError and ignored.
type SnapshotCreated struct{ Info SnapshotInfo }

// CleanTo says that the driver's retention rule (size, age) wants the log to begin at this snapshot. DropPrefix is the
// answer if it is one of this node's complete snapshots and above the log's start. So the newest snapshot always stays.
type CleanTo struct{ ID OffsetAndEpoch }

// Propose hands the leader batches for its log: drained from the accumulator, offsets already given. Batches must
// begin at the log end offset and be contiguous, in Epoch. They are accepted (Append) only while this node leads
// in Epoch and is not handing over; otherwise the answer is ProposeRejected and nothing else happens.
type Propose struct {
	Epoch   Epoch
	Batches []BatchInfo
	Data    []byte // as long as the sizes of Batches say
}

// Resign asks the leader of Epoch to step down at once (the state machine can't go on). Ignored in another epoch, and while it hands
// over: it takes no records then, steps down as soon as a successor has all it has, and would otherwise name one that has not.
type Resign struct{ Epoch Epoch }

// Shutdown begins a graceful leave. The driver has proposed whatever its accumulator held before it. The
// answer is ShutdownComplete; the driver bounds the wait (Kafka: 5 s). Requests are still to be passed in until then.
type Shutdown struct{}

// DirectoryReplaced completes ReplaceDirectory: meta.properties durably has this directory id.
type DirectoryReplaced struct{ DirectoryID uuid.UUID }

func (Start) event()             {}
func (Tick) event()              {}
func (Request) event()           {}
func (Response) event()          {}
func (SendFailed) event()        {}
func (ElectionPersisted) event() {}
func (Flushed) event()           {}
func (ReadDone) event()          {}
func (SnapshotRead) event()      {}
func (SnapshotInstalled) event() {}
func (SnapshotCreated) event()   {}
func (CleanTo) event()           {}
func (Propose) event()           {}
func (Resign) event()            {}
func (Shutdown) event()          {}
func (DirectoryReplaced) event() {}
