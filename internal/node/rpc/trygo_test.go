package rpc

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/node/server"
)

// TestTryGo sends without waiting where a connection is up: it answers, fails with the connection, and bounds the wait for an answer.
func TestTryGo(t *testing.T) {
	parked := make(chan *server.Request, 2)
	s := serve(t, controllerAPIs, func(r *server.Request) {
		if len(r.Body.(*kmsg.VoteRequest).Topics) == 0 {
			parked <- r
			return
		}
		echo(r)
	})
	c := newClient(t, Config{})
	type outcome struct {
		resp kmsg.Response
		err  error
	}
	outcomes := make(chan outcome, 1)
	then := func(resp kmsg.Response, err error) { outcomes <- outcome{resp, err} }
	require.False(t, c.TryGo(address(s), testTimeout, vote(3), then), "there is no connection yet")
	require.NoError(t, c.Connect(testContext(t), address(s)))
	require.True(t, c.TryGo(address(s), testTimeout, vote(3), then))
	got := <-outcomes
	require.NoError(t, got.err)
	require.Equal(t, int16(3), got.resp.(*kmsg.VoteResponse).ErrorCode)
	require.False(t, c.TryGo(address(s), testTimeout, vote(3), then, MinVersion(99)), "no such version")

	require.True(t, c.TryGo(address(s), testTimeout, vote(0), then))
	c.Drop(address(s))
	require.ErrorIs(t, (<-outcomes).err, ErrReset)
	require.False(t, c.TryGo(address(s), testTimeout, vote(3), then), "the connection is gone")

	require.NoError(t, c.Connect(testContext(t), address(s)))
	require.True(t, c.TryGo(address(s), 10*time.Millisecond, vote(0), then))
	require.ErrorIs(t, (<-outcomes).err, ErrTimeout, "nobody answers")
	require.Empty(t, outcomes, "told once each")
}
