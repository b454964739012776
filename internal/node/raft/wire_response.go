package raft

import (
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/node/server"
	"github.com/kraft-dev/kraft-operator/internal/quorum"
	"github.com/kraft-dev/kraft-operator/internal/quorum/disk"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

var errShape = errors.New("answer without the metadata partition")

// answered fills what all answers share. The leader's endpoint is the one among endpoints that has its id.
func answered(a *quorum.Answer, code int16, leader, epoch int32) {
	a.Error, a.Leader = quorum.ErrorCode(code), leaderAndEpoch(leader, epoch)
	a.Endpoint = quorum.Node{ID: quorum.None}
}

func endpoint(a *quorum.Answer, id int32, host string, port uint16) {
	if id >= 0 && quorum.NodeID(id) == a.Leader.LeaderID {
		a.Endpoint = quorum.Node{ID: quorum.NodeID(id), Host: host, Port: port}
	}
}

// Vote, BeginQuorumEpoch and EndQuorumEpoch are answered in one shape: an error, one topic with one partition, and endpoints.
// kmsg has types of their own for each; these are what they have in common.
type (
	electionTopic[P any] interface {
		~struct {
			Topic       string
			Partitions  []P
			UnknownTags kmsg.Tags
		}
	}
	electionEndpoint interface {
		~struct {
			NodeID      int32
			Host        string
			Port        uint16
			UnknownTags kmsg.Tags
		}
	}
)

// fromElection reads such an answer, the partition by read.
func fromElection[T electionTopic[P], P any, E electionEndpoint](a *quorum.Answer, code int16, topics []T, endpoints []E, read func(*P)) error {
	if a.TopError = quorum.ErrorCode(code); code != 0 {
		return nil
	}
	if len(topics) != 1 {
		return errShape
	}
	t := struct {
		Topic       string
		Partitions  []P
		UnknownTags kmsg.Tags
	}(topics[0])
	if len(t.Partitions) != 1 {
		return errShape
	}
	read(&t.Partitions[0])
	for _, e := range endpoints {
		w := kmsg.VoteResponseNodeEndpoint(e)
		endpoint(a, w.NodeID, w.Host, w.Port)
	}
	return nil
}

// toElection makes the topics and endpoints of such an answer.
func toElection[T electionTopic[P], E electionEndpoint, P any](p P, leader quorum.Node) (topics []T, endpoints []E) {
	topics = []T{T(struct {
		Topic       string
		Partitions  []P
		UnknownTags kmsg.Tags
	}{Topic: Topic, Partitions: []P{p}})}
	if leader.ID >= 0 {
		endpoints = []E{E(kmsg.VoteResponseNodeEndpoint{NodeID: int32(leader.ID), Host: leader.Host, Port: leader.Port})}
	}
	return topics, endpoints
}

// fromWireResponse maps a peer's answer to the engine's message.
func fromWireResponse(resp kmsg.Response) (quorum.Message, error) {
	switch r := resp.(type) {
	case *kmsg.VoteResponse:
		m := &quorum.VoteResponse{}
		return m, fromElection(&m.Answer, r.ErrorCode, r.Topics, r.NodeEndpoints, func(p *kmsg.VoteResponseTopicPartition) {
			answered(&m.Answer, p.ErrorCode, p.LeaderID, p.LeaderEpoch)
			m.Granted = p.VoteGranted
		})
	case *kmsg.BeginQuorumEpochResponse:
		m := &quorum.BeginQuorumEpochResponse{}
		return m, fromElection(&m.Answer, r.ErrorCode, r.Topics, r.NodeEndpoints, func(p *kmsg.BeginQuorumEpochResponseTopicPartition) {
			answered(&m.Answer, p.ErrorCode, p.LeaderID, p.LeaderEpoch)
		})
	case *kmsg.EndQuorumEpochResponse:
		m := &quorum.EndQuorumEpochResponse{}
		return m, fromElection(&m.Answer, r.ErrorCode, r.Topics, r.NodeEndpoints, func(p *kmsg.EndQuorumEpochResponseTopicPartition) {
			answered(&m.Answer, p.ErrorCode, p.LeaderID, p.LeaderEpoch)
		})
	case *kmsg.FetchResponse:
		return fromFetchResponse(r)
	case *kmsg.FetchSnapshotResponse:
		return fromFetchSnapshotResponse(r)
	case *kmsg.UpdateRaftVoterResponse:
		m := &quorum.UpdateVoterResponse{}
		answered(&m.Answer, r.ErrorCode, r.CurrentLeader.LeaderID, r.CurrentLeader.LeaderEpoch)
		endpoint(&m.Answer, r.CurrentLeader.LeaderID, r.CurrentLeader.Host, uint16(r.CurrentLeader.Port))
		return m, nil
	}
	if m := fromVoterResponse(resp); m != nil {
		return m, nil
	}
	return nil, fmt.Errorf("no message for response %T", resp)
}

func fromFetchResponse(r *kmsg.FetchResponse) (quorum.Message, error) {
	m := &quorum.FetchResponse{HighWatermark: quorum.UnknownOffset, LogStartOffset: quorum.UnknownOffset}
	if m.TopError = quorum.ErrorCode(r.ErrorCode); r.ErrorCode != 0 {
		return m, nil
	}
	if len(r.Topics) != 1 || len(r.Topics[0].Partitions) != 1 || uuid.UUID(r.Topics[0].TopicID) != uuid.MetadataTopicID {
		return nil, errShape
	}
	p := &r.Topics[0].Partitions[0]
	answered(&m.Answer, p.ErrorCode, p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch)
	for _, b := range r.Brokers {
		endpoint(&m.Answer, b.NodeID, b.Host, uint16(b.Port))
	}
	m.HighWatermark, m.LogStartOffset = quorum.Offset(p.HighWatermark), quorum.Offset(p.LogStartOffset)
	if p.DivergingEpoch.Epoch >= 0 {
		m.Diverging = &quorum.OffsetAndEpoch{Offset: quorum.Offset(p.DivergingEpoch.EndOffset), Epoch: quorum.Epoch(p.DivergingEpoch.Epoch)}
	}
	if p.SnapshotID.EndOffset >= 0 || p.SnapshotID.Epoch >= 0 {
		m.Snapshot = &quorum.OffsetAndEpoch{Offset: quorum.Offset(p.SnapshotID.EndOffset), Epoch: quorum.Epoch(p.SnapshotID.Epoch)}
	}
	if len(p.RecordBatches) == 0 {
		return m, nil
	}
	batches, whole, err := disk.DescribeBatches(p.RecordBatches)
	if err != nil {
		m.Corrupt = true
		return m, nil //nolint:nilerr // the engine drops the answer whole (KAFKA-18723)
	}
	m.Batches, m.Data = batches, whole
	return m, nil
}

// topLevelError answers any of the quorum's requests with one top-level error.
func topLevelError(body kmsg.Request, code int16) kmsg.Response {
	resp := body.ResponseKind()
	switch r := resp.(type) {
	case *kmsg.VoteResponse:
		r.ErrorCode = code
	case *kmsg.BeginQuorumEpochResponse:
		r.ErrorCode = code
	case *kmsg.EndQuorumEpochResponse:
		r.ErrorCode = code
	case *kmsg.FetchResponse:
		r.ErrorCode = code
	case *kmsg.FetchSnapshotResponse:
		r.ErrorCode = code
	case *kmsg.DescribeQuorumResponse:
		r.ErrorCode = code
	case *kmsg.UpdateRaftVoterResponse:
		r.ErrorCode = code
	case *kmsg.AddRaftVoterResponse:
		r.ErrorCode = code
	case *kmsg.ElectLeadersResponse:
		r.ErrorCode = code
	case *kmsg.RemoveRaftVoterResponse:
		r.ErrorCode = code
	}
	return resp
}

// toWireResponse maps the engine's answer to the version of the request.
func (d *Driver) toWireResponse(r *server.Request, m quorum.Message) kmsg.Response {
	switch m := m.(type) {
	case *quorum.VoteResponse:
		resp := kmsg.NewPtrVoteResponse()
		if resp.ErrorCode = int16(m.TopError); m.TopError == 0 {
			p := kmsg.VoteResponseTopicPartition{ErrorCode: int16(m.Error), LeaderID: int32(m.Leader.LeaderID), LeaderEpoch: int32(m.Leader.Epoch), VoteGranted: m.Granted}
			resp.Topics, resp.NodeEndpoints = toElection[kmsg.VoteResponseTopic, kmsg.VoteResponseNodeEndpoint](p, m.Endpoint)
		}
		return resp
	case *quorum.BeginQuorumEpochResponse:
		resp := kmsg.NewPtrBeginQuorumEpochResponse()
		if resp.ErrorCode = int16(m.TopError); m.TopError == 0 {
			p := kmsg.BeginQuorumEpochResponseTopicPartition{ErrorCode: int16(m.Error), LeaderID: int32(m.Leader.LeaderID), LeaderEpoch: int32(m.Leader.Epoch)}
			resp.Topics, resp.NodeEndpoints = toElection[kmsg.BeginQuorumEpochResponseTopic, kmsg.BeginQuorumEpochResponseNodeEndpoint](p, m.Endpoint)
		}
		return resp
	case *quorum.EndQuorumEpochResponse:
		resp := kmsg.NewPtrEndQuorumEpochResponse()
		if resp.ErrorCode = int16(m.TopError); m.TopError == 0 {
			p := kmsg.EndQuorumEpochResponseTopicPartition{ErrorCode: int16(m.Error), LeaderID: int32(m.Leader.LeaderID), LeaderEpoch: int32(m.Leader.Epoch)}
			resp.Topics, resp.NodeEndpoints = toElection[kmsg.EndQuorumEpochResponseTopic, kmsg.EndQuorumEpochResponseNodeEndpoint](p, m.Endpoint)
		}
		return resp
	case *quorum.FetchResponse:
		return toFetchResponse(r.Version, m)
	case *quorum.FetchSnapshotResponse:
		return toFetchSnapshotResponse(r.Version, m)
	case *quorum.DescribeQuorumResponse:
		return toDescribeQuorum(m, time.Now())
	case *quorum.UpdateVoterResponse:
		resp := kmsg.NewPtrUpdateRaftVoterResponse()
		resp.ErrorCode = int16(m.Error)
		if m.TopError != 0 {
			resp.ErrorCode = int16(m.TopError)
		}
		resp.CurrentLeader.LeaderID, resp.CurrentLeader.LeaderEpoch = int32(m.Leader.LeaderID), int32(m.Leader.Epoch)
		if m.Endpoint.ID >= 0 {
			resp.CurrentLeader.Host, resp.CurrentLeader.Port = m.Endpoint.Host, int32(m.Endpoint.Port)
		}
		return resp
	}
	if resp := toVoterResponse(r.Body, m); resp != nil {
		return resp
	}
	d.cfg.Logger.Error("No response for a message of the engine", "type", fmt.Sprintf("%T", m))
	return topLevelError(r.Body, kerr.UnknownServerError.Code)
}

func toFetchResponse(version int16, m *quorum.FetchResponse) kmsg.Response {
	resp := kmsg.NewPtrFetchResponse()
	if resp.ErrorCode = int16(m.TopError); m.TopError != 0 {
		return resp
	}
	t, p := kmsg.NewFetchResponseTopic(), kmsg.NewFetchResponseTopicPartition()
	t.Topic, t.TopicID = Topic, uuid.MetadataTopicID
	p.ErrorCode, p.HighWatermark, p.LastStableOffset, p.LogStartOffset = int16(m.Error), int64(m.HighWatermark), -1, int64(m.LogStartOffset)
	p.CurrentLeader.LeaderID, p.CurrentLeader.LeaderEpoch = int32(m.Leader.LeaderID), int32(m.Leader.Epoch)
	p.PreferredReadReplica = -1
	p.RecordBatches = m.Data
	if p.RecordBatches == nil {
		p.RecordBatches = []byte{} // null isn't allowed
	}
	if m.Diverging != nil {
		p.DivergingEpoch.Epoch, p.DivergingEpoch.EndOffset = int32(m.Diverging.Epoch), int64(m.Diverging.Offset)
	}
	if m.Snapshot != nil {
		p.SnapshotID.EndOffset, p.SnapshotID.Epoch = int64(m.Snapshot.Offset), int32(m.Snapshot.Epoch)
	}
	t.Partitions = append(t.Partitions, p)
	resp.Topics = append(resp.Topics, t)
	if m.Endpoint.ID >= 0 && version >= 17 { // Kafka's raft layer fills it from version 17 on
		b := kmsg.NewFetchResponseBroker()
		b.NodeID, b.Host, b.Port = int32(m.Endpoint.ID), m.Endpoint.Host, int32(m.Endpoint.Port)
		resp.Brokers = append(resp.Brokers, b)
	}
	return resp
}

func toDescribeQuorum(m *quorum.DescribeQuorumResponse, now time.Time) kmsg.Response {
	resp := kmsg.NewPtrDescribeQuorumResponse()
	if resp.ErrorCode = int16(m.TopError); m.TopError != 0 {
		return resp
	}
	t, p := kmsg.NewDescribeQuorumResponseTopic(), kmsg.NewDescribeQuorumResponseTopicPartition()
	t.Topic = Topic
	p.ErrorCode, p.LeaderID, p.LeaderEpoch, p.HighWatermark = int16(m.Error), int32(m.Leader.LeaderID), int32(m.Leader.Epoch), int64(m.HighWatermark)
	if m.Error != 0 {
		if err := kerr.ErrorForCode(int16(m.Error)); err != nil {
			p.ErrorMessage = kmsg.StringPtr(err.Error())
		}
	}
	timestamp := func(age time.Duration) int64 {
		if age == quorum.UnknownAge {
			return -1
		}
		return now.Add(-age).UnixMilli()
	}
	states := func(in []quorum.ReplicaState) (out []kmsg.DescribeQuorumResponseTopicPartitionReplicaState) {
		for _, s := range in {
			w := kmsg.NewDescribeQuorumResponseTopicPartitionReplicaState()
			w.ReplicaID, w.ReplicaDirectoryID, w.LogEndOffset = int32(s.Key.ID), s.Key.DirectoryID, int64(s.LogEndOffset)
			w.LastFetchTimestamp, w.LastCaughtUpTimestamp = timestamp(s.LastFetch), timestamp(s.LastCaughtUp)
			out = append(out, w)
		}
		return out
	}
	p.CurrentVoters, p.Observers = states(m.Voters), states(m.Observers)
	t.Partitions = append(t.Partitions, p)
	resp.Topics = append(resp.Topics, t)
	for _, v := range m.Nodes {
		n := kmsg.NewDescribeQuorumResponseNode()
		n.NodeID = int32(v.Key.ID)
		for _, e := range v.Endpoints {
			l := kmsg.NewDescribeQuorumResponseNodeListener()
			l.Name, l.Host, l.Port = e.Listener, e.Host, e.Port
			n.Listeners = append(n.Listeners, l)
		}
		resp.Nodes = append(resp.Nodes, n)
	}
	return resp
}
