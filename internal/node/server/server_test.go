package server

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
	"go.uber.org/goleak"

	"github.com/kraft-dev/kraft-operator/internal/node/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testTimeout = 20 * time.Second

// start runs a server with one listener TEST on loopback until the test ends.
func start(t *testing.T, h Handler, change func(*Config)) *Server {
	t.Helper()
	cfg := Config{
		Listeners: []Listener{{Name: "TEST", SecurityProtocol: "PLAINTEXT", Addr: "127.0.0.1:0"}},
		APIs:      wire.APIsFor(wire.BrokerListener),
		Handler:   h,
	}
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg)
	require.NoError(t, err)
	require.NoError(t, s.Start())
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), testTimeout)
		defer cancel()
		_ = s.Shutdown(ctx)
	})
	return s
}

// peer is a client that speaks in bytes.
type peer struct {
	net.Conn
	t *testing.T
}

func dial(t *testing.T, s *Server) *peer {
	t.Helper()
	nc, err := net.Dial("tcp", s.Addr("TEST").String())
	require.NoError(t, err)
	t.Cleanup(func() { _ = nc.Close() })
	require.NoError(t, nc.SetDeadline(time.Now().Add(testTimeout)))
	return &peer{nc, t}
}

func (p *peer) send(id int32, req kmsg.Request) {
	p.t.Helper()
	name := "test"
	_, err := p.Write(wire.AppendRequest(nil, &name, id, req))
	require.NoError(p.t, err)
}

// frame reads one answer without its size.
func (p *peer) frame() []byte {
	p.t.Helper()
	var size [4]byte
	_, err := io.ReadFull(p, size[:])
	require.NoError(p.t, err)
	b := make([]byte, binary.BigEndian.Uint32(size[:]))
	_, err = io.ReadFull(p, b)
	require.NoError(p.t, err)
	return b
}

func (p *peer) receive(id int32, resp kmsg.Response) {
	p.t.Helper()
	got, body, err := wire.ParseResponseHeader(resp.Key(), resp.GetVersion(), p.frame())
	require.NoError(p.t, err)
	require.Equal(p.t, id, got)
	require.NoError(p.t, wire.DecodeResponse(resp, body))
}

// closed waits until the server has closed the connection without another byte.
func (p *peer) closed() {
	p.t.Helper()
	n, err := io.Copy(io.Discard, p)
	require.Zero(p.t, n)
	if err != nil { // a reset, where it left bytes unread
		require.ErrorContains(p.t, err, "reset")
	}
}

func heartbeat() *kmsg.HeartbeatRequest {
	req := kmsg.NewPtrHeartbeatRequest()
	req.Version, req.Group, req.MemberID = 4, "g", "m"
	return req
}

// beatResponse is what a Heartbeat is answered with; the throttle time tells answers apart.
func beatResponse(throttle int32) *kmsg.HeartbeatResponse {
	resp := kmsg.NewPtrHeartbeatResponse()
	resp.Version, resp.ThrottleMillis = 4, throttle
	return resp
}

func answerAll(r *Request) { r.Reply(r.Body.ResponseKind()) }

// logBuffer collects log lines of several goroutines.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *logBuffer) count(sub string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), sub)
}

func TestAnswersLeaveInRequestOrder(t *testing.T) {
	parked := make(chan *Request, 5)
	s := start(t, func(r *Request) { parked <- r }, nil)
	p := dial(t, s)
	for i := range int32(5) {
		p.send(i, heartbeat())
	}
	var reqs []*Request
	for range 5 {
		reqs = append(reqs, <-parked)
	}
	for _, i := range []int{4, 2, 1, 3, 0} {
		require.Equal(t, int32(i), reqs[i].CorrelationID)
		require.Equal(t, "test", reqs[i].ClientID)
		require.Equal(t, "User:ANONYMOUS", reqs[i].Conn.Principal.String())
		go reqs[i].Reply(beatResponse(int32(i)))
	}
	for i := range int32(5) {
		resp := beatResponse(-1)
		p.receive(i, resp)
		require.Equal(t, i, resp.ThrottleMillis)
	}
}

func TestNoMoreThanMaxInFlightAreRead(t *testing.T) {
	parked := make(chan *Request, 20)
	s := start(t, func(r *Request) { parked <- r }, func(c *Config) { c.MaxInFlight = 3 })
	p := dial(t, s)
	for i := range int32(8) {
		p.send(i, heartbeat())
	}
	var held []*Request
	for range 3 {
		held = append(held, <-parked)
	}
	for i := range int32(8) {
		require.Empty(t, parked, "a request was read before there was room")
		held[0].Reply(beatResponse(0))
		p.receive(i, beatResponse(-1))
		held = held[1:]
		if i < 5 {
			held = append(held, <-parked)
		}
	}
}

