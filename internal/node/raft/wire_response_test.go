package raft

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/node/server"
	"github.com/kraft-dev/kraft-operator/internal/quorum"
)

// TestElectionAnswersComeBackAsTheyWere: Vote, BeginQuorumEpoch and EndQuorumEpoch, through Kafka's bytes.
func TestElectionAnswersComeBackAsTheyWere(t *testing.T) {
	known := quorum.Answer{Error: 74, Leader: quorum.LeaderAndEpoch{LeaderID: 2, Epoch: 7}, Endpoint: quorum.Node{ID: 2, Host: "h", Port: 9093}}
	none := quorum.Answer{Leader: quorum.LeaderAndEpoch{LeaderID: quorum.None, Epoch: 7}, Endpoint: quorum.Node{ID: quorum.None}}
	top := quorum.Answer{TopError: 104}
	for _, a := range []quorum.Answer{known, none, top} {
		for _, m := range []quorum.Message{
			&quorum.VoteResponse{Answer: a, Granted: a.TopError == 0}, &quorum.BeginQuorumEpochResponse{Answer: a}, &quorum.EndQuorumEpochResponse{Answer: a},
		} {
			sent := (&Driver{}).toWireResponse(&server.Request{}, m)
			sent.SetVersion(sent.MaxVersion())
			got := kmsg.ResponseForKey(sent.Key())
			got.SetVersion(sent.MaxVersion())
			require.NoError(t, got.ReadFrom(sent.AppendTo(nil)))
			back, err := fromWireResponse(got)
			require.NoError(t, err)
			require.Equal(t, m, back)
		}
	}
}

// TestElectionAnswersOfAnotherShapeAreRefused: one topic with one partition, and nothing else.
func TestElectionAnswersOfAnotherShapeAreRefused(t *testing.T) {
	partition := kmsg.NewVoteResponseTopicPartition()
	topic := func(n int) kmsg.VoteResponseTopic {
		return kmsg.VoteResponseTopic{Topic: Topic, Partitions: make([]kmsg.VoteResponseTopicPartition, n)}
	}
	for _, topics := range [][]kmsg.VoteResponseTopic{nil, {topic(0)}, {topic(2)}, {topic(1), topic(1)}} {
		_, err := fromWireResponse(&kmsg.VoteResponse{Topics: topics})
		require.ErrorIs(t, err, errShape)
	}
	_, err := fromWireResponse(&kmsg.VoteResponse{Topics: []kmsg.VoteResponseTopic{{Partitions: []kmsg.VoteResponseTopicPartition{partition}}}})
	require.NoError(t, err)
}
