package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/kraft-dev/kraft-operator/internal/storage/record"
	"github.com/kraft-dev/kraft-operator/internal/storage/record/control"
)

// SnapshotID names a KRaft snapshot: EndOffset is exclusive, Epoch is that of the last contained record.
type SnapshotID struct {
	EndOffset int64
	Epoch     int32
}

// BootstrapSnapshot is the id of the checkpoint that formatting writes (KIP-853). It is never served to others.
var BootstrapSnapshot = SnapshotID{}

const (
	checkpointSuffix = ".checkpoint"
	partSuffix       = ".checkpoint.part"
	deletedSuffix    = ".deleted"
)

// Name is the file name: 20 digits, dash, 10 digits, ".checkpoint".
func (id SnapshotID) Name() string {
	return fmt.Sprintf("%020d-%010d%s", id.EndOffset, id.Epoch, checkpointSuffix)
}

// String is the name without its suffix.
func (id SnapshotID) String() string { return strings.TrimSuffix(id.Name(), checkpointSuffix) }

// Compare orders ids by end offset, then epoch.
func (id SnapshotID) Compare(o SnapshotID) int {
	switch {
	case id.EndOffset != o.EndOffset && id.EndOffset < o.EndOffset, id.EndOffset == o.EndOffset && id.Epoch < o.Epoch:
		return -1
	case id == o:
		return 0
	}
	return 1
}

// ParseSnapshotName reads a file name; ok is false for names of other files, ".part" and ".deleted" among them.
func ParseSnapshotName(name string) (id SnapshotID, ok bool) {
	stem, ok := strings.CutSuffix(name, checkpointSuffix)
	if !ok || len(stem) != 31 || stem[20] != '-' {
		return id, false
	}
	for _, c := range []byte(stem[:20] + stem[21:]) {
		if c < '0' || c > '9' {
			return id, false
		}
	}
	off, err1 := strconv.ParseInt(stem[:20], 10, 64)
	epoch, err2 := strconv.ParseInt(stem[21:], 10, 32)
	if err1 != nil || err2 != nil {
		return id, false
	}
	return SnapshotID{EndOffset: off, Epoch: int32(epoch)}, true
}

// ListSnapshots returns the snapshots in dir in ascending order, and removes what an interrupted write, download or
// removal left behind (".part", ".deleted"). 0-0 is among them if it is there. A missing dir has none.
func ListSnapshots(fsys FS, dir string) ([]SnapshotID, error) {
	names, err := fsys.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var ids []SnapshotID
	for _, name := range names {
		if id, ok := ParseSnapshotName(name); ok {
			ids = append(ids, id)
			continue
		}
		if strings.HasSuffix(name, partSuffix) || strings.HasSuffix(name, checkpointSuffix+deletedSuffix) {
			if err := removeIfThere(fsys, path.Join(dir, name)); err != nil {
				return nil, err
			}
		}
	}
	slices.SortFunc(ids, SnapshotID.Compare)
	return ids, nil
}

// DeleteSnapshot takes a snapshot's name away, durably, by renaming it to ".deleted"; RemoveDeletedSnapshot or the next
// ListSnapshots removes the file. Open readers go on. A missing one is no error.
func DeleteSnapshot(fsys FS, dir string, id SnapshotID) error {
	name := path.Join(dir, id.Name())
	if err := fsys.Rename(name, name+deletedSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return fsys.SyncDir(dir)
}

// RemoveDeletedSnapshot removes what DeleteSnapshot left. A missing one is no error.
func RemoveDeletedSnapshot(fsys FS, dir string, id SnapshotID) error {
	return removeIfThere(fsys, path.Join(dir, id.Name()+deletedSuffix))
}

// freeze makes the file durable and read-only and gives it its name. The file is closed in any case. Errors wrap
// ErrPoisoned: a disk that can't sync is not to be trusted with anything else.
func freeze(fsys FS, f File, part, name string) error {
	err := f.Sync()
	err = errors.Join(err, f.Close())
	if err == nil {
		err = fsys.SetReadOnly(part)
	}
	if err == nil {
		err = fsys.Rename(part, name)
	}
	if err == nil {
		err = fsys.SyncDir(path.Dir(name))
	}
	if err != nil {
		return fmt.Errorf("freeze %s: %w: %w", part, ErrPoisoned, err)
	}
	return nil
}

func exists(fsys FS, name string) (bool, error) {
	_, err := fsys.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// WriteBootstrapSnapshot writes the 0-0 checkpoint into the metadata partition's folder.
func WriteBootstrapSnapshot(fsys FS, dir string, kraftVersion int16, voters []control.Voter, nowMs int64) error {
	w, err := CreateSnapshot(fsys, dir, BootstrapSnapshot, SnapshotHeader{KRaftVersion: kraftVersion, Voters: voters}, nowMs)
	if err != nil || w == nil {
		return err
	}
	_, err = w.Freeze()
	return err
}

// WriteBootstrapCheckpoint writes bootstrap.checkpoint into a log dir: metadata records that a new cluster begins with.
// One that is there is replaced.
func WriteBootstrapCheckpoint(fsys FS, logDir string, values [][]byte) error {
	w, err := createSnapshotFile(fsys, path.Join(logDir, BootstrapFile), SnapshotID{}, SnapshotHeader{}, 0)
	if err != nil {
		return err
	}
	if err := w.Append(values...); err != nil {
		return errors.Join(err, w.Abort())
	}
	_, err = w.Freeze()
	return err
}

// ReadBootstrapCheckpoint reads it back. Errors: fs.ErrNotExist (meaning the latest production metadata.version only);
// wrapping ErrCorrupt.
func ReadBootstrapCheckpoint(fsys FS, logDir string) ([][]byte, error) {
	s, err := openSnapshotFile(fsys, path.Join(logDir, BootstrapFile), SnapshotID{})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	var values [][]byte
	for b, err := range s.Batches() {
		if err != nil {
			return nil, err
		}
		b = slices.Clone(b)
		for r, err := range b.Records(0) {
			if err != nil {
				return nil, corruptFile(s.name, "%w", err)
			}
			values = append(values, r.Value)
		}
	}
	return values, nil
}

// controlOffsets is control.DecodeBatch for a batch of a file.
func controlOffsets(name string, b record.Batch) ([]control.Offset, error) {
	recs, err := control.DecodeBatch(b)
	if err != nil {
		return nil, corruptFile(name, "%w", err)
	}
	return recs, nil
}
