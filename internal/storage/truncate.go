package storage

import (
	"errors"
	"fmt"
)

// TruncateTo removes everything at or past offset; EndOffset becomes the base offset of the batch that contained it, or
// offset. It tells whether records were removed. Below the first segment the log is emptied and starts at offset.
//
// Epochs without a record at the log's end are forgotten even where no record goes: a leader that was replaced before it wrote any
// leaves one behind, and would be told the same divergence for ever.
//
// What was removed stays removed after a crash. An error in between poisons the log.
func (l *Log) TruncateTo(offset int64) (bool, error) {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	if err := l.writable(); err != nil {
		return false, err
	}
	if offset < 0 {
		return false, fmt.Errorf("%s: truncate to %d: %w", l.dir, offset, ErrOffsetOutOfRange)
	}
	if offset >= l.end {
		return false, l.dropEmptyEpochs()
	}
	if offset < l.segments[0].base {
		return true, l.truncateFully(offset)
	}
	l.flushMu.Lock()
	defer l.flushMu.Unlock()
	l.shortened.Add(1)
	defer l.shortened.Add(1)
	return true, l.truncateLocked(offset)
}

// dropEmptyEpochs needs wmu.
func (l *Log) dropEmptyEpochs() error {
	l.mu.Lock()
	changed := l.epochs.truncateEnd(l.end)
	l.mu.Unlock()
	if !changed {
		return nil
	}
	if err := l.writeEpochs(); err != nil {
		return l.poisonWith("truncate", err)
	}
	return nil
}

// truncateLocked needs wmu and flushMu.
func (l *Log) truncateLocked(offset int64) error {
	v := l.view()
	p, ok, err := v.find(offset)
	if err != nil {
		return err
	}
	keep := len(l.segments) - 1
	if ok {
		keep = p.segment
	}
	// Readers first: they must not follow into what goes.
	dropped := l.segments[keep+1:]
	s := l.segments[keep]
	end := offset
	if ok {
		end = min(offset, p.base)
	}
	l.mu.Lock()
	l.segments, l.end = l.segments[:keep+1:keep+1], end
	l.start, l.flushed = min(l.start, end), min(l.flushed, end)
	l.mu.Unlock()
	if err := l.dropNewestFirst(dropped); err != nil {
		return l.poisonWith("truncate", err)
	}
	if ok {
		if err := s.cutAt(p.position, end); err != nil {
			return l.poisonWith("truncate", err)
		}
	}
	if err := l.afterTruncate(end); err != nil {
		return l.poisonWith("truncate", err)
	}
	return nil
}

// cutAt shortens the now active segment, durably.
func (s *segment) cutAt(position, end int64) error {
	if err := s.truncate(position, end); err != nil {
		return err
	}
	if err := s.resume(); err != nil {
		return err
	}
	return s.file.Sync()
}

// dropNewestFirst takes segments out of the folder such that no crash leaves a gap.
func (l *Log) dropNewestFirst(dropped []*segment) error {
	for i := len(dropped) - 1; i >= 0; i-- {
		if err := dropped[i].detach(0); err != nil {
			return err
		}
		if err := l.fs.SyncDir(l.dir); err != nil {
			return err
		}
		l.mu.Lock()
		l.pending = append(l.pending, dropped[i])
		l.mu.Unlock()
	}
	return nil
}

// afterTruncate brings epochs and producer state back to end.
func (l *Log) afterTruncate(end int64) error {
	l.mu.Lock()
	changed := l.epochs.truncateEnd(end)
	l.mu.Unlock()
	if changed {
		if err := l.writeEpochs(); err != nil {
			return err
		}
	}
	removed, err := l.removeProducerSnapshots(func(off int64) bool { return off <= end })
	if err == nil && removed { // a stale one must not come back at an offset that will mean something else
		err = l.fs.SyncDir(l.dir)
	}
	if err != nil {
		return err
	}
	return l.loadProducers(0)
}

