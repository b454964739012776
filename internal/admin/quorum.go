package admin

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const metadataTopic = "__cluster_metadata"

// DescribeQuorum asks every controller and returns the answer of the highest epoch that comes from a leader. A
// controller that doesn't lead refuses (NOT_LEADER_OR_FOLLOWER); if all do, the quorum has no leader.
func (Client) DescribeQuorum(ctx context.Context, controllers []string) (*Quorum, error) {
	resps, err := each(ctx, controllers, describeQuorumRequest, func(r kmsg.Response) bool {
		return readQuorum(r.(*kmsg.DescribeQuorumResponse)) != nil
	})
	if err != nil {
		return nil, fmt.Errorf("describe quorum: %w", err)
	}
	best := &Quorum{Leader: -1, LeaderEpoch: -1, HighWatermark: -1}
	for _, r := range resps {
		if q := readQuorum(r.(*kmsg.DescribeQuorumResponse)); q != nil && q.LeaderEpoch > best.LeaderEpoch {
			best = q
		}
	}
	return best, nil
}

func describeQuorumRequest() kmsg.Request {
	p := kmsg.NewDescribeQuorumRequestTopicPartition()
	t := kmsg.NewDescribeQuorumRequestTopic()
	t.Topic = metadataTopic
	t.Partitions = append(t.Partitions, p)
	req := kmsg.NewPtrDescribeQuorumRequest()
	req.Topics = append(req.Topics, t)
	return req
}

// readQuorum returns nil for an answer that isn't a leader's.
func readQuorum(r *kmsg.DescribeQuorumResponse) *Quorum {
	if kerr.ErrorForCode(r.ErrorCode) != nil || len(r.Topics) != 1 || len(r.Topics[0].Partitions) != 1 {
		return nil
	}
	p := r.Topics[0].Partitions[0]
	if kerr.ErrorForCode(p.ErrorCode) != nil || p.LeaderID < 0 {
		return nil
	}
	q := &Quorum{Leader: p.LeaderID, LeaderEpoch: p.LeaderEpoch, HighWatermark: p.HighWatermark}
	now := leaderNow(p)
	for _, v := range p.CurrentVoters {
		q.Voters = append(q.Voters, replica(v, now, p.LeaderID))
	}
	for _, o := range p.Observers {
		q.Observers = append(q.Observers, replica(o, now, p.LeaderID))
	}
	return q
}

// leaderNow is the leader's clock, as milliseconds since 1970: its own entry's timestamps are the time of the answer,
// and no clock of ours is compared with its.
func leaderNow(p kmsg.DescribeQuorumResponseTopicPartition) int64 {
	now := int64(-1)
	for _, v := range p.CurrentVoters {
		if v.ReplicaID == p.LeaderID {
			now = max(v.LastFetchTimestamp, v.LastCaughtUpTimestamp)
		}
	}
	if now > 0 {
		return now
	}
	for _, v := range append(p.CurrentVoters, p.Observers...) {
		now = max(now, v.LastFetchTimestamp)
	}
	return now
}

func replica(s kmsg.DescribeQuorumResponseTopicPartitionReplicaState, now int64, leader int32) Replica {
	r := Replica{ID: s.ReplicaID, DirectoryID: s.ReplicaDirectoryID, LogEndOffset: s.LogEndOffset}
	if s.ReplicaID != leader {
		r.SinceFetch, r.SinceCaughtUp = since(s.LastFetchTimestamp, now), since(s.LastCaughtUpTimestamp, now)
	}
	return r
}

// since is the age of a timestamp; -1 when there is none.
func since(timestamp, now int64) time.Duration {
	if timestamp <= 0 || now <= 0 {
		return -1
	}
	return max(0, time.Duration(now-timestamp)*time.Millisecond)
}
