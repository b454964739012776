package storage

import (
	"errors"
	"io/fs"
	"slices"

	"github.com/kraft-dev/kraft-operator/internal/storage/record"
)

// loadProducers makes the producer state at the log's end: the newest sound snapshot at or below it, and the batches
// behind that. Snapshots past the end go.
func (l *Log) loadProducers(nowMs int64) error {
	if _, err := l.removeProducerSnapshots(func(off int64) bool { return off <= l.end }); err != nil {
		return err
	}
	offs, err := producerSnapshots(l.fs, l.dir)
	if err != nil {
		return err
	}
	state, from := newProducers(), l.start
	for i := len(offs) - 1; i >= 0; i-- {
		p, err := readProducerSnapshot(l.fs, producerSnapshotName(l.dir, offs[i]))
		if err == nil {
			state, from = p, max(offs[i], l.segments[0].base)
			break
		}
		if !errors.Is(err, ErrCorrupt) && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := removeIfThere(l.fs, producerSnapshotName(l.dir, offs[i])); err != nil {
			return err
		}
	}
	newest := from
	if _, err := l.removeProducerSnapshots(func(off int64) bool { return off >= newest || l.isBase(off) }); err != nil {
		return err
	}
	if err := l.replayProducers(&state, from); err != nil {
		return err
	}
	if err := l.recallBatches(&state); err != nil {
		return err
	}
	state.expire(nowMs, l.cfg.ProducerExpirationMs)
	l.mu.Lock()
	l.producers = state
	l.mu.Unlock()
	return nil
}

func (l *Log) isBase(offset int64) bool {
	return slices.ContainsFunc(l.segments, func(s *segment) bool { return s.base == offset })
}

// replayProducers takes the batches from offset on into the state.
func (l *Log) replayProducers(state *producers, from int64) error {
	for i, s := range l.segments {
		if i+1 < len(l.segments) && l.segments[i+1].base <= from {
			continue
		}
		err := s.walk(s.floorPosition(from), func(pos int64, b record.Batch) error {
			if b.LastOffset() < from || !b.HasProducerID() {
				return nil
			}
			if b.IsControl() {
				whole, err := readBatchAt(s.file, s.logName(), pos, s.size.Load(), nil)
				if err != nil {
					return err
				}
				b = whole
			}
			state.note(b)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// recalledBytes bounds how far back recallBatches reads: five batches in flight of several busy producers, in headers only.
const recalledBytes = 4 << 20

// recallBatches completes what a snapshot leaves out: it has the newest batch of each producer alone, and after a restart
// a client sends again all that it had in flight. Kafka refuses the earlier ones as out of order, whereupon a client gives
// up its sequence numbers and the records stand in the log twice. So the last batches are read once more. Damage in them
// is for the reader of those records to meet.
func (l *Log) recallBatches(state *producers) error {
	incomplete := false
	for _, e := range state.byID {
		incomplete = incomplete || e.n > 0 && e.n < rememberedBatches
	}
	if !incomplete {
		return nil
	}
	first, budget := len(l.segments)-1, int64(recalledBytes)
	for ; first > 0 && l.segments[first].size.Load() < budget; first-- {
		budget -= l.segments[first].size.Load()
	}
	recalled := newProducers()
	position := l.segments[first].floorPositionBytes(max(0, l.segments[first].size.Load()-budget))
	for _, s := range l.segments[first:] {
		err := s.walk(position, func(_ int64, b record.Batch) error {
			if !b.IsControl() {
				recalled.note(b)
			}
			return nil
		})
		if errors.Is(err, ErrCorrupt) {
			return nil
		}
		if err != nil {
			return err
		}
		position = 0
	}
	for id, e := range state.byID {
		if r, ok := recalled.byID[id]; ok && e.n > 0 && r.n > e.n && r.epoch == e.epoch && r.batches[r.n-1].lastOff == e.batches[e.n-1].lastOff {
			e.batches, e.n = r.batches, r.n
			state.byID[id] = e
		}
	}
	return nil
}
