package storage

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
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

const (
	tmpSuffix = ".tmp"
	// maxSmallFile bounds the small files: the largest, an offset checkpoint, has a line of at most 280 bytes a partition.
	maxSmallFile = 64 << 20
)

// replaceFile puts data under name so that a crash leaves either the old or the new content, whole.
func replaceFile(fsys FS, name string, data []byte) error {
	tmp := name + tmpSuffix
	if err := writeWhole(fsys, tmp, data, true); err != nil {
		return err
	}
	if err := fsys.Rename(tmp, name); err != nil {
		return err
	}
	return fsys.SyncDir(path.Dir(name))
}

// replaceFileLazily is replaceFile without fsync: after a crash the name may hold anything, so only for what can be
// made again from the log.
func replaceFileLazily(fsys FS, name string, data []byte) error {
	tmp := name + tmpSuffix
	if err := writeWhole(fsys, tmp, data, false); err != nil {
		return err
	}
	return fsys.Rename(tmp, name)
}

func writeWhole(fsys FS, name string, data []byte, sync bool) error {
	f, err := fsys.Create(name)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	if err == nil && sync {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// readWhole reads a file of at most limit bytes. A larger one is corrupt.
func readWhole(fsys FS, name string, limit int64) ([]byte, error) {
	f, err := fsys.OpenRead(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, corruptFile(name, "%d bytes, at most %d make sense", size, limit)
	}
	data := make([]byte, size)
	if _, err := f.ReadAt(data, 0); err != nil && (!errors.Is(err, io.EOF) || size > 0) {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	return data, nil
}

// corruptFile is the error about a damaged small file.
func corruptFile(name, format string, args ...any) error {
	return fmt.Errorf("%s: %w: %w", name, ErrCorrupt, fmt.Errorf(format, args...))
}

// removeIfThere is Remove where a missing file is no error.
func removeIfThere(fsys FS, name string) error {
	if err := fsys.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// LockDir takes the log dir's .lock. Errors: wrapping ErrLocked.
func LockDir(fsys FS, logDir string) (io.Closer, error) {
	l, err := fsys.Lock(path.Join(logDir, LockFile))
	if err != nil {
		return nil, fmt.Errorf("log dir %s: %w; stop the other process, or give this node a directory of its own", logDir, err)
	}
	return l, nil
}
