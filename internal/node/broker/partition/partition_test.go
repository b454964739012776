package partition

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
)

// everyone is eligible with broker epoch 10+id.
func everyone(id int32) (int64, bool) { return 10 + int64(id), true }

// base is the time, in ms, at which tests begin: a follower that never caught up did so at 0.
const base = 10_000

// leaderOf returns broker 1 as leader of {1,2,3} with the given ISR at epoch 5, partition epoch 7 and log end 100.
func leaderOf(t *testing.T, isr ...int32) *State {
	t.Helper()
	s := New(1, 0, 0, 100)
	s.SetLocalEpoch(11)
	c := s.Apply(base, Assignment{Replicas: []int32{1, 2, 3}, ISR: isr, Leader: 1, LeaderEpoch: 5, PartitionEpoch: 7})
	require.Equal(t, Change{Applied: true, NewEpoch: true, NewRole: true, AssignEpoch: true}, c)
	return s
}

var limits = Limits{LagMaxMs: 1000, MinISR: 2}

func TestHighWatermark(t *testing.T) {
	type fetch struct {
		id     int32
		offset int64
	}
	for name, tc := range map[string]struct {
		isr     []int32
		fetches []fetch
		nowMs   int64
		want    int64
	}{
		"it waits for every member of the ISR":                        {[]int32{1, 2, 3}, []fetch{{2, 100}}, 0, 0},
		"it is the least log end of the ISR":                          {[]int32{1, 2, 3}, []fetch{{2, 100}, {3, 60}}, 0, 60},
		"a follower out of the ISR that lags does not hold it":        {[]int32{1, 2}, []fetch{{2, 100}, {3, 10}}, 5000, 100},
		"a follower that is about to join holds it":                   {[]int32{1, 2}, []fetch{{2, 100}, {3, 100}, {3, 90}}, 500, 90},
		"it stands still under min.insync.replicas though all caught": {[]int32{1}, []fetch{{2, 100}, {3, 100}}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			s := leaderOf(t, tc.isr...)
			for _, f := range tc.fetches {
				require.NoError(t, s.Fetched(base, f.id, f.offset, 0, 10+int64(f.id)))
			}
			s.AdvanceHighWatermark(base+tc.nowMs, limits, everyone)
			require.Equal(t, tc.want, s.HighWatermark())
		})
	}
}

func TestHighWatermarkNeverFalls(t *testing.T) {
	s := leaderOf(t, 1, 2)
	require.NoError(t, s.Fetched(base, 2, 100, 0, 12))
	require.True(t, s.AdvanceHighWatermark(base, limits, everyone))
	require.NoError(t, s.Fetched(base, 2, 40, 0, 12))
	require.False(t, s.AdvanceHighWatermark(base, limits, everyone))
	require.EqualValues(t, 100, s.HighWatermark())
}

func TestExpandNeedsCatchingUpAndALiveBroker(t *testing.T) {
	fenced := func(id int32) (int64, bool) { return 10 + int64(id), id != 3 }
	for name, tc := range map[string]struct {
		offset, epoch int64
		eligible      Eligibility
		want          bool
	}{
		"at the log end":                     {100, 13, everyone, true},
		"below the start of the epoch":       {99, 13, everyone, false},
		"fenced":                             {100, 13, fenced, false},
		"a fetch of another life":            {100, 12, everyone, false},
		"a follower that sends no own epoch": {100, None, everyone, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := leaderOf(t, 1, 2)
			require.NoError(t, s.Fetched(base, 3, tc.offset, 0, tc.epoch))
			c := s.Expand(3, tc.eligible)
			require.Equal(t, tc.want, c != nil)
			if c == nil {
				return
			}
			require.Equal(t, []Member{{1, 11}, {2, None}, {3, tc.epoch}}, c.Members)
			require.ElementsMatch(t, []int32{1, 2, 3}, s.MaximalISR())
			require.Equal(t, []int32{1, 2}, s.ISR())
			require.Nil(t, s.Expand(3, tc.eligible), "one change at a time")
		})
	}
}

func TestShrinkRemovesWhoLags(t *testing.T) {
	s := leaderOf(t, 1, 2, 3)
	require.NoError(t, s.Fetched(base+900, 2, 100, 0, 12))
	require.Nil(t, s.Shrink(base+1000, 1000), "nobody lags yet: members count as caught up when the epoch starts")
	c := s.Shrink(base+1001, 1000)
	require.Equal(t, []Member{{1, 11}, {2, 12}}, c.Members)
	require.Equal(t, []int32{1, 2, 3}, s.MaximalISR(), "a member leaves only when the controller says so")
	require.Equal(t, ISRApplied, s.ISRAnswered(c, ISRAnswer{Leader: 1, LeaderEpoch: 5, PartitionEpoch: 8, ISR: []int32{1, 2}}))
	require.Equal(t, []int32{1, 2}, s.ISR())
	require.True(t, s.AdvanceHighWatermark(base+1001, limits, everyone))
	require.EqualValues(t, 100, s.HighWatermark())
	require.False(t, s.Apply(0, Assignment{Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2}, Leader: 1, LeaderEpoch: 5, PartitionEpoch: 8}).Applied,
		"the metadata log tells it a second time")
}

