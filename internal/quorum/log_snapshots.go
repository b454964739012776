package quorum

import (
	"fmt"
	"slices"
	"sort"
)

// checkSnapshots sees that the log and the snapshots beside it make a whole.
func (s LogState) checkSnapshots() error {
	last := OffsetAndEpoch{}
	for i, info := range s.Snapshots {
		if info.ID.Offset <= last.Offset || info.ID.Epoch < last.Epoch || info.Size <= 0 {
			return fmt.Errorf("snapshot %d, id %s of %d bytes: ids must ascend from 0-0 and no snapshot is empty", i, info.ID, info.Size)
		}
		last = info.ID
	}
	if s.StartOffset > last.Offset {
		return fmt.Errorf("the log starts at %d and no snapshot has what was before (the newest is %s): "+
			"put the checkpoint file back, or replace this replica under a new directory id", s.StartOffset, last)
	}
	if id, ahead := s.SnapshotAhead(); ahead {
		return fmt.Errorf("snapshot %s is ahead of the log, which ends at %d: the log must be replaced first", id, s.EndOffset)
	}
	return nil
}

// snapshot finds a complete snapshot by its id.
func (l *logView) snapshot(id OffsetAndEpoch) (SnapshotInfo, bool) {
	i := slices.IndexFunc(l.snapshots, func(s SnapshotInfo) bool { return s.ID == id })
	if i < 0 {
		return SnapshotInfo{}, false
	}
	return l.snapshots[i], true
}

// addSnapshot keeps the order of ids.
func (l *logView) addSnapshot(info SnapshotInfo) {
	i := sort.Search(len(l.snapshots), func(i int) bool { return l.snapshots[i].ID.Offset >= info.ID.Offset })
	l.snapshots = slices.Insert(l.snapshots, i, info)
}

// epochBefore is the epoch of the record before offset; false where the cache does not reach so far back.
func (l *logView) epochBefore(offset Offset) (Epoch, bool) {
	i := sort.Search(len(l.epochs), func(i int) bool { return l.epochs[i].Start >= offset })
	if i == 0 {
		return 0, false
	}
	return l.epochs[i-1].Epoch, true
}

// dropPrefix moves the start up to the end of a known snapshot, and forgets older ones.
func (l *logView) dropPrefix(to Offset) {
	l.start = to
	i := sort.Search(len(l.epochs), func(i int) bool { return l.epochs[i].Start > to })
	if i > 0 && to < l.end { // the epoch of the record at to
		i--
	}
	l.epochs = slices.Clone(l.epochs[i:])
	if len(l.epochs) > 0 {
		l.epochs[0].Start = max(l.epochs[0].Start, to)
	}
	l.snapshots = slices.DeleteFunc(l.snapshots, func(s SnapshotInfo) bool { return s.ID.Offset < to })
}

// finishDropPrefix: where a log's start was moved to is on disk only as far as whole segments are gone, so after a crash it
// may begin earlier than the epoch cache, with an older snapshot still there. Of records in between a leader could
// not tell whose history they are, and would take a follower's tail for a prefix. So the start moves up again.
func (l *logView) finishDropPrefix() error {
	known := l.end
	if len(l.epochs) > 0 {
		known = l.epochs[0].Start
	}
	if known <= l.start {
		return nil
	}
	for _, s := range l.snapshots {
		if s.ID.Offset >= known {
			l.dropPrefix(s.ID.Offset)
			l.movedUp = s.ID
			return nil
		}
	}
	return fmt.Errorf("the log starts at %d, the leader epoch cache at %d, and no snapshot is in between: "+
		"delete leader-epoch-checkpoint, to have it made again from the log", l.start, known)
}

// restartAt makes the log an empty one that starts at a snapshot. Flushes under way were of other bytes.
func (l *logView) restartAt(info SnapshotInfo) {
	at := info.ID.Offset
	l.start, l.end, l.flushed = at, at, at
	l.snapshots = []SnapshotInfo{info}
	if planted != installKeepsEpochs {
		l.epochs = nil
	}
	for i := range l.flushes {
		l.flushes[i].end = min(l.flushes[i].end, at)
	}
}
