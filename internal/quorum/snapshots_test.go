package quorum

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

func TestSnapshotAheadOfTheLog(t *testing.T) {
	id := OffsetAndEpoch{50, 3}
	for _, c := range []struct {
		name   string
		end    Offset
		epochs []EpochStart
		want   bool
	}{
		{"an empty log", 0, nil, true},
		{"a shorter log", 40, []EpochStart{{1, 0}, {3, 30}}, true},
		{"a shorter log of a later epoch: its tail was never committed", 40, []EpochStart{{1, 0}, {5, 30}}, true},
		{"a longer log of earlier epochs: likewise", 60, []EpochStart{{1, 0}, {2, 30}}, true},
		{"a log as long, of a later epoch", 50, []EpochStart{{1, 0}, {5, 30}}, true},
		{"the log that the snapshot was made of", 50, []EpochStart{{1, 0}, {3, 30}}, false},
		{"and what came after", 60, []EpochStart{{1, 0}, {3, 30}, {4, 50}}, false},
		{"an empty log that starts at the snapshot", 50, nil, false},
		{"with an epoch that has no records yet", 50, []EpochStart{{4, 50}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := LogState{EndOffset: c.end, Epochs: c.epochs, Snapshots: []SnapshotInfo{{OffsetAndEpoch{10, 1}, 1}, {id, 1}}}
			if c.end == 50 && (len(c.epochs) == 0 || c.epochs[0].Start == 50) {
				s.StartOffset = 50
			}
			got, ahead := s.SnapshotAhead()
			require.Equal(t, c.want, ahead)
			require.Equal(t, id, got)
		})
	}
	_, ahead := LogState{}.SnapshotAhead()
	require.False(t, ahead)
}

func TestLogAndSnapshotsMakeAWhole(t *testing.T) {
	at := func(o Offset, e Epoch) SnapshotInfo { return SnapshotInfo{OffsetAndEpoch{o, e}, 1} }
	epochs := []EpochStart{{3, 40}, {4, 60}}
	for _, c := range []struct {
		name      string
		log       LogState
		err       string
		start     Offset
		snapshots []SnapshotInfo
	}{
		{"a log from the beginning", LogState{EndOffset: 70, Epochs: []EpochStart{{1, 0}}}, "", 0, nil},
		{"a log that starts at a snapshot", LogState{StartOffset: 40, EndOffset: 70, Epochs: epochs, Snapshots: []SnapshotInfo{at(40, 2)}}, "", 40, []SnapshotInfo{at(40, 2)}},
		{"a log that starts below it", LogState{StartOffset: 40, EndOffset: 70, Epochs: epochs, Snapshots: []SnapshotInfo{at(60, 3)}}, "", 40, []SnapshotInfo{at(60, 3)}},
		{"older snapshots are none", LogState{StartOffset: 40, EndOffset: 70, Epochs: epochs, Snapshots: []SnapshotInfo{at(30, 2), at(60, 3)}}, "", 40, []SnapshotInfo{at(60, 3)}},
		{"a start that came back below the epoch cache moves up", LogState{StartOffset: 20, EndOffset: 70, Epochs: epochs, Snapshots: []SnapshotInfo{at(30, 2), at(40, 2), at(60, 3)}},
			"", 40, []SnapshotInfo{at(40, 2), at(60, 3)}},
		{"to the end, if no epoch is left", LogState{StartOffset: 20, EndOffset: 70, Snapshots: []SnapshotInfo{at(30, 2), at(70, 4)}}, "", 70, []SnapshotInfo{at(70, 4)}},
		{"not if nothing is there", LogState{StartOffset: 20, EndOffset: 70, Epochs: epochs, Snapshots: []SnapshotInfo{at(30, 2)}}, "leader-epoch-checkpoint", 0, nil},
		{"a start without a snapshot", LogState{StartOffset: 40, EndOffset: 70, Epochs: epochs}, "no snapshot has what was before", 0, nil},
		{"a start above the newest", LogState{StartOffset: 40, EndOffset: 70, Epochs: epochs, Snapshots: []SnapshotInfo{at(30, 2)}}, "no snapshot has what was before", 0, nil},
		{"a snapshot ahead", LogState{EndOffset: 70, Epochs: []EpochStart{{1, 0}}, Snapshots: []SnapshotInfo{at(71, 1)}}, "must be replaced first", 0, nil},
		{"ids out of order", LogState{EndOffset: 70, Epochs: []EpochStart{{1, 0}}, Snapshots: []SnapshotInfo{at(20, 1), at(10, 1)}}, "ascend", 0, nil},
		{"epochs out of order", LogState{EndOffset: 70, Epochs: []EpochStart{{2, 0}}, Snapshots: []SnapshotInfo{at(10, 2), at(20, 1)}}, "ascend", 0, nil},
		{"the 0-0 checkpoint", LogState{EndOffset: 70, Epochs: []EpochStart{{1, 0}}, Snapshots: []SnapshotInfo{at(0, 0)}}, "ascend", 0, nil},
		{"an empty file", LogState{EndOffset: 70, Epochs: []EpochStart{{1, 0}}, Snapshots: []SnapshotInfo{{OffsetAndEpoch{10, 1}, 0}}}, "empty", 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := newLogView(c.log)
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.start, l.start)
			require.Equal(t, c.snapshots, l.snapshots)
			if len(l.epochs) > 0 {
				require.LessOrEqual(t, l.epochs[0].Start, l.start)
			}
		})
	}
}

