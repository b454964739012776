package storage

import (
	"errors"
	"fmt"
	"math"
	"path"
	"sync/atomic"

	"github.com/kraft-dev/kraft-operator/internal/storage/record"
)

const (
	logSuffix       = ".log"
	indexSuffix     = ".index"
	timeIndexSuffix = ".timeindex"
	producerSuffix  = ".snapshot"
)

// segmentName is the stem of a segment's files: its base offset in 20 digits.
func segmentName(base int64) string { return fmt.Sprintf("%020d", base) }

// segment is one .log file with its indexes. The writer changes it; readers use file, size and the indexes.
type segment struct {
	fs      FS
	dir     string
	base    int64
	file    File
	size    atomic.Int64 // bytes that readers may see
	offsets indexFile
	times   indexFile

	// The writer's.
	firstTs         int64 // timestamp of the first batch, for segment.ms; -1 unknown
	createdMs       int64 // for segment.ms where no batch has a timestamp
	sinceIndexEntry int64
	lastTimeEntry   timeEntry
	lastRel         uint32 // of the newest offset index entry

	maxTs    atomic.Int64 // largest timestamp, -1 for none
	maxTsRel atomic.Int64 // last offset of the batch that has it, relative

	allocated    int64 // the file's size, where it was preallocated
	synced       int64 // bytes known durable; owned by the holder of flushMu
	indexSynced  bool
	removeAtMs   int64 // when the files of a segment that left the log may go
	removedNames []string
}

func newSegment(fsys FS, dir string, base int64) *segment {
	stem := path.Join(dir, segmentName(base))
	s := &segment{fs: fsys, dir: dir, base: base, firstTs: record.NoTimestamp}
	s.maxTs.Store(record.NoTimestamp)
	s.offsets.fs, s.offsets.name, s.offsets.entry = fsys, stem+indexSuffix, offsetEntrySize
	s.times.fs, s.times.name, s.times.entry = fsys, stem+timeIndexSuffix, timeEntrySize
	return s
}

func (s *segment) logName() string { return path.Join(s.dir, segmentName(s.base)+logSuffix) }

