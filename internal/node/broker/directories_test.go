package broker

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// elsewhere makes a topic of n partitions whose replicas stand in a directory that broker 1 no longer has.
func (f *fixture) elsewhere(id byte, n int) uuid.UUID {
	tid := uuid.UUID{id, id}
	recs := []metadata.Record{&metadata.TopicRecord{Name: string(rune('a' + id)), TopicID: tid}}
	for i := range n {
		recs = append(recs, &metadata.PartitionRecord{PartitionID: int32(i), TopicID: tid, Replicas: []int32{2, 1}, ISR: []int32{2}, Leader: 2,
			Directories: []uuid.UUID{{2, 1}, {1, 9}}})
	}
	f.commit(recs...)
	return tid
}

// answerWith answers each replica of a request with a code.
func answerWith(req *kmsg.AssignReplicasToDirsRequest, codes func(partition int32) int16) *kmsg.AssignReplicasToDirsResponse {
	resp := kmsg.NewPtrAssignReplicasToDirsResponse()
	for _, d := range req.Directories {
		rd := kmsg.AssignReplicasToDirsResponseDirectory{ID: d.ID}
		for _, t := range d.Topics {
			rt := kmsg.AssignReplicasToDirsResponseDirectoryTopic{TopicID: t.TopicID}
			for _, p := range t.Partitions {
				rt.Partitions = append(rt.Partitions, kmsg.AssignReplicasToDirsResponseDirectoryTopicPartition{Partition: p.Partition, ErrorCode: codes(p.Partition)})
			}
			rd.Topics = append(rd.Topics, rt)
		}
		resp.Directories = append(resp.Directories, rd)
	}
	return resp
}

func TestReplicasElsewhereAreAssignedToThisDirectory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		defer f.close()
		d := f.dirs
		f.brokers(2)
		f.commit(&metadata.TopicRecord{Name: "here", TopicID: uuid.UUID{7}}, &metadata.PartitionRecord{TopicID: uuid.UUID{7},
			Replicas: []int32{1, 2}, ISR: []int32{1, 2}, Leader: 1, Directories: []uuid.UUID{{1, 1}, {2, 9}}})
		require.Empty(t, d.pending, "this replica is where the image says; others' directories are their own business")
		id := f.elsewhere(1, 3)
		ref := func(i int32) metadata.PartitionRef { return metadata.PartitionRef{TopicID: id, Partition: i} }
		batch := d.next()
		require.Len(t, batch, 3)
		require.ErrorIs(t, d.assign(t.Context(), batch), errNotRegistered)

		req := d.request(batch)
		require.EqualValues(t, 1, req.BrokerID)
		require.Len(t, req.Directories, 1)
		require.Equal(t, [16]byte{1, 1}, req.Directories[0].ID)
		require.Len(t, req.Directories[0].Topics, 1)
		require.Len(t, req.Directories[0].Topics[0].Partitions, 3)

		// Taken, deleted meanwhile, and refused for now.
		err := d.settle(batch, answerWith(req, func(i int32) int16 {
			return []int16{0, kerr.UnknownTopicOrPartition.Code, kerr.UnknownServerError.Code}[i]
		}))
		require.ErrorIs(t, err, kerr.UnknownServerError)
		require.Len(t, d.pending, 1)
		require.Contains(t, d.pending, ref(2))
		require.ErrorContains(t, d.settle(d.next(), kmsg.NewPtrAssignReplicasToDirsResponse()), "1 replicas went unanswered")

		// An answer doesn't settle what a newer image said after the question.
		batch = d.next()
		f.commit(&metadata.PartitionChangeRecord{PartitionID: 2, TopicID: id, Leader: metadata.UnchangedLeader, LeaderRecoveryState: -1,
			Directories: []uuid.UUID{{2, 1}, {1, 8}}})
		require.NoError(t, d.settle(batch, answerWith(d.request(batch), func(int32) int16 { return 0 })))
		require.Contains(t, d.pending, ref(2))

		f.commit(&metadata.PartitionChangeRecord{PartitionID: 2, TopicID: id, Leader: metadata.UnchangedLeader, LeaderRecoveryState: -1,
			Directories: []uuid.UUID{{2, 1}, {1, 1}}})
		require.Empty(t, d.pending, "and an image that names this directory does")
		f.elsewhere(2, 1)
		f.commit(&metadata.RemoveTopicRecord{TopicID: uuid.UUID{2, 2}})
		require.Empty(t, d.next())
		require.Empty(t, d.pending)
	})
}

func TestAssignmentsAreBatchedAndSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFixture(t)
		defer f.close()
		f.brokers(2)
		tid := f.elsewhere(1, 20)
		d := f.dirs
		var sent []int
		fail := 2
		d.epoch = func() int64 { return 7 }
		d.send = func(_ context.Context, req *kmsg.AssignReplicasToDirsRequest) (*kmsg.AssignReplicasToDirsResponse, error) {
			require.EqualValues(t, 7, req.BrokerEpoch)
			require.Equal(t, tid, uuid.UUID(req.Directories[0].Topics[0].TopicID))
			sent = append(sent, len(req.Directories[0].Topics[0].Partitions))
			if fail--; fail >= 0 {
				return nil, errors.New("no controller")
			}
			return answerWith(req, func(int32) int16 { return 0 }), nil
		}
		d.most = 15
		ctx, cancel := context.WithCancel(context.Background())
		began := time.Now()
		f.wg.Go(func() { d.run(ctx) })
		time.Sleep(assignBackoff + 2*assignBackoff) //nolint:forbidigo // virtual time
		synctest.Wait()
		require.Equal(t, []int{15, 15, 15, 5}, sent)
		require.Equal(t, 3*assignBackoff, time.Since(began))
		require.Empty(t, d.pending)

		sent, tid = nil, uuid.UUID{2, 2}
		f.elsewhere(2, 1)
		require.Equal(t, []int{1}, sent, "later changes are told too")
		cancel()
	})
}
