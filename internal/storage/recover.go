package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path"
	"slices"

	"github.com/kraft-dev/kraft-operator/internal/storage/record"
)

// check reads what must be read, finds the log's end, and decides whether damage is a torn tail.
func (o *opener) check() error {
	if len(o.segments) == 0 {
		return nil
	}
	if err := o.readRecordedEpochs(); err != nil {
		return err
	}
	first := o.firstToCheck()
	for _, s := range o.segments[:first] { // below the recovery point
		s.synced, s.indexSynced = s.size.Load(), true
	}
	o.end = o.segments[first].base
	for i := first; i < len(o.segments); i++ {
		s := o.segments[i]
		if i > first && s.base != o.end {
			if err := o.boundary(i); err != nil || o.cut != nil {
				return err
			}
		}
		o.end = s.base
		pos, err := o.checkSegment(s)
		if err == nil {
			continue
		}
		if unused, zerr := o.onlyAllocated(i, pos, err); zerr != nil {
			return zerr
		} else if unused {
			s.allocated = s.size.Swap(pos)
			if i < len(o.segments)-1 {
				o.untrimmed = append(o.untrimmed, s)
			}
			continue
		}
		switch {
		case errors.Is(err, errWrongEpoch): // the CRC is right: no write was torn, here or in the batch before
			return &CorruptError{File: s.logName(), Position: pos, Offset: o.end, DurableOffset: o.opt.DurableOffset, ValidAfter: o.end, Err: err}
		case errors.Is(err, ErrCorrupt):
			return o.damaged(i, pos, err)
		}
		return err
	}
	return nil
}

// firstToCheck is the active segment after a clean stop, otherwise the one that holds the recovery point.
func (o *opener) firstToCheck() int {
	last := len(o.segments) - 1
	if o.opt.Clean {
		return last
	}
	i, found := slices.BinarySearchFunc(o.segments, o.opt.RecoveryPoint, func(s *segment, off int64) int { return int(min(max(s.base-off, -1), 1)) })
	if !found {
		i--
	}
	return min(max(i, 0), last)
}

// boundary judges a segment that doesn't begin where the one before it ended.
func (o *opener) boundary(i int) error {
	s, before := o.segments[i], o.segments[i-1]
	if s.base > o.end && (o.cfg.Compact || !o.opt.Contiguous && !o.opt.CutHoles) {
		return nil // compaction leaves gaps
	}
	return o.damaged(i-1, before.size.Load(), corruptFile(s.logName(), "begins at offset %d, the segment before it ends at %d", s.base, o.end))
}

// onlyAllocated tells whether what was taken for damage at pos of segment i is space that was allocated ahead and never written: zeros to the
// file's end; and if there is a next segment, it begins here. The log is then short, as if the file ended here: an end below what is known
// durable is not this rule's to judge (a snapshot that was just installed is ahead of the log).
func (o *opener) onlyAllocated(i int, pos int64, cause error) (bool, error) {
	last := i == len(o.segments)-1
	if !o.cfg.Preallocate || !errors.Is(cause, ErrCorrupt) || !last && o.segments[i+1].base != o.end {
		return false, nil
	}
	s := o.segments[i]
	return onlyZeros(s.file, s.logName(), pos, s.size.Load())
}

func onlyZeros(f io.ReaderAt, name string, pos, end int64) (bool, error) {
	buf := make([]byte, min(256<<10, max(end-pos, 0)))
	for ; pos < end; pos += int64(len(buf)) {
		buf = buf[:min(int64(len(buf)), end-pos)]
		if _, err := f.ReadAt(buf, pos); err != nil {
			return false, fmt.Errorf("read %s at byte %d: %w", name, pos, err)
		}
		if len(bytes.TrimLeft(buf, "\x00")) > 0 {
			return false, nil
		}
	}
	return true, nil
}

// checkSegment reads batches until the end of s, and moves o.end behind each sound one. It returns where it stopped.
func (o *opener) checkSegment(s *segment) (int64, error) {
	pos := int64(0)
	if o.opt.Clean && !o.reindex[s] {
		pos = o.tailPosition(s)
	} else {
		o.report.CheckedSegments++
		o.reindex[s] = o.reindex[s] || !o.opt.Clean
	}
	var buf []byte
	follows := pos == 0 // o.end is where the next batch begins
	w := readAhead{file: s.file, name: s.logName(), end: s.size.Load()}
	for size := s.size.Load(); pos < size; {
		b, err := w.batch(pos, &buf)
		if err != nil {
			return pos, err
		}
		switch {
		case b.BaseOffset() < o.end || b.BaseOffset() < s.base:
			return pos, corruptFile(s.logName(), "byte %d: base offset %d, want at least %d", pos, b.BaseOffset(), o.end)
		case o.opt.Contiguous && follows && b.BaseOffset() != o.end:
			return pos, corruptFile(s.logName(), "byte %d: base offset %d, want %d", pos, b.BaseOffset(), o.end)
		case !s.fits(b.LastOffset()):
			return pos, corruptFile(s.logName(), "byte %d: offset %d is too far from the segment's base", pos, b.LastOffset())
		}
		if err := o.checkEpoch(b, s, pos); err != nil {
			return pos, err
		}
		o.found.assign(b.Epoch(), b.BaseOffset())
		o.end, follows = b.NextOffset(), true
		if o.opt.OnBatch != nil {
			o.opt.OnBatch(b)
		}
		pos += int64(len(b))
	}
	return pos, nil
}

