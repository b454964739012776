package rpc

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/kraft-dev/kraft-operator/internal/node/server"
	"github.com/kraft-dev/kraft-operator/internal/node/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testTimeout = 20 * time.Second

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
	t.Cleanup(cancel)
	return ctx
}

func newClient(t *testing.T, cfg Config) *Client {
	cfg.ClientID = "test"
	c := New(cfg)
	t.Cleanup(c.Close)
	return c
}

// serve runs a real server whose handler answers ApiVersions with apis and leaves the rest to h.
func serve(t *testing.T, apis []wire.API, h server.Handler) *server.Server {
	return serveOn(t, "127.0.0.1:0", apis, h)
}

func serveOn(t *testing.T, addr string, apis []wire.API, h server.Handler) *server.Server {
	t.Helper()
	s, err := server.New(server.Config{
		Listeners: []server.Listener{{Name: "CONTROLLER", SecurityProtocol: "PLAINTEXT", Addr: addr}},
		APIs:      wire.APIsFor(wire.ControllerListener),
		Handler: func(r *server.Request) {
			if r.Key != wire.APIVersionsKey {
				h(r)
				return
			}
			resp := kmsg.NewPtrApiVersionsResponse()
			for _, a := range apis {
				k := kmsg.NewApiVersionsResponseApiKey()
				k.ApiKey, k.MinVersion, k.MaxVersion = a.Key, a.Min, a.Max
				resp.ApiKeys = append(resp.ApiKeys, k)
			}
			r.Reply(resp)
		},
	})
	require.NoError(t, err)
	require.NoError(t, s.Start())
	t.Cleanup(func() { stopNow(s) })
	return s
}

func stopNow(s *server.Server) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = s.Shutdown(ctx)
}

func address(s *server.Server) string { return s.Addr("CONTROLLER").String() }

var controllerAPIs = wire.APIsFor(wire.ControllerListener)

// echo answers a Vote with the voter id asked for as leader id.
func echo(r *server.Request) {
	resp := kmsg.NewPtrVoteResponse()
	resp.ErrorCode = int16(len(r.Body.(*kmsg.VoteRequest).Topics))
	r.Reply(resp)
}

func vote(n int) *kmsg.VoteRequest {
	req := kmsg.NewPtrVoteRequest()
	req.Topics = make([]kmsg.VoteRequestTopic, n)
	return req
}

func TestCallsArePipelinedAndAnsweredInOrder(t *testing.T) {
	var mu sync.Mutex
	conns := map[uint64]bool{}
	s := serve(t, controllerAPIs, func(r *server.Request) {
		mu.Lock()
		conns[r.Conn.ID] = true
		mu.Unlock()
		go echo(r)
	})
	c := newClient(t, Config{MaxInFlight: 8})
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			resp, err := c.Do(testContext(t), address(s), vote(i%50))
			if err != nil {
				t.Error(err)
				return
			}
			if got := int(resp.(*kmsg.VoteResponse).ErrorCode); got != i%50 {
				t.Errorf("got the answer %d, want %d", got, i%50)
			}
		})
	}
	wg.Wait()
	mu.Lock()
	require.Len(t, conns, 1, "one connection")
	mu.Unlock()
	lo, hi, ok := c.Versions(address(s), 52)
	require.True(t, ok)
	require.Equal(t, []int16{0, 2}, []int16{lo, hi})
}

func TestVersions(t *testing.T) {
	old := []wire.API{{Key: 18, Min: 0, Max: 3}, {Key: 52, Min: 0, Max: 1}, {Key: 1, Min: 19, Max: 20}}
	got := make(chan int16, 1)
	s := serve(t, old, func(r *server.Request) {
		got <- r.Version
		echo(r)
	})
	c := newClient(t, Config{})
	cases := []struct {
		name string
		req  kmsg.Request
		opts []Option
		want int16 // -1: ErrVersion
	}{
		{"the peer's highest", vote(1), nil, 1},
		{"the caller's cap", vote(1), []Option{MaxVersion(0)}, 0},
		{"a cap above the peer's", vote(1), []Option{MaxVersion(2)}, 1},
		{"less than the caller needs", vote(1), []Option{MinVersion(2)}, -1},
		{"a range that we don't know", kmsg.NewPtrFetchRequest(), nil, -1},
		{"an api that it doesn't serve", kmsg.NewPtrFetchSnapshotRequest(), nil, -1},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			_, err := c.Do(testContext(t), address(s), tc.req, tc.opts...)
			if tc.want < 0 {
				require.ErrorIs(t, err, ErrVersion)
				return
			}
			require.NoError(t, err)
			require.Equal(t, tc.want, <-got)
		})
	}
}

