// Package raft drives internal/quorum for one node: timers, network channel, fsync and snapshots (KIP-595, KIP-630).
package raft

import (
	"errors"
	"iter"
)

// Topic is the name of the metadata topic; it has one partition.
const Topic = "__cluster_metadata"

// LeaderAndEpoch says who leads the metadata partition; LeaderID -1 means none is known.
type LeaderAndEpoch struct {
	LeaderID int32
	Epoch    int32
}

// CommittedBatch is one whole batch below the high watermark.
//
// Records are metadata record values with their frame (section 3.2 of Kafka's record format); a control batch has none,
// yet its offsets count. Offsets are inclusive, AppendTimestamp is wall-clock milliseconds, SizeBytes the batch on disk.
type CommittedBatch struct {
	BaseOffset      int64
	LastOffset      int64
	Epoch           int32
	AppendTimestamp int64
	Records         [][]byte
	SizeBytes       int
}

// RunLength counts the batches from the first on, at least one, that follow each other within an epoch, with maxRecords records at most. A
// state machine replays them together: one by one, the small batches of a long log take a node that has just started several times as long.
func RunLength(batches []CommittedBatch, maxRecords int) int {
	n, records := 1, len(batches[0].Records)
	for ; n < len(batches); n++ {
		b, before := batches[n], batches[n-1]
		records += len(b.Records)
		if len(b.Records) == 0 || b.BaseOffset != before.LastOffset+1 || b.Epoch != before.Epoch || records > maxRecords {
			break
		}
	}
	return n
}

// SnapshotReader reads one frozen snapshot once, in order.
type SnapshotReader interface {
	// EndOffset is exclusive: the snapshot holds the state after record EndOffset-1.
	EndOffset() int64
	// Epoch is the epoch of the last contained record.
	Epoch() int32
	// LastContainedLogTimestamp is in wall-clock milliseconds.
	LastContainedLogTimestamp() int64
	// Batches yields the data batches; control batches are left out. An error ends the sequence.
	Batches() iter.Seq2[CommittedBatch, error]
	Close() error
}

// Listener is a state machine fed by the log. Calls come in order from one delivery goroutine and must not block long.
type Listener interface {
	// HandleCommit hands over committed batches, contiguous with what came before.
	HandleCommit(batches []CommittedBatch)
	// HandleLoadSnapshot replaces the whole state. The listener closes the reader.
	HandleLoadSnapshot(r SnapshotReader)
	// HandleLeaderChange names a new leader. It names this node only after everything up to and including this
	// epoch's LeaderChange was handed over, so that prepared offsets can't collide with unseen records.
	HandleLeaderChange(leader LeaderAndEpoch)
}

// What PrepareAppend may answer; nothing was appended then.
var (
	// ErrNotLeader: this node doesn't lead, or not in that epoch.
	ErrNotLeader = errors.New("not the leader of this epoch")
	// ErrBufferFull: too many prepared batches wait to be written. Trying again later may work.
	ErrBufferFull = errors.New("too many batches wait to be written")
	// ErrBatchTooLarge: the records of one call don't fit one batch.
	ErrBatchTooLarge = errors.New("the records don't fit one batch")
)
