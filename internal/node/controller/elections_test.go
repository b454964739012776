package controller

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// electionCase is one row: a partition with replicas 1, 2, 3, a min ISR of 2 and a target ISR; what comes of it.
type electionCase struct {
	leader   int32
	isr      []int32
	elr      []int32
	last     []int32
	active   []int32
	target   []int32
	unclean  []int32
	kind     electionKind
	noELR    bool
	recovery int8

	none     bool // no record
	want     int32
	wantISR  []int32
	wantELR  []int32
	wantLast []int32
	recovers bool
	bumped   bool // the leader epoch
}

func TestElections(t *testing.T) {
	all := []int32{1, 2, 3}
	for name, tc := range map[string]electionCase{
		"nothing to do": {leader: 1, isr: all, active: all, target: all, none: true},
		"a follower leaves a full ISR": {leader: 1, isr: all, active: []int32{1, 2}, target: []int32{1, 2},
			want: 1, wantISR: []int32{1, 2}},
		"below min ISR who left stays eligible": {leader: 1, isr: []int32{1, 2}, active: []int32{1}, target: []int32{1},
			want: 1, wantISR: []int32{1}, wantELR: []int32{2}},
		"the leader leaves, the next in sync leads": {leader: 1, isr: all, active: []int32{2, 3}, target: []int32{2, 3},
			want: 2, wantISR: []int32{2, 3}, bumped: true},
		"replica order decides, not ISR order": {leader: 1, isr: []int32{1, 3, 2}, active: []int32{2, 3}, target: []int32{3, 2},
			want: 2, wantISR: []int32{3, 2}, bumped: true},
		"the last in sync leaves: leaderless, eligible, remembered": {leader: 1, isr: []int32{1}, elr: []int32{2}, active: []int32{3}, target: nil,
			want: noLeader, wantISR: []int32{}, wantELR: []int32{2, 1}, wantLast: []int32{1}, bumped: true},
		"an eligible one comes back and leads cleanly": {leader: noLeader, elr: []int32{2, 1}, last: []int32{1}, active: []int32{2}, target: nil,
			want: 2, wantISR: []int32{2}, wantELR: []int32{1}, bumped: true},
		"one that is not eligible doesn't lead": {leader: noLeader, elr: []int32{2, 1}, last: []int32{1}, active: []int32{3}, target: nil, none: true},
		"the last in sync came back without its records": {leader: 1, isr: []int32{1}, active: []int32{2, 3}, target: nil, unclean: []int32{1},
			want: noLeader, wantISR: []int32{}, wantLast: []int32{1}, bumped: true},
		"with no one eligible the last known leader leads, uncleanly": {leader: noLeader, last: []int32{1}, active: all, target: nil,
			want: 1, wantISR: []int32{1}, recovers: true, bumped: true},
		"the last known leader must be there": {leader: noLeader, last: []int32{1}, active: []int32{2, 3}, target: nil, none: true},
		"unclean election takes who is there": {leader: noLeader, last: []int32{1}, active: []int32{3}, target: nil, kind: electUnclean,
			want: 3, wantISR: []int32{3}, recovers: true, bumped: true},
		"unclean election prefers the eligible": {leader: noLeader, elr: []int32{3}, active: all, target: nil, kind: electUnclean,
			want: 3, wantISR: []int32{3}, bumped: true},
		"unclean election forgets who was eligible": {leader: noLeader, elr: []int32{2}, active: []int32{3}, target: nil, kind: electUnclean,
			want: 3, wantISR: []int32{3}, recovers: true, bumped: true},
		"preferred election moves to the first replica": {leader: 2, isr: all, active: all, target: all, kind: electPreferred,
			want: 1, wantISR: all, bumped: true},
		"preferred election keeps a good leader if the first is out of sync": {leader: 2, isr: []int32{2, 3}, active: all, target: []int32{2, 3}, kind: electPreferred, none: true},
		"preferred election is never unclean":                                {leader: noLeader, elr: []int32{2}, active: []int32{1}, target: nil, kind: electPreferred, none: true},
		"a full ISR clears eligibility":                                      {leader: 1, isr: []int32{1}, elr: []int32{2}, active: all, target: []int32{1, 2}, want: 1, wantISR: []int32{1, 2}},
		"without ELR the last in sync stays": {leader: 1, isr: []int32{1}, active: []int32{2, 3}, target: nil, noELR: true,
			want: noLeader, wantISR: []int32{1}, bumped: true},
		"without ELR the last in sync comes back and leads": {leader: noLeader, isr: []int32{1}, active: []int32{1}, target: []int32{1}, noELR: true,
			want: 1, wantISR: []int32{1}, bumped: true},
	} {
		t.Run(name, func(t *testing.T) { runElection(t, tc) })
	}
}