// readRecordedEpochs: the CRC of a batch doesn't cover its epoch. A log that makes each epoch durable in the checkpoint before
// a batch of it counts as durable has a second witness.
func (o *opener) readRecordedEpochs() error {
	if !o.opt.SyncEpochs {
		return nil
	}
	name := path.Join(o.dir, LeaderEpochFile)
	data, err := readWhole(o.fs, name, maxSmallFile)
	if err == nil {
		o.recorded.entries, err = parseEpochs(name, string(data))
	}
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrCorrupt) { // it will be made again from the batches
		return nil
	}
	return err
}

var errWrongEpoch = errors.New("wrong leader epoch")

// checkEpoch holds a batch's epoch against those before it and against the checkpoint. One past all that is recorded may be
// new: Apache Kafka writes its checkpoint later.
func (o *opener) checkEpoch(b record.Batch, s *segment, pos int64) error {
	if !o.opt.SyncEpochs {
		return nil
	}
	if last, ok := o.found.latest(); ok && b.Epoch() < last.Epoch {
		return corruptFile(s.logName(), "%w: byte %d: leader epoch %d at offset %d after epoch %d", errWrongEpoch, pos, b.Epoch(), b.BaseOffset(), last.Epoch)
	}
	newest, _ := o.recorded.latest()
	if want := o.recorded.at(b.BaseOffset()); want >= 0 && b.Epoch() != want && b.Epoch() <= newest.Epoch {
		return corruptFile(s.logName(), "%w: byte %d: leader epoch %d at offset %d, %s has %d there", errWrongEpoch, pos, b.Epoch(), b.BaseOffset(), LeaderEpochFile, want)
	}
	return nil
}

// tailPosition is where the walk to the end of a cleanly stopped log begins: the last indexed batch, if it is there.
func (o *opener) tailPosition(s *segment) int64 {
	n := s.offsets.count()
	if n == 0 {
		return 0
	}
	var e [offsetEntrySize]byte
	if err := s.offsets.at(n-1, e[:]); err != nil {
		return 0
	}
	pos := int64(getOffsetEntry(e[:]).pos)
	b, err := readBatchAt(s.file, s.logName(), pos, s.size.Load(), nil)
	if err != nil || b.LastOffset() != s.base+int64(getOffsetEntry(e[:]).rel) {
		o.reindex[s] = true
		return 0
	}
	return pos
}

// damaged decides: the damage at pos of segment i is a torn tail and will be cut, or opening refuses.
func (o *opener) damaged(i int, pos int64, cause error) error {
	refuse := &CorruptError{File: o.segments[i].logName(), Position: pos, Offset: o.end, DurableOffset: o.opt.DurableOffset, ValidAfter: -1, Err: cause}
	if o.end < o.opt.DurableOffset {
		return refuse
	}
	if !o.opt.CutHoles {
		after, err := o.soundAfter(i, pos)
		if err != nil {
			return err
		}
		if after >= 0 {
			refuse.ValidAfter = after
			return refuse
		}
	}
	o.cut = &cut{segment: i, position: pos, reason: cause}
	return nil
}

// soundAfter is the base offset of a sound batch behind the damage at pos of segment i, -1 for none.
func (o *opener) soundAfter(i int, pos int64) (int64, error) {
	pos++ // the damaged batch itself is no evidence, even if only its offset, which no CRC covers, is wrong
	for ; i < len(o.segments); i, pos = i+1, 0 {
		s := o.segments[i]
		off, err := findBatch(s.file, s.logName(), pos, s.size.Load(), o.end)
		if err != nil || off >= 0 {
			return off, err
		}
	}
	return -1, nil
}

