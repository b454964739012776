package rpc

import (
	"context"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// TestPatience: who can ask somebody else waits neither for a back-off nor long for a node whose host is gone, while the attempt goes on.
func TestPatience(t *testing.T) {
	const patience = 100 * time.Millisecond
	refuse := func(context.Context, string, string) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	}
	silent := func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	type call struct {
		wait time.Duration // before it
		took time.Duration
		kind error
	}
	for _, tc := range []struct {
		name  string
		dial  func(context.Context, string, string) (net.Conn, error)
		opts  []Option
		calls []call
		dials int
	}{
		{"a closed port, patient", refuse, nil, []call{{0, 0, ErrRefused}, {0, 50 * time.Millisecond, ErrRefused}}, 2},
		{"a closed port", refuse, []Option{Patience(patience)},
			[]call{{0, 0, ErrRefused}, {0, 0, ErrRefused}, {20 * time.Millisecond, 0, ErrBackoff}, {20 * time.Millisecond, 0, ErrBackoff}, {60 * time.Millisecond, 0, ErrRefused}}, 3},
		{"a silent host, patient", silent, nil, []call{{0, 2 * time.Second, ErrTimeout}}, 1},
		{"a silent host", silent, []Option{Patience(patience)},
			[]call{{0, patience, ErrTimeout}, {0, 0, ErrTimeout}, {20 * time.Millisecond, 0, ErrTimeout}, {1900 * time.Millisecond, patience, ErrTimeout}}, 2},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				dials := 0
				c := New(Config{BackoffMin: 50 * time.Millisecond, DialAgain: time.Minute, Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
					dials++
					return tc.dial(ctx, network, addr)
				}})
				defer c.Close()
				for i, call := range tc.calls {
					<-time.After(call.wait)
					synctest.Wait()
					began := time.Now()
					_, err := c.Do(t.Context(), "n:1", vote(1), tc.opts...)
					require.ErrorIs(t, err, call.kind, "call %d", i)
					took := time.Since(began)
					require.LessOrEqual(t, took, call.took, "call %d", i)
					require.GreaterOrEqual(t, took, call.took*4/5, "call %d", i) // a back-off is up to a fifth less
					var typed *Error
					require.ErrorAs(t, err, &typed)
					require.False(t, typed.Sent)
				}
				require.Equal(t, tc.dials, dials)
			})
		})
	}
}
