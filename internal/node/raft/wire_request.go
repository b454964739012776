package raft

import (
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/node/rpc"
	"github.com/kraft-dev/kraft-operator/internal/quorum"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

func replicaKey(id int32, dir [16]byte) quorum.ReplicaKey {
	if id < 0 {
		return quorum.NoReplica
	}
	return quorum.ReplicaKey{ID: quorum.NodeID(id), DirectoryID: uuid.UUID(dir)}
}

func leaderAndEpoch(id, epoch int32) quorum.LeaderAndEpoch {
	return quorum.LeaderAndEpoch{LeaderID: quorum.NodeID(id), Epoch: quorum.Epoch(epoch)}
}

// one tells whether a request names exactly the metadata partition.
func one[T any](topics int, partitions func() []T, name bool, index func(T) int32) (T, bool) {
	var zero T
	if topics != 1 || !name {
		return zero, false
	}
	ps := partitions()
	if len(ps) != 1 || index(ps[0]) != 0 {
		return zero, false
	}
	return ps[0], true
}

// fromWireRequest maps a request; bad says that it doesn't name exactly the metadata partition.
func fromWireRequest(body kmsg.Request) (m quorum.Message, bad bool) {
	switch req := body.(type) {
	case *kmsg.VoteRequest:
		return fromVote(req)
	case *kmsg.BeginQuorumEpochRequest:
		return fromBegin(req)
	case *kmsg.EndQuorumEpochRequest:
		return fromEnd(req)
	case *kmsg.FetchRequest:
		return fromFetch(req)
	case *kmsg.FetchSnapshotRequest:
		return fromFetchSnapshot(req)
	case *kmsg.DescribeQuorumRequest:
		ok := len(req.Topics) == 1 && req.Topics[0].Topic == Topic && len(req.Topics[0].Partitions) == 1 && req.Topics[0].Partitions[0].Partition == 0
		return &quorum.DescribeQuorumRequest{}, !ok
	case *kmsg.UpdateRaftVoterRequest:
		v := quorum.Voter{
			Key:       replicaKey(req.VoterID, req.VoterDirectoryID),
			Supported: quorum.VersionRange{Min: req.KRaftVersionFeature.MinSupportedVersion, Max: req.KRaftVersionFeature.MaxSupportedVersion},
		}
		for _, l := range req.Listeners {
			v.Endpoints = append(v.Endpoints, quorum.Endpoint{Listener: l.Name, Host: l.Host, Port: l.Port})
		}
		return &quorum.UpdateVoterRequest{ClusterID: req.ClusterID, Epoch: quorum.Epoch(req.CurrentLeaderEpoch), Voter: v}, false
	}
	if m := fromVoterRequest(body); m != nil {
		return m, false
	}
	return nil, true
}

func fromVote(req *kmsg.VoteRequest) (quorum.Message, bool) {
	m := &quorum.VoteRequest{ClusterID: req.ClusterID}
	p, ok := one(len(req.Topics), func() []kmsg.VoteRequestTopicPartition { return req.Topics[0].Partitions },
		len(req.Topics) == 1 && req.Topics[0].Topic == Topic, func(p kmsg.VoteRequestTopicPartition) int32 { return p.Partition })
	if !ok {
		return m, true
	}
	m.Voter = quorum.NoReplica
	if req.Version >= 1 {
		m.Voter = replicaKey(req.VoterID, p.VoterDirectoryID)
	}
	m.Candidate = quorum.ReplicaKey{ID: quorum.NodeID(p.CandidateID), DirectoryID: uuid.UUID(p.CandidateDirectoryID)}
	m.Epoch, m.LastOffsetEpoch, m.LastOffset = quorum.Epoch(p.CandidateEpoch), quorum.Epoch(p.LastOffsetEpoch), quorum.Offset(p.LastOffset)
	m.PreVote = p.PreVote
	return m, false
}

func fromBegin(req *kmsg.BeginQuorumEpochRequest) (quorum.Message, bool) {
	m := &quorum.BeginQuorumEpochRequest{ClusterID: req.ClusterID, Voter: quorum.NoReplica}
	p, ok := one(len(req.Topics), func() []kmsg.BeginQuorumEpochRequestTopicPartition { return req.Topics[0].Partitions },
		len(req.Topics) == 1 && req.Topics[0].Topic == Topic, func(p kmsg.BeginQuorumEpochRequestTopicPartition) int32 { return p.Partition })
	if !ok {
		return m, true
	}
	if req.Version >= 1 {
		m.Voter = replicaKey(req.VoterID, p.VoterDirectoryID)
	}
	m.Leader = leaderAndEpoch(p.LeaderID, p.LeaderEpoch)
	for _, e := range req.LeaderEndpoints {
		m.Endpoints = append(m.Endpoints, quorum.Endpoint{Listener: e.Name, Host: e.Host, Port: e.Port})
	}
	return m, false
}

func fromEnd(req *kmsg.EndQuorumEpochRequest) (quorum.Message, bool) {
	m := &quorum.EndQuorumEpochRequest{ClusterID: req.ClusterID}
	p, ok := one(len(req.Topics), func() []kmsg.EndQuorumEpochRequestTopicPartition { return req.Topics[0].Partitions },
		len(req.Topics) == 1 && req.Topics[0].Topic == Topic, func(p kmsg.EndQuorumEpochRequestTopicPartition) int32 { return p.Partition })
	if !ok {
		return m, true
	}
	m.Leader = leaderAndEpoch(p.LeaderID, p.LeaderEpoch)
	for _, id := range p.PreferredSuccessors {
		m.Successors = append(m.Successors, quorum.ReplicaKey{ID: quorum.NodeID(id)})
	}
	for _, c := range p.PreferredCandidates {
		m.Successors = append(m.Successors, replicaKey(c.CandidateID, c.CandidateDirectoryID))
	}
	for _, e := range req.LeaderEndpoints {
		m.Endpoints = append(m.Endpoints, quorum.Endpoint{Listener: e.Name, Host: e.Host, Port: e.Port})
	}
	return m, false
}

func fromFetch(req *kmsg.FetchRequest) (quorum.Message, bool) {
	m := &quorum.FetchRequest{ClusterID: req.ClusterID, MaxBytes: req.MaxBytes, MaxWait: time.Duration(req.MaxWaitMillis) * time.Millisecond, HighWatermark: quorum.NoHighWatermark, Replica: quorum.NoReplica}
	p, ok := one(len(req.Topics), func() []kmsg.FetchRequestTopicPartition { return req.Topics[0].Partitions },
		len(req.Topics) == 1 && uuid.UUID(req.Topics[0].TopicID) == uuid.MetadataTopicID, func(p kmsg.FetchRequestTopicPartition) int32 { return p.Partition })
	if !ok || req.Version < 13 {
		return m, true
	}
	id := req.ReplicaID
	if req.Version >= 15 {
		id = req.ReplicaState.ID
	}
	m.Replica = replicaKey(id, p.ReplicaDirectoryID)
	m.Epoch, m.FetchOffset, m.LastFetchedEpoch = quorum.Epoch(p.CurrentLeaderEpoch), quorum.Offset(p.FetchOffset), quorum.Epoch(p.LastFetchedEpoch)
	if req.Version >= 18 {
		m.HighWatermark = quorum.Offset(p.HighWatermark)
	}
	return m, false
}

// toWireRequest maps a message to a request and what versions can carry it.
func toWireRequest(m quorum.Message) (kmsg.Request, []rpc.Option) {
	switch m := m.(type) {
	case *quorum.VoteRequest:
		req := kmsg.NewPtrVoteRequest()
		req.ClusterID, req.VoterID = m.ClusterID, int32(m.Voter.ID)
		t, p := kmsg.NewVoteRequestTopic(), kmsg.NewVoteRequestTopicPartition()
		t.Topic = Topic
		p.CandidateEpoch, p.CandidateID, p.CandidateDirectoryID = int32(m.Epoch), int32(m.Candidate.ID), m.Candidate.DirectoryID
		p.VoterDirectoryID = m.Voter.DirectoryID
		p.LastOffsetEpoch, p.LastOffset, p.PreVote = int32(m.LastOffsetEpoch), int64(m.LastOffset), m.PreVote
		t.Partitions = append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
		if m.PreVote {
			return req, []rpc.Option{rpc.MinVersion(2)} // the flag can't be dropped
		}
		return req, nil
	case *quorum.BeginQuorumEpochRequest:
		req := kmsg.NewPtrBeginQuorumEpochRequest()
		req.ClusterID, req.VoterID = m.ClusterID, int32(m.Voter.ID)
		t, p := kmsg.NewBeginQuorumEpochRequestTopic(), kmsg.NewBeginQuorumEpochRequestTopicPartition()
		t.Topic = Topic
		p.VoterDirectoryID, p.LeaderID, p.LeaderEpoch = m.Voter.DirectoryID, int32(m.Leader.LeaderID), int32(m.Leader.Epoch)
		t.Partitions = append(t.Partitions, p)
		req.Topics = append(req.Topics, t)
		for _, e := range m.Endpoints {
			we := kmsg.NewBeginQuorumEpochRequestLeaderEndpoint()
			we.Name, we.Host, we.Port = e.Listener, e.Host, e.Port
			req.LeaderEndpoints = append(req.LeaderEndpoints, we)
		}
		return req, nil
	case *quorum.EndQuorumEpochRequest:
		return toEnd(m), nil
	case *quorum.FetchRequest:
		return toFetch(m), []rpc.Option{rpc.MinVersion(13), rpc.Patience(fetchPatience)}
	case *quorum.FetchSnapshotRequest:
		return toFetchSnapshot(m), nil
	case *quorum.UpdateVoterRequest:
		req := kmsg.NewPtrUpdateRaftVoterRequest()
		req.ClusterID, req.CurrentLeaderEpoch = m.ClusterID, int32(m.Epoch)
		req.VoterID, req.VoterDirectoryID = int32(m.Voter.Key.ID), m.Voter.Key.DirectoryID
		req.KRaftVersionFeature.MinSupportedVersion, req.KRaftVersionFeature.MaxSupportedVersion = m.Voter.Supported.Min, m.Voter.Supported.Max
		for _, e := range m.Voter.Endpoints {
			l := kmsg.NewUpdateRaftVoterRequestListener()
			l.Name, l.Host, l.Port = e.Listener, e.Host, e.Port
			req.Listeners = append(req.Listeners, l)
		}
		return req, nil
	}
	if req, opts := toVoterRequest(m); req != nil {
		return req, opts
	}
	panic(fmt.Sprintf("no request for message %T", m))
}

func toEnd(m *quorum.EndQuorumEpochRequest) *kmsg.EndQuorumEpochRequest {
	req := kmsg.NewPtrEndQuorumEpochRequest()
	req.ClusterID = m.ClusterID
	t, p := kmsg.NewEndQuorumEpochRequestTopic(), kmsg.NewEndQuorumEpochRequestTopicPartition()
	t.Topic = Topic
	p.LeaderID, p.LeaderEpoch = int32(m.Leader.LeaderID), int32(m.Leader.Epoch)
	for _, s := range m.Successors { // version 0 carries the ids, version 1 the keys
		p.PreferredSuccessors = append(p.PreferredSuccessors, int32(s.ID))
		c := kmsg.NewEndQuorumEpochRequestTopicPartitionPreferredCandidate()
		c.CandidateID, c.CandidateDirectoryID = int32(s.ID), s.DirectoryID
		p.PreferredCandidates = append(p.PreferredCandidates, c)
	}
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	for _, e := range m.Endpoints {
		we := kmsg.NewEndQuorumEpochRequestLeaderEndpoint()
		we.Name, we.Host, we.Port = e.Listener, e.Host, e.Port
		req.LeaderEndpoints = append(req.LeaderEndpoints, we)
	}
	return req
}

func toFetch(m *quorum.FetchRequest) *kmsg.FetchRequest {
	req := kmsg.NewPtrFetchRequest()
	req.ClusterID = m.ClusterID
	req.ReplicaID = int32(m.Replica.ID)
	req.ReplicaState.ID, req.ReplicaState.Epoch = int32(m.Replica.ID), -1
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = int32(m.MaxWait.Milliseconds()), 0, m.MaxBytes
	req.SessionID, req.SessionEpoch = 0, -1
	t, p := kmsg.NewFetchRequestTopic(), kmsg.NewFetchRequestTopicPartition()
	t.Topic, t.TopicID = Topic, uuid.MetadataTopicID
	p.CurrentLeaderEpoch, p.FetchOffset, p.LastFetchedEpoch = int32(m.Epoch), int64(m.FetchOffset), int32(m.LastFetchedEpoch)
	p.LogStartOffset, p.PartitionMaxBytes = -1, 0
	p.ReplicaDirectoryID, p.HighWatermark = m.Replica.DirectoryID, int64(m.HighWatermark)
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}
