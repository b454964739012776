package rpc

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestALostDialIsJoinedByAnother: the first attempts get no answer, as if their SYNs were lost; the third connects, and nobody waited for
// the kernel to repeat one.
func TestALostDialIsJoinedByAnother(t *testing.T) {
	s := serve(t, controllerAPIs, echo)
	var dials, given atomic.Int32
	c := newClient(t, Config{DialAgain: time.Millisecond, ConnectTimeout: testTimeout, Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		if dials.Add(1) < 3 {
			<-ctx.Done()
			given.Add(1)
			return nil, ctx.Err()
		}
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}})
	_, err := c.Do(testContext(t), address(s), kmsg.NewPtrVoteRequest())
	require.NoError(t, err)
	c.Close()
	require.GreaterOrEqual(t, given.Load(), int32(2), "those before it are given up")
}

// TestDialsOfASilentHost: one each DialAgain, and all end with the attempt.
func TestDialsOfASilentHost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var dials, open atomic.Int32
		c := New(Config{Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			dials.Add(1)
			open.Add(1)
			defer open.Add(-1)
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		defer c.Close()
		began := time.Now()
		require.ErrorIs(t, c.Connect(t.Context(), "n:1"), ErrTimeout)
		require.Equal(t, 2*time.Second, time.Since(began))
		synctest.Wait()
		require.InDelta(t, 20, dials.Load(), 1)
		require.Zero(t, open.Load())
	})
}