// An interrupted DropPrefix is done again before anything else.
func TestStartMovesTheLogUp(t *testing.T) {
	q := threeVoters(t, nil, LogState{StartOffset: 20, EndOffset: 70, Epochs: []EpochStart{{3, 40}}, Snapshots: []SnapshotInfo{{OffsetAndEpoch{40, 2}, 9}}})
	fx := q.Step(0, Start{})
	require.Equal(t, DropPrefix{OffsetAndEpoch{40, 2}}, fx[0])
	require.Equal(t, Offset(40), q.Status().LogStartOffset)
}

func TestDropPrefixKeepsWhatIsInForce(t *testing.T) {
	for _, c := range []struct {
		name string
		to   Offset
		want []EpochStart
	}{
		{"between epochs", 20, []EpochStart{{4, 20}}},
		{"inside one", 15, []EpochStart{{3, 15}, {4, 20}}},
		{"at the end: no record, no epoch", 30, []EpochStart{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := logOf(OffsetAndEpoch{5, 1}, OffsetAndEpoch{c.to, 9})
			l.dropPrefix(c.to)
			require.Equal(t, c.to, l.start)
			require.Equal(t, c.want, l.epochs)
			require.Len(t, l.snapshots, 1)
		})
	}
	l := logOf(OffsetAndEpoch{30, 4})
	l.dropPrefix(30)
	require.Equal(t, Epoch(4), l.lastEpoch(), "of a log without records the snapshot knows it")
	l.append(7, 31)
	require.Equal(t, []EpochStart{{7, 30}}, l.epochs)
	l.truncate(30)
	require.Equal(t, Epoch(4), l.lastEpoch())

	set := func(id NodeID) VoterSet { return NewVoterSet(Voter{Key: ReplicaKey{ID: id}}) }
	a, b, d := set(1), set(2), set(3)
	zero, one := int16(0), int16(1)
	h := newHistory(VoterSet{}, []ControlAt{{-1, ControlRecord{Voters: &a}}, {-1, ControlRecord{KRaftVersion: &zero}},
		{10, ControlRecord{Voters: &b}}, {11, ControlRecord{KRaftVersion: &one}}, {20, ControlRecord{Voters: &d}}})
	q := &Quorum{history: h}
	at := func(o Offset) string { s, _ := q.VotersAt(o); return s.String() }
	require.Equal(t, []string{"{1}", "{2}", "{2}", "{3}"}, []string{at(9), at(10), at(19), at(20)})
	require.Equal(t, []int16{0, 1}, []int16{q.KRaftVersionAt(10), q.KRaftVersionAt(11)})
	q.history.dropPrefix(15)
	require.Equal(t, []string{"{2}", "{3}"}, []string{at(14), at(20)})
	require.Equal(t, int16(1), q.KRaftVersionAt(14))
	_, known := q.VotersAt(9)
	require.False(t, known)
	q.history.truncate(16)
	require.Equal(t, "{2}", q.voters().String(), "what was in force at the start can't be cut")
}

// A snapshot's records stand at its end, though the log may begin before it.
func TestHistoryIsInOrderOfOffsets(t *testing.T) {
	set := func(id NodeID) *VoterSet { s := NewVoterSet(Voter{Key: ReplicaKey{ID: id}}); return &s }
	h := newHistory(VoterSet{}, []ControlAt{{-1, ControlRecord{Voters: set(1)}}, {49, ControlRecord{Voters: set(3)}},
		{40, ControlRecord{Voters: set(2)}}, {45, ControlRecord{Voters: set(3)}}})
	q := &Quorum{history: h}
	s, _ := q.VotersAt(44)
	require.Equal(t, "{2}", s.String())
	require.Equal(t, "{3}", q.voters().String())
}

