package storage

import (
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/kraft-dev/kraft-operator/internal/storage/record"
)

// AppendLeader validates whole batches, gives them the next offsets and the epoch in place, in the caller's buffer, and
// writes them with one write. A batch of an idempotent producer that was seen before is answered and not written.
// From a client exactly one batch is taken at a time, as Kafka does; a maximum timestamp in its header that isn't the records' is mended.
//
// Errors: wrapping record.ErrCorrupt, record.ErrInvalid, record.ErrTimestamp, ErrMessageTooLarge, ErrOutOfOrderSequence,
// ErrInvalidProducerEpoch, ErrEpochDecreases, ErrNotContiguous (OriginRaft), ErrPoisoned; or the disk's (then nothing was
// appended).
func (l *Log) AppendLeader(batches []byte, epoch int32, nowMs int64, o AppendOptions) (AppendInfo, error) {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	if err := l.writable(); err != nil {
		return AppendInfo{}, err
	}
	if last, ok := l.epochs.latest(); ok && epoch < last.Epoch {
		return AppendInfo{}, fmt.Errorf("%s: append in epoch %d, latest is %d: %w", l.dir, epoch, last.Epoch, ErrEpochDecreases)
	}
	cfg := l.Config()
	batches, info, err := l.checkLeader(batches, epoch, nowMs, &cfg, o)
	if err != nil || info.Duplicate {
		return info, err
	}
	l.assignOffsets(batches, epoch, nowMs, &cfg, o, &info)
	return info, l.write(batches, &info, nowMs, &cfg)
}

// checkLeader looks at every batch and changes none of them, but may return others in their place (recompression).
func (l *Log) checkLeader(batches []byte, epoch int32, nowMs int64, cfg *LogConfig, o AppendOptions) ([]byte, AppendInfo, error) {
	info := AppendInfo{First: -1, Last: -1, MaxTimestamp: -1, LogAppendTime: -1, StartOffset: l.start}
	n, next := 0, l.end
	for rest := batches; len(rest) > 0; n++ {
		b, r, err := record.Split(rest)
		if err != nil {
			return nil, info, fmt.Errorf("%s: %w", l.dir, notEOF(err))
		}
		rest = r
		if info.MaxTimestamp, err = checkLeaderBatch(b, nowMs, cfg, o); err != nil {
			return nil, info, fmt.Errorf("%s: %w", l.dir, err)
		}
		if o.Origin == OriginRaft {
			if b.BaseOffset() != next || b.Epoch() != epoch {
				return nil, info, fmt.Errorf("%s: batch at offset %d of epoch %d, log ends at %d in epoch %d: %w",
					l.dir, b.BaseOffset(), b.Epoch(), next, epoch, ErrNotContiguous)
			}
			next = b.NextOffset()
		}
		if b.HasProducerID() {
			dup, isDup, err := l.producers.check(b, o.Origin == OriginClient)
			if err != nil {
				return nil, info, fmt.Errorf("%s: %w", l.dir, err)
			}
			if isDup {
				info.First, info.Last, info.MaxTimestamp, info.Duplicate = dup.lastOff-int64(dup.delta), dup.lastOff, dup.timestamp, true
				return batches, info, nil
			}
		}
	}
	if n == 0 || n > 1 && o.Origin == OriginClient {
		return nil, info, fmt.Errorf("%s: %w: %d batches, want one", l.dir, record.ErrInvalid, n)
	}
	if o.Origin == OriginClient && cfg.Compression != nil && record.Batch(batches).Compression() != *cfg.Compression {
		b, err := record.Recompress(record.Batch(batches), *cfg.Compression, o.MaxDecompressedBytes)
		return b, info, err
	}
	return batches, info, nil
}

// notEOF makes the error about a cut batch one about a corrupt request.
func notEOF(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %w", record.ErrCorrupt, err)
	}
	return err
}

// checkLeaderBatch returns the largest timestamp of the batch's records.
func checkLeaderBatch(b record.Batch, nowMs int64, cfg *LogConfig, o AppendOptions) (int64, error) {
	if cfg.MaxMessageBytes > 0 && len(b) > int(cfg.MaxMessageBytes) && o.Origin != OriginRaft {
		return 0, fmt.Errorf("batch of %d bytes, max.message.bytes is %d: %w", len(b), cfg.MaxMessageBytes, ErrMessageTooLarge)
	}
	if int64(len(b)) > cfg.SegmentBytes {
		return 0, fmt.Errorf("batch of %d bytes, segment.bytes is %d: %w", len(b), cfg.SegmentBytes, ErrMessageTooLarge)
	}
	if o.Origin != OriginClient {
		return b.MaxTimestamp(), b.Validate()
	}
	po := record.ProduceOptions{MaxDecompressedBytes: o.MaxDecompressedBytes, RequireKeys: cfg.Compact, NowMs: nowMs}
	if !cfg.LogAppendTime {
		po.TimestampBeforeMaxMs, po.TimestampAfterMaxMs = cfg.TimestampBeforeMaxMs, cfg.TimestampAfterMaxMs
	}
	return record.InspectProduce(b, po)
}

