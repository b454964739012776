package storage

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"sync"
	"sync/atomic"
)

// Log is one partition's log.
//
// One goroutine at a time may call what changes it (Append…, Truncate…, AdvanceStart, DeleteOldSegments, AssignEpoch,
// Close); Flush, RemovePending and everything that reads may run beside it.
type Log struct {
	fs  FS
	dir string
	opt OpenOptions

	// Lock order: wmu, flushMu, mu. wmu serialises changes; flushMu is held over fsync and by what closes or shortens
	// files; mu is held for moments and guards what readers see.
	wmu     sync.Mutex
	flushMu sync.Mutex
	mu      sync.RWMutex

	segments []*segment // ascending, replaced and never changed in place; the last is active
	start    int64
	end      int64
	flushed  int64
	epochs   epochCache
	cfg      LogConfig
	closed   bool
	pending  []*segment // left the log, files not yet removed

	producers  producers    // guarded by mu, changed by the writer
	needDir    bool         // a file was made since the folder was last synced
	epochsLazy bool         // the epoch checkpoint on disk is behind, or may be lost by a crash
	shortened  atomic.Int64 // grows with each truncation: a reader that met one looks again
	poison     atomic.Pointer[error]
	epochFile  sync.Mutex // between flushMu and mu: the writer and Flush both write the epoch checkpoint
}

// view is what a reader works on.
type view struct {
	segments   []*segment
	start, end int64
	tail       int64 // bytes of the last segment, as of end
}

func (l *Log) view() view {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.viewLocked()
}

func (l *Log) viewLocked() view {
	return view{l.segments, l.start, l.end, l.active().size.Load()}
}

func (l *Log) active() *segment { return l.segments[len(l.segments)-1] }

// Dir is the log's folder.
func (l *Log) Dir() string { return l.dir }

// Err is the error that poisoned the log, nil while it is sound.
func (l *Log) Err() error {
	if p := l.poison.Load(); p != nil {
		return *p
	}
	return nil
}

// poisonWith makes every later write fail.
func (l *Log) poisonWith(what string, err error) error {
	err = fmt.Errorf("%s: %w: %s: %w", l.dir, ErrPoisoned, what, err)
	l.poison.CompareAndSwap(nil, &err)
	return err
}

// writable is checked at the begin of each change.
func (l *Log) writable() error {
	if err := l.Err(); err != nil {
		return err
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	if l.closed {
		return fmt.Errorf("%s: %w", l.dir, ErrClosed)
	}
	return nil
}

// StartOffset is the first offset that may be read.
func (l *Log) StartOffset() int64 { return l.view().start }

// EndOffset is the log end offset: what the next record gets.
func (l *Log) EndOffset() int64 { return l.view().end }

// FlushedOffset is exclusive: everything below it is durable.
func (l *Log) FlushedOffset() int64 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.flushed
}

// EndMetadata is EndOffset with its place.
func (l *Log) EndMetadata() OffsetMetadata {
	l.mu.RLock()
	defer l.mu.RUnlock()
	s := l.active()
	return OffsetMetadata{Offset: l.end, SegmentBase: s.base, Position: s.size.Load()}
}

// Config is the policy in force.
func (l *Log) Config() LogConfig {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.cfg
}

// SetConfig changes the policy at run time.
func (l *Log) SetConfig(cfg LogConfig) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cfg = cfg
}

// Size is the bytes of all segment files.
func (l *Log) Size() (n int64) {
	for _, s := range l.view().segments {
		n += s.size.Load()
	}
	return n
}

// SegmentCount is the number of segments, the active one included.
func (l *Log) SegmentCount() int { return len(l.view().segments) }

// SegmentSize is one segment's place and bytes.
type SegmentSize struct {
	Base  int64
	Bytes int64
}

// Segments are the segments in ascending order; the last is active.
func (l *Log) Segments() []SegmentSize {
	v := l.view()
	out := make([]SegmentSize, len(v.segments))
	for i, s := range v.segments {
		out[i] = SegmentSize{Base: s.base, Bytes: v.limit(i)}
	}
	return out
}

// SegmentBases are the base offsets of the segments, ascending.
func (l *Log) SegmentBases() []int64 {
	segs := l.view().segments
	out := make([]int64, len(segs))
	for i, s := range segs {
		out[i] = s.base
	}
	return out
}

// LatestEpoch is the newest leader epoch in the cache; (-1, -1) and false if there is none.
func (l *Log) LatestEpoch() (EpochEntry, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.epochs.latest()
}

// Epochs is a copy of the cache.
func (l *Log) Epochs() []EpochEntry {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return slices.Clone(l.epochs.entries)
}

// EndOffsetFor answers OffsetForLeaderEpoch: the largest epoch known that isn't past the asked one, and where it ends
// (exclusive). An epoch older than all known ends where the oldest begins. (-1, -1) when nothing is known, as for an
// epoch past the latest.
func (l *Log) EndOffsetFor(epoch int32) (int32, int64) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.epochs.endOffsetFor(epoch, l.end)
}

// EpochAt is the leader epoch of the record at offset, -1 if unknown.
func (l *Log) EpochAt(offset int64) int32 {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.epochs.at(offset)
}

// AssignEpoch records that epoch starts at startOffset. An epoch that isn't newer is no error and does nothing.
func (l *Log) AssignEpoch(epoch int32, startOffset int64) error {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	if err := l.writable(); err != nil {
		return err
	}
	l.assignEpoch(epoch, startOffset)
	return nil
}

