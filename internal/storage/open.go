package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"
	"slices"
	"strings"

	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// OpenLog opens the log in dir, which is made if missing, and recovers it as opt says.
//
// Errors: *CorruptError where the damage is not a torn tail; wrapping ErrCorrupt for a damaged partition.metadata or one
// of another topic id. Nothing is changed on disk before such an error.
func OpenLog(fsys FS, dir string, topicID uuid.UUID, cfg LogConfig, opt OpenOptions) (*Log, RecoveryReport, error) {
	o := opener{fs: fsys, dir: dir, cfg: cfg, opt: opt}
	l, err := o.open(topicID)
	if err != nil {
		for _, s := range o.segments {
			_ = s.close()
		}
		return nil, o.report, err
	}
	return l, o.report, nil
}

// FirstSegment is the base offset of the first segment in dir: where a log starts that has no checkpoint of its start. ok is false
// where there is none.
func FirstSegment(fsys FS, dir string) (base int64, ok bool, err error) {
	names, err := fsys.List(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, false, nil
	}
	for _, name := range names { // sorted
		if base, ok = parseStem(name, logSuffix); ok {
			return base, true, err
		}
	}
	return 0, false, err
}

// opener is one OpenLog. It first reads and decides, and only then changes the disk.
type opener struct {
	fs     FS
	dir    string
	cfg    LogConfig
	opt    OpenOptions
	report RecoveryReport

	leftovers []string // files to remove
	segments  []*segment
	end       int64
	cut       *cut
	untrimmed []*segment // full ones that end in space which a crash left allocated; the active one uses it
	reindex   map[*segment]bool
	found     epochCache // epochs seen in checked batches
	recorded  epochCache // by the checkpoint, with SyncEpochs
}

// cut is the decision to remove a torn tail.
type cut struct {
	segment  int // the first that loses bytes
	position int64
	reason   error
}

func (o *opener) open(topicID uuid.UUID) (*Log, error) {
	if err := o.checkTopicID(topicID); err != nil {
		return nil, err
	}
	bases, err := o.list()
	if err != nil {
		return nil, err
	}
	if err := o.openSegments(bases); err != nil {
		return nil, err
	}
	if err := o.check(); err != nil {
		return nil, err
	}
	// From here on the disk is changed.
	if err := o.prepareDir(topicID); err != nil {
		return nil, err
	}
	for _, s := range o.untrimmed {
		if err := s.trim(); err != nil {
			return nil, err
		}
	}
	if err := o.applyCut(); err != nil {
		return nil, err
	}
	if err := o.rebuildIndexes(); err != nil {
		return nil, err
	}
	return o.assemble()
}

