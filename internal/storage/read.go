package storage

import (
	"errors"
	"fmt"
	"sort"

	"github.com/kraft-dev/kraft-operator/internal/storage/record"
)

// floor is the index of the segment that may hold offset.
func (v view) floor(offset int64) int {
	return max(sort.Search(len(v.segments), func(i int) bool { return v.segments[i].base > offset })-1, 0)
}

// limit is how much of a segment belongs to the view.
func (v view) limit(i int) int64 {
	if i == len(v.segments)-1 {
		return v.tail
	}
	return v.segments[i].size.Load()
}

// place is a batch found in a view.
type place struct {
	segment  int
	position int64
	size     int
	base     int64 // offsets of the batch
	last     int64
}

// find is the first batch that ends at or past offset. ok is false if there is none below the view's end.
func (v view) find(offset int64) (p place, ok bool, err error) {
	for i := v.floor(offset); i < len(v.segments); i++ {
		from := v.segments[i].floorPosition(offset)
		p, ok, err = v.findIn(i, from, offset)
		if from > 0 && (err != nil || !ok && from >= v.limit(i) || ok && p.position == from && p.base > offset) {
			p, ok, err = v.findIn(i, 0, offset) // an index that misleads costs time, not answers
		}
		if err != nil || ok {
			return p, ok, err
		}
	}
	return p, false, nil
}

// findIn walks segment i from position.
func (v view) findIn(i int, position, offset int64) (p place, ok bool, err error) {
	s := v.segments[i]
	w := walker{file: s.file, name: s.logName()}
	defer w.close()
	for end := v.limit(i); position < end; {
		b, size, err := w.at(position, end)
		if err != nil {
			return p, false, err
		}
		if b.LastOffset() >= offset {
			return place{segment: i, position: position, size: size, base: b.BaseOffset(), last: b.LastOffset()}, true, nil
		}
		position += int64(size)
	}
	return p, false, nil
}

// consistently runs read on a view, again if a truncation made it fail.
func (l *Log) consistently(read func(v view) error) error {
	for {
		seen := l.shortened.Load()
		err := read(l.view())
		switch {
		case err == nil || errors.Is(err, ErrOffsetOutOfRange):
			return err
		case seen%2 == 1: // a truncation is going on: wait for its end
			l.wmu.Lock()
			l.wmu.Unlock() //nolint:staticcheck // only waiting
		case l.shortened.Load() == seen:
			return err
		}
	}
}

func (v view) checkOffset(dir string, offset int64) error {
	if offset < v.start || offset > v.end {
		return fmt.Errorf("%s: offset %d outside %d to %d: %w", dir, offset, v.start, v.end, ErrOffsetOutOfRange)
	}
	return nil
}

// Metadata finds the place of an offset in [StartOffset, EndOffset]: that of the batch which holds it.
func (l *Log) Metadata(offset int64) (m OffsetMetadata, err error) {
	err = l.consistently(func(v view) error {
		if err := v.checkOffset(l.dir, offset); err != nil {
			return err
		}
		p, ok, err := v.find(offset)
		if err != nil {
			return err
		}
		if !ok {
			m = v.endMetadata()
			m.Offset = offset
			return nil
		}
		m = OffsetMetadata{Offset: offset, SegmentBase: v.segments[p.segment].base, Position: p.position}
		return nil
	})
	return m, err
}

func (v view) endMetadata() OffsetMetadata {
	i := len(v.segments) - 1
	return OffsetMetadata{Offset: v.end, SegmentBase: v.segments[i].base, Position: v.limit(i)}
}

// Read returns whole batches from the one that contains start, all of which end below maxOffset, all from one segment, up
// to maxBytes. With minOneBatch one batch is returned even if it is larger. The bytes are not copied: see Slice.
//
// An empty Slice means there is nothing between start and maxOffset, or that the first batch is larger than maxBytes.
// Unit:   maxOffset is exclusive: the high watermark or last stable offset for consumers, EndOffset for followers.
// Errors: ErrOffsetOutOfRange where start is outside [StartOffset, EndOffset]; wrapping ErrCorrupt for rot in a header
// (CRCs are the reader's to check).
func (l *Log) Read(start, maxOffset int64, maxBytes int, minOneBatch bool) (out Slice, m OffsetMetadata, err error) {
	err = l.consistently(func(v view) error {
		out, m, err = l.readView(v, start, maxOffset, maxBytes, minOneBatch)
		return err
	})
	return out, m, err
}

func (l *Log) readView(v view, start, maxOffset int64, maxBytes int, minOneBatch bool) (Slice, OffsetMetadata, error) {
	if err := v.checkOffset(l.dir, start); err != nil {
		return Slice{}, OffsetMetadata{}, err
	}
	maxOffset = min(maxOffset, v.end)
	if start >= v.end {
		return Slice{}, v.endMetadata(), nil
	}
	p, ok, err := v.find(start)
	if err != nil {
		return Slice{}, OffsetMetadata{}, err
	}
	if !ok {
		m := v.endMetadata()
		m.Offset = start
		return Slice{}, m, nil
	}
	s := v.segments[p.segment]
	m := OffsetMetadata{Offset: start, SegmentBase: s.base, Position: p.position}
	if p.last >= maxOffset {
		return Slice{}, m, nil
	}
	if p.size > maxBytes {
		if !minOneBatch {
			return Slice{}, m, nil
		}
		return Slice{file: s.file, position: p.position, size: p.size}, m, nil
	}
	end, err := v.batchEnd(p, maxOffset, int64(maxBytes))
	if err != nil {
		return Slice{}, m, err
	}
	return Slice{file: s.file, position: p.position, size: int(end - p.position)}, m, nil
}