// behind is voter 1, following 2 in epoch 5: its log ends at 40 in epoch 3, it has a snapshot 30-3, and 35 is committed.
func behind(t *testing.T) (*Quorum, Send) {
	t.Helper()
	q := threeVoters(t, &ElectionState{Epoch: 4, LeaderID: None, Voted: NoReplica}, LogState{EndOffset: 40, Epochs: []EpochStart{{1, 0}, {3, 20}},
		Snapshots: []SnapshotInfo{{OffsetAndEpoch{30, 3}, 9}}})
	send := follow(t, q)
	resp := fetched()
	resp.HighWatermark = 35
	fx := q.Step(3, Response{send.Correlation, resp})
	return q, effectsOf[Send](fx)[0]
}

func redirect(id OffsetAndEpoch) *FetchResponse {
	resp := fetched()
	resp.Snapshot = &id
	return resp
}

// No leader's word makes a node give up what it knows to be committed, or what it has anyway.
func TestRedirectsThatContradict(t *testing.T) {
	for _, c := range []struct {
		name string
		id   OffsetAndEpoch
		want bool
	}{
		{"ahead", OffsetAndEpoch{60, 4}, true},
		{"ahead, though of an earlier epoch: the tail here was never committed", OffsetAndEpoch{60, 2}, true},
		{"at the end, of another epoch", OffsetAndEpoch{40, 2}, true},
		{"shorter, of a later epoch", OffsetAndEpoch{38, 4}, true},
		{"what is here already", OffsetAndEpoch{40, 3}, false},
		{"a snapshot that is here already", OffsetAndEpoch{30, 3}, false},
		{"a prefix of what is here", OffsetAndEpoch{36, 3}, false},
		{"below the high watermark", OffsetAndEpoch{34, 4}, false},
		{"of an epoch that has not been", OffsetAndEpoch{60, 6}, false},
		{"the 0-0 checkpoint", OffsetAndEpoch{0, 0}, false},
		{"a negative offset", OffsetAndEpoch{-5, 4}, false},
		{"a negative epoch", OffsetAndEpoch{60, -1}, false},
		{"an offset that overflows", OffsetAndEpoch{1<<63 - 1, 4}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			q, fetch := behind(t)
			fx := q.Step(4, Response{fetch.Correlation, redirect(c.id)})
			fx = append(fx, q.Step(4+q.cfg.RetryBackoff, Tick{})...)
			asked := false
			for _, s := range effectsOf[Send](fx) {
				if m, ok := s.Message.(*FetchSnapshotRequest); ok {
					asked = true
					require.Equal(t, &FetchSnapshotRequest{Replica: q.local, Epoch: 5, ID: c.id, MaxBytes: 1 << 20}, m)
				}
			}
			require.Equal(t, c.want, asked)
			if !c.want {
				require.Equal(t, NoteError, effectsOf[Note](fx)[0].Level)
			}
			require.Equal(t, Offset(40), q.Status().LogEndOffset)
		})
	}
}

// After a restart the high watermark is not known, but a snapshot is made of nothing else than what is committed.
func TestNothingBelowASnapshotIsCut(t *testing.T) {
	q := threeVoters(t, &ElectionState{Epoch: 4, LeaderID: None, Voted: NoReplica}, LogState{EndOffset: 40, Epochs: []EpochStart{{1, 0}, {3, 20}},
		Snapshots: []SnapshotInfo{{OffsetAndEpoch{30, 3}, 9}}})
	send := follow(t, q)
	resp := fetched()
	resp.Diverging = &OffsetAndEpoch{20, 1}
	fx := q.Step(3, Response{send.Correlation, resp})
	require.Empty(t, effectsOf[Truncate](fx))
	require.Equal(t, NoteError, effectsOf[Note](fx)[0].Level)
}

func downloading(t *testing.T) (*Quorum, Send) {
	t.Helper()
	q, fetch := behind(t)
	q.cfg.FetchSnapshotMaxBytes = 10
	fx := q.Step(4, Response{fetch.Correlation, redirect(OffsetAndEpoch{60, 4})})
	piece := effectsOf[Send](fx)[0]
	fx = q.Step(5, Response{piece.Correlation, &FetchSnapshotResponse{Answer: fetched().Answer, ID: OffsetAndEpoch{60, 4}, Size: 25, Data: make([]byte, 10)}})
	require.Equal(t, WriteSnapshot{OffsetAndEpoch{60, 4}, 0, make([]byte, 10)}, effectsOf[WriteSnapshot](fx)[0])
	return q, effectsOf[Send](fx)[0]
}

