package disk_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// TestVoteOfAnEmptyLog: a controller whose log is empty knows no kraft.version, so its quorum-state has Kafka's form for version 0,
// byte for byte, which has no room for the directory id of its vote. A restart forgets that id, and that alone: in the same epoch
// it votes for the same node id or for nobody. Once its log has kraft.version 1, the directory id stays as well.
func TestVoteOfAnEmptyLog(t *testing.T) {
	fs := newFS(t)
	a, b := uuid.UUID{0: 7}, uuid.UUID{0: 8}
	vote := quorum.PersistElection{Seq: 1, State: quorum.ElectionState{Epoch: 2, LeaderID: quorum.None, Voted: quorum.ReplicaKey{ID: 3, DirectoryID: a}}}

	// restarted opens the disk again and asks it for a vote in the epoch it has voted in.
	restarted := func(candidate quorum.ReplicaKey) (granted bool) {
		d, err := openDisk(fs)
		require.NoError(t, err)
		opened := d
		require.NotNil(t, opened.Persisted)
		require.EqualValues(t, 2, opened.Persisted.Epoch)
		require.EqualValues(t, 3, opened.Persisted.Voted.ID)
		cfg := quorum.DefaultConfig()
		cfg.NodeID, cfg.DirectoryID, cfg.Controller = 9, uuid.UUID{0: 9}, true
		q, err := quorum.New(cfg, opened.Persisted, opened.LogState, 1)
		require.NoError(t, err)
		fx := q.Step(0, quorum.Start{})
		fx = append(fx, q.Step(1, quorum.Request{ReplyTo: 1, Message: &quorum.VoteRequest{
			Voter: quorum.NoReplica, Candidate: candidate, Epoch: 2, LastOffset: 9, LastOffsetEpoch: 1}})...)
		fx = append(fx, q.Step(2, quorum.ElectionPersisted{Seq: 1})...)
		for _, e := range fx {
			if r, ok := e.(quorum.Reply); ok {
				return r.Message.(*quorum.VoteResponse).Granted
			}
		}
		t.Fatal("no answer")
		return false
	}

	d, err := openDisk(fs)
	require.NoError(t, err)
	_, err = d.PersistElection(vote)
	require.NoError(t, err)
	require.Equal(t, `{"clusterId":"","leaderId":-1,"leaderEpoch":2,"votedId":3,"appliedOffset":0,"currentVoters":[],"data_version":0}`,
		string(readFile(t, fs, folder+"/quorum-state")))
	require.True(t, restarted(quorum.ReplicaKey{ID: 3, DirectoryID: a}), "asked again")
	require.True(t, restarted(quorum.ReplicaKey{ID: 3, DirectoryID: b}), "the directory id is forgotten")
	require.False(t, restarted(quorum.ReplicaKey{ID: 4, DirectoryID: a}), "a second vote")

	d, err = openDisk(fs)
	require.NoError(t, err)
	require.NoError(t, appendControl(d, 1))
	_, err = d.PersistElection(vote)
	require.NoError(t, err)
	require.NoError(t, d.Flush())
	require.Contains(t, string(readFile(t, fs, folder+"/quorum-state")), `"votedDirectoryId":"BwAAAAAAAAAAAAAAAAAAAA","data_version":1`)
	require.True(t, restarted(quorum.ReplicaKey{ID: 3, DirectoryID: a}))
	require.False(t, restarted(quorum.ReplicaKey{ID: 3, DirectoryID: b}), "another disk")
	require.False(t, restarted(quorum.ReplicaKey{ID: 4, DirectoryID: a}))
}
