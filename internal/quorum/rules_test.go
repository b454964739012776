package quorum

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

func TestMajorityOffset(t *testing.T) {
	for _, c := range []struct {
		name string
		ends []Offset
		want Offset
	}{
		{"nobody votes", nil, UnknownOffset},
		{"a lone voter is the majority", []Offset{7}, 7},
		{"of two both are needed", []Offset{7, 5}, 5},
		{"of three the second", []Offset{9, 5, 7}, 7},
		{"of four three are needed", []Offset{9, 8, 5, 7}, 7},
		{"of five the third", []Offset{1, 9, 5, 3, 7}, 5},
		{"an unknown offset is the lowest", []Offset{UnknownOffset, 9, UnknownOffset}, UnknownOffset},
	} {
		t.Run(c.name, func(t *testing.T) { require.Equal(t, c.want, majorityOffset(c.ends)) })
	}
}

// logOf has the epochs 1 from 0, 3 from 10 and 4 from 20, and ends at 30.
func logOf(snapshots ...OffsetAndEpoch) logView {
	l := logView{end: 30, flushed: 30, epochs: []EpochStart{{1, 0}, {3, 10}, {4, 20}}}
	for _, id := range snapshots {
		l.snapshots = append(l.snapshots, SnapshotInfo{ID: id})
	}
	return l
}

func TestUpToDate(t *testing.T) {
	for _, c := range []struct {
		name  string
		epoch Epoch
		end   Offset
		want  bool
	}{
		{"the same log", 4, 30, true},
		{"a longer log of the same epoch", 4, 31, true},
		{"a shorter log of the same epoch", 4, 29, false},
		{"a shorter log of a later epoch", 5, 1, true},
		{"a longer log of an earlier epoch", 3, 100, false},
		{"an empty log", 0, 0, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := logOf()
			require.Equal(t, c.want, l.upToDate(c.epoch, c.end))
		})
	}
	empty := logView{}
	require.True(t, empty.upToDate(0, 0), "an empty log is as good as another")
}

func TestEndOffsetForEpoch(t *testing.T) {
	for _, c := range []struct {
		name      string
		epoch     Epoch
		wantEpoch Epoch
		wantEnd   Offset
	}{
		{"the latest epoch ends where the log ends", 4, 4, 30},
		{"an epoch not heard of yet is answered with the latest", 9, 4, 30},
		{"an epoch ends where the next begins", 3, 3, 20},
		{"an epoch that never wrote stands for the one before", 2, 1, 10},
		{"an epoch before the first ends where the log begins", 0, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := logOf()
			epoch, end := l.endOffsetFor(c.epoch)
			require.Equal(t, c.wantEpoch, epoch)
			require.Equal(t, c.wantEnd, end)
		})
	}
}

func TestCheckFetchOffset(t *testing.T) {
	at := func(o Offset, e Epoch) *OffsetAndEpoch { return &OffsetAndEpoch{o, e} }
	late := logOf(OffsetAndEpoch{10, 1}, OffsetAndEpoch{20, 3})
	late.start, late.epochs = 10, []EpochStart{{3, 10}, {4, 20}}
	for _, c := range []struct {
		name                string
		log                 logView
		offset              Offset
		epoch               Epoch
		diverging, snapshot *OffsetAndEpoch
	}{
		{"an empty follower starts at the beginning", logOf(), 0, 0, nil, nil},
		{"the end is a prefix", logOf(), 30, 4, nil, nil},
		{"the end of an older epoch is a prefix", logOf(), 20, 3, nil, nil},
		{"inside an older epoch is a prefix", logOf(), 15, 3, nil, nil},
		{"beyond the end of an older epoch diverges there", logOf(), 25, 3, at(20, 3), nil},
		{"beyond the end of the log diverges at the end", logOf(), 31, 4, at(30, 4), nil},
		{"an epoch this log never had diverges at the one before", logOf(), 12, 2, at(10, 1), nil},
		{"an empty follower of a log with a snapshot fetches that first", logOf(OffsetAndEpoch{20, 3}), 0, 0, nil, at(20, 3)},
		{"below the log start: the newest snapshot", late, 5, 1, nil, at(20, 3)},
		{"at the log start with the snapshot's epoch", late, 10, 1, nil, nil},
		{"at the log start with another epoch: the newest snapshot", late, 10, 3, nil, at(20, 3)},
		{"an epoch before the earliest snapshot's: the newest snapshot", late, 15, 0, nil, at(20, 3)},
		{"an epoch after the earliest snapshot's that this log never had diverges at that snapshot", late, 15, 2, at(10, 1), nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			diverging, snapshot := c.log.checkFetchOffset(c.offset, c.epoch)
			require.Equal(t, c.diverging, diverging)
			require.Equal(t, c.snapshot, snapshot)
		})
	}
}

func TestTruncationOffset(t *testing.T) {
	for _, c := range []struct {
		name string
		d    OffsetAndEpoch
		want Offset
	}{
		{"epoch 0: the leader's offset", OffsetAndEpoch{5, 0}, 5},
		{"epoch 0 beyond the end: the end", OffsetAndEpoch{50, 0}, 30},
		{"a common epoch: the shorter of the two", OffsetAndEpoch{15, 3}, 15},
		{"a common epoch, shorter here: where it ends here", OffsetAndEpoch{25, 3}, 20},
		{"an epoch unknown here: the end of the one before", OffsetAndEpoch{99, 2}, 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := logOf()
			require.Equal(t, c.want, l.truncationOffset(c.d))
		})
	}
}

