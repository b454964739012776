package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/kraft-dev/kraft-operator/internal/node/wire"
)

// Server serves the listeners of one configuration.
type Server struct {
	cfg       Config
	listeners []*listener
	metrics   *metrics
	log       *slog.Logger
	quiet     *rateLimit          // for what a peer can make us log
	memory    *semaphore.Weighted // nil without MaxRequestMemory
	ctx       context.Context     // ends when connections must close
	cancel    context.CancelFunc  //
	draining  atomic.Bool         // no new requests
	wg        sync.WaitGroup      // accept loops and connections

	mu    sync.Mutex
	conns map[*conn]struct{}
	perIP map[netip.Addr]int
}

// listener is one socket and what it serves.
type listener struct {
	Listener
	served  [maxKey]wire.API // by key; Name "" is not served
	ln      net.Listener
	metrics *listenerMetrics
}

const maxKey = 128

var connID atomic.Uint64

// New checks the configuration; no socket is opened yet.
func New(cfg Config) (*Server, error) {
	cfg.setDefaults()
	if len(cfg.Listeners) == 0 {
		return nil, errors.New("no listener: set listeners=NAME://host:port")
	}
	s := &Server{
		cfg: cfg, log: cfg.Logger, quiet: newRateLimit(10, time.Second),
		conns: map[*conn]struct{}{}, perIP: map[netip.Addr]int{},
	}
	if cfg.MaxRequestMemory > 0 {
		if cfg.MaxRequestMemory < int64(cfg.MaxProduceBytes) {
			return nil, fmt.Errorf("queued.max.request.bytes %d is less than socket.request.max.bytes %d",
				cfg.MaxRequestMemory, cfg.MaxProduceBytes)
		}
		s.memory = semaphore.NewWeighted(cfg.MaxRequestMemory)
	}
	var err error
	if s.metrics, err = newMetrics(cfg.Registry); err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, l := range cfg.Listeners {
		if names[l.Name] {
			return nil, fmt.Errorf("listener %s is there twice", l.Name)
		}
		names[l.Name] = true
		in, err := newListener(cfg, l)
		if err != nil {
			return nil, fmt.Errorf("listener %s: %w", l.Name, err)
		}
		in.metrics = s.metrics.listener(l.Name)
		s.listeners = append(s.listeners, in)
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

func newListener(cfg Config, l Listener) (*listener, error) {
	if l.Name == "" {
		return nil, errors.New("it has no name")
	}
	if l.SecurityProtocol != "PLAINTEXT" {
		return nil, fmt.Errorf("security protocol %q is not served, only PLAINTEXT: change listener.security.protocol.map", l.SecurityProtocol)
	}
	if l.Handler == nil {
		l.Handler = cfg.Handler
	}
	if len(l.APIs) == 0 {
		l.APIs = cfg.APIs
	}
	if l.Handler == nil || len(l.APIs) == 0 {
		return nil, errors.New("it has no handler or no APIs")
	}
	in := &listener{Listener: l}
	for _, a := range l.APIs {
		known, ok := wire.Lookup(a.Key)
		if !ok || a.Key >= maxKey || a.Min < 0 || a.Max > known.Max || a.Min > a.Max {
			return nil, fmt.Errorf("api %d versions %d to %d: known are %d to %d", a.Key, a.Min, a.Max, known.Min, known.Max)
		}
		a.Name = known.Name
		in.served[a.Key] = a
	}
	return in, nil
}

// Start opens every listener and begins to accept. If one fails, all are closed again.
func (s *Server) Start() error {
	for _, l := range s.listeners {
		if l.Net != nil {
			l.ln = l.Net
			continue
		}
		ln, err := net.Listen("tcp", l.Listener.Addr)
		if err != nil {
			for _, opened := range s.listeners {
				if opened.ln != nil {
					_ = opened.ln.Close()
				}
			}
			return fmt.Errorf("listener %s: %w", l.Name, err)
		}
		l.ln = ln
	}
	for _, l := range s.listeners {
		s.wg.Go(func() { s.accept(l) })
	}
	return nil
}

// Addr is the address on which a started listener accepts; nil for an unknown name.
func (s *Server) Addr(name string) net.Addr {
	for _, l := range s.listeners {
		if l.Name == name && l.ln != nil {
			return l.ln.Addr()
		}
	}
	return nil
}

// Connections is the number of open connections.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// Shutdown stops accepting and reading, lets parked requests be answered and
// written until ctx ends, then closes every connection. It returns after all
// goroutines of the server have ended; the error is ctx's if answers were lost.
func (s *Server) Shutdown(ctx context.Context) error {
	s.draining.Store(true)
	for _, l := range s.listeners {
		if l.ln != nil {
			_ = l.ln.Close()
		}
	}
	s.mu.Lock()
	for c := range s.conns {
		c.drain()
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		if s.Connections() > 0 {
			err = fmt.Errorf("requests were still unanswered: %w", ctx.Err())
		}
	}
	s.cancel()
	s.mu.Lock()
	for c := range s.conns {
		c.close(closedShutdown, nil)
	}
	s.mu.Unlock()
	<-done
	return err
}

// accept runs until the socket is closed.
func (s *Server) accept(l *listener) {
	const firstWait, lastWait = 5 * time.Millisecond, time.Second
	wait := firstWait
	for {
		nc, err := l.ln.Accept()
		switch {
		case err == nil:
			wait = firstWait
			s.admit(l, nc)
		case s.draining.Load() || errors.Is(err, net.ErrClosed):
			return
		default: // out of file descriptors, most likely: others may be closed meanwhile
			if s.quiet.allow() {
				s.log.Warn("Accepting a connection failed", "listener", l.Name, "error", err, "retryAfter", wait)
			}
			select {
			case <-time.After(wait):
			case <-s.ctx.Done():
				return
			}
			wait = min(2*wait, lastWait)
		}
	}
}

// admit starts to serve a connection, unless there are too many.
func (s *Server) admit(l *listener, nc net.Conn) {
	remote := remoteAddr(nc)
	c := newConn(s, l, nc, remote)
	if why := s.add(c, remote.Addr()); why != "" {
		l.metrics.closed(closedLimit)
		_ = nc.Close()
		if s.quiet.allow() {
			s.log.Warn("Refusing a connection", "listener", l.Name, "remote", remote, "reason", why)
		}
		return
	}
	s.tune(nc)
	l.metrics.connections.Inc()
	l.metrics.accepted.Inc()
	s.wg.Go(func() {
		c.serve()
		s.remove(c, remote.Addr())
		l.metrics.connections.Dec()
	})
}

// add registers a connection; a reason means that it was refused.
func (s *Server) add(c *conn, ip netip.Addr) (why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.draining.Load():
		return "shutting down"
	case s.cfg.MaxConnections > 0 && len(s.conns) >= s.cfg.MaxConnections:
		return "max.connections"
	case s.cfg.MaxConnectionsPerIP > 0 && s.perIP[ip] >= s.cfg.MaxConnectionsPerIP:
		return "max.connections.per.ip"
	}
	s.conns[c] = struct{}{}
	s.perIP[ip]++
	return ""
}

func (s *Server) remove(c *conn, ip netip.Addr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if s.perIP[ip]--; s.perIP[ip] == 0 {
		delete(s.perIP, ip)
	}
}

// tune sets what differs from Go's defaults (no delay, keepalive every 15 s).
func (s *Server) tune(nc net.Conn) {
	tc, ok := nc.(*net.TCPConn)
	if !ok {
		return
	}
	if s.cfg.SocketSendBuffer > 0 {
		_ = tc.SetWriteBuffer(s.cfg.SocketSendBuffer) // best effort, as in Kafka
	}
	if s.cfg.SocketReceiveBuffer > 0 {
		_ = tc.SetReadBuffer(s.cfg.SocketReceiveBuffer)
	}
}

func remoteAddr(nc net.Conn) netip.AddrPort {
	if tcp, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		ap := tcp.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}
