package controller

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

func TestHeartbeatTransitions(t *testing.T) {
	const registered, shutdown = 10, 20
	for name, tc := range map[string]struct {
		state  brokerState
		req    heartbeatRequest
		leads  bool
		others int64 // where the other active broker stands
		want   brokerState
	}{
		"fenced, wants to shut down":                           {brokerFenced, heartbeatRequest{10, false, true}, false, 0, brokerShutdownNow},
		"fenced, wants to stay so":                             {brokerFenced, heartbeatRequest{10, true, false}, false, 0, brokerFenced},
		"fenced, hasn't read its registration":                 {brokerFenced, heartbeatRequest{9, false, false}, false, 0, brokerFenced},
		"fenced, has read its registration":                    {brokerFenced, heartbeatRequest{10, false, false}, false, 0, brokerUnfenced},
		"unfenced, nothing wanted":                             {brokerUnfenced, heartbeatRequest{0, false, false}, true, 0, brokerUnfenced},
		"unfenced, wants to be fenced":                         {brokerUnfenced, heartbeatRequest{10, true, false}, true, 0, brokerFenced},
		"unfenced, wants to be fenced and go":                  {brokerUnfenced, heartbeatRequest{10, true, true}, true, 0, brokerShutdownNow},
		"unfenced and leading, wants to go":                    {brokerUnfenced, heartbeatRequest{10, false, true}, true, 0, brokerControlledShutdown},
		"unfenced and not leading, wants to go":                {brokerUnfenced, heartbeatRequest{10, false, true}, false, 0, brokerShutdownNow},
		"shutting down, still leads":                           {brokerControlledShutdown, heartbeatRequest{30, false, true}, true, 30, brokerControlledShutdown},
		"shutting down, another is behind the shutdown offset": {brokerControlledShutdown, heartbeatRequest{30, false, true}, false, 19, brokerControlledShutdown},
		"shutting down, all others have read what replaces it": {brokerControlledShutdown, heartbeatRequest{30, false, true}, false, 20, brokerShutdownNow},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHeartbeats(newSessions(9 * time.Second))
			now := time.Unix(0, 0)
			h.activate(1, 5, tc.state == brokerFenced, tc.state == brokerControlledShutdown, shutdown, now)
			h.activate(2, 6, false, false, shutdown, now)
			h.touch(2, false, tc.others)
			require.Equal(t, tc.state, h.state(1))
			require.Equal(t, tc.want, h.next(1, tc.req, registered, tc.leads))
		})
	}
}

func TestSessions(t *testing.T) {
	q := newQuorum(t, 1, 1, 2)
	c := q.start(1)
	epochs := q.join(c, 101, 102)
	id := q.create(c, assigned("a", []int32{101, 102}))

	q.now = q.now.Add(8 * time.Second)
	q.beat(c, heartbeat(102, epochs[102], q.end()))
	c.tick(q.now)
	q.commit()
	require.EqualValues(t, 101, q.partition(c, id, 0).Leader)

	q.now = q.now.Add(2 * time.Second) // 101 was last heard of 10 s ago
	c.tick(q.now)
	q.commit()
	b, _ := c.committed.stable().img.Broker(101)
	require.True(t, b.Fenced)
	p := q.partition(c, id, 0)
	require.EqualValues(t, 102, p.Leader)
	require.Equal(t, []int32{102}, p.ISR)
	require.Equal(t, []int32{101}, p.ELR)

	resp := q.beat(c, heartbeat(101, epochs[101], q.end()))
	require.False(t, resp.IsFenced, "a broker that was only slow comes back by its next heartbeat")
	require.Equal(t, []int32{102}, q.partition(c, id, 0).ISR, "and rejoins ISRs by AlterPartition alone")
}

func TestTakingOverGivesUnfencedBrokersAFreshSessionAndFencedOnesNone(t *testing.T) {
	q := newQuorum(t, 1, 1, 2)
	c := q.start(1)
	q.join(c, 101)
	q.register(c, 102, 1)
	q.now = q.now.Add(time.Hour)
	c = q.start(2)
	require.True(t, c.hb.hasSession(101, q.now))
	require.False(t, c.hb.hasSession(102, q.now))
	q.register(c, 102, 2)
	other := registration(101, 2)
	other.LogDirs[0] = directory(103, 0)
	dup := do[*kmsg.BrokerRegistrationResponse](q, c, other)
	require.Equal(t, kerr.DuplicateBrokerRegistration.Code, dup.ErrorCode)

	q.now = q.now.Add(10 * time.Second)
	c.tick(q.now)
	q.commit()
	b, _ := c.committed.stable().img.Broker(101)
	require.True(t, b.Fenced, "a broker that died with the old controller is fenced by the new one")
	q.register(c, 101, 2)
}