// rawPeer accepts connections and hands each to play, one after the other.
func rawPeer(t *testing.T, play func(nc net.Conn)) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			_ = nc.SetDeadline(time.Now().Add(testTimeout))
			play(nc)
			_ = nc.Close()
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		wg.Wait()
	})
	return ln.Addr().String()
}

// request reads one frame and gives its header.
func request(nc net.Conn) (wire.RequestHeader, error) {
	var size [4]byte
	if _, err := io.ReadFull(nc, size[:]); err != nil {
		return wire.RequestHeader{}, err
	}
	b := make([]byte, binary.BigEndian.Uint32(size[:]))
	if _, err := io.ReadFull(nc, b); err != nil {
		return wire.RequestHeader{}, err
	}
	h, _, err := wire.ParseRequestHeader(b)
	return h, err
}

func answer(nc net.Conn, id int32, resp kmsg.Response) {
	b := wire.AppendResponse(nil, id, resp)
	_, _ = nc.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
}

// greet plays the peer's side of a negotiation in one round.
func greet(nc net.Conn) bool {
	h, err := request(nc)
	if err != nil {
		return false
	}
	resp := kmsg.NewPtrApiVersionsResponse()
	resp.Version = h.Version
	resp.ApiKeys = []kmsg.ApiVersionsResponseApiKey{{ApiKey: 18, MaxVersion: 4}, {ApiKey: 52, MaxVersion: 2}}
	answer(nc, h.CorrelationID, resp)
	return true
}

func TestOlderPeersAreAskedAgain(t *testing.T) {
	for name, named := range map[string][]kmsg.ApiVersionsResponseApiKey{
		"that name their range": {{ApiKey: 18, MaxVersion: 2}},
		"that say nothing":      nil,
	} {
		t.Run(name, func(t *testing.T) {
			asked := make(chan int16, 5)
			addr := rawPeer(t, func(nc net.Conn) {
				h, err := request(nc)
				if err != nil {
					return
				}
				asked <- h.Version
				refusal := kmsg.NewPtrApiVersionsResponse() // v0
				refusal.ErrorCode, refusal.ApiKeys = 35, named
				answer(nc, h.CorrelationID, refusal)
				if h, err = request(nc); err != nil {
					return
				}
				asked <- h.Version
				resp := kmsg.NewPtrApiVersionsResponse()
				resp.Version = h.Version
				resp.ApiKeys = []kmsg.ApiVersionsResponseApiKey{{ApiKey: 52, MaxVersion: 1}}
				answer(nc, h.CorrelationID, resp)
			})
			c := newClient(t, Config{})
			require.NoError(t, c.Connect(testContext(t), addr))
			require.Equal(t, int16(4), <-asked)
			want := int16(0)
			if named != nil {
				want = 2
			}
			require.Equal(t, want, <-asked)
		})
	}
}

