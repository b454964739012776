package group

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
)

var testConfig = Config{MinSessionTimeout: time.Second, MaxSessionTimeout: time.Hour, MaxSize: 4}

func request(id string) JoinRequest {
	return JoinRequest{
		MemberID: id, NewMemberID: "new-" + id, SessionTimeout: 10 * time.Second, RebalanceTimeout: 60 * time.Second,
		ProtocolType: "consumer", Protocols: []Protocol{{Name: "range", Metadata: []byte("t")}},
	}
}

// answers collects the replies of some effects by waiter.
func answers(fx Effects) map[any]Reply {
	out := map[any]Reply{}
	for _, r := range fx.Replies {
		out[r.Waiter] = r
	}
	return out
}

// stable returns a group of two members, a leading, in its first stable generation.
func stable(t *testing.T) *Group {
	t.Helper()
	g := New("g", testConfig)
	r := request("")
	r.NewMemberID = "a"
	require.NoError(t, answers(g.Join(0, r, "ja"))["ja"].Join.Err)
	r.NewMemberID = "b"
	require.Empty(t, g.Join(0, r, "jb").Replies, "b waits until a has joined again")
	require.Equal(t, PreparingRebalance, g.State)
	got := answers(g.Join(0, request("a"), "ja2"))
	require.Len(t, got, 2)
	require.Equal(t, "a", got["jb"].Join.Leader)
	require.Len(t, got["ja2"].Join.Members, 2)
	require.Nil(t, got["jb"].Join.Members, "only the leader learns who is in")
	require.EqualValues(t, 2, g.Generation)

	require.Empty(t, g.Sync(0, SyncRequest{MemberID: "b", Generation: 2}, "sb").Replies)
	fx := g.Sync(0, SyncRequest{MemberID: "a", Generation: 2, Assignments: map[string][]byte{"a": {1}, "b": {2}}}, "sa")
	require.True(t, fx.Persist)
	require.Empty(t, fx.Replies, "nobody starts before the assignment is replicated")
	got = answers(g.Persisted(0, 2, nil))
	require.Equal(t, []byte{1}, got["sa"].Sync.Assignment)
	require.Equal(t, []byte{2}, got["sb"].Sync.Assignment)
	require.Equal(t, Stable, g.State)
	return g
}

func TestTwoMembersReachStable(t *testing.T) { stable(t) }

func TestMemberIDIsHandedOutFirst(t *testing.T) {
	g := New("g", testConfig)
	r := request("")
	r.RequireKnownMemberID = true
	j := answers(g.Join(0, r, 1))[1].Join
	require.ErrorIs(t, j.Err, kerr.MemberIDRequired)
	require.Equal(t, "new-", j.MemberID)
	r.MemberID = j.MemberID
	require.NoError(t, answers(g.Join(0, r, 2))[2].Join.Err)
	require.Contains(t, g.Members, "new-")
}

func TestExpiredMemberMakesTheOthersRebalance(t *testing.T) {
	g := stable(t)
	now := 9 * time.Second
	require.NoError(t, g.Heartbeat(now, "a", nil, 2))
	at, ok := g.Deadline()
	require.True(t, ok)
	require.Equal(t, 10*time.Second, at, "b was last heard of at 0")
	g.Tick(at)
	require.Equal(t, PreparingRebalance, g.State)
	require.ErrorIs(t, g.Heartbeat(at, "a", nil, 2), kerr.RebalanceInProgress)
	require.ErrorIs(t, g.Heartbeat(at, "b", nil, 2), kerr.UnknownMemberID)
	j := answers(g.Join(at, request("a"), "j"))["j"].Join
	require.NoError(t, j.Err)
	require.EqualValues(t, 3, j.Generation)
}

func TestRoundEndsWithoutThoseWhoDoNotJoin(t *testing.T) {
	g := stable(t)
	r := request("a")
	r.Protocols = []Protocol{{Name: "range", Metadata: []byte("other subscription")}}
	require.Empty(t, g.Join(0, r, "j").Replies)
	for now := 5 * time.Second; now < 60*time.Second; now += 5 * time.Second {
		require.ErrorIs(t, g.Heartbeat(now, "b", nil, 2), kerr.RebalanceInProgress)
		require.Empty(t, g.Tick(now).Replies)
	}
	j := answers(g.Tick(60 * time.Second))["j"].Join
	require.Len(t, j.Members, 1, "b kept its session but did not join within the rebalance timeout")
}