func TestOnlyTheFirstAnswerCounts(t *testing.T) {
	released := atomic.Int32{}
	s := start(t, func(r *Request) {
		r.Reply(beatResponse(1))
		r.Reply(beatResponse(2))
		r.ReplyRaw(RawReply{Release: func() { released.Add(1) }})
		r.ReplyNone()
		r.Close(io.EOF)
	}, nil)
	p := dial(t, s)
	for i := range int32(3) {
		p.send(i, heartbeat())
		resp := beatResponse(-1)
		p.receive(i, resp)
		require.Equal(t, int32(1), resp.ThrottleMillis)
	}
	require.Equal(t, int32(3), released.Load())
}

func TestRequestsWithoutAnAnswer(t *testing.T) {
	s := start(t, func(r *Request) {
		if r.Key == 0 {
			r.ReplyNone()
			return
		}
		answerAll(r)
	}, nil)
	p := dial(t, s)
	for i := range int32(10) { // more than may be outstanding
		req := kmsg.NewPtrProduceRequest()
		req.Version = 9
		p.send(i, req)
	}
	p.send(99, heartbeat())
	p.receive(99, beatResponse(-1))
}

func TestFetchIsSentFromFilesAndMemory(t *testing.T) {
	records := bytes.Repeat([]byte("0123456789abcdef"), 400_000) // 6.4 MB: more than the socket's buffers
	path := filepath.Join(t.TempDir(), "segment")
	require.NoError(t, os.WriteFile(path, append([]byte("head"), records...), 0o600))
	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	for name, source := range map[string]func() wire.Segment{
		"file":   func() wire.Segment { return wire.FileSegment(file, 4, int64(len(records))) },
		"reader": func() wire.Segment { return wire.FileSegment(bytes.NewReader(records), 0, int64(len(records))) },
		"bytes":  func() wire.Segment { return wire.BytesSegment(records) },
	} {
		t.Run(name, func(t *testing.T) {
			released := make(chan struct{}, 10)
			s := start(t, func(r *Request) {
				resp := kmsg.NewPtrFetchResponse()
				resp.Version = r.Version
				part := kmsg.NewFetchResponseTopicPartition()
				resp.Topics = []kmsg.FetchResponseTopic{{Topic: "t", Partitions: []kmsg.FetchResponseTopicPartition{part, part}}}
				r.ReplyRaw(RawReply{
					Segments: wire.FetchSegments(resp, func(_, p int) []wire.Segment {
						if p == 1 {
							return []wire.Segment{wire.BytesSegment([]byte("small"))}
						}
						return []wire.Segment{source()}
					}),
					Release: func() { released <- struct{}{} },
				})
			}, nil)
			p := dial(t, s)
			req := kmsg.NewPtrFetchRequest()
			req.Version = 12
			for i := range int32(3) { // several connections would share the file's position
				p.send(i, req)
			}
			for i := range int32(3) {
				resp := kmsg.NewPtrFetchResponse()
				resp.Version = 12
				p.receive(i, resp)
				require.True(t, bytes.Equal(records, resp.Topics[0].Partitions[0].RecordBatches))
				require.Equal(t, "small", string(resp.Topics[0].Partitions[1].RecordBatches))
				<-released
			}
		})
	}
}

func TestFileThatEndsEarlyClosesTheConnection(t *testing.T) {
	path := filepath.Join(t.TempDir(), "segment")
	require.NoError(t, os.WriteFile(path, []byte("short"), 0o600))
	file, err := os.Open(path)
	require.NoError(t, err)
	defer file.Close()
	released := make(chan struct{})
	s := start(t, func(r *Request) {
		r.ReplyRaw(RawReply{Segments: []wire.Segment{wire.FileSegment(file, 0, 100)}, Release: func() { close(released) }})
	}, nil)
	p := dial(t, s)
	p.send(1, heartbeat())
	<-released
	b, _ := io.ReadAll(p)
	require.Less(t, len(b), 100)
}

