package quorum

// SnapshotAhead returns the newest snapshot if the log must be replaced by an empty one that starts there, before New:
// an install that was interrupted, or a snapshot of committed records whose own bytes were not on this disk yet.
func (s LogState) SnapshotAhead() (OffsetAndEpoch, bool) {
	n := len(s.Snapshots)
	if n == 0 {
		return OffsetAndEpoch{}, false
	}
	id := s.Snapshots[n-1].ID
	last := id.Epoch // of a log without records
	for _, e := range s.Epochs {
		if e.Start < s.EndOffset {
			last = e.Epoch
		}
	}
	return id, aheadOf(id, s.EndOffset, last)
}

// aheadOf reports whether a snapshot is more than a log that ends at end with a record of epoch last, or another history:
// such a log is given up for it. A snapshot of what the log holds is neither. (Of a smaller epoch and yet beyond the
// end: the log has a tail that no majority ever had.)
func aheadOf(id OffsetAndEpoch, end Offset, last Epoch) bool {
	return id.Offset > end || id.Epoch > last || id.Offset == end && id.Epoch != last
}

// VotersAt returns the voter set in force at an offset, by the records up to it and including it: what the header of a
// snapshot that ends at offset + 1 says. It is exact from the end of the newest snapshot at the start on, which is where a
// state machine begins. False: there is no such record (kraft.version 0, or below the log's start), and
// the header has none.
func (q *Quorum) VotersAt(offset Offset) (VoterSet, bool) {
	h := q.history.voters
	for i := len(h) - 1; i >= 0; i-- {
		if h[i].offset <= offset {
			return h[i].set, true
		}
	}
	return VoterSet{}, false
}

// KRaftVersionAt returns the kraft.version in force at an offset, by the records up to it and including it. The header
// of a snapshot says it only if it is above 0.
func (q *Quorum) KRaftVersionAt(offset Offset) int16 {
	h := q.history.versions
	for i := len(h) - 1; i >= 0; i-- {
		if h[i].offset <= offset {
			return h[i].level
		}
	}
	return 0
}

// onSnapshotCreated takes note of a snapshot that the state machine made.
func (q *Quorum) onSnapshotCreated(info SnapshotInfo) {
	l, id := &q.log, info.ID
	if _, ok := l.snapshot(id); ok || id.Offset < l.start {
		return // made twice, or overtaken by a newer one
	}
	epoch, known := l.epochBefore(id.Offset)
	switch {
	case info.Size <= 0 || id.Offset <= 0 || id.Epoch < 0:
		q.note(NoteError, "snapshot %s of %d bytes: there is no such thing", id, info.Size)
		return
	case id.Offset > q.committed:
		q.note(NoteError, "snapshot %s is beyond the high watermark %d: ignored", id, q.committed)
		return
	case known && epoch != id.Epoch:
		q.note(NoteError, "snapshot %s: the record before its end is of epoch %d: ignored", id, epoch)
		return
	}
	l.addSnapshot(info)
}

// onCleanTo moves the log's start to a snapshot. That it is a known one says that everything below it was committed and
// is in it; that it stays, that there is always one at the log's start or above.
func (q *Quorum) onCleanTo(id OffsetAndEpoch) {
	_, ok := q.log.snapshot(id)
	switch {
	case q.installing(): // the log's start moves anyway
	case !ok:
		q.note(NoteWarn, "asked to begin the log at snapshot %s, which does not exist", id)
	case id.Offset > q.log.start:
		q.note(NoteInfo, "the log begins at snapshot %s, before it did at %d", id, q.log.start)
		q.log.dropPrefix(id.Offset)
		q.history.dropPrefix(id.Offset)
		q.out.emit(DropPrefix{Start: id})
	}
}

// committedFloor is the highest offset that this node knows to be committed, also from before it started: a snapshot is
// made of nothing else. Nothing below is ever given up.
func (q *Quorum) committedFloor() Offset {
	floor := q.committed
	if newest := q.log.newestSnapshot(); newest != nil {
		floor = max(floor, newest.Offset)
	}
	return floor
}
