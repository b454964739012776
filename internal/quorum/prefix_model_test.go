package quorum

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// modelLog is a log as the epoch of each record. By log matching that says it all: an epoch has one leader, and one record
// at an offset.
type modelLog []Epoch

// histories plays a few epochs: each leader begins with some log that has what is committed, and appends; some of it
// commits, by Raft's rule. It returns every log there ever was, the last leader's at the end, and the committed offset.
func histories(rng *rand.Rand) (logs []modelLog, committed Offset) {
	logs = []modelLog{nil}
	var known modelLog
	for epoch := Epoch(1); epoch <= 7; epoch++ {
		var base modelLog
		for {
			l := logs[rng.IntN(len(logs))]
			if base = l[:rng.IntN(len(l)+1)]; len(base) >= len(known) && slices.Equal(base[:len(known)], known) {
				break
			}
		}
		log := slices.Clone(base)
		for range 1 + rng.IntN(4) {
			log = append(log, epoch)
		}
		logs = append(logs, log)
		if rng.IntN(2) == 0 {
			known = log[:len(base)+1+rng.IntN(len(log)-len(base))]
		}
	}
	return logs, Offset(len(known))
}

// diskOf is what a restart may find of a log: cleaned to some snapshot, its segments not all gone, older snapshots there or
// not, the epoch cache cut or not.
func diskOf(rng *rand.Rand, log modelLog, committed Offset) (s LogState) {
	s.EndOffset = Offset(len(log))
	var ids []Offset
	for o := Offset(1); o <= committed; o++ {
		if rng.IntN(3) == 0 {
			ids = append(ids, o)
		}
	}
	trimmed := Offset(0)
	if len(ids) > 0 && rng.IntN(4) > 0 {
		trimmed = ids[rng.IntN(len(ids))]
		s.StartOffset = Offset(rng.IntN(int(trimmed) + 1))
	}
	for _, o := range ids {
		if o >= s.StartOffset && (o >= trimmed || rng.IntN(2) == 0) {
			s.Snapshots = append(s.Snapshots, SnapshotInfo{OffsetAndEpoch{o, log[o-1]}, 1})
		}
	}
	from := s.StartOffset
	if rng.IntN(2) == 0 {
		from = trimmed
	}
	for o := from; o < s.EndOffset; o++ {
		if k := len(s.Epochs); k == 0 || s.Epochs[k-1].Epoch < log[o] {
			s.Epochs = append(s.Epochs, EpochStart{log[o], o})
		}
	}
	return s
}

// TestOnlyAPrefixIsServed: whatever a leader's disk has kept of its log, it takes no other history for a prefix of its own; what
// it answers brings every other log closer, and costs nothing that is committed.
func TestOnlyAPrefixIsServed(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20000 {
		logs, committed := histories(rng)
		mine := logs[len(logs)-1]
		leader, err := newLogView(diskOf(rng, mine, committed))
		require.NoError(t, err)
		theirs := logs[rng.IntN(len(logs))]
		theirs = theirs[:rng.IntN(len(theirs)+1)]
		follower := logView{end: Offset(len(theirs)), epochs: diskOf(rng, theirs, 0).Epochs}

		diverging, snapshot := leader.checkFetchOffset(follower.end, follower.lastEpoch())
		prefix := len(theirs) <= len(mine) && slices.Equal(theirs, mine[:len(theirs)])
		common := Offset(0)
		for int(common) < min(len(theirs), int(committed)) && theirs[common] == mine[common] {
			common++
		}
		switch {
		case snapshot != nil:
			require.True(t, aheadOf(*snapshot, follower.end, follower.lastEpoch()), "%v is sent to %s of %v", theirs, snapshot, mine)
			require.GreaterOrEqual(t, snapshot.Offset, common, "%v is sent to %s of %v", theirs, snapshot, mine)
		case diverging != nil:
			require.False(t, prefix, "%v is a prefix of %v, and diverges at %s", theirs, mine, diverging)
			to := follower.truncationOffset(*diverging)
			require.Less(t, to, follower.end)
			require.GreaterOrEqual(t, to, common, "%v is cut to %d by %v at %s", theirs, to, mine, diverging)
		default:
			require.True(t, prefix, "%v is no prefix of %v (%+v)", theirs, mine, leader)
			require.GreaterOrEqual(t, follower.end, leader.start)
		}
	}
}