func TestNextIncarnationOnTheSameDiskNeedNotWait(t *testing.T) {
	q := newQuorum(t, 1, 1)
	c := q.start(1)
	q.join(c, 101)
	q.join(c, 102)
	id := q.create(c, newTopic("t", 1, 2))
	lead := q.partition(c, id, 0).Leader
	other := registration(lead, 2)
	other.LogDirs[0] = directory(103, 0)
	require.Equal(t, kerr.DuplicateBrokerRegistration.Code, do[*kmsg.BrokerRegistrationResponse](q, c, other).ErrorCode,
		"on another disk the old process may be alive")

	q.register(c, lead, 2) // killed and restarted within its session
	b, _ := c.committed.stable().img.Broker(lead)
	require.True(t, b.Fenced)
	require.Equal(t, 101+102-lead, q.partition(c, id, 0).Leader, "it may have lost what it had not flushed")
	require.NotContains(t, q.partition(c, id, 0).ISR, lead)
}

func TestRegistrationIsRefused(t *testing.T) {
	q := newQuorum(t, 1, 1)
	c := q.start(1)
	q.join(c, 101)
	for name, tc := range map[string]struct {
		change func(*kmsg.BrokerRegistrationRequest)
		want   *kerr.Error
	}{
		"another cluster's":          {func(r *kmsg.BrokerRegistrationRequest) { r.ClusterID = "other" }, kerr.InconsistentClusterID},
		"a live broker's id":         {func(r *kmsg.BrokerRegistrationRequest) { r.BrokerID = 101 }, kerr.DuplicateBrokerRegistration},
		"from ZooKeeper":             {func(r *kmsg.BrokerRegistrationRequest) { r.IsMigratingZkBroker = true }, kerr.BrokerIDNotRegistered},
		"no directories":             {func(r *kmsg.BrokerRegistrationRequest) { r.LogDirs = nil }, kerr.InvalidRegistration},
		"a reserved directory":       {func(r *kmsg.BrokerRegistrationRequest) { r.LogDirs = [][16]byte{{15: 1}} }, kerr.InvalidRegistration},
		"a directory twice":          {func(r *kmsg.BrokerRegistrationRequest) { r.LogDirs = append(r.LogDirs, r.LogDirs[0]) }, kerr.InvalidRegistration},
		"another broker's directory": {func(r *kmsg.BrokerRegistrationRequest) { r.LogDirs[0] = directory(101, 0) }, kerr.InvalidRegistration},
		"no features":                {func(r *kmsg.BrokerRegistrationRequest) { r.Features = nil }, kerr.InvalidRegistration},
		"metadata.version too old":   {func(r *kmsg.BrokerRegistrationRequest) { r.Features[0].MaxSupportedVersion = 29 }, kerr.UnsupportedVersion},
		"without a finalized feature": {func(r *kmsg.BrokerRegistrationRequest) {
			r.Features = r.Features[:1]
		}, kerr.UnsupportedVersion},
	} {
		t.Run(name, func(t *testing.T) {
			req := registration(102, 1)
			tc.change(req)
			require.Equal(t, tc.want.Code, do[*kmsg.BrokerRegistrationResponse](q, c, req).ErrorCode)
		})
	}
	require.Zero(t, do[*kmsg.BrokerRegistrationResponse](q, c, registration(102, 1)).ErrorCode)
}

