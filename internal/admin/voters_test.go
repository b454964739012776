package admin

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

var newVoter = Voter{ID: 3, DirectoryID: [16]byte{1: 7}, Listener: "CONTROLLER", Address: "demo-controller-3.ns.svc:9093"}

// TestAChangeOfTheVotersSaysWhatBecameOfIt: done, refused, or unclear.
func TestAChangeOfTheVotersSaysWhatBecameOfIt(t *testing.T) {
	for _, tc := range []struct {
		name string
		code int16
		text string
		is   error
	}{
		{name: "committed"},
		{name: "a voter already", code: kerr.DuplicateVoter.Code, text: "node 3 is a voter already", is: ErrRefused},
		{name: "not a voter", code: kerr.VoterNotFound.Code, is: ErrRefused},
		{name: "another cluster", code: kerr.InconsistentClusterID.Code, is: ErrRefused},
		{name: "not the leader", code: kerr.NotLeaderForPartition.Code, is: ErrRefused},
		{name: "no longer the leader", code: kerr.NotLeaderForPartition.Code, text: "the change may still be committed", is: ErrUnclear},
		{name: "not committed in time", code: kerr.RequestTimedOut.Code, text: "the change was not committed in time", is: ErrUnclear},
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
				Client{}.AddVoter(t.Context(), leader, "cluster", newVoter),
				Client{}.RemoveVoter(t.Context(), leader, "cluster", newVoter),
			} {
				if tc.is == nil {
					require.NoError(t, err)
					continue
				}
				require.ErrorIs(t, err, tc.is)
				require.ErrorContains(t, err, "voter 3")
				require.ErrorContains(t, err, tc.text)
			}
			require.Len(t, asked, 2, "once each: a change is never sent twice")
			add, remove := asked[0].(*kmsg.AddRaftVoterRequest), asked[1].(*kmsg.RemoveRaftVoterRequest)
			require.Equal(t, "cluster", *add.ClusterID)
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

func TestAChangeWithoutAnAnswerIsUnclear(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, Client{}.RemoveVoter(ctx, serve(t, silent), "cluster", newVoter), ErrUnclear)
	require.ErrorIs(t, Client{}.AddVoter(t.Context(), "127.0.0.1:1", "cluster", Voter{ID: 3, Address: "no port"}), ErrRefused)
}