func TestTruncationForgetsFlushesUnderWay(t *testing.T) {
	l := logOf()
	l.flushed = 20
	l.flushSeq, l.flushes = 1, []pendingFlush{{1, 30}}
	l.truncate(10)
	l.append(5, 30)
	q := &Quorum{log: l}
	q.onFlushed(1)
	require.Equal(t, Offset(10), q.log.flushed, "the flush was of other bytes")
	require.Equal(t, []EpochStart{{1, 0}, {5, 10}}, q.log.epochs)
}

func TestEndBackoff(t *testing.T) {
	for _, c := range []struct {
		name        string
		position, n int
		want        time.Duration
	}{
		{"an empty list sends everyone at once", 0, 0, 0},
		{"the first goes at once", 0, 4, 0},
		{"the second of two waits half", 1, 2, 500 * time.Millisecond},
		{"the second of four", 1, 4, 125 * time.Millisecond},
		{"the third of four", 2, 4, 250 * time.Millisecond},
		{"the last of four", 3, 4, 500 * time.Millisecond},
		{"not listed waits longest", 4, 4, time.Second},
		{"a list longer than any quorum", 50, 100, time.Second},
	} {
		t.Run(c.name, func(t *testing.T) { require.Equal(t, c.want, endBackoff(c.position, c.n, time.Second)) })
	}
}

func TestVoterSetMatchesKeys(t *testing.T) {
	dir := func(b byte) (u [16]byte) { u[0] = b; return u }
	set := NewVoterSet(Voter{Key: ReplicaKey{1, dir(1)}}, Voter{Key: ReplicaKey{ID: 2}})
	require.True(t, set.Contains(ReplicaKey{1, dir(1)}))
	require.False(t, set.Contains(ReplicaKey{1, dir(9)}), "another disk of the same node does not vote")
	require.False(t, set.Contains(ReplicaKey{ID: 1}), "nor does a node that does not say which disk")
	require.True(t, set.Contains(ReplicaKey{2, dir(7)}), "a static voter is any disk of its node")
	require.False(t, set.Contains(NoReplica))
}

// observing makes q, which is no voter, a follower of 2 in epoch 5.
func observing(t *testing.T) (*Quorum, Send) {
	t.Helper()
	q := threeVoters(t, nil, LogState{})
	q.local.DirectoryID[0], q.cfg.DirectoryID[0] = 9, 9
	q.cfg.BootstrapServers = nil
	q.bootstrap = []Node{{-2, "b", 7}}
	return q, follow(t, q)
}

// An observer whose leader is silent asks a bootstrap server or another voter next, though the request and the fetch timer end at the
// same instant; then the leader again.
func TestObserverOfASilentLeaderAsksAround(t *testing.T) {
	q, s := observing(t)
	require.Equal(t, NodeID(2), s.To.ID)
	asked := map[NodeID]bool{}
	for i := range 20 {
		var fx Effects
		for len(effectsOf[Send](fx)) == 0 {
			fx = q.Step(q.Deadline(), Tick{})
		}
		to := effectsOf[Send](fx)[0].To.ID
		require.Equal(t, i%2 == 1, to == 2, "attempt %d asks %d", i, to)
		asked[to] = true
	}
	require.Equal(t, map[NodeID]bool{-2: true, 2: true, 3: true}, asked)
}

// A leader's own word on its address counts more than what an old voter set said.
func TestLeaderSaysWhereItIs(t *testing.T) {
	q, _ := observing(t)
	require.Equal(t, uint16(2), q.leaderEndpoints[0].Port)
	q.Step(5, Request{ReplyTo: 5, Message: &BeginQuorumEpochRequest{Voter: NoReplica, Leader: LeaderAndEpoch{2, 5},
		Endpoints: []Endpoint{{"CONTROLLER", "moved", 22}}}})
	require.Equal(t, uint16(22), q.leaderEndpoints[0].Port)

	// Hearsay counts only where the leader did not answer.
	hearsay := &FetchResponse{Answer: Answer{Error: NotLeaderOrFollower, Leader: LeaderAndEpoch{2, 5}, Endpoint: Node{2, "again", 33}}}
	q.adopt(hearsay.Leader, q.endpointIn(&hearsay.Answer))
	require.Equal(t, uint16(22), q.leaderEndpoints[0].Port)
	q.leaderUnreached(Node{ID: 2})
	q.adopt(hearsay.Leader, q.endpointIn(&hearsay.Answer))
	require.Equal(t, uint16(33), q.leaderEndpoints[0].Port)
}

// What a replica had as an observer committed nothing, so its disk may have gone back to an old copy since then: as a voter it counts
// from its next fetch on.
func TestANewVoterCountsFromItsNextFetchOn(t *testing.T) {
	one, two := Voter{Key: ReplicaKey{1, uuid.UUID{1}}}, Voter{Key: ReplicaKey{2, uuid.UUID{2}}}
	r := newReplicas(NewVoterSet(one))
	r.find(two.Key).fetch(5, 7, 7)
	r.update(NewVoterSet(one, two))
	require.Equal(t, UnknownOffset, r.voters[2].end)
	require.True(t, r.voters[2].caughtUp, "what is known of its fetches stays")
	r.find(two.Key).fetch(6, 7, 7)
	r.update(NewVoterSet(one))
	require.Equal(t, Offset(7), r.observers[two.Key].end, "a voter that was removed is shown as an observer")
}