// createSegment makes an empty segment's files.
func createSegment(fsys FS, dir string, base, nowMs int64) (*segment, error) {
	s := newSegment(fsys, dir, base)
	s.createdMs = nowMs
	var err error
	if s.file, err = fsys.Create(s.logName()); err != nil {
		return nil, err
	}
	if err := errors.Join(s.offsets.flush(), s.times.flush()); err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// noteBatch records a batch that was written at position: timestamps, and index entries when it is time.
func (s *segment) noteBatch(position int64, size int, lastOffset, maxTs, intervalBytes int64) {
	if position == 0 {
		s.firstTs = maxTs
	}
	rel := uint32(lastOffset - s.base)
	if maxTs > s.maxTs.Load() {
		s.maxTsRel.Store(int64(rel))
		s.maxTs.Store(maxTs)
	}
	if s.sinceIndexEntry > intervalBytes {
		s.appendOffsetEntry(offsetEntry{rel, uint32(position)})
		s.appendTimeEntry()
		s.sinceIndexEntry = 0
	}
	s.sinceIndexEntry += int64(size)
}

func (s *segment) appendOffsetEntry(e offsetEntry) {
	var b [offsetEntrySize]byte
	putOffsetEntry(b[:], e)
	s.offsets.append(b[:])
	s.lastRel = e.rel
}

// appendTimeEntry adds the largest timestamp so far, if it is newer than the newest entry.
func (s *segment) appendTimeEntry() {
	e := timeEntry{s.maxTs.Load(), uint32(s.maxTsRel.Load())}
	if e.ts <= s.lastTimeEntry.ts && s.times.count() > 0 || e.ts < 0 {
		return
	}
	var b [timeEntrySize]byte
	putTimeEntry(b[:], e)
	s.times.append(b[:])
	s.lastTimeEntry = e
}

// seal does what Kafka does to a segment that becomes inactive: the time index ends with the largest timestamp.
func (s *segment) seal() error {
	s.appendTimeEntry()
	err := errors.Join(s.offsets.flush(), s.times.flush())
	s.offsets.release()
	s.times.release()
	return err
}

// indexesFull tells whether another entry may not fit into segment.index.bytes.
func (s *segment) indexesFull(maxBytes int32) bool {
	return maxBytes > 0 && (int64(s.offsets.count()+1)*offsetEntrySize > int64(maxBytes) ||
		int64(s.times.count()+2)*timeEntrySize > int64(maxBytes))
}

// fits tells whether an offset can be expressed relative to the base.
func (s *segment) fits(offset int64) bool {
	return offset-s.base <= math.MaxInt32 && offset >= s.base
}

// largestMs is the newest timestamp, or the file's modification time if no batch has one.
func (s *segment) largestMs() int64 {
	if ts := s.maxTs.Load(); ts >= 0 {
		return ts
	}
	fi, err := s.fs.Stat(s.logName())
	if err != nil {
		return math.MaxInt64 // don't delete by age what can't be dated
	}
	return fi.ModTime.UnixMilli()
}

// floorPosition is a position from which a walk meets the first batch that ends at or past offset.
func (s *segment) floorPosition(offset int64) int64 {
	if offset <= s.base {
		return 0
	}
	var buf [offsetEntrySize]byte
	rel := uint32(min(offset-s.base, math.MaxUint32))
	n, err := s.offsets.floor(buf[:], func(e []byte) bool { return getOffsetEntry(e).rel > rel })
	if err != nil || n < 0 { // an index that can't be read costs time, not answers
		return 0
	}
	return int64(getOffsetEntry(buf[:]).pos)
}

// floorPositionBytes is the largest indexed batch start at or below limit, 0 for none.
func (s *segment) floorPositionBytes(limit int64) int64 {
	var buf [offsetEntrySize]byte
	n, err := s.offsets.floor(buf[:], func(e []byte) bool { return int64(getOffsetEntry(e).pos) > limit })
	if err != nil || n < 0 {
		return 0
	}
	return int64(getOffsetEntry(buf[:]).pos)
}

// truncate cuts the segment at a batch start, indexes first: an index never points past the log.
func (s *segment) truncate(position int64, cut int64) error {
	if err := s.truncateIndexes(position, cut); err != nil {
		return err
	}
	s.size.Store(position)
	s.synced = min(s.synced, position)
	s.sinceIndexEntry = 0
	s.allocated = 0
	return s.file.Truncate(position)
}

func (s *segment) truncateIndexes(position, cut int64) error {
	var ob [offsetEntrySize]byte
	n, err := s.offsets.floor(ob[:], func(e []byte) bool { return int64(getOffsetEntry(e).pos) >= position })
	if err != nil {
		return err
	}
	var tb [timeEntrySize]byte
	rel := uint32(max(cut-s.base, 0))
	m, err := s.times.floor(tb[:], func(e []byte) bool { return getTimeEntry(e).rel >= rel })
	if err != nil {
		return err
	}
	if err := errors.Join(s.offsets.truncate(n+1), s.times.truncate(m+1)); err != nil {
		return err
	}
	s.lastTimeEntry, s.lastRel = timeEntry{}, 0
	if n >= 0 {
		s.lastRel = getOffsetEntry(ob[:]).rel
	}
	if m >= 0 {
		s.lastTimeEntry = getTimeEntry(tb[:])
	}
	if position == 0 {
		s.firstTs = record.NoTimestamp
	}
	// The largest timestamp of what is left: the walk behind the newest time entry is the caller's (rescanTail).
	s.maxTs.Store(record.NoTimestamp)
	s.maxTsRel.Store(0)
	if m >= 0 {
		s.maxTs.Store(s.lastTimeEntry.ts)
		s.maxTsRel.Store(int64(s.lastTimeEntry.rel))
	}
	return nil
}

// rescanTail brings the largest timestamp up to date from the batches behind the newest time entry.
func (s *segment) rescanTail() error {
	from := int64(0)
	if s.times.count() > 0 {
		from = s.floorPosition(s.base + int64(s.lastTimeEntry.rel))
	}
	w := walker{file: s.file, name: s.logName()}
	defer w.close()
	for pos, end := from, s.size.Load(); pos < end; {
		b, size, err := w.at(pos, end)
		if err != nil {
			return err
		}
		if ts := b.MaxTimestamp(); ts > s.maxTs.Load() {
			s.maxTs.Store(ts)
			s.maxTsRel.Store(b.LastOffset() - s.base)
		}
		if pos == 0 {
			s.firstTs = b.MaxTimestamp()
		}
		pos += int64(size)
	}
	return nil
}

func (s *segment) close() error {
	var err error
	if s.file != nil {
		err = s.file.Close()
	}
	return errors.Join(err, s.offsets.close(), s.times.close())
}

// files are the names of everything that belongs to the segment.
func (s *segment) files() []string {
	stem := path.Join(s.dir, segmentName(s.base))
	return []string{stem + logSuffix, stem + indexSuffix, stem + timeIndexSuffix}
}

// detach renames the files to ".deleted", newest name last, so that readers can go on until removal.
func (s *segment) detach(removeAtMs int64) error {
	s.removeAtMs = removeAtMs
	for _, name := range s.files() {
		if there, err := exists(s.fs, name); err != nil {
			return err
		} else if !there {
			continue
		}
		if err := s.fs.Rename(name, name+deletedSuffix); err != nil {
			return err
		}
		s.removedNames = append(s.removedNames, name+deletedSuffix)
	}
	return nil
}

// remove closes and really removes a detached segment.
func (s *segment) remove() error {
	err := s.close()
	for _, name := range s.removedNames {
		err = errors.Join(err, removeIfThere(s.fs, name))
	}
	return err
}