// assignEpoch leaves the checkpoint file to Flush, which writes it before batches are known to be durable; a start reads the others again.
// An fsync here would hold up whoever appends, and the first record of a new leader with it. Without one it is a file made and
// renamed, some milliseconds of a busy journal, one after the other for each partition that a broker begins to lead.
func (l *Log) assignEpoch(epoch int32, startOffset int64) {
	if last, ok := l.epochs.latest(); epoch < 0 || ok && epoch <= last.Epoch { // the writer may read without mu
		return
	}
	l.mu.Lock()
	l.epochs.assign(epoch, startOffset)
	l.epochsLazy = true
	l.mu.Unlock()
}

// writeEpochs brings the checkpoint file up to date.
func (l *Log) writeEpochs() error {
	l.epochFile.Lock()
	defer l.epochFile.Unlock()
	name := path.Join(l.dir, LeaderEpochFile)
	l.mu.Lock()
	data := formatEpochs(l.epochs.entries)
	l.epochsLazy = true // until a Flush has written it: one beside this write must not take it for done
	l.mu.Unlock()
	if !l.opt.SyncEpochs {
		return replaceFileLazily(l.fs, name, data)
	}
	if err := replaceFile(l.fs, name, data); err != nil {
		return l.poisonWith("leader epoch checkpoint", err)
	}
	return nil
}

// Producers is a copy of the producer state.
func (l *Log) Producers() []ProducerState {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.producers.list()
}

// FirstUnstableOffset is the first offset of the earliest open transaction; false if none is open.
func (l *Log) FirstUnstableOffset() (int64, bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return l.producers.firstUnstable()
}

// ExpireProducers forgets producers that were silent for ProducerExpirationMs and have no open transaction.
func (l *Log) ExpireProducers(nowMs int64) int {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.producers.expire(nowMs, l.cfg.ProducerExpirationMs)
}

// Flush makes everything up to EndOffset (as it was at the call) durable and moves FlushedOffset there.
// A failed fsync poisons the log for ever.
func (l *Log) Flush() error {
	l.flushMu.Lock()
	defer l.flushMu.Unlock()
	return l.flushLocked()
}

// flushLocked needs flushMu.
func (l *Log) flushLocked() error {
	if err := l.Err(); err != nil {
		return err
	}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return fmt.Errorf("%s: %w", l.dir, ErrClosed)
	}
	end, segs, dirs, lazy := l.end, l.segments, l.needDir, l.epochsLazy
	if l.flushed == end && !dirs && !lazy {
		l.mu.Unlock()
		return nil
	}
	l.needDir = false
	sizes := make([]int64, 0, 8)
	for _, s := range segs {
		sizes = append(sizes, s.size.Load())
	}
	l.mu.Unlock()

	if lazy { // first: a batch that is known to be durable has its epoch in the checkpoint
		if err := l.syncEpochs(); err != nil {
			return err
		}
	}
	for i, s := range segs {
		if err := s.sync(sizes[i], i < len(segs)-1); err != nil {
			return l.poisonWith("fsync", err)
		}
	}
	if dirs {
		if err := l.fs.SyncDir(l.dir); err != nil {
			return l.poisonWith("fsync of the folder", err)
		}
	}
	l.mu.Lock()
	l.flushed = max(l.flushed, end)
	l.mu.Unlock()
	return nil
}

// syncEpochs brings the epoch checkpoint up to date, durably.
func (l *Log) syncEpochs() error {
	l.epochFile.Lock()
	defer l.epochFile.Unlock()
	l.mu.Lock()
	data := formatEpochs(l.epochs.entries)
	l.epochsLazy = false
	l.mu.Unlock()
	if err := replaceFile(l.fs, path.Join(l.dir, LeaderEpochFile), data); err != nil {
		return l.poisonWith("leader epoch checkpoint", err)
	}
	return nil
}

// sync makes the first size bytes durable, and the indexes of an inactive segment: they aren't checked when a recovery
// point lies behind it.
func (s *segment) sync(size int64, inactive bool) error {
	if s.synced < size {
		if err := s.file.Sync(); err != nil {
			return err
		}
		s.synced = size
	}
	if inactive && !s.indexSynced {
		if err := errors.Join(s.offsets.sync(), s.times.sync()); err != nil {
			return err
		}
		s.indexSynced = true
	}
	return nil
}

// Close flushes, writes the producer snapshot, brings index files to what Kafka leaves at a clean stop, and closes.
// A poisoned log is only closed, and its error returned. Slices handed out can't be read afterwards.
func (l *Log) Close() error {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	l.flushMu.Lock()
	defer l.flushMu.Unlock()
	if err := l.Err(); err != nil {
		return errors.Join(err, l.closeFiles())
	}
	l.mu.RLock()
	closed := l.closed
	l.mu.RUnlock()
	if closed {
		return nil
	}
	err := l.active().seal()
	if err == nil {
		err = l.flushLocked()
	}
	if err == nil {
		err = l.active().trim()
	}
	if err == nil {
		err = l.takeProducerSnapshot(l.end)
	}
	return errors.Join(err, l.closeFiles())
}

// Abandon closes the files without writing anything: for a log that is to be deleted, or is poisoned.
func (l *Log) Abandon() error {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	l.flushMu.Lock()
	defer l.flushMu.Unlock()
	return l.closeFiles()
}

func (l *Log) closeFiles() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	pending := l.pending
	l.pending = nil
	l.mu.Unlock()
	var err error
	for _, s := range l.segments {
		err = errors.Join(err, s.close())
	}
	for _, s := range pending {
		err = errors.Join(err, s.remove())
	}
	return err
}