func TestProduceFramesAreReusedOnlyAfterTheirAnswer(t *testing.T) {
	s := start(t, func(r *Request) {
		req := r.Body.(*kmsg.ProduceRequest)
		want := req.Topics[0].Topic[0]
		for _, b := range req.Topics[0].Partitions[0].Records {
			if b != want {
				r.Close(io.ErrUnexpectedEOF)
				return
			}
		}
		if want%2 == 0 {
			r.ReleaseFrame()
			r.ReleaseFrame()
		}
		resp := r.Body.ResponseKind()
		go r.Reply(resp)
	}, func(c *Config) { c.MaxRequestMemory = 101 << 20 })
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			p := dial(t, s)
			for i := range int32(50) {
				fillWith := byte('a' + (n*7+int(i))%26)
				req := kmsg.NewPtrProduceRequest()
				req.Version = 9
				part := kmsg.NewProduceRequestTopicPartition()
				part.Records = bytes.Repeat([]byte{fillWith}, 1+int(i)*9000)
				req.Topics = []kmsg.ProduceRequestTopic{{Topic: string(fillWith), Partitions: []kmsg.ProduceRequestTopicPartition{part}}}
				p.send(i, req)
				resp := kmsg.NewPtrProduceResponse()
				resp.Version = 9
				p.receive(i, resp)
			}
		})
	}
	wg.Wait()
}

func TestIdleConnectionsAreClosed(t *testing.T) {
	parked := make(chan *Request, 1)
	s := start(t, func(r *Request) { parked <- r }, func(c *Config) { c.MaxIdle = time.Second })
	idle, busy := dial(t, s), dial(t, s)
	busy.send(1, heartbeat())
	r := <-parked
	idle.closed()
	idle = dial(t, s)
	idle.closed() // twice the idle time has passed for the one that waits for an answer
	r.Reply(beatResponse(7))
	busy.receive(1, beatResponse(-1))
	busy.closed()
}

func TestSlowReaderIsClosed(t *testing.T) {
	released := make(chan struct{})
	s := start(t, func(r *Request) {
		r.ReplyRaw(RawReply{Segments: []wire.Segment{wire.BytesSegment(make([]byte, 64<<20))}, Release: func() { close(released) }})
	}, func(c *Config) { c.WriteTimeout = 100 * time.Millisecond })
	p := dial(t, s)
	p.send(1, heartbeat())
	<-released // without a byte read by the client
}

func TestLimitsOnConnections(t *testing.T) {
	s := start(t, answerAll, func(c *Config) { c.MaxConnections = 2 })
	first, second := dial(t, s), dial(t, s)
	first.send(1, heartbeat())
	first.receive(1, beatResponse(-1))
	second.send(1, heartbeat())
	second.receive(1, beatResponse(-1))
	dial(t, s).closed()
	require.NoError(t, first.Close())
	require.Eventually(t, func() bool { return s.Connections() < 2 }, testTimeout, time.Millisecond)
	third := dial(t, s)
	third.send(1, heartbeat())
	third.receive(1, beatResponse(-1))

	s = start(t, answerAll, func(c *Config) { c.MaxConnectionsPerIP = 1 })
	first = dial(t, s)
	first.send(1, heartbeat())
	first.receive(1, beatResponse(-1))
	dial(t, s).closed()
}

func TestShutdownWaitsForParkedRequests(t *testing.T) {
	parked := make(chan *Request, 2)
	s := start(t, func(r *Request) { parked <- r }, nil)
	p := dial(t, s)
	p.send(1, heartbeat())
	p.send(2, heartbeat())
	first, second := <-parked, <-parked
	ended := make(chan error)
	go func() { ended <- s.Shutdown(context.Background()) }()
	require.Eventually(t, func() bool {
		nc, err := net.Dial("tcp", s.Addr("TEST").String())
		if err == nil {
			_ = nc.Close()
		}
		return err != nil
	}, testTimeout, time.Millisecond, "it still accepts")
	second.Reply(beatResponse(2))
	first.Reply(beatResponse(1))
	p.receive(1, beatResponse(-1))
	p.receive(2, beatResponse(-1))
	require.NoError(t, <-ended)
	require.Zero(t, s.Connections())
	p.closed()
}

func TestShutdownDoesNotWaitForPeersThatLeft(t *testing.T) {
	parked := make(chan *Request, 1)
	s := start(t, func(r *Request) { parked <- r }, nil)
	p := dial(t, s)
	p.send(1, heartbeat())
	r := <-parked
	require.NoError(t, p.Close())
	require.NoError(t, s.Shutdown(context.Background()))
	require.True(t, r.ConnClosed())
}

