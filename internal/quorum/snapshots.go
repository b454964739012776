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
// snapshot that ends at offset + 1 says. False: there is no such record (kraft.version 0, or below the log's start), and
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