func runElection(t *testing.T, tc electionCase) {
	part := &metadata.Partition{
		Replicas: []int32{1, 2, 3}, ISR: tc.isr, ELR: tc.elr, LastKnownELR: tc.last, Leader: tc.leader, LeaderEpoch: 7, PartitionEpoch: 9,
		Directories: make([]uuid.UUID, 3), LeaderRecoveryState: tc.recovery,
	}
	e := newElection(metadata.PartitionRef{}, part)
	e.acceptable = func(r int32) bool { return slices.Contains(tc.active, r) }
	e.isr, e.kind, e.elr, e.minISR, e.uncleanReplicas = tc.target, tc.kind, !tc.noELR, 2, tc.unclean
	rec := e.decide()
	if tc.none {
		require.Nil(t, rec)
		return
	}
	require.NotNil(t, rec)
	next, err := part.Changed(rec)
	require.NoError(t, err)
	require.Equal(t, tc.want, next.Leader)
	require.Equal(t, tc.wantISR, next.ISR)
	require.ElementsMatch(t, tc.wantELR, next.ELR)
	require.ElementsMatch(t, tc.wantLast, next.LastKnownELR)
	require.Equal(t, tc.recovers, next.LeaderRecoveryState == metadata.LeaderRecovering)
	require.Equal(t, tc.bumped, next.LeaderEpoch == 8, "leader epoch %d", next.LeaderEpoch)
	require.EqualValues(t, 10, next.PartitionEpoch)
	requirePartitionInvariants(t, next)
}

func requirePartitionInvariants(t require.TestingT, p *metadata.Partition) {
	for _, r := range slices.Concat(p.ISR, p.ELR) {
		require.Contains(t, p.Replicas, r)
	}
	for _, r := range p.ELR {
		require.NotContains(t, p.ISR, r)
	}
	if p.Leader != noLeader {
		require.Contains(t, p.ISR, p.Leader)
	}
	require.Len(t, p.Directories, len(p.Replicas))
}

func alterISR(p *metadata.Partition, topic uuid.UUID, epochs map[int32]int64, isr ...int32) *kmsg.AlterPartitionRequest {
	req := kmsg.NewPtrAlterPartitionRequest()
	req.BrokerID, req.BrokerEpoch = p.Leader, epochs[p.Leader]
	rp := kmsg.NewAlterPartitionRequestTopicPartition()
	rp.LeaderEpoch, rp.PartitionEpoch, rp.LeaderRecoveryState = p.LeaderEpoch, p.PartitionEpoch, p.LeaderRecoveryState
	for _, id := range isr {
		rp.NewEpochISR = append(rp.NewEpochISR, kmsg.AlterPartitionRequestTopicPartitionNewEpochISR{BrokerID: id, BrokerEpoch: epochs[id]})
	}
	req.Topics = []kmsg.AlterPartitionRequestTopic{{TopicID: topic, Partitions: []kmsg.AlterPartitionRequestTopicPartition{rp}}}
	return req
}

