package raft

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
)

// A request of the engine without a form on the wire would end the node.
func TestEveryRequestHasAWireForm(t *testing.T) {
	for _, m := range []quorum.Message{
		&quorum.VoteRequest{}, &quorum.BeginQuorumEpochRequest{}, &quorum.EndQuorumEpochRequest{}, &quorum.FetchRequest{}, &quorum.FetchSnapshotRequest{},
		&quorum.UpdateVoterRequest{}, &quorum.AddVoterRequest{}, &quorum.AddVoterRequest{AckWhenCommitted: true}, &quorum.RemoveVoterRequest{}, &quorum.ApiVersionsRequest{},
	} {
		req, _ := toWireRequest(m)
		require.NotNil(t, req, "%T", m)
		if _, err := fromWireResponse(req.ResponseKind()); err != nil {
			require.NotContains(t, err.Error(), "no message", "%T", m)
		}
	}
}
