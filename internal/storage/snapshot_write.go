package storage

import (
	"errors"
	"fmt"
	"path"

	"github.com/kraft-dev/kraft-operator/internal/storage/record"
	"github.com/kraft-dev/kraft-operator/internal/storage/record/control"
)

// SnapshotHeader is what the first control batch says.
type SnapshotHeader struct {
	LastContainedLogTimestamp int64
	KRaftVersion              int16
	Voters                    []control.Voter // only with KRaftVersion ≥ 1
}

// Where a data batch is closed. Kafka writes 1024 records into one, and its readers take up to 8 MiB.
const (
	snapshotBatchRecords = 1024
	snapshotBatchBytes   = 1 << 20
)

// SnapshotWriter writes one snapshot: header, data batches, footer. Nothing is seen under the snapshot's name before Freeze.
type SnapshotWriter struct {
	fs         FS
	file       File
	part, name string
	id         SnapshotID
	nowMs      int64
	position   int64
	offset     int64 // of the next record; offsets in a snapshot run from 0
	batch      *record.Builder
	err        error
	done       bool
}

// CreateSnapshot begins snapshot id. nowMs stamps its batches. If the snapshot is already there, it returns nil, nil.
// Errors: voters with KRaftVersion 0.
func CreateSnapshot(fsys FS, dir string, id SnapshotID, h SnapshotHeader, nowMs int64) (*SnapshotWriter, error) {
	name := path.Join(dir, id.Name())
	if there, err := exists(fsys, name); err != nil || there {
		return nil, err
	}
	return createSnapshotFile(fsys, name, id, h, nowMs)
}

func createSnapshotFile(fsys FS, name string, id SnapshotID, h SnapshotHeader, nowMs int64) (*SnapshotWriter, error) {
	if h.KRaftVersion == 0 && len(h.Voters) > 0 {
		return nil, fmt.Errorf("snapshot %s: %d voters with kraft.version 0, which has none", id, len(h.Voters))
	}
	part, f, err := createPart(fsys, name, "w")
	if err != nil {
		return nil, err
	}
	w := &SnapshotWriter{fs: fsys, file: f, part: part, name: name, id: id, nowMs: nowMs}
	recs := []control.Record{control.SnapshotHeader{LastContainedLogTimestamp: h.LastContainedLogTimestamp}}
	if h.KRaftVersion > 0 {
		recs = append(recs, control.KRaftVersion{Level: h.KRaftVersion}, control.Voters{Voters: h.Voters})
	}
	if err := w.appendControl(recs...); err != nil {
		return nil, errors.Join(err, w.Abort())
	}
	return w, nil
}

// createPart makes the file that becomes name. One writer (kind w) and one download (kind d) of an id may go on at a time.
func createPart(fsys FS, name, kind string) (string, File, error) {
	part := name[:len(name)-len(checkpointSuffix)] + "-" + kind + partSuffix
	if err := removeIfThere(fsys, part); err != nil { // one left by a crash may be read-only already
		return part, nil, err
	}
	f, err := fsys.Create(part)
	return part, f, err
}

// Append adds metadata record values (frames); they are put into batches of bounded size.
func (w *SnapshotWriter) Append(values ...[]byte) error {
	for _, v := range values {
		if len(v) == 0 {
			return fmt.Errorf("snapshot %s: empty record", w.id)
		}
		if w.batch == nil || w.batch.Count() == 0 {
			w.beginBatch()
		}
		w.batch.Append(w.nowMs, nil, v)
		w.offset++
		if w.batch.Count() >= snapshotBatchRecords || w.batch.Size() >= snapshotBatchBytes {
			if err := w.flushBatch(); err != nil {
				return err
			}
		}
	}
	return w.err
}

func (w *SnapshotWriter) beginBatch() {
	cfg := record.BuilderConfig{BaseOffset: w.offset, Epoch: w.id.Epoch}
	if w.batch == nil {
		w.batch = record.NewBuilder(cfg)
	} else {
		w.batch.Reset(cfg)
	}
}