func TestAlterPartitionChecksInOrder(t *testing.T) {
	q := newQuorum(t, 1, 1)
	c := q.start(1)
	epochs := q.join(c, 101, 102, 103, 104)
	id := q.create(c, assigned("a", []int32{101, 102, 103}))
	down := heartbeat(103, epochs[103], q.end())
	down.WantFence = true
	q.beat(c, down)
	p := q.partition(c, id, 0)
	type change = func(*kmsg.AlterPartitionRequest, *kmsg.AlterPartitionRequestTopicPartition)
	for name, tc := range map[string]struct {
		change change
		want   *kerr.Error
	}{
		"unknown topic": {func(r *kmsg.AlterPartitionRequest, _ *kmsg.AlterPartitionRequestTopicPartition) {
			r.Topics[0].TopicID = [16]byte{9}
		}, kerr.UnknownTopicID},
		"unknown partition": {func(_ *kmsg.AlterPartitionRequest, p *kmsg.AlterPartitionRequestTopicPartition) { p.Partition = 4 }, kerr.UnknownTopicOrPartition},
		"newer leader epoch": {func(_ *kmsg.AlterPartitionRequest, p *kmsg.AlterPartitionRequestTopicPartition) {
			p.LeaderEpoch++
		}, kerr.NotController},
		"newer partition epoch": {func(_ *kmsg.AlterPartitionRequest, p *kmsg.AlterPartitionRequestTopicPartition) {
			p.PartitionEpoch++
			p.LeaderEpoch--
		}, kerr.NotController},
		"older leader epoch": {func(_ *kmsg.AlterPartitionRequest, p *kmsg.AlterPartitionRequestTopicPartition) {
			p.LeaderEpoch--
		}, kerr.FencedLeaderEpoch},
		"not the leader": {func(r *kmsg.AlterPartitionRequest, p *kmsg.AlterPartitionRequestTopicPartition) {
			r.BrokerID, r.BrokerEpoch = 102, epochs[102]
			p.PartitionEpoch--
		}, kerr.InvalidRequest},
		"older partition epoch": {func(_ *kmsg.AlterPartitionRequest, p *kmsg.AlterPartitionRequestTopicPartition) {
			p.PartitionEpoch--
			p.NewEpochISR = nil
		}, kerr.InvalidUpdateVersion},
		"no leader in the ISR": {func(_ *kmsg.AlterPartitionRequest, p *kmsg.AlterPartitionRequestTopicPartition) {
			p.NewEpochISR = p.NewEpochISR[1:]
		}, kerr.InvalidRequest},
		"a member twice": {func(_ *kmsg.AlterPartitionRequest, p *kmsg.AlterPartitionRequestTopicPartition) {
			p.NewEpochISR = append(p.NewEpochISR, p.NewEpochISR[0])
		}, kerr.InvalidRequest},
		"not a replica": {func(_ *kmsg.AlterPartitionRequest, p *kmsg.AlterPartitionRequestTopicPartition) {
			p.NewEpochISR[1].BrokerID = 104
		}, kerr.InvalidRequest},
		"recovering with more than the leader": {func(_ *kmsg.AlterPartitionRequest, p *kmsg.AlterPartitionRequestTopicPartition) {
			p.LeaderRecoveryState = 1
		}, kerr.InvalidRequest},
		"recovered to recovering": {func(_ *kmsg.AlterPartitionRequest, p *kmsg.AlterPartitionRequestTopicPartition) {
			p.LeaderRecoveryState, p.NewEpochISR = 1, p.NewEpochISR[:1]
		}, kerr.InvalidRequest},
		"a fenced member": {func(_ *kmsg.AlterPartitionRequest, p *kmsg.AlterPartitionRequestTopicPartition) {
			p.NewEpochISR[1] = kmsg.AlterPartitionRequestTopicPartitionNewEpochISR{BrokerID: 103, BrokerEpoch: epochs[103]}
		}, kerr.IneligibleReplica},
		"a member's older incarnation": {func(_ *kmsg.AlterPartitionRequest, p *kmsg.AlterPartitionRequestTopicPartition) {
			p.NewEpochISR[1].BrokerEpoch--
		}, kerr.IneligibleReplica},
		"a member whose epoch isn't said": {func(_ *kmsg.AlterPartitionRequest, p *kmsg.AlterPartitionRequestTopicPartition) {
			p.NewEpochISR[1].BrokerEpoch = -1
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			req := alterISR(p, id, epochs, 101, 102)
			tc.change(req, &req.Topics[0].Partitions[0])
			resp := do[*kmsg.AlterPartitionResponse](q, c, req)
			want := int16(0)
			if tc.want != nil {
				want = tc.want.Code
			}
			require.Equal(t, want, resp.Topics[0].Partitions[0].ErrorCode)
		})
	}
	stale := alterISR(p, id, epochs, 101)
	stale.BrokerEpoch--
	require.Equal(t, kerr.StaleBrokerEpoch.Code, do[*kmsg.AlterPartitionResponse](q, c, stale).ErrorCode)

	shrink := do[*kmsg.AlterPartitionResponse](q, c, alterISR(p, id, epochs, 101)).Topics[0].Partitions[0]
	require.Zero(t, shrink.ErrorCode)
	require.Equal(t, []int32{101}, shrink.ISR)
	require.Equal(t, p.PartitionEpoch+1, shrink.PartitionEpoch)
	require.Equal(t, p.LeaderEpoch, shrink.LeaderEpoch, "a shrink alone keeps the leader epoch")
	require.Equal(t, []int32{102}, q.partition(c, id, 0).ELR)
}