func TestErrorsTellApart(t *testing.T) {
	closedPort := func() string {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer ln.Close()
		return ln.Addr().String()
	}()
	silent := rawPeer(t, func(nc net.Conn) { _, _ = io.Copy(io.Discard, nc) })
	hangsUp := rawPeer(t, func(nc net.Conn) { _, _ = request(nc) })
	resets := rawPeer(t, func(nc net.Conn) {
		if greet(nc) {
			_, _ = request(nc)
			_ = nc.(*net.TCPConn).SetLinger(0)
		}
	})
	noAnswer := rawPeer(t, func(nc net.Conn) {
		if greet(nc) {
			_, _ = io.Copy(io.Discard, nc)
		}
	})
	refusesUs := rawPeer(t, func(nc net.Conn) {
		if h, err := request(nc); err == nil {
			resp := kmsg.NewPtrApiVersionsResponse()
			resp.Version, resp.ErrorCode = h.Version, 34
			answer(nc, h.CorrelationID, resp)
		}
	})
	otherID := rawPeer(t, func(nc net.Conn) {
		if !greet(nc) {
			return
		}
		if h, err := request(nc); err == nil {
			answer(nc, h.CorrelationID+1, kmsg.NewPtrVoteResponse())
			_, _ = io.Copy(io.Discard, nc)
		}
	})
	garbage := rawPeer(t, func(nc net.Conn) {
		if !greet(nc) {
			return
		}
		if h, err := request(nc); err == nil {
			b := binary.BigEndian.AppendUint32(nil, uint32(h.CorrelationID))
			b = append(b, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0x0f) // 2^32-1 tags
			_, _ = nc.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(b))), b...))
			_, _ = io.Copy(io.Discard, nc)
		}
	})
	tooLarge := rawPeer(t, func(nc net.Conn) {
		if greet(nc) {
			_, _ = request(nc)
			_, _ = nc.Write([]byte{0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 1})
			_, _ = io.Copy(io.Discard, nc)
		}
	})
	cases := []struct {
		name, addr string
		kind       error
		sent       bool
	}{
		{"nobody listens", closedPort, ErrRefused, false},
		{"no such host", "no-such-host.invalid:1", ErrUnreachable, false},
		{"silent from the start", silent, ErrTimeout, false},
		{"hangs up on us", hangsUp, ErrReset, false},
		{"resets while we wait", resets, ErrReset, true},
		{"never answers", noAnswer, ErrTimeout, true},
		{"wants authentication", refusesUs, ErrAuth, false},
		{"answers something else", otherID, ErrProtocol, true},
		{"answers garbage", garbage, ErrProtocol, true},
		{"answers without end", tooLarge, ErrProtocol, true},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			cfg := Config{ConnectTimeout: testTimeout, RequestTimeout: testTimeout}
			switch {
			case errors.Is(tc.kind, ErrTimeout) && tc.sent:
				cfg.RequestTimeout = 2 * time.Second
			case errors.Is(tc.kind, ErrTimeout):
				cfg.ConnectTimeout = 300 * time.Millisecond
			}
			c := newClient(t, cfg)
			_, err := c.Do(context.Background(), tc.addr, vote(1))
			require.ErrorIs(t, err, tc.kind)
			var typed *Error
			require.ErrorAs(t, err, &typed)
			require.Equal(t, tc.sent, typed.Sent, "%v", err)
			require.Equal(t, tc.addr, typed.Addr)
			require.True(t, strings.HasPrefix(err.Error(), tc.addr+": "), err.Error())
		})
	}
}

func TestOnCloseTellsOfALostPeerOnly(t *testing.T) {
	lost := make(chan error, 10)
	s := serve(t, controllerAPIs, echo)
	addr := address(s)
	c := newClient(t, Config{BackoffMin: time.Second, BackoffMax: time.Second, OnClose: func(a string, cause error) {
		if a != addr {
			t.Errorf("addr %s", a)
		}
		lost <- cause
	}})
	require.NoError(t, c.Connect(testContext(t), addr))
	c.Drop(addr)
	_, _, ok := c.Versions(addr, 52)
	require.False(t, ok)
	require.NoError(t, c.Connect(testContext(t), addr))
	require.Empty(t, lost, "Drop is our own doing")
	stopNow(s)
	require.ErrorIs(t, <-lost, ErrReset)

	// Gone: the first redial is at once, and refused; the next waits for the backoff.
	_, err := c.Do(testContext(t), addr, vote(1))
	require.ErrorIs(t, err, ErrRefused)
	short, cancel := context.WithTimeout(context.Background(), 5*time.Millisecond)
	defer cancel()
	_, err = c.Do(short, addr, vote(1))
	require.ErrorIs(t, err, ErrBackoff)
	require.ErrorIs(t, err, ErrRefused, "it says why it waits")
	_, err = c.Do(testContext(t), addr, vote(1), Redial())
	require.ErrorIs(t, err, ErrRefused)
	require.False(t, errors.Is(err, ErrBackoff))

	// Back: found within the backoff.
	serveOn(t, addr, controllerAPIs, echo)
	_, err = c.Do(testContext(t), addr, vote(1))
	require.NoError(t, err)
	require.Empty(t, lost)
}

