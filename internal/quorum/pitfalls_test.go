package quorum

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// threeVoters is voter 1 of three, with what its disk holds.
func threeVoters(t *testing.T, persisted *ElectionState, log LogState) *Quorum {
	t.Helper()
	var voters []Voter
	for id := NodeID(1); id <= 3; id++ {
		voters = append(voters, Voter{Key: ReplicaKey{id, uuid.UUID{byte(id)}}, Endpoints: []Endpoint{{"CONTROLLER", "n", uint16(id)}}})
	}
	set, level := NewVoterSet(voters...), int16(1)
	log.Control = append([]ControlAt{{-1, ControlRecord{KRaftVersion: &level}}, {-1, ControlRecord{Voters: &set}}}, log.Control...)
	cfg := DefaultConfig()
	cfg.NodeID, cfg.DirectoryID = 1, uuid.UUID{1}
	cfg.Endpoints, cfg.Listener, cfg.Controller = voters[0].Endpoints, "CONTROLLER", true
	q, err := New(cfg, persisted, log, 1)
	require.NoError(t, err)
	return q
}

func effectsOf[E Effect](fx Effects) (out []E) {
	for _, f := range fx {
		if e, ok := f.(E); ok {
			out = append(out, e)
		}
	}
	return out
}

// follow makes q a follower of 2 in epoch 5 with its first fetch on the way, and returns that.
func follow(t *testing.T, q *Quorum) Send {
	t.Helper()
	q.Step(0, Start{})
	fx := q.Step(1, Request{ReplyTo: 1, Message: &BeginQuorumEpochRequest{Voter: NoReplica,
		Leader: LeaderAndEpoch{2, 5}, Endpoints: []Endpoint{{"CONTROLLER", "n", 2}}}})
	require.Equal(t, Follower, q.role)
	fx = append(fx, q.Step(2, ElectionPersisted{Seq: effectsOf[PersistElection](fx)[0].Seq})...)
	for _, s := range effectsOf[Send](fx) {
		if _, ok := s.Message.(*FetchRequest); ok && s.To.ID == 2 {
			return s
		}
	}
	t.Fatal("no fetch to the leader")
	return Send{}
}

func fetched(batches ...BatchInfo) *FetchResponse {
	return &FetchResponse{
		Answer:        Answer{Leader: LeaderAndEpoch{2, 5}, Endpoint: Node{ID: 2, Host: "n", Port: 2}},
		HighWatermark: UnknownOffset, Batches: batches, Data: make([]byte, sizeOf(batches)),
	}
}

// A follower's record of who leads may be written late, so a crash can leave "voted for myself in 5" beside records
// of epoch 5 from another leader. To campaign in 5 would be a malformed vote request, which makes an Apache Kafka node exit.
func TestRestartedCandidateWithRecordsOfItsEpochDoesNotCampaign(t *testing.T) {
	voted := ElectionState{Epoch: 5, LeaderID: None, Voted: ReplicaKey{1, uuid.UUID{1}}}
	q := threeVoters(t, &voted, LogState{EndOffset: 3, Epochs: []EpochStart{{5, 0}}})
	q.Step(0, Start{})
	require.Equal(t, Unattached, q.role)
	require.Equal(t, voted.Voted, q.election.Voted, "the vote is kept")

	q = threeVoters(t, &voted, LogState{EndOffset: 3, Epochs: []EpochStart{{4, 0}}})
	q.Step(0, Start{})
	require.Equal(t, Candidate, q.role, "without them it asks again in the same epoch")
}

// Pitfall 25: a leader that is being replaced can send records of the epoch that replaced it.
func TestBatchesOfALaterEpochAreDropped(t *testing.T) {
	q := threeVoters(t, nil, LogState{})
	s := follow(t, q)
	fx := q.Step(3, Response{s.Correlation, fetched(
		BatchInfo{Base: 0, Last: 1, Epoch: 5, Size: 1}, BatchInfo{Base: 2, Last: 2, Epoch: 6, Size: 1}, BatchInfo{Base: 3, Last: 3, Epoch: 5, Size: 1})})
	appends := effectsOf[Append](fx)
	require.Len(t, appends, 1)
	require.Equal(t, Offset(2), appends[0].End)
	require.Len(t, appends[0].Data, 1)
}

