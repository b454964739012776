package quorum

// Effects are to be carried out in slice order. The slice is valid until the next Step.
type Effects []Effect

// Effect is one thing the driver must do. See the package comment for order and completions.
type Effect interface{ effect() }

// PersistElection: replace quorum-state by State, durably, then feed ElectionPersisted{Seq}. It may be done by
// another goroutine, in order; a newer one may replace an older one not yet begun (report the newest Seq). It is the
// only effect that never waits for another's completion.
type PersistElection struct {
	Seq   uint64
	State ElectionState
}

// Append: write these batches at the end of the log, without fsync, before the next effect. Base is the log's end
// offset. Either Data holds the batches (Batches describes them; as a leader's they come from Propose, as a
// follower's from the leader, byte for byte), or Control holds records that the driver encodes as one control batch at
// Base in Epoch with the wall clock as timestamp. A leader epoch that is new in the log enters the epoch cache.
type Append struct {
	Base    Offset
	End     Offset // exclusive
	Epoch   Epoch  // of the last batch
	Batches []BatchInfo
	Data    []byte
	Control []ControlRecord
}

// ProposeControl: give these records, as one control batch, the next offsets of this leader epoch, behind all that
// is prepared already, and hand them back in a Propose with BatchInfo.Control set to them. It is not to be refused
// for lack of room: as long as this node leads in Epoch the engine waits for it, and begins no other change.
type ProposeControl struct {
	Epoch   Epoch
	Records []ControlRecord
}

// Truncate: cut the log to end at To, before the next effect; also the epoch cache.
type Truncate struct{ To Offset }

// Flush: fsync the log up to here, then feed Flushed{Seq}. May run beside later effects (sends, appends, reads).
// While one runs, later ones may be combined into one more.
type Flush struct{ Seq uint64 }

// Read: read whole batches from From up to the log end, then feed ReadDone{Token}. At least one batch even if larger
// than MaxBytes. Bytes not yet flushed are wanted as well.
type Read struct {
	Token    uint64
	From     Offset
	MaxBytes int32
}

// ReadSnapshot: read bytes [Position, Position+MaxBytes) of a complete snapshot, fewer at its end, then feed
// SnapshotRead{Token}. Position is within the file and MaxBytes above 0. Batch borders don't matter (KIP-630).
type ReadSnapshot struct {
	Token    uint64
	ID       OffsetAndEpoch
	Position int64
	MaxBytes int32
}

// WriteSnapshot: append Data to the partial download of snapshot ID, without fsync, before the next effect. Position is
// how much of it there is; 0 begins anew, whatever was there. Nobody else sees a partial download, and a
// start deletes it. There is at most one.
type WriteSnapshot struct {
	ID       OffsetAndEpoch
	Position int64
	Data     []byte
}

// AbandonSnapshot: drop the partial download of ID, before the next effect.
type AbandonSnapshot struct{ ID OffsetAndEpoch }

// InstallSnapshot: the download of ID has all of its Size bytes. Check it whole (every CRC, the header first, the footer
// last); then fsync it, give it its name, fsync the directory; then replace the whole log by an empty one that starts at
// ID.Offset, with an empty epoch cache, and delete older snapshots; all durably. Then feed SnapshotInstalled{Token}. A
// damaged one is deleted and the log left alone: OK false. It may run beside later effects: until SnapshotInstalled none
// of Append, Truncate, Flush, Read, DropPrefix or another download is emitted. A crash between the name and the log
// leaves a snapshot that is ahead of the log: see [LogState.SnapshotAhead].
//
// There is no effect that tells listeners to load it: the Committed that follows SnapshotInstalled is at least ID.Offset,
// and a listener whose next offset is below the log's start loads the newest snapshot before it reads on. The same
// rule serves the start and DropPrefix.
type InstallSnapshot struct {
	Token uint64
	ID    OffsetAndEpoch
	Size  int64
}

// DropPrefix: the log begins at Start now, which is the id of a complete snapshot. Delete segments wholly below
// Start.Offset and snapshots older than it; neither need be durable or at once. Reads emitted earlier may still need them.
type DropPrefix struct{ Start OffsetAndEpoch }

// Send: send Message to To and feed Response or SendFailed with the same Correlation. Messages to one node may be
// reordered or lost; a second Send may come while one is under way (another RPC, or the engine gave up waiting).
type Send struct {
	Correlation uint64
	To          Node
	Message     Message
}

// Reply answers Request ReplyTo. Prompt: it brings a voter records, and with them a commit its next fetch.
type Reply struct {
	ReplyTo uint64
	Message Message
	Prompt  bool
}

// Committed: every record below HighWatermark is committed; it only grows. Deliver to listeners, complete waiters.
// The bytes are in the log (maybe not flushed here: a majority's disks hold them).
type Committed struct{ HighWatermark Offset }

// LeaderChanged: the known leader or the epoch changed. LeaderID None: there is none. If it is this node,
// EpochStart and NextOffset are set: the accumulator may give offsets from NextOffset on in this epoch, and the
// state machine hears of it once it consumed everything below NextOffset. Whenever it is not this
// node in this epoch, the accumulator is dropped whole; what it held may still have been proposed and may commit.
type LeaderChanged struct {
	LeaderAndEpoch
	EpochStart Offset // offset of this epoch's LeaderChange record
	NextOffset Offset
}

// ProposeRejected: the Propose of this Step was not appended; its waiters fail with "not leader".
type ProposeRejected struct{ Epoch Epoch }

// ReplaceDirectory: this disk was once a voter's and has lost its memory (FormationSafe). Write a fresh random directory
// id to meta.properties, durably, and feed DirectoryReplaced. Until then the engine does not vote nor fetch.
type ReplaceDirectory struct{}

// ShutdownComplete ends a graceful leave: nothing more is expected of this node.
type ShutdownComplete struct{}

// Note is for the log.
type Note struct {
	Level NoteLevel
	Text  string
}

// NoteLevel is how loud a Note is.
type NoteLevel int8

// Levels. NoteError is a contradiction: a peer or a disk that breaks the protocol. The engine did not act on it.
const (
	NoteDebug NoteLevel = iota
	NoteInfo
	NoteWarn
	NoteError
)

func (PersistElection) effect()  {}
func (Append) effect()           {}
func (ProposeControl) effect()   {}
func (Truncate) effect()         {}
func (Flush) effect()            {}
func (Read) effect()             {}
func (ReadSnapshot) effect()     {}
func (WriteSnapshot) effect()    {}
func (AbandonSnapshot) effect()  {}
func (InstallSnapshot) effect()  {}
func (DropPrefix) effect()       {}
func (Send) effect()             {}
func (Reply) effect()            {}
func (Committed) effect()        {}
func (LeaderChanged) effect()    {}
func (ProposeRejected) effect()  {}
func (ReplaceDirectory) effect() {}
func (ShutdownComplete) effect() {}
func (Note) effect()             {}
