package quorum

// checkFetchOffset decides, on the leader, whether a replica whose log ends at offset with a record of lastEpoch holds a
// prefix of this log. If not, it names the point to cut at, or the snapshot to fetch first (KIP-595, KIP-630).
func (l *logView) checkFetchOffset(offset Offset, lastEpoch Epoch) (diverging, snapshot *OffsetAndEpoch) {
	newest, earliest := l.newestSnapshot(), l.earliestSnapshot()
	if offset == 0 && newest != nil {
		return nil, newest
	}
	if offset == 0 && l.start == 0 {
		return nil, nil
	}
	if earliest != nil && (offset < l.start || offset == l.start && lastEpoch != earliest.Epoch || lastEpoch < earliest.Epoch) {
		return nil, newest
	}
	epoch, end := l.endOffsetFor(lastEpoch)
	if earliest != nil && epoch == lastEpoch && end == earliest.Offset {
		epoch = earliest.Epoch // below the first epoch known, the snapshot says which was the last
	}
	if epoch == lastEpoch && offset <= end {
		return nil, nil
	}
	return &OffsetAndEpoch{Offset: end, Epoch: epoch}, nil
}

// truncationOffset decides, on the follower, where to cut for a leader's diverging answer.
func (l *logView) truncationOffset(d OffsetAndEpoch) Offset {
	if d.Epoch == 0 || planted == cutAtLeadersWord {
		return min(d.Offset, l.end)
	}
	epoch, end := l.endOffsetFor(d.Epoch)
	if epoch == d.Epoch {
		return min(end, d.Offset)
	}
	return end
}

func (l *logView) newestSnapshot() *OffsetAndEpoch {
	if n := len(l.snapshots); n > 0 {
		id := l.snapshots[n-1].ID
		return &id
	}
	return nil
}

func (l *logView) earliestSnapshot() *OffsetAndEpoch {
	if len(l.snapshots) > 0 {
		id := l.snapshots[0].ID
		return &id
	}
	return nil
}

// upToDate reports whether a candidate's log is at least as complete as this one: epoch first, then length.
func (l *logView) upToDate(lastEpoch Epoch, end Offset) bool {
	mine := l.lastEpoch()
	switch planted {
	case lengthOnly:
		return end >= l.end
	case epochOnly:
		return lastEpoch >= mine
	}
	return lastEpoch > mine || lastEpoch == mine && end >= l.end
}
