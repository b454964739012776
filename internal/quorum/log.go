package quorum

import (
	"fmt"
	"slices"
	"sort"
)

// logView is what the engine knows of the log without reading it: as it will be once all emitted effects are
// carried out.
type logView struct {
	start     Offset
	end       Offset
	flushed   Offset // everything below is on disk
	epochs    []EpochStart
	snapshots []SnapshotInfo // ascending; never 0-0
	movedUp   OffsetAndEpoch // where New moved the start up to; 0-0: it stayed

	flushSeq uint64
	flushes  []pendingFlush // under way, ascending
}

type pendingFlush struct {
	seq uint64
	end Offset // what it makes durable; lowered by a truncation that comes after it
}

func newLogView(s LogState) (logView, error) {
	l := logView{
		start: s.StartOffset, end: s.EndOffset, flushed: s.EndOffset,
		epochs: append([]EpochStart(nil), s.Epochs...), snapshots: append([]SnapshotInfo(nil), s.Snapshots...),
	}
	if l.start < 0 || l.end < l.start {
		return l, fmt.Errorf("log offsets start %d, end %d: end below start", l.start, l.end)
	}
	for i, e := range l.epochs {
		if e.Epoch < 0 || e.Start > l.end || i > 0 && (e.Epoch <= l.epochs[i-1].Epoch || e.Start <= l.epochs[i-1].Start) {
			return l, fmt.Errorf("leader epoch cache entry %d: epoch %d at offset %d is out of order", i, e.Epoch, e.Start)
		}
	}
	if err := s.checkSnapshots(); err != nil {
		return l, err
	}
	l.snapshots = slices.DeleteFunc(l.snapshots, func(s SnapshotInfo) bool { return s.ID.Offset < l.start })
	return l, l.finishDropPrefix()
}

// empty reports a log to which nothing was ever appended.
func (l *logView) empty() bool { return l.end == 0 && len(l.snapshots) == 0 }

// lastEpoch is the epoch of the last record; of the snapshot the log starts at, if it has none; 0 if empty.
func (l *logView) lastEpoch() Epoch {
	if n := len(l.epochs); n > 0 {
		return l.epochs[n-1].Epoch
	}
	if n := len(l.snapshots); n > 0 && l.snapshots[n-1].ID.Offset == l.end {
		return l.snapshots[n-1].ID.Epoch
	}
	return 0
}

// endOffsetFor returns the largest epoch not above the one asked for, and where it ends.
// Above the last epoch it is the last epoch; below the first it is the epoch asked for, ending where the log begins.
func (l *logView) endOffsetFor(epoch Epoch) (Epoch, Offset) {
	if len(l.epochs) == 0 || epoch >= l.lastEpoch() {
		return l.lastEpoch(), l.end
	}
	i := sort.Search(len(l.epochs), func(i int) bool { return l.epochs[i].Epoch > epoch })
	if i == 0 {
		return epoch, l.epochs[0].Start
	}
	return l.epochs[i-1].Epoch, l.epochs[i].Start
}

// append extends the log by [end, end+n) in epoch, which is not below the last.
func (l *logView) append(epoch Epoch, end Offset) {
	if n := len(l.epochs); n == 0 || epoch > l.epochs[n-1].Epoch {
		l.epochs = append(l.epochs, EpochStart{epoch, l.end})
	}
	l.end = end
}

// truncate cuts the log. Flushes under way no longer prove anything above the cut: what is written there later
// is other bytes.
func (l *logView) truncate(to Offset) {
	l.end = to
	l.flushed = min(l.flushed, to)
	for i := range l.flushes {
		l.flushes[i].end = min(l.flushes[i].end, to)
	}
	n := len(l.epochs)
	for n > 0 && l.epochs[n-1].Start >= to && planted != epochsUncut {
		n--
	}
	l.epochs = l.epochs[:n]
}

// flush emits the request to make the log durable up to its present end.
func (q *Quorum) flush() {
	q.log.flushSeq++
	q.log.flushes = append(q.log.flushes, pendingFlush{q.log.flushSeq, q.log.end})
	q.out.emit(Flush{Seq: q.log.flushSeq})
}

func (q *Quorum) onFlushed(seq uint64) {
	if seq > q.log.flushSeq {
		return
	}
	l := &q.log
	n := 0
	for n < len(l.flushes) && l.flushes[n].seq <= seq {
		l.flushed = max(l.flushed, l.flushes[n].end)
		n++
	}
	l.flushes = append(l.flushes[:0], l.flushes[n:]...)
	if n > 0 && q.role == Leader {
		q.recordLeaderOffset()
	}
}

// mustFlush reports whether this replica's fetch offset may ever be counted.
func (q *Quorum) mustFlush() bool { return q.cfg.Controller || q.isVoter() }
