package quorum

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// bad is a request that should not be, or comes from one who has lost his way.
type bad struct {
	name    string
	request Message
	want    string // top-level and own error
}

// verdict is what the answer says: its top-level error, if it has one, and its own.
func verdict(m Message) string {
	switch m := m.(type) {
	case *AddVoterResponse:
		return m.Error.String()
	case *RemoveVoterResponse:
		return m.Error.String()
	case *UpdateVoterResponse:
		return m.Error.String()
	case response:
		return fmt.Sprintf("%s/%s", m.Common().TopError, m.Common().Error)
	}
	return fmt.Sprintf("%T", m)
}

// TestBadRequests: each RPC with another cluster's id, another node's or disk's key, or an epoch that can't be, gets the error that
// Apache Kafka's own would get (KIP-595, KIP-853; raft module), changes nothing, and is answered with no leader that its sender
// could not bear: INVALID_REQUEST makes an Apache Kafka node exit, so it is for requests that no node sends.
func TestBadRequests(t *testing.T) {
	other, mine := "another", uuid.UUID{1}
	wrong := ReplicaKey{1, uuid.UUID{99}}
	voter := Voter{Key: ReplicaKey{2, uuid.UUID{2}}, Endpoints: []Endpoint{{"CONTROLLER", "n", 2}}, Supported: VersionRange{0, 1}}
	of := func(v Voter, key ReplicaKey) Voter { v.Key = key; return v }
	asLeader := []bad{
		{"vote, another cluster", &VoteRequest{ClusterID: &other, Candidate: voter.Key, Epoch: 9}, "INCONSISTENT_CLUSTER_ID/NONE"},
		{"begin, another cluster", &BeginQuorumEpochRequest{ClusterID: &other, Leader: LeaderAndEpoch{2, 9}}, "INCONSISTENT_CLUSTER_ID/NONE"},
		{"end, another cluster", &EndQuorumEpochRequest{ClusterID: &other, Leader: LeaderAndEpoch{2, 9}}, "INCONSISTENT_CLUSTER_ID/NONE"},
		{"fetch, another cluster", &FetchRequest{ClusterID: &other, Replica: voter.Key, Epoch: 6}, "INCONSISTENT_CLUSTER_ID/NONE"},
		{"fetch snapshot, another cluster", &FetchSnapshotRequest{ClusterID: &other, Epoch: 6}, "INCONSISTENT_CLUSTER_ID/NONE"},
		{"update, another cluster", &UpdateVoterRequest{ClusterID: &other, Epoch: 6, Voter: voter}, "INCONSISTENT_CLUSTER_ID"},
		{"add, another cluster", &AddVoterRequest{ClusterID: &other, Voter: ReplicaKey{4, uuid.UUID{4}}}, "INCONSISTENT_CLUSTER_ID"},
		{"remove, another cluster", &RemoveVoterRequest{ClusterID: &other, Voter: voter.Key}, "INCONSISTENT_CLUSTER_ID"},

		{"vote, another disk of this node", &VoteRequest{Voter: wrong, Candidate: voter.Key, Epoch: 6}, "NONE/INVALID_VOTER_KEY"},
		{"vote, another node", &VoteRequest{Voter: ReplicaKey{3, mine}, Candidate: voter.Key, Epoch: 6}, "NONE/INVALID_VOTER_KEY"},
		{"update, another disk", &UpdateVoterRequest{Epoch: 6, Voter: of(voter, ReplicaKey{2, uuid.UUID{98}})}, "VOTER_NOT_FOUND"},
		{"update, no voter", &UpdateVoterRequest{Epoch: 6, Voter: of(voter, ReplicaKey{7, uuid.UUID{7}})}, "VOTER_NOT_FOUND"},
		{"remove, another disk", &RemoveVoterRequest{Voter: ReplicaKey{2, uuid.UUID{98}}}, "VOTER_NOT_FOUND"},
		{"add, another disk of a voter", &AddVoterRequest{Voter: ReplicaKey{2, uuid.UUID{98}}, Endpoints: voter.Endpoints}, "DUPLICATE_VOTER"},
		{"add, no directory", &AddVoterRequest{Voter: ReplicaKey{ID: 4}, Endpoints: voter.Endpoints}, "INVALID_REQUEST"},

		{"vote, records of its own epoch", &VoteRequest{Voter: NoReplica, Candidate: voter.Key, Epoch: 6, LastOffsetEpoch: 6, LastOffset: 9}, "NONE/INVALID_REQUEST"},
		{"vote, records of a later epoch", &VoteRequest{Voter: NoReplica, Candidate: voter.Key, Epoch: 6, LastOffsetEpoch: 7, LastOffset: 9}, "NONE/INVALID_REQUEST"},
		{"pre-vote, records of a later epoch", &VoteRequest{Voter: NoReplica, Candidate: voter.Key, Epoch: 6, LastOffsetEpoch: 7, PreVote: true}, "NONE/INVALID_REQUEST"},
		{"vote, negative epoch", &VoteRequest{Voter: NoReplica, Candidate: voter.Key, Epoch: -1, LastOffsetEpoch: -1}, "NONE/INVALID_REQUEST"},
		{"begin, an epoch that is over", &BeginQuorumEpochRequest{Voter: NoReplica, Leader: LeaderAndEpoch{2, 5}}, "NONE/FENCED_LEADER_EPOCH"},
		{"end, an epoch that is over", &EndQuorumEpochRequest{Leader: LeaderAndEpoch{2, 5}}, "NONE/FENCED_LEADER_EPOCH"},
		{"begin, a leader beside this one", &BeginQuorumEpochRequest{Voter: NoReplica, Leader: LeaderAndEpoch{2, 6}}, "NONE/NONE"},
		{"fetch, an epoch that is over", &FetchRequest{Replica: voter.Key, Epoch: 5}, "NONE/FENCED_LEADER_EPOCH"},
		{"fetch, an epoch to come", &FetchRequest{Replica: voter.Key, Epoch: 7}, "NONE/UNKNOWN_LEADER_EPOCH"},
		{"fetch, records of a later epoch", &FetchRequest{Replica: voter.Key, Epoch: 6, LastFetchedEpoch: 7}, "NONE/INVALID_REQUEST"},
		{"fetch, a negative offset", &FetchRequest{Replica: voter.Key, Epoch: 6, FetchOffset: -1}, "NONE/INVALID_REQUEST"},
		{"fetch snapshot, an epoch to come", &FetchSnapshotRequest{Replica: voter.Key, Epoch: 7}, "NONE/UNKNOWN_LEADER_EPOCH"},
		{"fetch snapshot, none such", &FetchSnapshotRequest{Replica: voter.Key, Epoch: 6, ID: OffsetAndEpoch{3, 1}}, "NONE/SNAPSHOT_NOT_FOUND"},
		{"update, an epoch to come", &UpdateVoterRequest{Epoch: 7, Voter: voter}, "UNKNOWN_LEADER_EPOCH"},
	}
	for _, tc := range asLeader {
		t.Run(tc.name, func(t *testing.T) {
			q := leaderOfThree(t)
			before, voters := q.Status(), q.voters().String()
			fx := q.Step(10, Request{ReplyTo: 77, Listener: "CONTROLLER", Message: tc.request})
			replies := effectsOf[Reply](fx)
			require.Len(t, replies, 1)
			require.Equal(t, tc.want, verdict(replies[0].Message))
			after := q.Status()
			require.Equal(t, Leader, after.Role)
			require.Equal(t, before.Epoch, after.Epoch)
			require.Equal(t, before.LogEndOffset, after.LogEndOffset)
			require.Equal(t, voters, q.voters().String())
			require.Empty(t, effectsOf[Append](fx))
			require.Empty(t, effectsOf[Truncate](fx))
		})
	}
}

