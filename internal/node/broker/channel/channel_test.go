package channel

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/node/auth"
	"github.com/kraft-dev/kraft-operator/internal/node/rpc"
)

type fakeNet struct {
	mu     sync.Mutex
	leader Node
	known  bool
	asked  []string
	answer func(ctx context.Context, addr string, req kmsg.Request) (kmsg.Response, error)
}

func (f *fakeNet) ActiveController() (Node, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.leader, f.known
}

func (f *fakeNet) lead(id int32, addr string) {
	f.mu.Lock()
	f.leader, f.known = Node{ID: id, Addr: addr}, true
	f.mu.Unlock()
}

func (f *fakeNet) Do(ctx context.Context, addr string, req kmsg.Request, _ ...rpc.Option) (kmsg.Response, error) {
	f.mu.Lock()
	f.asked = append(f.asked, addr)
	f.mu.Unlock()
	return f.answer(ctx, addr, req)
}

func (f *fakeNet) Drop(string) {}

func beat(code *kerr.Error) (kmsg.Response, error) {
	r := &kmsg.BrokerHeartbeatResponse{}
	if code != nil {
		r.ErrorCode = code.Code
	}
	return r, nil
}

func TestNotControllerIsAskedAgainWhenTheLeaderChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeNet{}
		c := New(f, f, slog.New(slog.DiscardHandler))
		f.answer = func(_ context.Context, addr string, _ kmsg.Request) (kmsg.Response, error) {
			if addr == "old:1" {
				return beat(kerr.NotController)
			}
			return beat(nil)
		}
		f.lead(1, "old:1")
		go func() {
			<-time.After(30 * time.Millisecond)
			f.lead(2, "new:1")
			c.LeaderChanged()
		}()
		began := time.Now()
		_, err := c.Do(t.Context(), &kmsg.BrokerHeartbeatRequest{})
		require.NoError(t, err)
		require.Equal(t, 30*time.Millisecond, time.Since(began))
		require.Equal(t, []string{"old:1", "new:1"}, f.asked)
	})
}

func TestANewLeaderThatIsNotActiveYetIsAskedAgainSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeNet{}
		c := New(f, f, slog.New(slog.DiscardHandler))
		f.lead(1, "new:1")
		c.LeaderChanged()
		began := time.Now()
		f.answer = func(context.Context, string, kmsg.Request) (kmsg.Response, error) {
			if time.Since(began) < 12*time.Millisecond {
				return beat(kerr.NotController)
			}
			return beat(nil)
		}
		_, err := c.Do(t.Context(), &kmsg.BrokerHeartbeatRequest{})
		require.NoError(t, err)
		require.Equal(t, 15*time.Millisecond, time.Since(began))
	})
}

func TestALeaderIsLookedUpEvery100Ms(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeNet{answer: func(context.Context, string, kmsg.Request) (kmsg.Response, error) { return beat(nil) }}
		c := New(f, f, slog.New(slog.DiscardHandler))
		go func() {
			<-time.After(250 * time.Millisecond)
			f.lead(1, "a:1")
		}()
		began := time.Now()
		_, err := c.Do(t.Context(), &kmsg.BrokerHeartbeatRequest{})
		require.NoError(t, err)
		require.Equal(t, 300*time.Millisecond, time.Since(began))
	})
}

func TestAnOldLeaderThatIsCutOffIsAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeNet{}
		c := New(f, f, slog.New(slog.DiscardHandler))
		f.answer = func(ctx context.Context, addr string, _ kmsg.Request) (kmsg.Response, error) {
			if addr == "dead:1" {
				<-ctx.Done()
				return nil, &rpc.Error{Addr: addr, Kind: rpc.ErrTimeout}
			}
			return beat(nil)
		}
		f.lead(1, "dead:1")
		go func() {
			<-time.After(time.Second)
			f.lead(2, "new:1")
			c.LeaderChanged()
		}()
		began := time.Now()
		_, err := c.Do(t.Context(), &kmsg.BrokerHeartbeatRequest{})
		require.NoError(t, err)
		require.Less(t, time.Since(began), time.Second+2*abandonAfter)
	})
}

func TestDoEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &fakeNet{}
		c := New(f, f, slog.New(slog.DiscardHandler))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := c.Do(ctx, &kmsg.BrokerHeartbeatRequest{})
		require.ErrorIs(t, err, ErrNoController)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestForwardWrapsTheRequest(t *testing.T) {
	f := &fakeNet{}
	f.lead(1, "a:1")
	c := New(f, f, slog.New(slog.DiscardHandler))
	f.answer = func(_ context.Context, _ string, req kmsg.Request) (kmsg.Response, error) {
		env, ok := req.(*kmsg.EnvelopeRequest)
		if !ok {
			return nil, errors.New("not an envelope")
		}
		require.Equal(t, []byte("raw"), env.RequestData)
		require.Equal(t, []byte{127, 0, 0, 1}, env.ClientHostAddress)
		var p auth.Principal
		require.NoError(t, p.UnmarshalBinary(env.RequestPrincipal))
		require.Equal(t, auth.Anonymous, p)
		return &kmsg.EnvelopeResponse{ResponseData: []byte("answer")}, nil
	}
	got, err := c.Forward(t.Context(), []byte("raw"), auth.Anonymous, netip.MustParseAddr("::ffff:127.0.0.1"))
	require.NoError(t, err)
	require.Equal(t, []byte("answer"), got)
}