// batchEnd is the largest batch boundary in p's segment such that all batches from p end below maxOffset and take at most
// maxBytes.
func (v view) batchEnd(p place, maxOffset, maxBytes int64) (int64, error) {
	s := v.segments[p.segment]
	size := v.limit(p.segment)
	whole := maxOffset >= v.end && p.segment == len(v.segments)-1 ||
		p.segment+1 < len(v.segments) && v.segments[p.segment+1].base <= maxOffset
	if whole && size-p.position <= maxBytes {
		return size, nil
	}
	// Walk from the last indexed batch start that is surely inside; p's end is one.
	from := p.position + int64(p.size)
	indexed := s.floorPositionBytes(p.position + maxBytes)
	if !whole {
		indexed = min(indexed, s.floorPosition(maxOffset-1))
	}
	if indexed > from {
		if end, err := s.walkWithin(indexed, size, maxOffset, p.position+maxBytes); err == nil {
			return end, nil
		}
	}
	return s.walkWithin(from, size, maxOffset, p.position+maxBytes)
}

// walkWithin goes over the batches from a batch start on that end below maxOffset and at or before byte maxEnd, and
// returns where it stopped.
func (s *segment) walkWithin(from, size, maxOffset, maxEnd int64) (int64, error) {
	w := walker{file: s.file, name: s.logName()}
	defer w.close()
	for from < size {
		b, n, err := w.at(from, size)
		if err != nil {
			return 0, err
		}
		if b.LastOffset() >= maxOffset || from+int64(n) > maxEnd {
			break
		}
		from += int64(n)
	}
	return from, nil
}

// OffsetForTimestamp finds the first record, below maxOffset, with a timestamp of at least ts.
func (l *Log) OffsetForTimestamp(ts, maxOffset int64) (out TimestampOffset, found bool, err error) {
	err = l.consistently(func(v view) error {
		found = false
		for i, s := range v.segments {
			last := i == len(v.segments)-1
			if !last && (s.maxTs.Load() < ts && s.maxTs.Load() >= 0 || v.segments[i+1].base <= v.start) {
				continue
			}
			var err error
			from := s.timeFloor(ts, v.limit(i))
			out, found, err = v.searchTime(i, from, ts, min(maxOffset, v.end))
			if err != nil && from > 0 {
				out, found, err = v.searchTime(i, 0, ts, min(maxOffset, v.end))
			}
			if err != nil || found {
				return err
			}
		}
		return nil
	})
	if found {
		out.Epoch = l.EpochAt(out.Offset)
	}
	return out, found, err
}

// timeFloor is a position from which a walk meets every batch with a timestamp of at least ts.
func (s *segment) timeFloor(ts, limit int64) int64 {
	var b [timeEntrySize]byte
	n, err := s.times.floor(b[:], func(e []byte) bool { return getTimeEntry(e).ts >= ts })
	if err != nil || n < 0 {
		return 0
	}
	pos, ok := s.timeEntryPosition(getTimeEntry(b[:]), limit)
	if !ok { // an index that misleads costs time, not answers
		return 0
	}
	return pos
}

// timeEntryPosition finds the batch that a time index entry speaks of; ok is false if there is none with that timestamp.
func (s *segment) timeEntryPosition(e timeEntry, limit int64) (position int64, ok bool) {
	want := s.base + int64(e.rel)
	err := s.walkTo(s.floorPosition(want), limit, func(pos int64, h record.Batch) error {
		if h.LastOffset() < want {
			return nil
		}
		position, ok = pos, h.BaseOffset() <= want && h.MaxTimestamp() == e.ts
		return errDone
	})
	return position, ok && errors.Is(err, errDone)
}

// errDone ends a walk.
var errDone = errors.New("done")

func (v view) searchTime(i int, position, ts, maxOffset int64) (out TimestampOffset, found bool, err error) {
	s := v.segments[i]
	err = s.walkTo(position, v.limit(i), func(pos int64, h record.Batch) error {
		if h.BaseOffset() >= maxOffset {
			return errDone
		}
		if h.LastOffset() < v.start || h.MaxTimestamp() < ts || h.IsControl() && h.MaxTimestamp() < 0 {
			return nil
		}
		b, err := readBatchAt(s.file, s.logName(), pos, v.limit(i), nil)
		if err != nil {
			return err
		}
		for r, err := range b.Records(0) {
			if err != nil {
				return corruptFile(s.logName(), "byte %d: %w", pos, err)
			}
			if r.Timestamp >= ts && r.Offset >= v.start && r.Offset < maxOffset {
				out, found = TimestampOffset{Timestamp: r.Timestamp, Offset: r.Offset, Epoch: b.Epoch()}, true
				return errDone
			}
		}
		return nil
	})
	if errors.Is(err, errDone) {
		err = nil
	}
	return out, found, err
}

// MaxTimestamp finds the first record with the largest timestamp.
func (l *Log) MaxTimestamp() (TimestampOffset, bool, error) {
	best := int64(-1)
	for _, s := range l.view().segments {
		best = max(best, s.maxTs.Load())
	}
	if best < 0 {
		return TimestampOffset{}, false, nil
	}
	return l.OffsetForTimestamp(best, l.EndOffset())
}