func TestRecordsThatDoNotContinueTheLogAreRefused(t *testing.T) {
	for name, batches := range map[string][]BatchInfo{
		"a gap":             {{Base: 1, Last: 1, Epoch: 5, Size: 1}},
		"an overlap":        {{Base: 0, Last: 1, Epoch: 5, Size: 1}, {Base: 1, Last: 2, Epoch: 5, Size: 1}},
		"a falling epoch":   {{Base: 0, Last: 1, Epoch: 5, Size: 1}, {Base: 2, Last: 2, Epoch: 4, Size: 1}},
		"offsets backwards": {{Base: 0, Last: -1, Epoch: 5, Size: 1}},
		"an endless batch":  {{Base: 0, Last: 1<<63 - 1, Epoch: 5, Size: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			q := threeVoters(t, nil, LogState{})
			s := follow(t, q)
			fx := q.Step(3, Response{s.Correlation, fetched(batches...)})
			require.Empty(t, effectsOf[Append](fx))
			require.Equal(t, NoteError, effectsOf[Note](fx)[0].Level)
			require.False(t, q.follower.hasFetched, "nor does it count as contact with the leader")
		})
	}
}

// Never below the high watermark: one of the two logs is broken, and this one keeps its bytes.
func TestCommittedRecordsAreNotCut(t *testing.T) {
	q := threeVoters(t, nil, LogState{})
	s := follow(t, q)
	resp := fetched(BatchInfo{Base: 0, Last: 3, Epoch: 5, Size: 1})
	resp.HighWatermark = 4
	fx := q.Step(3, Response{s.Correlation, resp})
	require.Equal(t, Offset(4), effectsOf[Committed](fx)[0].HighWatermark)
	fx = q.Step(4, Flushed{Seq: effectsOf[Flush](fx)[0].Seq})
	cut := fetched()
	cut.Diverging = &OffsetAndEpoch{Offset: 2, Epoch: 5}
	fx = q.Step(5, Response{effectsOf[Send](fx)[0].Correlation, cut})
	require.Empty(t, effectsOf[Truncate](fx))
	require.Contains(t, effectsOf[Note](fx)[0].Text, "below the high watermark 4")
}

// Pitfall 38: after a transition the answers to earlier requests are nobody's.
func TestLateResponsesAreIgnored(t *testing.T) {
	q := threeVoters(t, nil, LogState{})
	s := follow(t, q)
	q.Step(3*time.Second, Tick{})
	require.Equal(t, Prospective, q.role)
	fx := q.Step(3*time.Second, Response{s.Correlation, fetched(BatchInfo{Base: 0, Last: 1, Epoch: 5, Size: 1})})
	require.Empty(t, effectsOf[Append](fx))
}

// Pitfall 10: a chatty candidate must not put this node's own election off for ever.
func TestEpochBumpKeepsTheElectionTimer(t *testing.T) {
	q := threeVoters(t, nil, LogState{EndOffset: 9, Epochs: []EpochStart{{1, 0}}})
	q.Step(0, Start{})
	due := q.electionDeadline
	for epoch := Epoch(2); epoch < 20; epoch++ {
		q.Step(time.Duration(epoch)*time.Millisecond, Request{ReplyTo: uint64(epoch), Message: &VoteRequest{
			Voter: NoReplica, Candidate: ReplicaKey{2, uuid.UUID{2}}, Epoch: epoch, LastOffset: 0}})
		require.Equal(t, epoch, q.election.Epoch)
	}
	require.Equal(t, due, q.electionDeadline, "votes refused for a short log don't move it")
}

// Pitfall 15: BeginQuorumEpoch is not contact.
func TestOnlyFetchesKeepAFollowerCalm(t *testing.T) {
	q := threeVoters(t, nil, LogState{})
	follow(t, q)
	due := q.follower.fetchDeadline
	q.Step(time.Second, Request{ReplyTo: 9, Message: &BeginQuorumEpochRequest{Voter: NoReplica, Leader: LeaderAndEpoch{2, 5},
		Endpoints: []Endpoint{{"CONTROLLER", "n", 2}}}})
	require.Equal(t, due, q.follower.fetchDeadline)
}

// Pitfall 14: a vote read from a version 0 file has no directory id and matches any.
func TestStoredVoteWithoutDirectoryMatchesAny(t *testing.T) {
	q := threeVoters(t, &ElectionState{Epoch: 4, LeaderID: None, Voted: ReplicaKey{ID: 2}}, LogState{})
	q.Step(0, Start{})
	ask := func(candidate ReplicaKey) bool {
		fx := q.Step(1, Request{ReplyTo: 1, Message: &VoteRequest{Voter: NoReplica, Candidate: candidate, Epoch: 4}})
		return effectsOf[Reply](fx)[0].Message.(*VoteResponse).Granted
	}
	require.True(t, ask(ReplicaKey{2, uuid.UUID{7}}))
	require.False(t, ask(ReplicaKey{3, uuid.UUID{3}}))
}

