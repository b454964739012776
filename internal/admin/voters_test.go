package admin

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var (
	newVoter    = ReplicaKey{ID: 3, DirectoryID: [16]byte{1: 7}}
	newEndpoint = Endpoint{Listener: "CONTROLLER", Host: "demo-controller-3.ns.svc", Port: 9093}
)

// TestAChangeOfTheVotersSaysWhatBecameOfIt: made, not made, or perhaps.
func TestAChangeOfTheVotersSaysWhatBecameOfIt(t *testing.T) {
	for _, tc := range []struct {
		name    string
		code    int16
		text    string
		is      error
		perhaps bool
	}{
		{name: "committed"},
		{name: "a voter already", code: kerr.DuplicateVoter.Code, text: "node 3 is a voter already", is: kerr.DuplicateVoter},
		{name: "not a voter", code: kerr.VoterNotFound.Code, is: kerr.VoterNotFound},
		{name: "not the leader", code: kerr.NotLeaderForPartition.Code, is: ErrNoLeader},
		{name: "no longer the leader", code: kerr.NotLeaderForPartition.Code, text: "the change may still be committed", is: kerr.NotLeaderForPartition, perhaps: true},
		{name: "not committed in time", code: kerr.RequestTimedOut.Code, text: "the change was not committed in time", is: kerr.RequestTimedOut, perhaps: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var asked []kmsg.Request
			leader := serve(t, func(req kmsg.Request) kmsg.Response {
				asked = append(asked, req)
				var text *string
				if tc.text != "" {
					text = &tc.text
				}
				switch req.(type) {
				case *kmsg.AddRaftVoterRequest:
					resp := kmsg.NewPtrAddRaftVoterResponse()
					resp.ErrorCode, resp.ErrorMessage = tc.code, text
					return resp
				case *kmsg.RemoveRaftVoterRequest:
					resp := kmsg.NewPtrRemoveRaftVoterResponse()
					resp.ErrorCode, resp.ErrorMessage = tc.code, text
					return resp
				}
				return nil
			})
			for _, err := range []error{
				Client{}.AddVoter(t.Context(), []string{leader}, newVoter, []Endpoint{newEndpoint}),
				Client{}.RemoveVoter(t.Context(), []string{leader}, newVoter),
			} {
				require.Equal(t, tc.perhaps, MayBeMade(err))
				if tc.is == nil {
					require.NoError(t, err)
					continue
				}
				require.ErrorIs(t, err, tc.is)
				require.ErrorContains(t, err, tc.text)
			}
			require.Len(t, asked, 2, "once each: a change is never sent twice")
			add, remove := asked[0].(*kmsg.AddRaftVoterRequest), asked[1].(*kmsg.RemoveRaftVoterRequest)
			require.Equal(t, newVoter.DirectoryID, add.VoterDirectoryID)
			require.True(t, add.AckWhenCommitted)
			require.Len(t, add.Listeners, 1)
			require.Equal(t, "CONTROLLER", add.Listeners[0].Name)
			require.Equal(t, "demo-controller-3.ns.svc", add.Listeners[0].Host)
			require.Equal(t, uint16(9093), add.Listeners[0].Port)
			require.Equal(t, int32(3), remove.VoterID)
			require.Equal(t, newVoter.DirectoryID, remove.VoterDirectoryID)
		})
	}
}

func TestAChangeWithoutAnAnswerMayBeMade(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	reads := serve(t, func(kmsg.Request) kmsg.Response {
		cancel()
		return nil
	})
	require.True(t, MayBeMade(Client{}.RemoveVoter(ctx, []string{reads}, newVoter)))
	require.False(t, MayBeMade(Client{}.RemoveVoter(t.Context(), []string{"127.0.0.1:1"}, newVoter)), "nobody read it")
}