// TestFetchOfAnotherDiskDoesNotCount: a voter's id on a disk that isn't the voter's is an observer; what it acknowledges commits nothing.
func TestFetchOfAnotherDiskDoesNotCount(t *testing.T) {
	q := leaderOfThree(t)
	q.propose(Propose{Epoch: 6, Batches: []BatchInfo{{Base: q.log.end, Last: q.log.end, Epoch: 6, Size: 1}}, Data: []byte{1}})
	q.Step(11, Flushed{Seq: q.log.flushSeq})
	hw := q.Status().HighWatermark
	q.Step(12, Request{ReplyTo: 5, Message: &FetchRequest{Replica: ReplicaKey{2, uuid.UUID{98}}, Epoch: 6, FetchOffset: q.log.end, LastFetchedEpoch: 6}})
	require.Equal(t, hw, q.Status().HighWatermark)
	q.Step(13, Request{ReplyTo: 6, Message: &FetchRequest{Replica: ReplicaKey{2, uuid.UUID{2}}, Epoch: 6, FetchOffset: q.log.end, LastFetchedEpoch: 6}})
	require.Greater(t, q.Status().HighWatermark, hw)
}

// leaderOfThree is voter 1, leader of epoch 6, with its first record committed.
func leaderOfThree(t *testing.T) *Quorum {
	t.Helper()
	q := threeVoters(t, &ElectionState{Epoch: 5, LeaderID: None, Voted: NoReplica}, LogState{})
	q.cfg.ClusterID = "mine"
	q.Step(0, Start{})
	q.Step(1, ElectionPersisted{Seq: q.out.seq})
	q.becomeCandidate()
	q.tally.votes[2] = true
	q.Step(2, Tick{})
	for range 3 {
		q.Step(3, ElectionPersisted{Seq: q.out.seq})
	}
	q.Step(4, Flushed{Seq: q.log.flushSeq})
	require.Equal(t, Leader, q.role)
	q.Step(5, Request{ReplyTo: 1, Message: &FetchRequest{Replica: ReplicaKey{2, uuid.UUID{2}}, Epoch: 6, FetchOffset: q.log.end, LastFetchedEpoch: 6}})
	require.Equal(t, q.log.end, q.Status().HighWatermark)
	return q
}