// assignOffsets changes the batches in place: offsets, epoch, and with LogAppendTime the timestamps.
func (l *Log) assignOffsets(batches []byte, epoch int32, nowMs int64, cfg *LogConfig, o AppendOptions, info *AppendInfo) {
	info.First = l.end
	next := l.end
	for rest := batches; len(rest) > 0; {
		b, r, _ := record.Split(rest) // checked before
		rest = r
		if o.Origin != OriginRaft {
			b.SetBaseOffset(next)
			b.SetEpoch(epoch)
			if cfg.LogAppendTime && !b.IsControl() {
				b.SetLogAppendTime(nowMs)
				info.LogAppendTime = nowMs
			} else if o.Origin == OriginClient && (b.LogAppendTime() || b.MaxTimestamp() != info.MaxTimestamp) {
				b.SetCreateTime(info.MaxTimestamp) // the topic's type rules, not the client's bit; and so do the records
			}
		}
		next = b.NextOffset()
	}
	info.Last = next - 1
}

// AppendFollower writes batches with the offsets and epochs they have; they must continue the log. A batch that is cut at
// the end is left away (Info.Bytes tells). Where the log is empty and the first batch spans its end (the leader's start lies
// inside a batch), the log begins at that batch, and so does StartOffset until the caller
// advances it again.
//
// Errors: wrapping record.ErrCorrupt, ErrNotContiguous, ErrEpochDecreases, ErrPoisoned; or the disk's (then nothing was appended).
func (l *Log) AppendFollower(batches []byte) (AppendInfo, error) {
	l.wmu.Lock()
	defer l.wmu.Unlock()
	if err := l.writable(); err != nil {
		return AppendInfo{}, err
	}
	info := AppendInfo{First: -1, Last: -1, MaxTimestamp: -1, LogAppendTime: -1, StartOffset: l.start}
	whole, err := l.checkFollower(batches, &info)
	if err != nil || whole == 0 {
		return info, err
	}
	cfg := l.Config()
	if info.First < l.end {
		if err := l.truncateFully(info.First); err != nil {
			return info, err
		}
	}
	return info, l.write(batches[:whole], &info, -1, &cfg)
}

// checkFollower returns the number of bytes of whole batches.
func (l *Log) checkFollower(batches []byte, info *AppendInfo) (int, error) {
	whole, next := 0, l.end
	last, _ := l.epochs.latest()
	epoch := last.Epoch
	for rest := batches; len(rest) > 0; {
		b, r, err := record.Split(rest)
		if errors.Is(err, io.ErrUnexpectedEOF) {
			break
		} else if err == nil {
			err = b.Validate()
		}
		if err != nil {
			return 0, fmt.Errorf("%s: batch %d bytes into the answer: %w", l.dir, whole, err)
		}
		spans := info.First < 0 && l.active().size.Load() == 0 && len(l.segments) == 1 && !l.opt.Contiguous && b.LastOffset() >= next
		if b.BaseOffset() < next && !spans || b.BaseOffset() > next && l.opt.Contiguous {
			return 0, fmt.Errorf("%s: batch at offset %d, log ends at %d: %w", l.dir, b.BaseOffset(), next, ErrNotContiguous)
		}
		if b.Epoch() >= 0 && b.Epoch() < epoch {
			return 0, fmt.Errorf("%s: batch at offset %d of epoch %d after epoch %d: %w", l.dir, b.BaseOffset(), b.Epoch(), epoch, ErrEpochDecreases)
		}
		if info.First < 0 {
			info.First = b.BaseOffset()
		}
		epoch, next = max(epoch, b.Epoch()), b.NextOffset()
		whole += len(b)
		rest = r
	}
	info.Last = next - 1
	return whole, nil
}