func TestElectLeadersAndBalancing(t *testing.T) {
	q := newQuorum(t, 1, 1)
	c := q.start(1)
	epochs := q.join(c, 101, 102)
	id := q.create(c, assigned("a", []int32{101, 102}, []int32{102, 101}))
	fence := heartbeat(101, epochs[101], q.end())
	fence.WantFence = true
	q.beat(c, fence)
	require.EqualValues(t, 102, q.partition(c, id, 0).Leader)
	require.False(t, q.beat(c, heartbeat(101, epochs[101], q.end())).IsFenced)

	elect := func(kind int8, partitions ...int32) []int16 {
		req := kmsg.NewPtrElectLeadersRequest()
		req.ElectionType = kind
		req.Topics = []kmsg.ElectLeadersRequestTopic{{Topic: "a", Partitions: partitions}}
		var codes []int16
		for _, p := range do[*kmsg.ElectLeadersResponse](q, c, req).Topics[0].Partitions {
			codes = append(codes, p.ErrorCode)
		}
		return codes
	}
	require.Equal(t, []int16{kerr.PreferredLeaderNotAvailable.Code, kerr.ElectionNotNeeded.Code, kerr.UnknownTopicOrPartition.Code}, elect(0, 0, 1, 2))
	require.Equal(t, []int16{kerr.ElectionNotNeeded.Code}, elect(1, 0))

	resp := do[*kmsg.AlterPartitionResponse](q, c, alterISR(q.partition(c, id, 0), id, epochs, 102, 101))
	require.Zero(t, resp.Topics[0].Partitions[0].ErrorCode)
	q.now = q.now.Add(301e9)
	q.beat(c, heartbeat(101, epochs[101], q.end()))
	q.beat(c, heartbeat(102, epochs[102], q.end()))
	c.tick(q.now)
	q.commit()
	require.EqualValues(t, 101, q.partition(c, id, 0).Leader, "balanced by the periodic task")
	require.Zero(t, c.committed.stable().imbalanced.Len())
}

func TestReassignment(t *testing.T) {
	q := newQuorum(t, 1, 1)
	c := q.start(1)
	epochs := q.join(c, 101, 102, 103)
	id := q.create(c, assigned("a", []int32{101, 102}))
	reassign := func(replicas []int32) int16 {
		req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
		req.Topics = []kmsg.AlterPartitionAssignmentsRequestTopic{{Topic: "a", Partitions: []kmsg.AlterPartitionAssignmentsRequestTopicPartition{{Replicas: replicas}}}}
		req.AllowReplicationFactorChange = true
		return do[*kmsg.AlterPartitionAssignmentsResponse](q, c, req).Topics[0].Partitions[0].ErrorCode
	}
	require.Equal(t, kerr.NoReassignmentInProgress.Code, reassign(nil))
	require.Equal(t, kerr.InvalidReplicaAssignment.Code, reassign([]int32{104}))
	require.Zero(t, reassign([]int32{103, 102}))
	p := q.partition(c, id, 0)
	require.Equal(t, []int32{103, 102, 101}, p.Replicas)
	require.Equal(t, []int32{103}, p.Adding)
	require.Equal(t, []int32{101}, p.Removing)
	require.Equal(t, directory(103, 0), p.Directories[0])
	list := do[*kmsg.ListPartitionReassignmentsResponse](q, c, kmsg.NewPtrListPartitionReassignmentsRequest())
	require.Equal(t, "103", ids(list.Topics[0].Partitions[0].AddingReplicas))

	require.Zero(t, reassign(nil), "cancelled")
	require.Equal(t, []int32{102, 101}, q.partition(c, id, 0).Replicas)
	require.Zero(t, reassign([]int32{103, 102}))
	p = q.partition(c, id, 0)
	done := do[*kmsg.AlterPartitionResponse](q, c, alterISR(p, id, epochs, 101, 102, 103)).Topics[0].Partitions[0]
	require.Equal(t, kerr.NewLeaderElected.Code, done.ErrorCode, "the leader is one of those that leave")
	p = q.partition(c, id, 0)
	require.Equal(t, []int32{103, 102}, p.Replicas)
	require.Equal(t, []int32{102, 103}, p.ISR)
	require.EqualValues(t, 103, p.Leader)
	require.Empty(t, p.Adding)
	requirePartitionInvariants(t, p)
	require.Zero(t, c.committed.stable().reassigning.Len())
	q.requireConverged()
}