// TruncateFullyAndStartAt empties the log; the next record gets offset.
func (l *Log) TruncateFullyAndStartAt(offset int64) error {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	if err := l.writable(); err != nil {
		return err
	}
	if offset < 0 {
		return fmt.Errorf("%s: truncate to %d: %w", l.dir, offset, ErrOffsetOutOfRange)
	}
	return l.truncateFully(offset)
}

// truncateFully needs wmu.
func (l *Log) truncateFully(offset int64) error {
	l.flushMu.Lock()
	defer l.flushMu.Unlock()
	l.shortened.Add(1)
	defer l.shortened.Add(1)
	old := l.segments
	// A crash may come between dropping and making: an empty folder then starts at the checkpointed start offset, or at
	// 0, and is filled again by replication or by the newest snapshot.
	if err := l.dropNewestFirst(old); err != nil {
		return l.poisonWith("truncate fully", err)
	}
	s, err := createSegment(l.fs, l.dir, offset, 0)
	if err != nil {
		return l.poisonWith("truncate fully", err)
	}
	l.mu.Lock()
	l.segments, l.start, l.end, l.flushed = []*segment{s}, offset, offset, offset
	l.epochs = epochCache{}
	l.producers = newProducers()
	l.mu.Unlock()
	_, err = l.removeProducerSnapshots(func(int64) bool { return false })
	if err = errors.Join(err, l.writeEpochs(), l.fs.SyncDir(l.dir)); err != nil {
		return l.poisonWith("truncate fully", err)
	}
	return nil
}

// AdvanceStart moves the start (DeleteRecords, snapshots, a follower learning its leader's start) and drops the segments
// that lie wholly below it, whatever the cleanup policy. Going back is no error and does nothing.
// Errors: ErrOffsetOutOfRange past EndOffset.
func (l *Log) AdvanceStart(offset int64) error {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	if err := l.writable(); err != nil {
		return err
	}
	if offset > l.end {
		return fmt.Errorf("%s: start %d past end %d: %w", l.dir, offset, l.end, ErrOffsetOutOfRange)
	}
	if offset <= l.start {
		return nil
	}
	l.mu.Lock()
	l.start = offset
	changed := l.epochs.truncateStart(offset)
	l.mu.Unlock()
	if changed {
		if err := l.writeEpochs(); err != nil {
			return err
		}
	}
	_, err := l.dropBelow(offset, 0)
	return err
}

// dropBelow drops the segments that end at or below offset, oldest first. The active segment stays.
func (l *Log) dropBelow(offset, removeAtMs int64) (int, error) {
	n := 0
	for n+1 < len(l.segments) && l.segments[n+1].base <= offset {
		n++
	}
	return n, l.dropOldest(n, removeAtMs)
}

// dropOldest takes the first n segments out of the log; their files go with RemovePending.
func (l *Log) dropOldest(n int, removeAtMs int64) error {
	if n == 0 {
		return nil
	}
	l.flushMu.Lock()
	defer l.flushMu.Unlock()
	dropped, kept := l.segments[:n], l.segments[n:]
	l.mu.Lock()
	l.segments = append([]*segment(nil), kept...)
	l.start = max(l.start, kept[0].base)
	l.pending = append(l.pending, dropped...)
	l.needDir = true
	changed := l.epochs.truncateStart(l.start)
	l.mu.Unlock()
	for _, s := range dropped {
		if err := s.detach(removeAtMs); err != nil {
			return l.poisonWith("delete segments", err)
		}
		err := removeIfThere(l.fs, producerSnapshotName(l.dir, s.base))
		if err == nil && l.opt.Contiguous { // no crash may bring an older one back without the younger
			err = l.fs.SyncDir(l.dir)
		}
		if err != nil {
			return l.poisonWith("delete segments", err)
		}
	}
	if changed {
		return l.writeEpochs()
	}
	return nil
}