// A vote needs a node id to be cast by.
func TestVoteOnDiskNeedsANodeID(t *testing.T) {
	cfg := DefaultConfig()
	_, err := New(cfg, &ElectionState{Epoch: 1, LeaderID: None, Voted: ReplicaKey{ID: 3}}, LogState{}, 1)
	require.ErrorContains(t, err, "node.id")
}

// An epoch whose leader is known has had its election: nobody votes in it any more, voted before or not.
func TestNoVoteInAnEpochThatHasALeader(t *testing.T) {
	ask := func(q *Quorum, candidate NodeID) bool {
		fx := q.Step(10*time.Second, Request{ReplyTo: 9, Message: &VoteRequest{Voter: NoReplica, Candidate: ReplicaKey{candidate, uuid.UUID{byte(candidate)}}, Epoch: 5}})
		return effectsOf[Reply](fx)[0].Message.(*VoteResponse).Granted
	}
	voted := threeVoters(t, &ElectionState{Epoch: 5, LeaderID: 2, Voted: ReplicaKey{3, uuid.UUID{3}}}, LogState{})
	voted.Step(0, Start{})
	require.Equal(t, Follower, voted.role)
	require.False(t, ask(voted, 3), "a follower, though it voted for this candidate")

	prospective := threeVoters(t, &ElectionState{Epoch: 5, LeaderID: 2, Voted: NoReplica}, LogState{})
	prospective.Step(0, Start{})
	prospective.Step(3*time.Second, Tick{})
	require.Equal(t, Prospective, prospective.role)
	require.False(t, ask(prospective, 3), "a prospective that still knows the leader")
}

// TestNobodyIsToldThatHeLeads: pitfall 4. A leader whose disk was lost or is an old copy asks in an epoch that it leads without
// knowing; an Apache Kafka node exits when it is told so.
func TestNobodyIsToldThatHeLeads(t *testing.T) {
	q := threeVoters(t, nil, LogState{})
	follow(t, q) // 2, in epoch 5
	two, three := ReplicaKey{2, uuid.UUID{2}}, ReplicaKey{3, uuid.UUID{3}}
	for name, tc := range map[string]struct {
		request Message
		named   NodeID
	}{
		"a fetch from an old epoch":   {&FetchRequest{Replica: two, Epoch: 3}, None},
		"a fetch in its epoch":        {&FetchRequest{Replica: two, Epoch: 5}, None},
		"a fetch of another":          {&FetchRequest{Replica: three, Epoch: 3}, 2},
		"a fetch of a snapshot":       {&FetchSnapshotRequest{Replica: two, Epoch: 3}, None},
		"a vote in an old epoch":      {&VoteRequest{Voter: NoReplica, Candidate: two, Epoch: 4}, None},
		"a pre-vote in its epoch":     {&VoteRequest{Voter: NoReplica, Candidate: two, Epoch: 5, PreVote: true}, None},
		"a vote for another":          {&VoteRequest{Voter: NoReplica, Candidate: three, Epoch: 4}, 2},
		"an update of its entry":      {&UpdateVoterRequest{Voter: Voter{Key: two}, Epoch: 3}, None},
		"its word on an older epoch":  {&BeginQuorumEpochRequest{Voter: NoReplica, Leader: LeaderAndEpoch{2, 4}}, None},
		"its word on its epoch":       {&BeginQuorumEpochRequest{Voter: NoReplica, Leader: LeaderAndEpoch{2, 5}}, 2},
		"the end of an older epoch":   {&EndQuorumEpochRequest{Leader: LeaderAndEpoch{2, 4}}, None},
		"the end of another's, older": {&EndQuorumEpochRequest{Leader: LeaderAndEpoch{3, 4}}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			replies := effectsOf[Reply](q.Step(q.now, Request{ReplyTo: 1, Listener: "CONTROLLER", Message: tc.request}))
			require.Len(t, replies, 1)
			a := replies[0].Message.(response).Common()
			require.Equal(t, LeaderAndEpoch{tc.named, 5}, a.Leader)
			require.Equal(t, tc.named, a.Endpoint.ID)
		})
	}
}
