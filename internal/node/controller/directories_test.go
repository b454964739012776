package controller

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// assignment tells where broker 101's replica of partition 0 is.
func assignment(epoch int64, topic, dir uuid.UUID) *kmsg.AssignReplicasToDirsRequest {
	req := kmsg.NewPtrAssignReplicasToDirsRequest()
	req.BrokerID, req.BrokerEpoch = 101, epoch
	req.Directories = []kmsg.AssignReplicasToDirsRequestDirectory{{ID: dir, Topics: []kmsg.AssignReplicasToDirsRequestDirectoryTopic{{
		TopicID: topic, Partitions: []kmsg.AssignReplicasToDirsRequestDirectoryTopicPartition{{Partition: 0}}}}}}
	return req
}

// replaceDisk lets broker 101's session expire and registers it with another directory, unfenced.
func replaceDisk(t *testing.T, q *fakeQuorum, c *core) (epoch int64) {
	t.Helper()
	q.now = q.now.Add(time.Minute)
	req := registration(101, 2)
	req.LogDirs[0] = directory(101, 1)
	resp := do[*kmsg.BrokerRegistrationResponse](q, c, req)
	require.Zero(t, resp.ErrorCode)
	require.False(t, q.beat(c, heartbeat(101, resp.BrokerEpoch, q.end())).IsFenced)
	return resp.BrokerEpoch
}

func assignDir(t *testing.T, q *fakeQuorum, c *core, req *kmsg.AssignReplicasToDirsRequest) {
	t.Helper()
	resp := do[*kmsg.AssignReplicasToDirsResponse](q, c, req)
	require.Zero(t, resp.ErrorCode)
	require.Zero(t, resp.Directories[0].Topics[0].Partitions[0].ErrorCode)
}

func TestReplacedDiskLeadsOnceItsDirectoryIsAssigned(t *testing.T) {
	for name, early := range map[string]bool{"assigned before the others go": true, "assigned when there is no leader": false} {
		t.Run(name, func(t *testing.T) {
			q := newQuorum(t, 1, 1)
			c := q.start(1)
			epochs := q.join(c, 101, 102)
			id := q.create(c, assigned("a", []int32{101, 102}))
			epochs[101] = replaceDisk(t, q, c)
			epochs[102] = q.register(c, 102, 1)
			q.beat(c, heartbeat(102, epochs[102], q.end()))
			p := q.partition(c, id, 0)
			require.EqualValues(t, 102, p.Leader)
			require.Equal(t, directory(101, 0), p.Directories[0], "registering says nothing of replicas")

			resp := do[*kmsg.AlterPartitionResponse](q, c, alterISR(p, id, epochs, 102, 101))
			require.Zero(t, resp.Topics[0].Partitions[0].ErrorCode)
			if early {
				before := q.partition(c, id, 0)
				assignDir(t, q, c, assignment(epochs[101], id, directory(101, 1)))
				p = q.partition(c, id, 0)
				require.Equal(t, []uuid.UUID{directory(101, 1), directory(102, 0)}, p.Directories)
				require.Equal(t, before.LeaderEpoch, p.LeaderEpoch, "nobody's leadership changes")
				require.Equal(t, before.PartitionEpoch+1, p.PartitionEpoch)

				end := q.end()
				assignDir(t, q, c, assignment(epochs[101], id, directory(101, 1)))
				require.Equal(t, end, q.end(), "told again, nothing is written")
			}
			down := heartbeat(102, epochs[102], q.end())
			down.WantShutdown = true
			q.beat(c, down)
			if !early {
				p = q.partition(c, id, 0)
				require.Equal(t, noLeader, p.Leader)
				require.Equal(t, []int32{101}, p.ISR)
				assignDir(t, q, c, assignment(epochs[101], id, directory(101, 1)))
			}
			p = q.partition(c, id, 0)
			require.EqualValues(t, 101, p.Leader)
			require.Equal(t, metadata.LeaderRecovered, p.LeaderRecoveryState)
			require.Equal(t, directory(101, 1), p.Directories[0])
			q.requireConverged()
		})
	}
}

func TestReplacedDiskDoesntLeadWhatOthersMayHave(t *testing.T) {
	for name, tc := range map[string]struct {
		replicas []int32
		leader   int32
	}{
		"another replica may have its records": {[]int32{101, 102}, noLeader},
		"there is no other":                    {[]int32{101}, 101},
	} {
		t.Run(name, func(t *testing.T) {
			q := newQuorum(t, 1, 1)
			c := q.start(1)
			epochs := q.join(c, 101, 102)
			id := q.create(c, assigned("a", tc.replicas))
			down := heartbeat(102, epochs[102], q.end())
			down.WantFence = true
			q.beat(c, down)
			if len(tc.replicas) > 1 { // 102 went long ago: with an ISR of 101 alone, it isn't eligible any more
				require.Equal(t, []int32{101}, q.partition(c, id, 0).ISR)
			}
			epoch := replaceDisk(t, q, c)
			p := q.partition(c, id, 0)
			require.Equal(t, noLeader, p.Leader)
			require.Equal(t, []int32{101}, p.LastKnownELR)
			assignDir(t, q, c, assignment(epoch, id, directory(101, 1)))
			p = q.partition(c, id, 0)
			require.Equal(t, tc.leader, p.Leader)
			require.Empty(t, p.LastKnownELR)
			if tc.leader != noLeader {
				require.Equal(t, metadata.LeaderRecovering, p.LeaderRecoveryState, "as after an unclean election")
				return
			}
			down = heartbeat(101, epoch, q.end())
			down.WantFence = true
			require.True(t, q.beat(c, down).IsFenced)
			require.False(t, q.beat(c, heartbeat(101, epoch, q.end())).IsFenced)
			require.Equal(t, noLeader, q.partition(c, id, 0).Leader, "nor on a later occasion")
		})
	}
}

func TestAssignmentsOfAnotherIncarnationAreRefused(t *testing.T) {
	q := newQuorum(t, 1, 1)
	c := q.start(1)
	epochs := q.join(c, 101, 102)
	id := q.create(c, assigned("a", []int32{101, 102}))
	resp := do[*kmsg.AssignReplicasToDirsResponse](q, c, assignment(epochs[101]+1, id, directory(101, 1)))
	require.Equal(t, kerr.StaleBrokerEpoch.Code, resp.ErrorCode)
	require.Equal(t, directory(101, 0), q.partition(c, id, 0).Directories[0])
}