func TestBackoffDoublesWithinItsBounds(t *testing.T) {
	c := newClient(t, Config{})
	for failures, most := range map[int]time.Duration{
		1: 50 * time.Millisecond, 2: 100 * time.Millisecond, 4: 400 * time.Millisecond,
		5: 500 * time.Millisecond, 100: 500 * time.Millisecond,
	} {
		for range 50 {
			d := c.backoff(failures)
			require.LessOrEqual(t, d, most)
			require.GreaterOrEqual(t, d, most*4/5)
		}
	}
}

func TestCanceledCallLeavesTheConnection(t *testing.T) {
	parked := make(chan *server.Request, 1)
	s := serve(t, controllerAPIs, func(r *server.Request) {
		if len(r.Body.(*kmsg.VoteRequest).Topics) == 0 {
			parked <- r
			return
		}
		echo(r)
	})
	c := newClient(t, Config{OnClose: func(string, error) { t.Error("closed") }})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() {
		_, err := c.Do(ctx, address(s), vote(0))
		ended <- err
	}()
	r := <-parked
	cancel()
	err := <-ended
	require.ErrorIs(t, err, ErrCanceled)
	require.ErrorIs(t, err, context.Canceled)
	echo(r)
	resp, err := c.Do(testContext(t), address(s), vote(3))
	require.NoError(t, err)
	require.Equal(t, int16(3), resp.(*kmsg.VoteResponse).ErrorCode, "not the abandoned call's answer")
	require.Equal(t, 1, s.Connections())
}

func TestCloseFailsCallsAndWaits(t *testing.T) {
	parked := make(chan *server.Request, 1)
	s := serve(t, controllerAPIs, func(r *server.Request) { parked <- r })
	c := newClient(t, Config{OnClose: func(string, error) { t.Error("Close is our own doing") }})
	ended := make(chan error)
	go func() {
		_, err := c.Do(context.Background(), address(s), vote(0))
		ended <- err
	}()
	<-parked
	c.Close()
	require.ErrorIs(t, <-ended, ErrClosed)
	_, err := c.Do(context.Background(), address(s), vote(0))
	require.ErrorIs(t, err, ErrClosed)
	require.ErrorIs(t, c.Connect(context.Background(), "127.0.0.1:1"), ErrClosed)
}

func TestIdleConnectionIsClosedAndOpenedAgain(t *testing.T) {
	s := serve(t, controllerAPIs, echo)
	c := newClient(t, Config{IdleTimeout: 30 * time.Millisecond, OnClose: func(string, error) { t.Error("idle is our own doing") }})
	require.NoError(t, c.Connect(testContext(t), address(s)))
	require.Eventually(t, func() bool { return s.Connections() == 0 }, testTimeout, time.Millisecond)
	_, err := c.Do(testContext(t), address(s), vote(1))
	require.NoError(t, err)
}

func TestLargeAnswers(t *testing.T) {
	s := serve(t, controllerAPIs, func(r *server.Request) {
		resp := kmsg.NewPtrFetchResponse()
		part := kmsg.NewFetchResponseTopicPartition()
		part.RecordBatches = make([]byte, 20<<20)
		resp.Topics = []kmsg.FetchResponseTopic{{Partitions: []kmsg.FetchResponseTopicPartition{part}}}
		r.Reply(resp)
	})
	c := newClient(t, Config{})
	resp, err := c.Do(testContext(t), address(s), kmsg.NewPtrFetchRequest(), MaxVersion(17))
	require.NoError(t, err)
	require.Equal(t, int16(17), resp.GetVersion())
	require.Len(t, resp.(*kmsg.FetchResponse).Topics[0].Partitions[0].RecordBatches, 20<<20)
}
