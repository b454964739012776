package storage

import (
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// Log is one partition's log.
//
// One goroutine at a time may call what changes it (Append…, Truncate…, AdvanceStart, DeleteOldSegments, AssignEpoch,
// Close); Flush and everything that reads may run beside it.
type Log struct{ dir string }

// OpenLog opens the log in dir, which is made if missing, and recovers it as opt says.
//
// Errors: *CorruptError where the damage is not a torn tail (nothing is changed on disk then); wrapping ErrCorrupt for a
// partition.metadata of another topic id.
func OpenLog(fs FS, dir string, topicID uuid.UUID, cfg LogConfig, opt OpenOptions) (*Log, RecoveryReport, error) {
	panic("unwritten")
}

// AppendLeader validates whole batches, gives them the next offsets and the epoch in place, in the caller's buffer, and
// writes them with one write. A batch of an idempotent producer that was seen before is answered and not written.
//
// Errors: wrapping record.ErrCorrupt, record.ErrInvalid, record.ErrTimestamp, ErrMessageTooLarge, ErrOutOfOrderSequence,
// ErrInvalidProducerEpoch, ErrEpochDecreases, ErrPoisoned; or the disk's (then nothing was appended).
func (l *Log) AppendLeader(batches []byte, epoch int32, nowMs int64, o AppendOptions) (AppendInfo, error) {
	panic("unwritten")
}

// AppendFollower writes batches with the offsets and epochs they have; they must continue the log. A batch that is cut at
// the end is left away (Info.Bytes tells). Errors: wrapping record.ErrCorrupt, ErrNotContiguous, ErrEpochDecreases, ErrPoisoned.
func (l *Log) AppendFollower(batches []byte) (AppendInfo, error) { panic("unwritten") }

// Flush makes everything up to EndOffset (as it was at the call) durable and moves FlushedOffset there.
// A failed fsync poisons the log for ever.
func (l *Log) Flush() error { panic("unwritten") }

// FlushedOffset is exclusive: everything below it is durable.
func (l *Log) FlushedOffset() int64 { panic("unwritten") }

// StartOffset is the first offset that may be read.
func (l *Log) StartOffset() int64 { panic("unwritten") }

// EndOffset is the log end offset: what the next record gets.
func (l *Log) EndOffset() int64 { panic("unwritten") }

// EndMetadata is EndOffset with its place.
func (l *Log) EndMetadata() OffsetMetadata { panic("unwritten") }

// Metadata finds the place of an offset in [StartOffset, EndOffset].
func (l *Log) Metadata(offset int64) (OffsetMetadata, error) { panic("unwritten") }

// Read returns whole batches from the one that contains start, none of which begins at or past maxOffset, all from one
// segment, up to maxBytes. With minOneBatch one batch is returned even if it is larger. The bytes are not copied: see Slice.
//
// An empty Slice means there is nothing between start and maxOffset, or that the first batch is larger than maxBytes.
// Errors: ErrOffsetOutOfRange where start is outside [StartOffset, EndOffset].
func (l *Log) Read(start, maxOffset int64, maxBytes int, minOneBatch bool) (Slice, OffsetMetadata, error) {
	panic("unwritten")
}

// AdvanceStart moves the start (DeleteRecords, snapshots, a follower learning its leader's start) and drops the segments
// that lie wholly below it, whatever the cleanup policy. Going back is no error and does nothing.
// Errors: ErrOffsetOutOfRange past EndOffset.
func (l *Log) AdvanceStart(offset int64) error { panic("unwritten") }

// TruncateTo removes everything at or past offset; EndOffset becomes the base offset of the batch that contained it, or
// offset. It tells whether anything was removed.
func (l *Log) TruncateTo(offset int64) (bool, error) { panic("unwritten") }

// TruncateFullyAndStartAt empties the log; the next record gets offset.
func (l *Log) TruncateFullyAndStartAt(offset int64) error { panic("unwritten") }

// LatestEpoch is the newest leader epoch in the cache.
func (l *Log) LatestEpoch() (EpochEntry, bool) { panic("unwritten") }

// Epochs is a copy of the cache.
func (l *Log) Epochs() []EpochEntry { panic("unwritten") }

// AssignEpoch records that epoch starts at startOffset. An epoch that isn't newer is no error and does nothing.
func (l *Log) AssignEpoch(epoch int32, startOffset int64) error { panic("unwritten") }

// EndOffsetFor answers OffsetForLeaderEpoch: the largest epoch known that isn't past the asked one, and where it ends
// (exclusive). (-1, -1) when nothing is known, as for an epoch past the latest.
func (l *Log) EndOffsetFor(epoch int32) (int32, int64) { panic("unwritten") }

// EpochAt is the leader epoch of the record at offset, -1 if unknown.
func (l *Log) EpochAt(offset int64) int32 { panic("unwritten") }

// OffsetForTimestamp finds the first record, below maxOffset, with a timestamp of at least ts.
func (l *Log) OffsetForTimestamp(ts, maxOffset int64) (TimestampOffset, bool, error) {
	panic("unwritten")
}

// MaxTimestamp finds the record with the largest timestamp.
func (l *Log) MaxTimestamp() (TimestampOffset, bool, error) { panic("unwritten") }

// DeleteOldSegments applies retention by time and size to segments that end at or below highWatermark, rolling the active
// one if it is due, and returns how many went. Topics that are only compacted lose nothing here.
func (l *Log) DeleteOldSegments(nowMs, highWatermark int64) (int, error) { panic("unwritten") }

// RemovePending really removes files that left the log DeleteDelayMs ago. It returns how many are still waiting.
func (l *Log) RemovePending(nowMs int64) (int, error) { panic("unwritten") }

// ExpireProducers forgets producers that were silent for ProducerExpirationMs and have no open transaction.
func (l *Log) ExpireProducers(nowMs int64) int { panic("unwritten") }

// Producers is a copy of the producer state.
func (l *Log) Producers() []ProducerState { panic("unwritten") }

// FirstUnstableOffset is the first offset of the earliest open transaction; false if none is open.
func (l *Log) FirstUnstableOffset() (int64, bool) { panic("unwritten") }

// Size is the bytes of all segment files.
func (l *Log) Size() int64 { panic("unwritten") }

// SegmentCount is the number of segments, the active one included.
func (l *Log) SegmentCount() int { panic("unwritten") }

// SegmentBases are the base offsets of the segments, ascending.
func (l *Log) SegmentBases() []int64 { panic("unwritten") }

// Config is the policy in force.
func (l *Log) Config() LogConfig { panic("unwritten") }

// SetConfig changes the policy at run time.
func (l *Log) SetConfig(cfg LogConfig) { panic("unwritten") }

// Dir is the log's folder.
func (l *Log) Dir() string { return l.dir }

// Err is the error that poisoned the log, nil while it is sound.
func (l *Log) Err() error { panic("unwritten") }

// Close flushes, writes the producer snapshot, brings index files to what Kafka leaves at a clean stop, and closes.
func (l *Log) Close() error { panic("unwritten") }

// Abandon closes the files without writing anything: for a log that is to be deleted, or is poisoned.
func (l *Log) Abandon() error { panic("unwritten") }

// Slice is a range of bytes of a segment's file. It stays readable for DeleteDelayMs after its segment leaves the log,
// and then fails with fs.ErrClosed; after a truncation it may hold other bytes, as readers past the high watermark know.
type Slice struct {
	file     File
	position int64
	size     int
}

// Len is the number of bytes.
func (s Slice) Len() int { return s.size }

// Position is where the bytes begin in the segment's file.
func (s Slice) Position() int64 { return s.position }

// File is the segment's file. If it is an OSFile, its descriptor can be given to sendfile with Position and Len.
func (s Slice) File() File { return s.file }

// AppendTo reads the bytes into memory, appended to dst.
func (s Slice) AppendTo(dst []byte) ([]byte, error) { panic("unwritten") }