func TestBrokerEpochIsTheNextWriteOffsetAndTheSameIncarnationKeepsIt(t *testing.T) {
	q := newQuorum(t, 1, 1)
	c := q.start(1)
	next := c.nextWrite
	epochs := q.join(c, 101)
	require.Equal(t, next, epochs[101])
	require.Equal(t, epochs[101], q.register(c, 101, 1), "amended: epoch kept")
	b, _ := c.committed.stable().img.Broker(101)
	require.False(t, b.Fenced, "and so is being unfenced")

	stale := q.beat(c, heartbeat(101, epochs[101]+1, q.end()))
	require.Equal(t, kerr.StaleBrokerEpoch.Code, stale.ErrorCode)
	require.Len(t, c.sessions.contact, 1, "a stale heartbeat leaves no session behind")
	unknown := q.beat(c, heartbeat(7, 1, 1))
	require.Equal(t, kerr.StaleBrokerEpoch.Code, unknown.ErrorCode)
}

func TestARestartWithoutCleanShutdownEndsEligibility(t *testing.T) {
	for name, tc := range map[string]struct {
		clean bool
		elr   []int32
		last  []int32
	}{
		"clean: what it flushed is there":   {true, []int32{101}, []int32{101}},
		"unclean: it may have lost records": {false, nil, []int32{101}},
	} {
		t.Run(name, func(t *testing.T) {
			q := newQuorum(t, 1, 1)
			c := q.start(1)
			epochs := q.join(c, 101)
			id := q.create(c, assigned("a", []int32{101}))
			q.now = q.now.Add(time.Minute)
			req := registration(101, 2)
			if tc.clean {
				req.PreviousBrokerEpoch = epochs[101]
			}
			resp := do[*kmsg.BrokerRegistrationResponse](q, c, req)
			p := q.partition(c, id, 0)
			require.Equal(t, noLeader, p.Leader)
			require.Empty(t, p.ISR)
			require.ElementsMatch(t, tc.elr, p.ELR)
			require.Equal(t, tc.last, p.LastKnownELR)

			require.False(t, q.beat(c, heartbeat(101, resp.BrokerEpoch, q.end())).IsFenced)
			p = q.partition(c, id, 0)
			require.EqualValues(t, 101, p.Leader, "there is no one else: eligible, or the last known leader")
			want := metadata.LeaderRecovering
			if tc.clean {
				want = metadata.LeaderRecovered
			}
			require.Equal(t, want, p.LeaderRecoveryState)
			require.Empty(t, p.ELR)
			require.Empty(t, p.LastKnownELR)
		})
	}
}

func TestControlledShutdownMovesLeadersBeforeTheBrokerGoes(t *testing.T) {
	q := newQuorum(t, 1, 1)
	c := q.start(1)
	epochs := q.join(c, 101, 102, 103)
	id := q.create(c, assigned("a", []int32{101, 102, 103}))
	down := heartbeat(101, epochs[101], q.end())
	down.WantShutdown = true
	resp := q.beat(c, down)
	require.False(t, resp.ShouldShutdown)
	p := q.partition(c, id, 0)
	require.EqualValues(t, 102, p.Leader)
	require.Equal(t, []int32{102, 103}, p.ISR)
	b, _ := c.committed.stable().img.Broker(101)
	require.True(t, b.InControlledShutdown)
	require.False(t, b.Fenced)

	require.False(t, q.beat(c, down).ShouldShutdown, "102 and 103 haven't read the change")
	q.beat(c, heartbeat(102, epochs[102], q.end()))
	q.beat(c, heartbeat(103, epochs[103], q.end()))
	resp = q.beat(c, down)
	require.True(t, resp.ShouldShutdown)
	require.True(t, resp.IsFenced)
	b, _ = c.committed.stable().img.Broker(101)
	require.True(t, b.Fenced)

	req := registration(101, 2)
	req.PreviousBrokerEpoch = epochs[101]
	require.Zero(t, do[*kmsg.BrokerRegistrationResponse](q, c, req).ErrorCode, "a granted shutdown ends the session at once")
}