func TestShutdownGivesUpWithItsContext(t *testing.T) {
	parked := make(chan *Request, 1)
	s := start(t, func(r *Request) { parked <- r }, nil)
	p := dial(t, s)
	p.send(1, heartbeat())
	r := <-parked
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, s.Shutdown(ctx), context.Canceled)
	p.closed()
	require.True(t, r.ConnClosed())
	released := false
	r.ReplyRaw(RawReply{Release: func() { released = true }})
	require.True(t, released, "an answer that nobody waits for is let go of at once")
}

func TestConfigurationsThatCannotBe(t *testing.T) {
	apis := wire.APIsFor(wire.BrokerListener)
	plain := Listener{Name: "A", SecurityProtocol: "PLAINTEXT", Addr: "127.0.0.1:0"}
	sasl := Listener{Name: "B", SecurityProtocol: "SASL_SSL"}
	cases := []struct {
		name, want string
		cfg        Config
	}{
		{"no listener", "set listeners=", Config{}},
		{"no handler", "no handler", Config{Listeners: []Listener{plain}, APIs: apis}},
		{"two of one name", "twice", Config{Listeners: []Listener{plain, plain}, APIs: apis, Handler: answerAll}},
		{"a protocol that isn't served", `listener B: security protocol "SASL_SSL" is not served, only PLAINTEXT`, Config{Listeners: []Listener{plain, sasl}, APIs: apis, Handler: answerAll}},
		{"versions past the table", "api 18 versions 0 to 5: known are 0 to 4", Config{Listeners: []Listener{plain}, APIs: []wire.API{{Key: 18, Max: 5}}, Handler: answerAll}},
		{"too little memory", "queued.max.request.bytes", Config{Listeners: []Listener{plain}, APIs: apis, Handler: answerAll, MaxRequestMemory: 5}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := New(c.cfg)
			require.ErrorContains(t, err, c.want)
		})
	}
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer taken.Close()
	second := Listener{Name: "B", SecurityProtocol: "PLAINTEXT", Addr: taken.Addr().String()}
	s, err := New(Config{Listeners: []Listener{plain, second}, APIs: apis, Handler: answerAll})
	require.NoError(t, err)
	require.ErrorContains(t, s.Start(), "listener B")
	_, err = net.Dial("tcp", s.Addr("A").String())
	require.Error(t, err, "the first listener is closed again")
}

func TestMetrics(t *testing.T) {
	reg := prometheus.NewRegistry()
	s := start(t, func(r *Request) {
		resp := r.Body.ResponseKind().(*kmsg.HeartbeatResponse)
		resp.ErrorCode = 25
		r.Reply(resp)
	}, func(c *Config) { c.Registry = reg })
	start(t, answerAll, func(c *Config) { c.Registry = reg; c.Listeners[0].Name = "OTHER" }) // shares the registry
	p := dial(t, s)
	p.send(1, heartbeat())
	p.receive(1, beatResponse(-1))
	require.NoError(t, p.Close())
	require.Eventually(t, func() bool { return s.Connections() == 0 }, testTimeout, time.Millisecond)
	got := gather(t, reg)
	require.Equal(t, 1.0, got["kraft_server_requests_total Heartbeat TEST"])
	require.Equal(t, 1.0, got["kraft_server_request_errors_total Heartbeat UNKNOWN_MEMBER_ID TEST"])
	require.Equal(t, 1.0, got["kraft_server_request_duration_seconds Heartbeat TEST"])
	require.Equal(t, 1.0, got["kraft_server_connections_accepted_total TEST"])
	require.Equal(t, 1.0, got["kraft_server_connections_closed_total TEST peer"])
	require.Zero(t, got["kraft_server_connections TEST"])
	require.Zero(t, got["kraft_server_requests_in_flight TEST"])
	require.Positive(t, got["kraft_server_received_bytes_total TEST"])
	require.Positive(t, got["kraft_server_sent_bytes_total TEST"])
	require.Contains(t, got, "kraft_server_connections OTHER")
}

// gather is every series of a registry, as its name and label values; of a histogram, the count.
func gather(t *testing.T, reg *prometheus.Registry) map[string]float64 {
	t.Helper()
	families, err := reg.Gather()
	require.NoError(t, err)
	out := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			switch {
			case m.GetHistogram() != nil:
				out[name] = float64(m.GetHistogram().GetSampleCount())
			case m.GetGauge() != nil:
				out[name] = m.GetGauge().GetValue()
			default:
				out[name] = m.GetCounter().GetValue()
			}
		}
	}
	return out
}
