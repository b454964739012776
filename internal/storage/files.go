package storage

import (
	"io"

	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// Names of files in a log dir, and in a partition's folder.
const (
	MetaPropertiesFile   = "meta.properties"
	BootstrapFile        = "bootstrap.checkpoint"
	CleanShutdownFile    = ".kafka_cleanshutdown"
	LockFile             = ".lock"
	RecoveryPointFile    = "recovery-point-offset-checkpoint"
	HighWatermarkFile    = "replication-offset-checkpoint"
	LogStartOffsetFile   = "log-start-offset-checkpoint"
	QuorumStateFile      = "quorum-state"
	LeaderEpochFile      = "leader-epoch-checkpoint"
	PartitionFile        = "partition.metadata"
	MetadataPartitionDir = "__cluster_metadata-0"
)

// MetaProperties is meta.properties: who this disk belongs to. DirectoryID is zero if the file has none (Kafka before KIP-858).
type MetaProperties struct {
	ClusterID   string
	NodeID      int32
	DirectoryID uuid.UUID
}

// ReadMetaProperties reads a log dir's. Errors: fs.ErrNotExist; wrapping ErrCorrupt, naming the key and what to do.
func ReadMetaProperties(fs FS, logDir string) (MetaProperties, error) { panic("unwritten") }

// WriteMetaProperties replaces it, durably.
func WriteMetaProperties(fs FS, logDir string, m MetaProperties) error { panic("unwritten") }

// ElectionState is quorum-state: what a voter must not forget. -1 is "none".
type ElectionState struct {
	LeaderID         int32
	LeaderEpoch      int32
	VotedID          int32
	VotedDirectoryID uuid.UUID // zero with KRaftVersion 0, where the file can't hold it
	KRaftVersion     int16     // 0 writes data_version 0, otherwise 1
	CurrentVoters    []int32   // data_version 0 only
}

// ReadQuorumState reads the metadata partition's. Errors: fs.ErrNotExist (epoch 0, no leader); wrapping ErrCorrupt.
func ReadQuorumState(fs FS, dir string) (ElectionState, error) { panic("unwritten") }

// WriteQuorumState replaces it; when it returns nil the state is durable.
func WriteQuorumState(fs FS, dir string, s ElectionState) error { panic("unwritten") }

// ReadPartitionMetadata reads the topic id. Errors: fs.ErrNotExist; wrapping ErrCorrupt.
func ReadPartitionMetadata(fs FS, dir string) (uuid.UUID, error) { panic("unwritten") }

// WritePartitionMetadata replaces it, durably.
func WritePartitionMetadata(fs FS, dir string, topicID uuid.UUID) error { panic("unwritten") }

// ReadCleanShutdown returns the broker epoch at the clean stop (-1 if the file doesn't say). Errors: fs.ErrNotExist.
// Damage counts as an unclean stop: the error wraps ErrCorrupt.
func ReadCleanShutdown(fs FS, logDir string) (brokerEpoch int64, err error) { panic("unwritten") }

// WriteCleanShutdown marks a clean stop, durably.
func WriteCleanShutdown(fs FS, logDir string, brokerEpoch int64) error { panic("unwritten") }

// RemoveCleanShutdown takes the mark away, durably, before the first change to a log. A missing one is no error.
func RemoveCleanShutdown(fs FS, logDir string) error { panic("unwritten") }

// TopicPartition names a partition.
type TopicPartition struct {
	Topic     string
	Partition int32
}

// ReadOffsetCheckpoint reads one of the three offset checkpoint files of a log dir; a missing file is an empty map.
func ReadOffsetCheckpoint(fs FS, logDir, file string) (map[TopicPartition]int64, error) {
	panic("unwritten")
}

// WriteOffsetCheckpoint replaces it, durably.
func WriteOffsetCheckpoint(fs FS, logDir, file string, offsets map[TopicPartition]int64) error {
	panic("unwritten")
}

// LockDir takes the log dir's .lock. Errors: wrapping ErrLocked.
func LockDir(fs FS, logDir string) (io.Closer, error) { panic("unwritten") }

// DirName is a partition's folder: topic-partition.
func (tp TopicPartition) DirName() string { panic("unwritten") }

// DirKind tells what a folder in a log dir is.
type DirKind int8

// Kinds of folders.
const (
	DirLog     DirKind = iota // topic-partition
	DirDeleted                // topic-partition.<32 hex digits>-delete: to be removed
	DirFuture                 // …-future: a copy being moved between log dirs
	DirStray                  // …-stray: a replica that isn't this node's any more
)

// ParseDirName reads a folder's name; ok is false for folders that aren't a partition's. Names of deleted, future and
// stray folders may be cut, so the topic is only a hint there.
func ParseDirName(name string) (tp TopicPartition, kind DirKind, ok bool) { panic("unwritten") }

// DeletedDirName is the name a partition's folder gets until it is removed.
func DeletedDirName(tp TopicPartition, unique uuid.UUID) string { panic("unwritten") }