func TestPiecesOfASnapshotAreChecked(t *testing.T) {
	id := OffsetAndEpoch{60, 4}
	for _, c := range []struct {
		name  string
		resp  FetchSnapshotResponse
		level NoteLevel
	}{
		{"another snapshot", FetchSnapshotResponse{ID: OffsetAndEpoch{61, 4}, Size: 25, Position: 10, Data: make([]byte, 5)}, NoteError},
		{"another epoch", FetchSnapshotResponse{ID: OffsetAndEpoch{60, 3}, Size: 25, Position: 10, Data: make([]byte, 5)}, NoteError},
		{"other bytes", FetchSnapshotResponse{ID: id, Size: 25, Position: 11, Data: make([]byte, 5)}, NoteError},
		{"another size", FetchSnapshotResponse{ID: id, Size: 26, Position: 10, Data: make([]byte, 5)}, NoteError},
		{"no size", FetchSnapshotResponse{ID: id, Position: 10, Data: make([]byte, 5)}, NoteError},
		{"nothing", FetchSnapshotResponse{ID: id, Size: 25, Position: 10}, NoteError},
		{"more than was asked for", FetchSnapshotResponse{ID: id, Size: 25, Position: 10, Data: make([]byte, 11)}, NoteError},
		{"no such snapshot any more", FetchSnapshotResponse{Answer: Answer{Error: SnapshotNotFound}}, NoteInfo},
		{"no such position", FetchSnapshotResponse{Answer: Answer{Error: PositionOutOfRange}}, NoteInfo},
		{"an id of nothing", FetchSnapshotResponse{ID: OffsetAndEpoch{-1, -1}}, NoteInfo},
	} {
		t.Run(c.name, func(t *testing.T) {
			q, piece := downloading(t)
			code := c.resp.Error
			c.resp.Answer = fetched().Answer
			c.resp.Error = code
			fx := q.Step(6, Response{piece.Correlation, &c.resp})
			require.Equal(t, []AbandonSnapshot{{id}}, effectsOf[AbandonSnapshot](fx))
			require.Equal(t, c.level, effectsOf[Note](fx)[0].Level)
			require.Empty(t, effectsOf[WriteSnapshot](fx))
			require.Nil(t, q.download)
		})
	}
}

// Pieces reset the fetch timer and prove that the leader lives; the last may not be longer than the whole.
func TestDownload(t *testing.T) {
	q, piece := downloading(t)
	require.Equal(t, int64(10), piece.Message.(*FetchSnapshotRequest).Position)
	at := time.Second
	id, answer := OffsetAndEpoch{60, 4}, fetched().Answer
	fx := q.Step(at, Response{piece.Correlation, &FetchSnapshotResponse{Answer: answer, ID: id, Size: 25, Position: 10, Data: make([]byte, 10)}})
	require.Equal(t, at+q.cfg.FetchTimeout, q.follower.fetchDeadline)
	require.Equal(t, at, q.Status().LastFetch)
	piece = effectsOf[Send](fx)[0]
	fx = q.Step(at+1, Response{piece.Correlation, &FetchSnapshotResponse{Answer: answer, ID: id, Size: 25, Position: 20, Data: make([]byte, 5)}})
	require.Equal(t, InstallSnapshot{Token: 1, ID: id, Size: 25}, effectsOf[InstallSnapshot](fx)[0])
	require.Empty(t, effectsOf[Send](fx), "nothing is fetched while the log goes away")

	require.Empty(t, q.Step(at+2, SnapshotInstalled{Token: 7, OK: true, Size: 25}))
	voters := NewVoterSet(Voter{Key: ReplicaKey{2, uuid.UUID{2}}})
	fx = q.Step(at+3, SnapshotInstalled{Token: 1, OK: true, Size: 25, Control: []ControlAt{{59, ControlRecord{Voters: &voters}}}})
	require.Equal(t, []Committed{{60}}, effectsOf[Committed](fx))
	s := q.Status()
	require.Equal(t, []Offset{60, 60, 60, 60}, []Offset{s.LogStartOffset, s.LogEndOffset, s.Flushed, s.HighWatermark})
	require.False(t, s.Voter, "the voters are the snapshot's")
	fetch := effectsOf[Send](fx)[0].Message.(*FetchRequest)
	require.Equal(t, Offset(60), fetch.FetchOffset)
	require.Equal(t, Epoch(4), fetch.LastFetchedEpoch)
	require.Empty(t, q.Step(at+4, SnapshotInstalled{Token: 1, OK: true, Size: 25}), "once")
}