func (w *SnapshotWriter) flushBatch() error {
	if w.batch == nil || w.batch.Count() == 0 || w.err != nil {
		return w.err
	}
	b, err := w.batch.Build()
	if err == nil {
		err = w.write(b)
	}
	w.batch.Reset(record.BuilderConfig{})
	return err
}

func (w *SnapshotWriter) appendControl(recs ...control.Record) error {
	b := control.AppendBatch(nil, w.offset, w.id.Epoch, w.nowMs, recs...)
	w.offset += int64(len(recs))
	return w.write(b)
}

func (w *SnapshotWriter) write(b []byte) error {
	if w.err == nil {
		if _, err := w.file.WriteAt(b, w.position); err != nil {
			w.err = fmt.Errorf("snapshot %s: %w", w.id, err)
		}
		w.position += int64(len(b))
	}
	return w.err
}

// Freeze writes the footer, makes the file durable and read-only and gives it its name. It returns the size in bytes.
// After an error the part file is gone or will be at the next ListSnapshots.
func (w *SnapshotWriter) Freeze() (int64, error) {
	if err := w.flushBatch(); err != nil {
		return 0, errors.Join(err, w.Abort())
	}
	if err := w.appendControl(control.SnapshotFooter{}); err != nil {
		return 0, errors.Join(err, w.Abort())
	}
	w.done = true
	return w.position, freeze(w.fs, w.file, w.part, w.name)
}

// Abort drops the snapshot. After Freeze it does nothing.
func (w *SnapshotWriter) Abort() error {
	if w.done {
		return nil
	}
	w.done = true
	return errors.Join(w.file.Close(), removeIfThere(w.fs, w.part))
}

// SnapshotDownload takes the bytes of a snapshot as FetchSnapshot brings them.
type SnapshotDownload struct {
	fs         FS
	file       File
	part, name string
	id         SnapshotID
	size       int64
	done       bool
}

// CreateSnapshotDownload begins the download of snapshot id.
func CreateSnapshotDownload(fsys FS, dir string, id SnapshotID) (*SnapshotDownload, error) {
	name := path.Join(dir, id.Name())
	part, f, err := createPart(fsys, name, "d")
	if err != nil {
		return nil, err
	}
	return &SnapshotDownload{fs: fsys, file: f, part: part, name: name, id: id}, nil
}

// ID is the snapshot's.
func (d *SnapshotDownload) ID() SnapshotID { return d.id }

// Size is the number of bytes so far: the position to ask for next.
func (d *SnapshotDownload) Size() int64 { return d.size }

// WriteAt appends bytes at position, which must be Size.
func (d *SnapshotDownload) WriteAt(data []byte, position int64) error {
	if position != d.size {
		return fmt.Errorf("snapshot %s: bytes at position %d, want %d", d.id, position, d.size)
	}
	if _, err := d.file.WriteAt(data, position); err != nil {
		return fmt.Errorf("snapshot %s: %w", d.id, err)
	}
	d.size += int64(len(data))
	return nil
}

// Freeze checks the whole content (CRCs, header first, footer last), makes it durable and read-only and gives it its
// name. A snapshot that is there already stays, and the download is dropped.
func (d *SnapshotDownload) Freeze() error {
	s, err := newSnapshot(d.file, d.part, d.id)
	if err == nil {
		err = s.Check()
	}
	there := false
	if err == nil {
		there, err = exists(d.fs, d.name)
	}
	if err != nil || there {
		return errors.Join(err, d.Abort())
	}
	d.done = true
	return freeze(d.fs, d.file, d.part, d.name)
}

// Abort drops the download. After Freeze it does nothing.
func (d *SnapshotDownload) Abort() error {
	if d.done {
		return nil
	}
	d.done = true
	return errors.Join(d.file.Close(), removeIfThere(d.fs, d.part))
}
