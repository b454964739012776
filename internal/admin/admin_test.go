package admin

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/admin/admintest"
)

// serve answers requests on a loopback port until the test ends; nil from answer leaves the client waiting.
func serve(t *testing.T, answer func(kmsg.Request) kmsg.Response) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	go admintest.Serve(l, func(_ net.Addr, req kmsg.Request) kmsg.Response { return answer(req) })
	return l.Addr().String()
}

func quorumAnswer(leader, epoch int32, code int16) func(kmsg.Request) kmsg.Response {
	return func(kmsg.Request) kmsg.Response {
		p := kmsg.NewDescribeQuorumResponseTopicPartition()
		p.ErrorCode, p.LeaderID, p.LeaderEpoch, p.HighWatermark = code, leader, epoch, 40
		for id := range int32(3) {
			v := kmsg.NewDescribeQuorumResponseTopicPartitionReplicaState()
			v.ReplicaID, v.LogEndOffset = id, 41
			v.ReplicaDirectoryID[0] = byte(id)
			v.LastFetchTimestamp = 1_000_000 - 500*int64(id)
			if id == leader {
				v.LastFetchTimestamp = 1_000_200
			}
			if id == 2 && leader != 2 {
				v.LastFetchTimestamp = -1
			}
			if v.LastCaughtUpTimestamp = v.LastFetchTimestamp; id == 0 {
				v.LastCaughtUpTimestamp -= 9000
			}
			p.CurrentVoters = append(p.CurrentVoters, v)
		}
		top := kmsg.NewDescribeQuorumResponseTopic()
		top.Topic = metadataTopic
		top.Partitions = append(top.Partitions, p)
		resp := kmsg.NewPtrDescribeQuorumResponse()
		resp.Topics = append(resp.Topics, top)
		return resp
	}
}

func silent(kmsg.Request) kmsg.Response { return nil }

func TestTheHighestEpochSpeaksForTheQuorum(t *testing.T) {
	follower := serve(t, quorumAnswer(-1, 8, kerr.NotLeaderForPartition.Code))
	deposed := serve(t, quorumAnswer(0, 7, 0))
	leader := serve(t, quorumAnswer(1, 8, 0))
	q, err := Client{}.DescribeQuorum(t.Context(), []string{follower, deposed, leader, serve(t, silent)})
	require.NoError(t, err)
	require.Equal(t, int32(1), q.Leader)
	require.Equal(t, int32(8), q.LeaderEpoch)
	require.Equal(t, int64(40), q.HighWatermark)
	require.Len(t, q.Voters, 3)
	require.Equal(t, 200*time.Millisecond, q.Voters[0].SinceFetch, "on the leader's clock")
	require.Equal(t, 9200*time.Millisecond, q.Voters[0].SinceCaughtUp)
	require.Zero(t, q.Voters[1].SinceFetch)
	require.Zero(t, q.Voters[1].SinceCaughtUp)
	require.Negative(t, q.Voters[2].SinceFetch, "hasn't fetched in this epoch")
	require.Negative(t, q.Voters[2].SinceCaughtUp)
}

func TestWithoutALeaderNobodySpeaks(t *testing.T) {
	q, err := Client{}.DescribeQuorum(t.Context(), []string{serve(t, quorumAnswer(-1, 8, kerr.NotLeaderForPartition.Code))})
	require.NoError(t, err)
	require.Equal(t, int32(-1), q.Leader)
}

func TestAQuestionEndsInTime(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	_, err := Client{}.DescribeQuorum(ctx, []string{serve(t, silent)})
	require.ErrorIs(t, err, ErrNobody)
	_, err = Client{}.DescribeQuorum(t.Context(), nil)
	require.ErrorIs(t, err, ErrNobody)
}

func TestTopicsComeWithTheirMinISR(t *testing.T) {
	broker := serve(t, func(req kmsg.Request) kmsg.Response {
		switch req := req.(type) {
		case *kmsg.MetadataRequest:
			resp := kmsg.NewPtrMetadataResponse()
			for _, id := range []int32{1001, 1000} {
				b := kmsg.NewMetadataResponseBroker()
				b.NodeID = id
				resp.Brokers = append(resp.Brokers, b)
			}
			p := kmsg.NewMetadataResponseTopicPartition()
			p.Leader, p.Replicas, p.ISR = 1000, []int32{1000, 1001, 1002}, []int32{1000, 1001}
			top := kmsg.NewMetadataResponseTopic()
			top.Topic = kmsg.StringPtr("orders")
			top.Partitions = append(top.Partitions, p)
			resp.Topics = append(resp.Topics, top)
			return resp
		case *kmsg.DescribeConfigsRequest:
			resp := kmsg.NewPtrDescribeConfigsResponse()
			for _, r := range req.Resources {
				c := kmsg.NewDescribeConfigsResponseResourceConfig()
				c.Name, c.Value = "min.insync.replicas", kmsg.StringPtr("2")
				res := kmsg.NewDescribeConfigsResponseResource()
				res.ResourceName = r.ResourceName
				res.Configs = append(res.Configs, c)
				resp.Resources = append(resp.Resources, res)
			}
			return resp
		}
		return nil
	})
	gone := "127.0.0.1:1"
	topics, err := Client{}.DescribeTopics(t.Context(), []string{gone, broker})
	require.NoError(t, err)
	require.Equal(t, []int32{1000, 1001}, topics.Unfenced)
	require.Equal(t, []Partition{{Topic: "orders", Leader: 1000, Replicas: []int32{1000, 1001, 1002}, ISR: []int32{1000, 1001}, MinISR: 2}}, topics.Partitions)
	_, err = Client{}.DescribeTopics(t.Context(), []string{gone})
	require.ErrorIs(t, err, ErrNobody)
	require.ErrorContains(t, err, gone)
}

// TestABrokerThatNeverAnswersLeavesTimeForTheOthers: and one that is slow isn't given up for that.
func TestABrokerThatNeverAnswersLeavesTimeForTheOthers(t *testing.T) {
	none := func(req kmsg.Request) kmsg.Response {
		if _, ok := req.(*kmsg.MetadataRequest); ok {
			return kmsg.NewPtrMetadataResponse()
		}
		return nil
	}
	_, err := Client{}.DescribeTopics(t.Context(), []string{serve(t, silent), serve(t, none)})
	require.NoError(t, err)
	next := make(chan struct{})
	goOn := sync.OnceFunc(func() { close(next) })
	slow := serve(t, func(req kmsg.Request) kmsg.Response {
		<-next
		return none(req)
	})
	_, err = Client{}.DescribeTopics(t.Context(), []string{slow, serve(t, func(req kmsg.Request) kmsg.Response {
		goOn()
		return silent(req)
	})})
	require.NoError(t, err)
	began := time.Now()
	_, err = Client{}.DescribeTopics(t.Context(), []string{serve(t, silent), serve(t, silent)})
	require.ErrorIs(t, err, ErrNobody)
	require.Less(t, time.Since(began), QuestionTimeout+time.Second, "all of them within one limit")
}