// write puts checked batches with their final offsets at the end of the log. nowMs is -1 on followers.
func (l *Log) write(batches []byte, info *AppendInfo, nowMs int64, cfg *LogConfig) error {
	first, _, _ := record.Split(batches)
	if err := l.rollIfDue(len(batches), info.Last, first.MaxTimestamp(), nowMs, cfg); err != nil {
		return err
	}
	l.noteEpochs(batches)
	s := l.active()
	position := s.size.Load()
	if !s.fits(info.Last) || position+int64(len(batches)) > math.MaxInt32 {
		return fmt.Errorf("%s: %d bytes up to offset %d don't fit into a segment that begins at %d: %w", l.dir, len(batches), info.Last, s.base, ErrMessageTooLarge)
	}
	s.reserve(position+int64(len(batches)), cfg)
	if _, err := s.file.WriteAt(batches, position); err != nil {
		s.allocated = 0
		err = fmt.Errorf("append to %s: %w", s.logName(), err)
		if terr := s.file.Truncate(position); terr != nil {
			return l.poisonWith("undo of a failed append", errors.Join(err, terr))
		}
		return err
	}
	l.publish(s, batches, position, info, cfg)
	return nil
}

// noteEpochs assigns the epochs that begin in the batches.
func (l *Log) noteEpochs(batches []byte) {
	for rest := batches; len(rest) > 0; {
		b, r, _ := record.Split(rest)
		l.assignEpoch(b.Epoch(), b.BaseOffset())
		rest = r
	}
}

// publish lets readers see what was written.
func (l *Log) publish(s *segment, batches []byte, position int64, info *AppendInfo, cfg *LogConfig) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for rest := batches; len(rest) > 0; {
		b, r, _ := record.Split(rest)
		rest = r
		s.noteBatch(position, len(b), b.LastOffset(), b.MaxTimestamp(), int64(cfg.IndexIntervalBytes))
		l.producers.note(b)
		info.MaxTimestamp = max(info.MaxTimestamp, b.MaxTimestamp())
		position += int64(len(b))
	}
	info.Bytes = len(batches)
	s.size.Store(position)
	l.end = info.Last + 1
}

// rollIfDue starts a new segment when the batches don't fit, or the active one is old enough. Time is the leader's clock
// or, on a follower, the batches' timestamps.
func (l *Log) rollIfDue(size int, last, firstMaxTs, nowMs int64, cfg *LogConfig) error {
	s := l.active()
	if s.size.Load() == 0 && s.fits(last) {
		return nil
	}
	if nowMs < 0 {
		nowMs = firstMaxTs
	}
	full := s.size.Load() > cfg.SegmentBytes-int64(size)
	if full || !s.fits(last) || s.indexesFull(cfg.IndexMaxBytes) || l.dueByTime(s, firstMaxTs, nowMs, cfg) {
		return l.roll(nowMs)
	}
	return nil
}

func (l *Log) dueByTime(s *segment, batchTs, nowMs int64, cfg *LogConfig) bool {
	switch {
	case cfg.SegmentMs <= 0 || s.size.Load() == 0:
		return false
	case s.firstTs >= 0 && batchTs >= 0:
		return batchTs-s.firstTs > cfg.SegmentMs
	}
	return nowMs-s.createdMs > cfg.SegmentMs
}

// roll makes the end of the log the base of a new active segment.
func (l *Log) roll(nowMs int64) error {
	old := l.active()
	if old.base == l.end {
		return nil
	}
	if err := old.seal(); err != nil {
		return fmt.Errorf("roll %s: %w", old.logName(), err)
	}
	if !l.opt.CutHoles { // what follows must never be more durable than what it follows
		if err := l.Flush(); err != nil {
			return err
		}
	}
	if err := old.trim(); err != nil {
		return l.poisonWith("trim of a full segment", err)
	}
	if err := l.takeProducerSnapshot(l.end); err != nil {
		return fmt.Errorf("roll %s: %w", old.logName(), err)
	}
	s, err := createSegment(l.fs, l.dir, l.end, nowMs)
	if err != nil {
		return l.undoRoll(fmt.Errorf("roll %s: %w", old.logName(), err))
	}
	segments := make([]*segment, 0, len(l.segments)+1)
	segments = append(append(segments, l.segments...), s)
	l.mu.Lock()
	l.segments, l.needDir = segments, true
	l.mu.Unlock()
	return nil
}

// undoRoll removes what a failed roll made: an empty segment must not stand in the middle of the log later.
func (l *Log) undoRoll(cause error) error {
	for _, name := range newSegment(l.fs, l.dir, l.end).files() {
		if err := removeIfThere(l.fs, name); err != nil {
			return l.poisonWith("undo of a failed roll", errors.Join(cause, err))
		}
	}
	return cause
}
