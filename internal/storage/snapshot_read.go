package storage

import (
	"fmt"
	"io"
	"iter"
	"path"

	"github.com/kraft-dev/kraft-operator/internal/storage/record"
	"github.com/kraft-dev/kraft-operator/internal/storage/record/control"
)

// Snapshot is an open snapshot. Slice and Batches may be used by many at a time.
type Snapshot struct {
	file   File
	name   string
	id     SnapshotID
	size   int64
	header SnapshotHeader
}

// OpenSnapshot opens and checks the header. Errors: fs.ErrNotExist; wrapping ErrCorrupt.
func OpenSnapshot(fsys FS, dir string, id SnapshotID) (*Snapshot, error) {
	return openSnapshotFile(fsys, path.Join(dir, id.Name()), id)
}

func openSnapshotFile(fsys FS, name string, id SnapshotID) (*Snapshot, error) {
	f, err := fsys.OpenRead(name)
	if err != nil {
		return nil, err
	}
	s, err := newSnapshot(f, name, id)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return s, nil
}

func newSnapshot(f File, name string, id SnapshotID) (*Snapshot, error) {
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	s := &Snapshot{file: f, name: name, id: id, size: size}
	b, err := s.batchAt(0, nil)
	if err != nil {
		return nil, err
	}
	if err := s.readHeader(b); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Snapshot) readHeader(b record.Batch) error {
	recs, err := controlOffsets(s.name, b)
	if err != nil {
		return err
	}
	if len(recs) == 0 {
		return corruptFile(s.name, "the first batch is not a control batch")
	}
	h, ok := recs[0].Record.(control.SnapshotHeader)
	if !ok {
		return corruptFile(s.name, "the first record is not SnapshotHeader but control type %d", recs[0].Record.Type())
	}
	s.header.LastContainedLogTimestamp = h.LastContainedLogTimestamp
	for _, r := range recs[1:] {
		switch r := r.Record.(type) {
		case control.KRaftVersion:
			s.header.KRaftVersion = r.Level
		case control.Voters:
			s.header.Voters = r.Voters
		}
	}
	return nil
}

// ID is the snapshot's.
func (s *Snapshot) ID() SnapshotID { return s.id }

// Header is its first control batch.
func (s *Snapshot) Header() SnapshotHeader { return s.header }

// Size is in bytes.
func (s *Snapshot) Size() int64 { return s.size }

// Slice is the range from position, at most maxBytes, for FetchSnapshot.
// Errors: ErrOffsetOutOfRange for a position outside the file (wire: POSITION_OUT_OF_RANGE).
func (s *Snapshot) Slice(position int64, maxBytes int) (Slice, error) {
	if position < 0 || position >= s.size {
		return Slice{}, fmt.Errorf("snapshot %s: position %d, size %d: %w", s.id, position, s.size, ErrOffsetOutOfRange)
	}
	return Slice{file: s.file, position: position, size: int(min(int64(max(maxBytes, 0)), s.size-position))}, nil
}

// Batches walks the data batches, each checked. A batch is valid until the next one. The walk ends with an error wrapping
// ErrCorrupt if the footer is missing, or isn't last.
func (s *Snapshot) Batches() iter.Seq2[record.Batch, error] {
	return func(yield func(record.Batch, error) bool) {
		var buf []byte
		footer := false
		for position := int64(0); position < s.size; {
			b, err := s.batchAt(position, buf)
			if err == nil && footer {
				err = corruptFile(s.name, "a batch at byte %d follows the footer", position)
			}
			if err == nil && b.IsControl() {
				footer, err = s.isFooter(b)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			position += int64(len(b))
			if !b.IsControl() && !yield(b, nil) {
				return
			}
			buf = b[:0]
		}
		if !footer {
			yield(nil, corruptFile(s.name, "no footer at the end, byte %d", s.size))
		}
	}
}

// Check reads the whole file: every batch is sound, and the footer is last. Errors: wrapping ErrCorrupt; or the disk's.
func (s *Snapshot) Check() error {
	for _, err := range s.Batches() {
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *Snapshot) isFooter(b record.Batch) (bool, error) {
	recs, err := controlOffsets(s.name, b)
	if err != nil || len(recs) != 1 {
		return false, err
	}
	_, ok := recs[0].Record.(control.SnapshotFooter)
	return ok, nil
}

// batchAt reads and checks the batch at position, into buf if it is large enough.
func (s *Snapshot) batchAt(position int64, buf []byte) (record.Batch, error) {
	return readBatchAt(s.file, s.name, position, s.size, buf)
}

// readBatchAt reads and checks one batch of a file whose sound part ends at end. Errors wrap ErrCorrupt, or are the disk's.
func readBatchAt(f io.ReaderAt, name string, position, end int64, buf []byte) (record.Batch, error) {
	var header [record.HeaderSize]byte
	if end-position < record.HeaderSize {
		return nil, corruptFile(name, "byte %d: %d bytes left, a batch has at least %d: %w", position, end-position, record.HeaderSize, io.ErrUnexpectedEOF)
	}
	if _, err := f.ReadAt(header[:], position); err != nil {
		return nil, fmt.Errorf("read %s at byte %d: %w", name, position, err)
	}
	size, err := record.CheckHeader(header[:])
	if err != nil {
		return nil, corruptFile(name, "byte %d: %w", position, err)
	}
	if int64(size) > end-position {
		return nil, corruptFile(name, "byte %d: batch of %d bytes, %d left: %w", position, size, end-position, io.ErrUnexpectedEOF)
	}
	if cap(buf) < size {
		buf = make([]byte, size)
	}
	b := record.Batch(buf[:size])
	if _, err := f.ReadAt(b, position); err != nil {
		return nil, fmt.Errorf("read %s at byte %d: %w", name, position, err)
	}
	if err := b.Validate(); err != nil {
		return nil, corruptFile(name, "byte %d: %w", position, err)
	}
	return b, nil
}

// Close closes the file.
func (s *Snapshot) Close() error { return s.file.Close() }
