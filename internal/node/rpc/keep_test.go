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

// TestKeepConnected: a connection is there before the first call, and again after it was lost; nobody is left behind.
func TestKeepConnected(t *testing.T) {
	s := serve(t, controllerAPIs, echo)
	var dials atomic.Int32
	c := newClient(t, Config{Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
		dials.Add(1)
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}})
	connected := func() bool { _, _, ok := c.Versions(address(s), int16(kmsg.Vote)); return ok }
	ctx, stop := context.WithCancel(testContext(t))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		c.KeepConnected(ctx, func() []string { return []string{address(s)} })
	}()
	require.Eventually(t, connected, testTimeout, time.Millisecond)
	_, err := c.Do(ctx, address(s), kmsg.NewPtrVoteRequest())
	require.NoError(t, err)
	require.EqualValues(t, 1, dials.Load(), "the call finds the connection")
	c.Drop(address(s))
	require.False(t, connected())
	require.Eventually(t, connected, testTimeout, time.Millisecond)
	require.EqualValues(t, 2, dials.Load())
	stop()
	<-ended
}

// TestKeepConnectedTriesAgainSoon: who is away for a moment is reached a back-off after it is back, not at the next look.
func TestKeepConnectedTriesAgainSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		away, began := 1200*time.Millisecond, time.Now()
		var reached atomic.Int64 // ms
		c := New(Config{BackoffMax: 100 * time.Millisecond, Dial: func(context.Context, string, string) (net.Conn, error) {
			if time.Since(began) < away {
				return nil, &net.OpError{Op: "dial", Err: net.ErrClosed}
			}
			reached.CompareAndSwap(0, time.Since(began).Milliseconds())
			here, there := net.Pipe()
			_ = there.Close()
			return here, nil
		}})
		defer c.Close()
		ctx, stop := context.WithTimeout(t.Context(), 1900*time.Millisecond)
		defer stop()
		c.KeepConnected(ctx, func() []string { return []string{"n:1"} })
		require.InDelta(t, 1250, reached.Load(), 51)
	})
}