func TestUnregisteringAndDirectories(t *testing.T) {
	q := newQuorum(t, 1, 1)
	c := q.start(1)
	two := registration(101, 1)
	two.LogDirs = append(two.LogDirs, directory(101, 1))
	epochs := q.join(c, 101, 102)
	do[*kmsg.BrokerRegistrationResponse](q, c, two)
	id := q.create(c, assigned("a", []int32{101, 102}))
	require.Equal(t, []uuid.UUID{metadata.DirUnassigned, directory(102, 0)}, q.partition(c, id, 0).Directories, "a broker with several directories chooses")
	assign := kmsg.NewPtrAssignReplicasToDirsRequest()
	assign.BrokerID, assign.BrokerEpoch = 101, epochs[101]
	assign.Directories = []kmsg.AssignReplicasToDirsRequestDirectory{{ID: directory(101, 0), Topics: []kmsg.AssignReplicasToDirsRequestDirectoryTopic{{
		TopicID: id, Partitions: []kmsg.AssignReplicasToDirsRequestDirectoryTopicPartition{{Partition: 0}, {Partition: 5}}}}}}
	answer := do[*kmsg.AssignReplicasToDirsResponse](q, c, assign).Directories[0].Topics[0].Partitions
	require.Zero(t, answer[0].ErrorCode)
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, answer[1].ErrorCode)
	require.Equal(t, directory(101, 0), q.partition(c, id, 0).Directories[0])

	down := heartbeat(101, epochs[101], q.end())
	down.OfflineLogDirs = [][16]byte{directory(101, 0)}
	q.beat(c, down)
	b, _ := c.committed.stable().img.Broker(101)
	require.Equal(t, []uuid.UUID{directory(101, 1)}, b.LogDirs)
	p := q.partition(c, id, 0)
	require.EqualValues(t, 102, p.Leader)
	require.Equal(t, []int32{102}, p.ISR)

	cordon := heartbeat(102, epochs[102], q.end())
	cordon.CordonedLogDirs = [][16]byte{directory(102, 0)}
	q.beat(c, cordon)
	refused := do[*kmsg.CreateTopicsResponse](q, c, newTopic("b", 1, 2))
	require.Equal(t, kerr.InvalidReplicationFactor.Code, refused.Topics[0].ErrorCode)

	unregister := kmsg.NewPtrUnregisterBrokerRequest()
	unregister.BrokerID = 102
	require.Zero(t, do[*kmsg.UnregisterBrokerResponse](q, c, unregister).ErrorCode)
	p = q.partition(c, id, 0)
	require.Empty(t, p.ISR)
	require.NotContains(t, p.ELR, int32(102))
	require.Equal(t, kerr.BrokerIDNotRegistered.Code, do[*kmsg.UnregisterBrokerResponse](q, c, unregister).ErrorCode)
	q.requireConverged()
}

func TestPlacement(t *testing.T) {
	rackOf := func(s string) *string { return &s }
	var brokers []usableBroker
	for i := range int32(9) {
		brokers = append(brokers, usableBroker{id: i, rack: rackOf(string('a' + i%3))})
	}
	brokers[4].fenced = true
	for seed := range uint64(50) {
		lists, e := placeReplicas(rand.New(rand.NewPCG(seed, 0)), brokers, 64, 3)
		require.Nil(t, e)
		leaders := map[int32]int{}
		for _, l := range lists {
			racks := map[string]bool{}
			seen := map[int32]bool{}
			for _, id := range l {
				racks[*brokers[id].rack] = true
				seen[id] = true
			}
			require.Len(t, seen, 3, "replicas are distinct")
			require.Len(t, racks, 3, "three replicas stand in three racks")
			require.NotEqual(t, int32(4), l[0], "a fenced broker never leads")
			leaders[l[0]]++
		}
		for id, n := range leaders {
			require.LessOrEqual(t, n, 24, "leaders are spread, broker %d", id)
		}
	}
}

func TestPlacementErrors(t *testing.T) {
	one, fenced := []usableBroker{{id: 1}}, []usableBroker{{id: 1, fenced: true}}
	for name, tc := range map[string]struct {
		brokers []usableBroker
		factor  int
		want    string
	}{
		"no replicas":           {one, 0, "Invalid replication factor 0: the replication factor must be positive."},
		"none unfenced":         {fenced, 1, "All brokers are currently fenced."},
		"more than brokers":     {one, 3, "The target replication factor of 3 cannot be reached because only 1 broker(s) are registered."},
		"no brokers registered": {nil, 1, "All brokers are currently fenced."},
	} {
		t.Run(name, func(t *testing.T) {
			_, e := placeReplicas(rand.New(rand.NewPCG(1, 1)), tc.brokers, 1, tc.factor)
			require.Equal(t, kerr.InvalidReplicationFactor.Code, e.code)
			require.Equal(t, tc.want, e.message)
		})
	}
}