// A flush that was under way when the log was replaced was of other bytes.
func TestInstallForgetsFlushesUnderWay(t *testing.T) {
	l := logOf()
	l.flushSeq, l.flushes = 1, []pendingFlush{{1, 30}}
	l.restartAt(SnapshotInfo{OffsetAndEpoch{25, 5}, 9})
	l.append(6, 40)
	q := &Quorum{log: l}
	q.onFlushed(1)
	require.Equal(t, Offset(25), q.log.flushed)
}

// Whoever leads when the install is done, the log is the snapshot; and no election is begun before.
func TestInstallOutlivesTheLeader(t *testing.T) {
	q, piece := downloading(t)
	id, answer := OffsetAndEpoch{60, 4}, fetched().Answer
	fx := q.Step(6, Response{piece.Correlation, &FetchSnapshotResponse{Answer: answer, ID: id, Size: 20, Position: 10, Data: make([]byte, 10)}})
	require.Empty(t, effectsOf[InstallSnapshot](fx), "the size has changed")

	q, piece = downloading(t)
	q.download.size = 20
	fx = q.Step(6, Response{piece.Correlation, &FetchSnapshotResponse{Answer: answer, ID: id, Size: 20, Position: 10, Data: make([]byte, 10)}})
	require.Len(t, effectsOf[InstallSnapshot](fx), 1)
	q.Step(time.Minute, Tick{})
	require.Equal(t, Follower, q.role)
	require.Greater(t, q.Deadline(), time.Minute)
	vote := &VoteRequest{Voter: NoReplica, Candidate: ReplicaKey{3, uuid.UUID{3}}, Epoch: 6, LastOffsetEpoch: 3, LastOffset: 40}
	fx = q.Step(time.Minute+1, Request{ReplyTo: 9, Message: vote})
	require.Empty(t, effectsOf[AbandonSnapshot](fx))
	fx = q.Step(time.Minute+2, ElectionPersisted{Seq: effectsOf[PersistElection](fx)[0].Seq})
	require.True(t, effectsOf[Reply](fx)[0].Message.(*VoteResponse).Granted, "by the log that it ever acknowledged")
	fx = q.Step(time.Minute+3, SnapshotInstalled{Token: 1, OK: true, Size: 20})
	require.Equal(t, []Committed{{60}}, effectsOf[Committed](fx))
	require.Equal(t, Offset(60), q.Status().LogEndOffset)
}

func TestCreatedSnapshotsFitTheLog(t *testing.T) {
	for _, c := range []struct {
		name string
		info SnapshotInfo
		want bool
		note bool
	}{
		{"at the high watermark", SnapshotInfo{OffsetAndEpoch{35, 3}, 1}, true, false},
		{"of an older epoch", SnapshotInfo{OffsetAndEpoch{20, 1}, 1}, true, false},
		{"beyond the high watermark", SnapshotInfo{OffsetAndEpoch{36, 3}, 1}, false, true},
		{"of another epoch", SnapshotInfo{OffsetAndEpoch{20, 3}, 1}, false, true},
		{"without bytes", SnapshotInfo{OffsetAndEpoch{35, 3}, 0}, false, true},
		{"the 0-0 checkpoint", SnapshotInfo{OffsetAndEpoch{0, 0}, 1}, false, true},
		{"a negative one is below the log", SnapshotInfo{OffsetAndEpoch{-1, 3}, 1}, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			q, _ := behind(t)
			fx := q.Step(5, SnapshotCreated{c.info})
			_, known := q.log.snapshot(c.info.ID)
			require.Equal(t, c.want, known)
			require.Equal(t, c.note, len(effectsOf[Note](fx)) > 0 && effectsOf[Note](fx)[0].Level == NoteError)
			if known {
				q.Step(6, SnapshotCreated{SnapshotInfo{c.info.ID, 77}})
				again, _ := q.log.snapshot(c.info.ID)
				require.Equal(t, c.info, again)
				require.Equal(t, []DropPrefix{{c.info.ID}}, effectsOf[DropPrefix](q.Step(7, CleanTo{c.info.ID})))
				require.Empty(t, q.Step(8, CleanTo{c.info.ID}))
			}
		})
	}
}