func (o *opener) checkTopicID(want uuid.UUID) error {
	got, err := ReadPartitionMetadata(o.fs, o.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	if got != want && !want.IsZero() {
		return corruptFile(path.Join(o.dir, PartitionFile), "topic id %s, this partition's is %s: the folder belongs to another topic of that name", got, want)
	}
	return nil
}

// list finds the segments, and what to remove.
func (o *opener) list() (bases []int64, err error) {
	names, err := o.fs.List(o.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	for _, name := range names {
		if base, ok := parseStem(name, logSuffix); ok {
			bases = append(bases, base)
		}
		switch {
		case strings.HasSuffix(name, ".swap"):
			return nil, corruptFile(path.Join(o.dir, name), "a compaction by Apache Kafka was interrupted; start Kafka once more and stop it in order")
		case strings.HasSuffix(name, checkpointSuffix+deletedSuffix): // ListSnapshots' business
		case strings.HasSuffix(name, deletedSuffix), strings.HasSuffix(name, ".cleaned"),
			strings.HasSuffix(name, tmpSuffix) && name != QuorumStateFile+tmpSuffix:
			o.leftovers = append(o.leftovers, name)
		}
	}
	for _, name := range names { // indexes without a log
		for _, suffix := range []string{indexSuffix, timeIndexSuffix} {
			if base, ok := parseStem(name, suffix); ok && !slices.Contains(bases, base) {
				o.leftovers = append(o.leftovers, name)
			}
		}
	}
	slices.Sort(bases)
	return bases, nil
}

func (o *opener) openSegments(bases []int64) error {
	o.reindex = map[*segment]bool{}
	for _, base := range bases {
		s := newSegment(o.fs, o.dir, base)
		o.segments = append(o.segments, s)
		var err error
		if s.file, err = o.fs.Open(s.logName()); err != nil {
			return err
		}
		size, err := s.file.Size()
		if err != nil {
			return err
		}
		if size > math.MaxInt32 {
			return corruptFile(s.logName(), "%d bytes, a segment has at most %d", size, math.MaxInt32)
		}
		s.size.Store(size)
		s.createdMs = o.opt.NowMs
		if err := s.loadIndexes(); err != nil {
			o.reindex[s] = true
		}
		if err := errors.Join(s.offsets.idle(), s.times.idle()); err != nil {
			return err
		}
	}
	return nil
}

// loadIndexes takes over the index files as they are; an error means that they must be made again.
func (s *segment) loadIndexes() error {
	err := s.offsets.load(func(first, last []byte) bool {
		a, z := getOffsetEntry(first), getOffsetEntry(last)
		return a.rel <= z.rel && a.pos <= z.pos && int64(z.pos) < s.size.Load() && (s.offsets.stored == 1 || a != z)
	})
	if err != nil {
		return err
	}
	err = s.times.load(func(first, last []byte) bool {
		a, z := getTimeEntry(first), getTimeEntry(last)
		return a.ts >= 0 && a.ts <= z.ts && a.rel <= z.rel && (s.times.stored == 1 || a != z)
	})
	if err != nil {
		return err
	}
	return s.loadLargestTimestamp()
}

// loadLargestTimestamp takes it from the last time index entry, which a sealed segment has if it has batches. Retention
// deletes by it, so the batch is asked, too.
func (s *segment) loadLargestTimestamp() error {
	n := s.times.count()
	if n == 0 && s.size.Load() > 0 {
		return corruptFile(s.times.name, "no entries for %d bytes of batches", s.size.Load())
	} else if n == 0 {
		return nil
	}
	var b [timeEntrySize]byte
	if err := s.times.at(n-1, b[:]); err != nil {
		return err
	}
	e := getTimeEntry(b[:])
	if _, ok := s.timeEntryPosition(e, s.size.Load()); !ok {
		return corruptFile(s.times.name, "no batch at offset %d has timestamp %d", s.base+int64(e.rel), e.ts)
	}
	s.lastTimeEntry = e
	s.maxTs.Store(e.ts)
	s.maxTsRel.Store(int64(e.rel))
	return nil
}

// prepareDir makes the folder and partition.metadata durable and clears leftovers away.
func (o *opener) prepareDir(topicID uuid.UUID) error {
	if err := o.fs.MkdirAll(o.dir); err != nil {
		return err
	}
	for _, name := range o.leftovers {
		if err := removeIfThere(o.fs, path.Join(o.dir, name)); err != nil {
			return err
		}
	}
	there, err := exists(o.fs, path.Join(o.dir, PartitionFile))
	if err == nil && !there && !topicID.IsZero() {
		err = WritePartitionMetadata(o.fs, o.dir, topicID)
	}
	if err != nil || len(o.segments) > 0 {
		return err
	}
	o.report.Created = true
	s, err := createSegment(o.fs, o.dir, o.opt.StartOffset, o.opt.NowMs)
	if err != nil {
		return err
	}
	o.segments, o.end = []*segment{s}, o.opt.StartOffset
	return errors.Join(o.fs.SyncDir(o.dir), o.fs.SyncDir(path.Dir(o.dir)))
}

// applyCut removes a torn tail, newest segment first, each step durable before the next: a crash in between leaves a log
// whose tail is torn further along.
func (o *opener) applyCut() error {
	if o.cut == nil {
		return nil
	}
	for i := len(o.segments) - 1; i > o.cut.segment; i-- {
		s := o.segments[i]
		o.report.DroppedSegments++
		o.report.CutBytes += s.size.Load()
		if err := s.detach(0); err != nil {
			return err
		}
		if err := errors.Join(o.fs.SyncDir(o.dir), s.remove()); err != nil {
			return err
		}
		o.segments = o.segments[:i]
	}
	s := o.segments[o.cut.segment]
	o.report.CutBytes += s.size.Load() - o.cut.position
	o.report.CutOffset, o.report.CutReason = o.end, o.cut.reason.Error()
	s.size.Store(o.cut.position)
	o.reindex[s] = true
	if err := s.file.Truncate(o.cut.position); err != nil {
		return err
	}
	return s.file.Sync()
}

func (o *opener) rebuildIndexes() error {
	last := o.segments[len(o.segments)-1]
	for _, s := range o.segments {
		if !o.reindex[s] {
			continue
		}
		o.report.RebuiltIndexes++
		if err := s.rebuild(int64(o.cfg.IndexIntervalBytes)); err != nil {
			return err
		}
		if s != last {
			if err := s.seal(); err != nil {
				return err
			}
		}
	}
	return nil
}

// rebuild makes the index files again from the batches.
func (s *segment) rebuild(intervalBytes int64) error {
	if err := errors.Join(s.offsets.reset(), s.times.reset()); err != nil {
		return err
	}
	s.maxTs.Store(-1)
	s.maxTsRel.Store(0)
	s.firstTs, s.sinceIndexEntry, s.lastTimeEntry, s.lastRel, s.indexSynced = -1, 0, timeEntry{}, 0, false
	w := walker{file: s.file, name: s.logName()}
	defer w.close()
	for pos, end := int64(0), s.size.Load(); pos < end; {
		b, size, err := w.at(pos, end)
		if err != nil {
			return err
		}
		s.noteBatch(pos, size, b.LastOffset(), b.MaxTimestamp(), intervalBytes)
		pos += int64(size)
	}
	return errors.Join(s.offsets.flush(), s.times.flush())
}

// reset empties the index.
func (x *indexFile) reset() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.file != nil {
		if err := x.file.Close(); err != nil {
			return err
		}
		x.file = nil
	}
	x.stored, x.tail, x.closed = 0, nil, false
	return x.openLocked()
}

// assemble makes the log of the checked segments: bounds, epochs, producers, and durability of what was only read.
func (o *opener) assemble() (*Log, error) {
	l := &Log{fs: o.fs, dir: o.dir, opt: o.opt, segments: o.segments, end: o.end, cfg: o.cfg, producers: newProducers()}
	l.start = max(o.opt.StartOffset, o.segments[0].base)
	if err := l.active().resume(); err != nil {
		return nil, err
	}
	if l.start > l.end {
		// Everything that is left lies below the checkpointed start: nobody may read it.
		o.report.CutReason = fmt.Sprintf("log start offset %d is past the end %d", l.start, l.end)
		if err := l.truncateFully(l.start); err != nil {
			return nil, err
		}
	}
	if err := l.loadEpochs(o); err != nil {
		return nil, err
	}
	if err := l.loadProducers(o.opt.NowMs); err != nil {
		return nil, err
	}
	if o.opt.Clean {
		for _, s := range l.segments {
			s.synced, s.indexSynced = s.size.Load(), true
		}
		l.flushed = l.end
		return l, nil
	}
	if err := o.makeDurable(l); err != nil {
		return nil, err
	}
	l.needDir = true
	return l, l.Flush()
}

// resume brings a segment's tail state to where appends can go on.
func (s *segment) resume() error {
	s.indexSynced = false
	if err := s.rescanTail(); err != nil {
		return err
	}
	if n := s.offsets.count(); n > 0 {
		var b [offsetEntrySize]byte
		if err := s.offsets.at(n-1, b[:]); err != nil {
			return err
		}
		s.lastRel = getOffsetEntry(b[:]).rel
		s.sinceIndexEntry = s.size.Load() - int64(getOffsetEntry(b[:]).pos)
	} else {
		s.sinceIndexEntry = s.size.Load()
	}
	if s.firstTs < 0 && s.size.Load() > 0 {
		w := walker{file: s.file, name: s.logName()}
		defer w.close()
		b, _, err := w.at(0, s.size.Load())
		if err != nil {
			return err
		}
		s.firstTs = b.MaxTimestamp()
	}
	return nil
}

// makeDurable writes again what was read but isn't known durable. After a failed fsync the page cache may show bytes that
// never reached the disk, marked clean, so that a plain fsync would have nothing to do.
func (o *opener) makeDurable(l *Log) error {
	if o.opt.CutHoles {
		return nil
	}
	buf := make([]byte, 256<<10)
	for i, s := range l.segments {
		next := l.end
		if i+1 < len(l.segments) {
			next = l.segments[i+1].base
		}
		if next <= o.opt.DurableOffset {
			s.synced = s.size.Load()
			continue
		}
		for pos, end := s.floorPosition(o.opt.DurableOffset), s.size.Load(); pos < end; {
			n := min(int64(len(buf)), end-pos)
			if _, err := s.file.ReadAt(buf[:n], pos); err != nil {
				return fmt.Errorf("read %s: %w", s.logName(), err)
			}
			if _, err := s.file.WriteAt(buf[:n], pos); err != nil {
				return fmt.Errorf("write %s: %w", s.logName(), err)
			}
			pos += n
		}
	}
	return nil
}
