package raft

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
)

func fromFetchSnapshot(req *kmsg.FetchSnapshotRequest) (quorum.Message, bool) {
	m := &quorum.FetchSnapshotRequest{ClusterID: req.ClusterID, MaxBytes: req.MaxBytes, Replica: quorum.NoReplica}
	p, ok := one(len(req.Topics), func() []kmsg.FetchSnapshotRequestTopicPartition { return req.Topics[0].Partitions },
		len(req.Topics) == 1 && req.Topics[0].Topic == Topic, func(p kmsg.FetchSnapshotRequestTopicPartition) int32 { return p.Partition })
	if !ok {
		return m, true
	}
	m.Replica = replicaKey(req.ReplicaID, p.ReplicaDirectoryID)
	m.Epoch, m.Position = quorum.Epoch(p.CurrentLeaderEpoch), p.Position
	m.ID = quorum.OffsetAndEpoch{Offset: quorum.Offset(p.SnapshotID.EndOffset), Epoch: quorum.Epoch(p.SnapshotID.Epoch)}
	return m, false
}

func toFetchSnapshot(m *quorum.FetchSnapshotRequest) *kmsg.FetchSnapshotRequest {
	req := kmsg.NewPtrFetchSnapshotRequest()
	req.ClusterID, req.ReplicaID, req.MaxBytes = m.ClusterID, int32(m.Replica.ID), m.MaxBytes
	t, p := kmsg.NewFetchSnapshotRequestTopic(), kmsg.NewFetchSnapshotRequestTopicPartition()
	t.Topic = Topic
	p.CurrentLeaderEpoch, p.Position, p.ReplicaDirectoryID = int32(m.Epoch), m.Position, m.Replica.DirectoryID
	p.SnapshotID.EndOffset, p.SnapshotID.Epoch = int64(m.ID.Offset), int32(m.ID.Epoch)
	t.Partitions = append(t.Partitions, p)
	req.Topics = append(req.Topics, t)
	return req
}

func fromFetchSnapshotResponse(r *kmsg.FetchSnapshotResponse) (quorum.Message, error) {
	m := &quorum.FetchSnapshotResponse{}
	if m.TopError = quorum.ErrorCode(r.ErrorCode); r.ErrorCode != 0 {
		return m, nil
	}
	if len(r.Topics) != 1 || r.Topics[0].Topic != Topic || len(r.Topics[0].Partitions) != 1 {
		return nil, errShape
	}
	p := &r.Topics[0].Partitions[0]
	answered(&m.Answer, p.ErrorCode, p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch)
	for _, e := range r.NodeEndpoints {
		endpoint(&m.Answer, e.NodeID, e.Host, e.Port)
	}
	if p.ErrorCode != 0 {
		return m, nil
	}
	m.ID = quorum.OffsetAndEpoch{Offset: quorum.Offset(p.SnapshotID.EndOffset), Epoch: quorum.Epoch(p.SnapshotID.Epoch)}
	m.Size, m.Position, m.Data = p.Size, p.Position, p.Bytes
	return m, nil
}

func toFetchSnapshotResponse(version int16, m *quorum.FetchSnapshotResponse) kmsg.Response {
	resp := kmsg.NewPtrFetchSnapshotResponse()
	if resp.ErrorCode = int16(m.TopError); m.TopError != 0 {
		return resp
	}
	t, p := kmsg.NewFetchSnapshotResponseTopic(), kmsg.NewFetchSnapshotResponseTopicPartition()
	t.Topic = Topic
	p.ErrorCode, p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch = int16(m.Error), int32(m.Leader.LeaderID), int32(m.Leader.Epoch)
	p.SnapshotID.EndOffset, p.SnapshotID.Epoch = int64(m.ID.Offset), int32(m.ID.Epoch)
	p.Size, p.Position, p.Bytes = m.Size, m.Position, m.Data
	if p.Bytes == nil {
		p.Bytes = []byte{} // null isn't allowed
	}
	t.Partitions = append(t.Partitions, p)
	resp.Topics = append(resp.Topics, t)
	if m.Endpoint.ID >= 0 && version >= 1 {
		e := kmsg.NewFetchSnapshotResponseNodeEndpoint()
		e.NodeID, e.Host, e.Port = int32(m.Endpoint.ID), m.Endpoint.Host, m.Endpoint.Port
		resp.NodeEndpoints = append(resp.NodeEndpoints, e)
	}
	return resp
}
