package storage

import (
	"github.com/kraft-dev/kraft-operator/internal/storage/record"
)

// LogConfig is a log's policy: the values of the topic's settings. Negative times and sizes mean "no limit".
type LogConfig struct {
	SegmentBytes         int64 // segment.bytes
	SegmentMs            int64 // segment.ms
	IndexIntervalBytes   int32 // index.interval.bytes
	IndexMaxBytes        int32 // segment.index.bytes: a full index rolls the segment
	MaxMessageBytes      int32 // max.message.bytes; 0: no bound
	RetentionMs          int64 // retention.ms
	RetentionBytes       int64 // retention.bytes
	DeleteDelayMs        int64 // file.delete.delay.ms: readers may still hold files that are no longer part of the log
	Delete               bool  // cleanup.policy has delete
	Compact              bool  // cleanup.policy has compact: retention never deletes unless Delete is set too
	LogAppendTime        bool  // message.timestamp.type
	TimestampBeforeMaxMs int64 // message.timestamp.before.max.ms
	TimestampAfterMaxMs  int64 // message.timestamp.after.max.ms
	ProducerExpirationMs int64 // producer.id.expiration.ms; 0: never
	Preallocate          bool  // space is allocated ahead of appends: for a log that fsyncs each
	// Compression other than nil recompresses what clients produce in another codec (compression.type not "producer").
	Compression *record.Codec
}

// DefaultLogConfig is Kafka's defaults for a topic.
func DefaultLogConfig() LogConfig {
	return LogConfig{
		SegmentBytes: 1 << 30, SegmentMs: 7 * 24 * 3600_000, IndexIntervalBytes: 4096, IndexMaxBytes: 10 << 20,
		MaxMessageBytes: 1<<20 + 12, RetentionMs: 7 * 24 * 3600_000, RetentionBytes: -1, DeleteDelayMs: 60_000,
		Delete: true, TimestampBeforeMaxMs: -1, TimestampAfterMaxMs: 3600_000, ProducerExpirationMs: 24 * 3600_000,
	}
}

// MetadataLogConfig is for __cluster_metadata: no retention of its own, only snapshots move its start.
func MetadataLogConfig(segmentBytes, segmentMs int64) LogConfig {
	return LogConfig{
		SegmentBytes: segmentBytes, SegmentMs: segmentMs, IndexIntervalBytes: 4096, IndexMaxBytes: 10 << 20,
		RetentionMs: -1, RetentionBytes: -1, DeleteDelayMs: 60_000, TimestampBeforeMaxMs: -1, TimestampAfterMaxMs: -1,
		Preallocate: true,
	}
}

// OpenOptions say what is known about a log before it is opened.
type OpenOptions struct {
	// DurableOffset is the highest of what is known to have been durable: recovery point, high watermark, snapshot end.
	// Damage below it is rot and is never cut away.
	DurableOffset int64
	// Clean: the log was closed in order (.kafka_cleanshutdown). Otherwise everything from the segment that holds
	// RecoveryPoint on is read and checked, and its indexes are written again.
	Clean bool
	// RecoveryPoint is where checking starts after an unclean stop. 0 checks the whole log.
	RecoveryPoint int64
	// StartOffset is the checkpointed log start offset; 0 if there is none.
	StartOffset int64
	// CutHoles lets the log be cut at damage at or past DurableOffset even where sound batches follow it. For logs that
	// don't fsync each append and lean on other replicas: there, a power loss leaves holes. Such a log does not fsync a
	// full segment as it rolls either. Without it the rule of the metadata log holds, and damage refuses.
	CutHoles bool
	// SyncEpochs never replaces the leader-epoch checkpoint but durably, also where the log is cut or its start moves (metadata log).
	// Otherwise Flush alone does so. A new leader epoch is left to Flush by both; what a crash takes is read from the batches again.
	SyncEpochs bool
	// Contiguous refuses gaps between batches (metadata log). Partitions may have them: a leader's log may be compacted.
	Contiguous bool
	// NowMs is the time for producer expiry while producer state is loaded.
	NowMs int64
	// OnBatch, if set, is called with each batch that is read and found sound, in order: all of the log from the segment
	// that holds RecoveryPoint on, unless Clean. A batch is valid during the call. Nothing is changed on disk yet, and
	// opening may still refuse.
	OnBatch func(record.Batch)
}

// MetadataOpenOptions are for __cluster_metadata: as Kafka does, each start checks the whole log. durableOffset is the
// highest of the high watermark that is remembered and the newest snapshot's end offset.
func MetadataOpenOptions(durableOffset int64) OpenOptions {
	return OpenOptions{DurableOffset: durableOffset, SyncEpochs: true, Contiguous: true}
}

// RecoveryReport says what opening did, for the log of the node and for tests.
type RecoveryReport struct {
	Created         bool // there was no log
	CheckedSegments int  // read whole and checked
	RebuiltIndexes  int
	CutBytes        int64 // torn bytes removed from the end
	CutOffset       int64 // where, if CutBytes > 0 or segments were dropped
	CutReason       string
	DroppedSegments int // with CutHoles: whole segments behind a hole
	RebuiltEpochs   bool
}

// Origin says who makes the batches of AppendLeader.
type Origin int8

// Origins.
const (
	OriginClient      Origin = iota // checked by the topic's rules and by producer state
	OriginCoordinator               // this broker's own records: trusted, producer state applies
	OriginRaft                      // the metadata log's leader: offsets are already set and must continue the log
)

// AppendOptions belong to one AppendLeader.
type AppendOptions struct {
	Origin Origin
	// MaxDecompressedBytes bounds the check of one compressed batch; 0: record.DefaultMaxDecompressed.
	MaxDecompressedBytes int
}

// AppendInfo says what an append did.
type AppendInfo struct {
	First, Last   int64 // offsets of the first and last record
	MaxTimestamp  int64 // largest timestamp, -1 for none
	LogAppendTime int64 // -1 unless the topic uses it
	StartOffset   int64 // log start offset
	Bytes         int
	// Duplicate: an idempotent producer sent these again; nothing was written, First and Last are the first time's.
	Duplicate bool
}

// OffsetMetadata is an offset and where it lies.
type OffsetMetadata struct {
	Offset      int64
	SegmentBase int64
	Position    int64 // bytes in that segment's file
}

// EpochEntry is one line of the leader-epoch cache.
type EpochEntry struct {
	Epoch       int32
	StartOffset int64
}

// TimestampOffset is an answer to "which record is the first at or after this time".
type TimestampOffset struct {
	Timestamp int64
	Offset    int64
	Epoch     int32 // leader epoch, -1 if unknown
}

// ProducerState is what a log knows about one producer, for DescribeProducers.
type ProducerState struct {
	ProducerID         int64
	Epoch              int16
	LastSequence       int32
	LastTimestamp      int64
	CoordinatorEpoch   int32
	CurrentTxnFirstOff int64 // -1: no open transaction
}