func TestISRAnswers(t *testing.T) {
	for name, tc := range map[string]struct {
		answer ISRAnswer
		want   ISROutcome
		open   bool
	}{
		"a broker that may not join":        {ISRAnswer{Err: kerr.IneligibleReplica}, ISRReset, false},
		"an answer of an older leader":      {ISRAnswer{LeaderEpoch: 4, PartitionEpoch: 8}, ISRAwaitMetadata, true},
		"the controller has a newer epoch":  {ISRAnswer{Err: kerr.FencedLeaderEpoch}, ISRAwaitMetadata, true},
		"the partition changed meanwhile":   {ISRAnswer{Err: kerr.InvalidUpdateVersion}, ISRAwaitMetadata, true},
		"a reassignment moved the leader":   {ISRAnswer{Err: kerr.NewLeaderElected}, ISRAwaitMetadata, true},
		"another failure of the controller": {ISRAnswer{Err: kerr.UnknownServerError}, ISRRetry, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := leaderOf(t, 1, 2)
			require.NoError(t, s.Fetched(base, 3, 100, 0, 13))
			c := s.Expand(3, everyone)
			require.Equal(t, tc.want, s.ISRAnswered(c, tc.answer))
			require.Equal(t, tc.open, s.Pending())
			require.True(t, s.Apply(0, Assignment{Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2}, Leader: 1, LeaderEpoch: 5, PartitionEpoch: 9}).Applied)
			require.False(t, s.Pending(), "new metadata ends it")
			require.Equal(t, ISRIgnored, s.ISRAnswered(c, ISRAnswer{LeaderEpoch: 5, PartitionEpoch: 10}))
		})
	}
}

func TestLeaderEpochs(t *testing.T) {
	s := leaderOf(t, 1, 2)
	require.NoError(t, s.CheckLeader(None))
	require.NoError(t, s.CheckLeader(5))
	require.Equal(t, kerr.FencedLeaderEpoch, s.CheckLeader(4))
	require.Equal(t, kerr.UnknownLeaderEpoch, s.CheckLeader(6))

	c := s.Apply(0, Assignment{Replicas: []int32{1, 2, 3}, ISR: []int32{2}, Leader: 2, LeaderEpoch: 6, PartitionEpoch: 8})
	require.Equal(t, Change{Applied: true, NewEpoch: true, NewRole: true}, c)
	require.Equal(t, kerr.NotLeaderForPartition, s.CheckLeader(6))
	require.NoError(t, s.CheckLeaderEpoch(6))
	require.Panics(t, func() {
		s.Apply(0, Assignment{Replicas: []int32{1}, Leader: 1, LeaderEpoch: 5, PartitionEpoch: 9})
	})
}

func TestFollowerHighWatermarkStaysInTheLog(t *testing.T) {
	s := New(2, 10, 30, 50)
	s.Apply(0, Assignment{Replicas: []int32{1, 2}, ISR: []int32{1, 2}, Leader: 1, LeaderEpoch: 1, PartitionEpoch: 1})
	require.True(t, s.FollowHighWatermark(70))
	require.EqualValues(t, 50, s.HighWatermark())
	s.Truncated(10, 40)
	require.EqualValues(t, 40, s.HighWatermark())
	s.SetLogStart(45)
	require.EqualValues(t, 45, s.HighWatermark())
}

func TestAcksAll(t *testing.T) {
	s := leaderOf(t, 1)
	require.Equal(t, kerr.NotEnoughReplicas, s.CheckAppend(-1, 2))
	require.NoError(t, s.CheckAppend(1, 2))
	require.NoError(t, s.CheckAppend(-1, 1))

	s = leaderOf(t, 1, 2)
	s.SetLogEnd(110)
	require.NoError(t, s.Fetched(base, 2, 110, 0, 12))
	require.True(t, s.AdvanceHighWatermark(base, limits, everyone))
	done, err := s.Committed(110, 2)
	require.True(t, done)
	require.NoError(t, err)
	done, _ = s.Committed(111, 2)
	require.False(t, done)
	_, err = s.Committed(110, 3)
	require.Equal(t, kerr.NotEnoughReplicasAfterAppend, err)
}

func TestLowWatermarkIsOfLiveReplicas(t *testing.T) {
	s := leaderOf(t, 1, 2)
	s.SetLogStart(20)
	require.EqualValues(t, None, s.LowWatermark(everyone), "no fetch yet")
	require.NoError(t, s.Fetched(base, 2, 100, 15, 12))
	only2 := func(id int32) (int64, bool) { return 12, id == 2 }
	require.EqualValues(t, 15, s.LowWatermark(only2))
}
