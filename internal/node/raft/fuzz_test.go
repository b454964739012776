package raft

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/node/wire"
	"github.com/kraft-dev/kraft-operator/internal/quorum"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// raftKeys are the APIs whose bytes reach the engine.
var raftKeys = []int16{1, 52, 53, 54, 55, 59, 80, 81, 82}

// freshVoter is one of two voters, in epoch 0.
func freshVoter(t *testing.T) *quorum.Quorum {
	cfg := quorum.DefaultConfig()
	cfg.ClusterID, cfg.NodeID, cfg.DirectoryID, cfg.Listener, cfg.Controller = "c", 1, uuid.UUID{1}, "CONTROLLER", true
	cfg.Endpoints = []quorum.Endpoint{{Listener: "CONTROLLER", Host: "n1", Port: 1}}
	cfg.StaticVoters = quorum.NewVoterSet(quorum.Voter{Key: quorum.ReplicaKey{ID: 1}}, quorum.Voter{Key: quorum.ReplicaKey{ID: 2}, Endpoints: []quorum.Endpoint{{Listener: "CONTROLLER", Host: "n2", Port: 1}}})
	q, err := quorum.New(cfg, nil, quorum.LogState{}, 1)
	require.NoError(t, err)
	q.Step(0, quorum.Start{})
	return q
}

// FuzzWireRequest: a request that decodes has a message or is bad, and the engine bears it.
func FuzzWireRequest(f *testing.F) {
	for _, m := range []quorum.Message{
		&quorum.VoteRequest{Voter: quorum.ReplicaKey{ID: 1}, Candidate: quorum.ReplicaKey{ID: 2}, Epoch: 1},
		&quorum.BeginQuorumEpochRequest{Leader: quorum.LeaderAndEpoch{LeaderID: 2, Epoch: 1}},
		&quorum.EndQuorumEpochRequest{Leader: quorum.LeaderAndEpoch{LeaderID: 2, Epoch: 1}, Successors: []quorum.ReplicaKey{{ID: 1}}},
		&quorum.FetchRequest{Replica: quorum.ReplicaKey{ID: 2}}, &quorum.FetchSnapshotRequest{ID: quorum.OffsetAndEpoch{Offset: 5, Epoch: 1}},
		&quorum.UpdateVoterRequest{Voter: quorum.Voter{Key: quorum.ReplicaKey{ID: 2}}}, &quorum.AddVoterRequest{}, &quorum.RemoveVoterRequest{},
	} {
		req, _ := toWireRequest(m)
		req.SetVersion(req.MaxVersion())
		f.Add(req.Key(), req.GetVersion(), req.AppendTo(nil))
	}
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		a, ok := wire.Lookup(key)
		if !ok || !a.Supports(version) || !isRaft(key) {
			return
		}
		req, err := wire.DecodeRequest(wire.RequestHeader{Key: key, Version: version}, body)
		if err != nil {
			return
		}
		m, bad := fromWireRequest(req)
		require.True(t, m != nil || bad)
		if m == nil {
			return
		}
		q := freshVoter(t)
		q.Step(1, quorum.Request{ReplyTo: 1, Listener: "CONTROLLER", Message: m, BadPartition: bad})
	})
}

// FuzzWireResponse: an answer that decodes has a message or an error.
func FuzzWireResponse(f *testing.F) {
	for _, key := range raftKeys {
		resp := kmsg.ResponseForKey(key)
		resp.SetVersion(resp.MaxVersion())
		f.Add(key, resp.GetVersion(), resp.AppendTo(nil))
	}
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		a, ok := wire.Lookup(key)
		if !ok || !a.Supports(version) || !isRaft(key) {
			return
		}
		resp := kmsg.ResponseForKey(key)
		resp.SetVersion(version)
		if wire.DecodeResponse(resp, body) != nil {
			return
		}
		m, err := fromWireResponse(resp)
		require.True(t, err != nil || m != nil)
		if err != nil {
			return
		}
		q := freshVoter(t)
		for c := range uint64(4) { // an Unattached voter has one fetch under way
			q.Step(1, quorum.Response{Correlation: c, Message: m})
		}
	})
}

func isRaft(key int16) bool { return slices.Contains(raftKeys, key) }

// FuzzDecodeBatches: what is delivered lies below the limit, in order, with its records.
func FuzzDecodeBatches(f *testing.F) {
	f.Add([]byte("no batch"), int64(3))
	f.Fuzz(func(t *testing.T, data []byte, limit int64) {
		batches, err := DecodeBatches(data, limit)
		if err != nil {
			return
		}
		for _, b := range batches {
			require.Less(t, b.LastOffset, limit)
		}
	})
}