func TestFailedPersistStartsAnotherRound(t *testing.T) {
	g := stable(t)
	_, err := g.Leave(0, "b", nil)
	require.NoError(t, err)
	g.Join(0, request("a"), "j")
	require.True(t, g.Sync(0, SyncRequest{MemberID: "a", Generation: 3}, "s").Persist)
	s := answers(g.Persisted(0, 3, kerr.NotEnoughReplicas))["s"].Sync
	require.ErrorIs(t, s.Err, kerr.NotEnoughReplicas)
	require.Equal(t, PreparingRebalance, g.State)
}

func TestStaticMemberRestartsUnnoticed(t *testing.T) {
	g := New("g", testConfig)
	instance := "pod-0"
	r := request("")
	r.InstanceID, r.NewMemberID = &instance, "m1"
	g.Join(0, r, 1)
	g.Sync(0, SyncRequest{MemberID: "m1", InstanceID: &instance, Generation: 1, Assignments: map[string][]byte{"m1": {7}}}, 2)
	g.Persisted(0, 1, nil)
	r.NewMemberID = "m2"
	fx := g.Join(time.Second, r, 3)
	j := answers(fx)[3].Join
	require.NoError(t, j.Err)
	require.Equal(t, "m2", j.MemberID)
	require.EqualValues(t, 1, j.Generation, "no new round")
	require.True(t, fx.Persist, "the log must name the new member id")
	s := answers(g.Sync(time.Second, SyncRequest{MemberID: "m2", InstanceID: &instance, Generation: 1}, 4))[4].Sync
	require.Equal(t, []byte{7}, s.Assignment)
	require.ErrorIs(t, g.Heartbeat(time.Second, "m1", &instance, 1), kerr.FencedInstanceID)
}

func TestInitialDelayGathersMembers(t *testing.T) {
	cfg := testConfig
	cfg.InitialRebalanceDelay = 3 * time.Second
	g := New("g", cfg)
	r := request("")
	r.NewMemberID = "a"
	require.Empty(t, g.Join(0, r, "a").Replies)
	r.NewMemberID = "b"
	require.Empty(t, g.Join(2*time.Second, r, "b").Replies)
	require.Empty(t, g.Tick(3*time.Second).Replies, "b came during the delay: once more")
	require.Len(t, g.Tick(6*time.Second).Replies, 2)
	require.EqualValues(t, 1, g.Generation)
}

func TestRefusals(t *testing.T) {
	short, other, mismatch, full := request(""), request("stranger"), request(""), request("")
	short.SessionTimeout = time.Millisecond
	mismatch.ProtocolType = "connect"
	for _, c := range []struct {
		name string
		req  JoinRequest
		err  error
		fill int
	}{
		{"a session shorter than allowed", short, kerr.InvalidSessionTimeout, 0},
		{"a member id nobody handed out", other, kerr.UnknownMemberID, 0},
		{"another kind of group", mismatch, kerr.InconsistentGroupProtocol, 0},
		{"a full group", full, kerr.GroupMaxSizeReached, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			g := stable(t)
			for i := range c.fill {
				r := request("")
				r.NewMemberID = string(rune('c' + i))
				g.Join(0, r, i)
			}
			require.ErrorIs(t, answers(g.Join(0, c.req, "w"))["w"].Join.Err, c.err)
		})
	}
}

func TestCommitRules(t *testing.T) {
	g := New("g", testConfig)
	require.NoError(t, g.CheckCommit(0, "", nil, -1), "a consumer that assigns by itself")
	g = stable(t)
	require.NoError(t, g.CheckCommit(0, "a", nil, 2))
	require.ErrorIs(t, g.CheckCommit(0, "a", nil, 1), kerr.IllegalGeneration)
	require.ErrorIs(t, g.CheckCommit(0, "", nil, -1), kerr.UnknownMemberID)
	g.Unload(0, kerr.NotCoordinator)
	require.ErrorIs(t, g.CheckCommit(0, "a", nil, 2), kerr.CoordinatorNotAvailable)
}