// findBatch looks at every byte from pos on for a sound batch of records that are not below minOffset.
//
// A header that could be a batch's costs a CRC of the bytes it claims; at most 16 times the file is read for those, so
// that a hostile file can't hold up a start. Past that the search says "found": refusing is the safe answer.
func findBatch(f io.ReaderAt, name string, pos, end, minOffset int64) (int64, error) {
	const window = 1 << 20
	budget := 16*(end-pos) + 16*window
	buf := make([]byte, window+record.HeaderSize)
	for ; pos+record.HeaderSize <= end; pos += window {
		n := min(int64(len(buf)), end-pos)
		if _, err := f.ReadAt(buf[:n], pos); err != nil {
			return -1, fmt.Errorf("read %s at byte %d: %w", name, pos, err)
		}
		for i := int64(0); i+record.HeaderSize <= n && i < window; i++ {
			if buf[i+16] != record.Magic || buf[i] != 0 { // magic, and no offset reaches 2^56
				continue
			}
			h := record.Batch(buf[i : i+record.HeaderSize])
			size, err := record.CheckHeader(h)
			if err != nil || h.BaseOffset() < minOffset || h.BaseOffset()-minOffset > math.MaxUint32 || int64(size) > end-pos-i {
				continue
			}
			if budget -= int64(size); budget < 0 {
				return h.BaseOffset(), nil
			}
			if b, err := readBatchAt(f, name, pos+i, end, nil); err == nil {
				return b.BaseOffset(), nil
			} else if !errors.Is(err, ErrCorrupt) {
				return -1, err
			}
		}
	}
	return -1, nil
}

// readAhead reads whole batches of a file in large reads.
type readAhead struct {
	file io.ReaderAt
	name string
	end  int64
	from int64
	data []byte
}

const readAheadBytes = 1 << 20

// batch reads and checks the batch at pos; it is valid until the next call.
func (r *readAhead) batch(pos int64, buf *[]byte) (record.Batch, error) {
	for {
		if have := r.data[min(max(pos-r.from, 0), int64(len(r.data))):]; pos >= r.from && len(have) >= record.HeaderSize {
			if size, err := record.CheckHeader(have[:record.HeaderSize]); err == nil && size <= len(have) {
				b := record.Batch(have[:size:size])
				if err := b.Validate(); err != nil {
					return nil, corruptFile(r.name, "byte %d: %w", pos, err)
				}
				return b, nil
			}
		}
		if pos == r.from && len(r.data) > 0 || r.end-pos < record.HeaderSize {
			b, err := readBatchAt(r.file, r.name, pos, r.end, *buf) // larger than a read, or damaged
			if err == nil {
				*buf = b[:0]
			}
			return b, err
		}
		if r.data == nil {
			r.data = make([]byte, 0, min(readAheadBytes, r.end-pos))
		}
		r.data = r.data[:min(int64(cap(r.data)), r.end-pos)]
		if _, err := r.file.ReadAt(r.data, pos); err != nil {
			return nil, fmt.Errorf("read %s at byte %d: %w", r.name, pos, err)
		}
		r.from = pos
	}
}

// loadEpochs reads the leader-epoch checkpoint, and adds what the batches say. A damaged or missing one is made again
// from all batches: they carry the same facts.
func (l *Log) loadEpochs(o *opener) error {
	name := path.Join(l.dir, LeaderEpochFile)
	data, err := readWhole(l.fs, name, maxSmallFile)
	var entries []EpochEntry
	if err == nil {
		entries, err = parseEpochs(name, string(data))
	}
	switch {
	case errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrCorrupt):
		o.report.RebuiltEpochs = !o.report.Created
		if entries, err = l.epochsOfBatches(); err != nil {
			return err
		}
	case err != nil:
		return err
	}
	before := string(formatEpochs(entries))
	l.epochs.entries = entries
	l.epochs.truncateEnd(l.end)
	for _, e := range o.found.entries {
		if e.StartOffset < l.end {
			l.epochs.assign(e.Epoch, e.StartOffset)
		}
	}
	l.epochs.truncateStart(l.start)
	if string(formatEpochs(l.epochs.entries)) == before && err == nil && data != nil {
		return nil
	}
	return l.writeEpochs()
}

func (l *Log) epochsOfBatches() ([]EpochEntry, error) {
	var c epochCache
	for _, s := range l.segments {
		err := s.walk(0, func(_ int64, b record.Batch) error {
			c.assign(b.Epoch(), b.BaseOffset())
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return c.entries, nil
}

// walk calls visit with each batch header from position on.
func (s *segment) walk(position int64, visit func(position int64, header record.Batch) error) error {
	return s.walkTo(position, s.size.Load(), visit)
}

func (s *segment) walkTo(position, end int64, visit func(position int64, header record.Batch) error) error {
	w := walker{file: s.file, name: s.logName()}
	defer w.close()
	for position < end {
		b, size, err := w.at(position, end)
		if err != nil {
			return err
		}
		if err := visit(position, b); err != nil {
			return err
		}
		position += int64(size)
	}
	return nil
}
