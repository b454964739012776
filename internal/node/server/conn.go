package server

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/node/auth"
	"github.com/kraft-dev/kraft-operator/internal/node/trywrite"
	"github.com/kraft-dev/kraft-operator/internal/node/wire"
)

// conn is one accepted connection. Its reader goroutine (serve) reads and dispatches; a writer
// goroutine exists only while there are answers to write, so that an idle connection costs one
// goroutine and half a KiB of buffer.
type conn struct {
	srv  *Server
	lis  *listener
	nc   net.Conn
	in   frameReader
	info ConnInfo // the reader goroutine's

	out   outgoing         // the writer's, whoever set writing
	now   *trywrite.Writer // likewise
	slots chan struct{}    // one for each outstanding request
	done  chan struct{}    // closed by close

	mu       sync.Mutex
	settled  sync.Cond // queue or writing changed
	queue    []*slot   // outstanding requests, oldest first
	writing  bool      // a writer goroutine runs
	isClosed bool
	why      string // reason of the close, for the metrics
	activity time.Time
}

func newConn(s *Server, l *listener, nc net.Conn, remote netip.AddrPort) *conn {
	c := &conn{
		srv: s, lis: l, nc: nc, in: newFrameReader(nc, s.cfg.ReadTimeout),
		info: ConnInfo{
			ID: connID.Add(1), Listener: l.Name, SecurityProtocol: l.SecurityProtocol,
			Principal: auth.Anonymous, RemoteAddr: remote,
			ClientSoftwareName: unknownSoftware, ClientSoftwareVersion: unknownSoftware,
		},
		now:   trywrite.New(nc),
		slots: make(chan struct{}, s.cfg.MaxInFlight),
		done:  make(chan struct{}),
	}
	c.settled.L = &c.mu
	return c
}

// serve runs until the connection is closed, by whomever, and its writer has ended.
func (c *conn) serve() {
	err := c.readLoop()
	why := reasonFor(err)
	if c.srv.draining.Load() && (errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed)) {
		why = closedShutdown // drain made the reader stop; its peer is still there
		c.waitAnswered()
	}
	c.close(why, err)
	c.mu.Lock()
	for c.writing {
		c.settled.Wait()
	}
	why = c.why
	c.mu.Unlock()
	c.lis.metrics.closed(why)
}

// errBadInput marks what the peer did wrong; the text says what.
var errBadInput = errors.New("bad input")

// errIdle ends a connection that was silent for connections.max.idle.ms.
var errIdle = errors.New("idle")

func badInput(err error) error { return fmt.Errorf("%w: %w", errBadInput, err) }

func reasonFor(err error) string {
	switch {
	case errors.Is(err, errBadInput):
		return closedBadInput
	case errors.Is(err, errIdle):
		return closedIdle
	case errors.Is(err, io.EOF):
		return closedByPeer
	default:
		return closedNetwork
	}
}

// readLoop reads frames and hands requests to the handler, in order.
func (c *conn) readLoop() error {
	for {
		select { // room for one more?
		case c.slots <- struct{}{}:
		case <-c.done:
			return nil
		}
		size, key, version, err := c.awaitFrame()
		if err != nil {
			return err
		}
		api, err := c.accepts(size, key, version)
		if err != nil {
			return badInput(err)
		}
		frame, held, err := c.readFrame(size, key)
		if err != nil {
			return err
		}
		c.lis.metrics.received.Add(float64(size + 4))
		s, err := c.decode(frame, held, api)
		if err != nil {
			return badInput(err)
		}
		if s == nil { // answered already
			continue
		}
		c.lis.Handler(&s.Request)
	}
}

// awaitFrame waits for a frame, at most until the connection counts as idle.
func (c *conn) awaitFrame() (size int, key, version int16, err error) {
	start := time.Now()
	for {
		if err = c.in.setDeadline(c.idleDeadline(start), c.srv.cfg.MaxIdle/16); err != nil {
			return 0, 0, 0, err
		}
		if c.srv.draining.Load() { // after the deadline was set, or drain's could be lost
			return 0, 0, 0, net.ErrClosed
		}
		size, key, version, err = c.in.prefix(c.srv.cfg.MaxProduceBytes)
		switch {
		case err == nil:
			return size, key, version, nil
		case errors.Is(err, wire.ErrMalformed), errors.Is(err, wire.ErrTooLarge):
			return 0, 0, 0, badInput(err)
		case !errors.Is(err, os.ErrDeadlineExceeded) || c.srv.draining.Load():
			return 0, 0, 0, err
		case c.in.br.Buffered() > 0:
			return 0, 0, 0, badInput(fmt.Errorf("frame did not arrive within %s: %w", c.srv.cfg.ReadTimeout, err))
		}
		c.mu.Lock()
		waits := len(c.queue) > 0
		if c.activity.After(start) {
			start = c.activity
		}
		c.mu.Unlock()
		if waits { // its peer waits for us
			start = time.Now()
		}
		if time.Since(start) >= c.srv.cfg.MaxIdle {
			return 0, 0, 0, fmt.Errorf("%w for %s", errIdle, c.srv.cfg.MaxIdle)
		}
	}
}

func (c *conn) idleDeadline(since time.Time) time.Time {
	if c.srv.cfg.MaxIdle < 0 {
		return time.Time{}
	}
	return since.Add(c.srv.cfg.MaxIdle)
}

// accepts decides by a frame's first 8 bytes whether to read the rest. A version that isn't
// served is refused here, but for ApiVersions, which must be answered (KIP-511).
func (c *conn) accepts(size int, key, version int16) (wire.API, error) {
	if key < 0 || key >= maxKey || c.lis.served[key].Name == "" {
		return wire.API{}, fmt.Errorf("key %d on listener %s: %w", key, c.lis.Name, wire.ErrUnknownAPI)
	}
	api := c.lis.served[key]
	if !api.Supports(version) && key != wire.APIVersionsKey {
		return api, fmt.Errorf("%s v%d, served are %d to %d: %w", api.Name, version, api.Min, api.Max, wire.ErrUnsupportedVersion)
	}
	if limit := wire.MaxRequestSize(key, c.srv.cfg.MaxProduceBytes); size > limit {
		return api, fmt.Errorf("%s of %d bytes, at most %d: %w", api.Name, size, limit, wire.ErrTooLarge)
	}
	return api, nil
}

// readFrame reads the frame. held is how much of the server's request memory it holds.
func (c *conn) readFrame(size int, key int16) (frame []byte, held int64, err error) {
	if key == produce && c.srv.memory != nil {
		held = int64(size)
		if err = c.srv.memory.Acquire(c.srv.ctx, held); err != nil {
			return nil, 0, err
		}
	}
	if frame, err = c.in.body(size, key == produce); err != nil {
		c.releaseMemory(held)
		if errors.Is(err, os.ErrDeadlineExceeded) && !c.srv.draining.Load() {
			err = badInput(fmt.Errorf("frame did not arrive within %s: %w", c.srv.cfg.ReadTimeout, err))
		}
		return nil, 0, err
	}
	return frame, held, nil
}

func (c *conn) releaseMemory(n int64) {
	if n > 0 {
		c.srv.memory.Release(n)
	}
}

// decode turns a frame into a queued request. Nil without an error: it is answered here.
func (c *conn) decode(frame []byte, held int64, api wire.API) (*slot, error) {
	s := &slot{c: c, held: held}
	s.Raw, s.Received, s.sink = frame, time.Now(), s
	h, body, err := wire.ParseRequestHeader(frame)
	if err != nil {
		s.freeFrame()
		return nil, err
	}
	s.Key, s.Version, s.CorrelationID, s.ClientID = h.Key, h.Version, h.CorrelationID, h.ClientID
	if h.Key == wire.APIVersionsKey && !api.Supports(h.Version) {
		s.Version = 0
		s.Conn = c.info
		c.enqueue(s)
		s.Reply(unsupportedAPIVersions(api))
		return nil, nil
	}
	if s.Body, err = wire.DecodeRequest(h, body); err != nil {
		s.freeFrame()
		return nil, err
	}
	if req, ok := s.Body.(*kmsg.ApiVersionsRequest); ok && req.Version >= 3 {
		if !validSoftware(req.ClientSoftwareName) || !validSoftware(req.ClientSoftwareVersion) {
			s.Conn = c.info
			c.enqueue(s)
			s.Reply(invalidAPIVersions())
			return nil, nil
		}
		c.info.ClientSoftwareName, c.info.ClientSoftwareVersion = req.ClientSoftwareName, req.ClientSoftwareVersion
	}
	s.Conn = c.info
	c.enqueue(s)
	return s, nil
}

func (c *conn) enqueue(s *slot) {
	c.mu.Lock()
	c.queue = append(c.queue, s)
	c.mu.Unlock()
	c.lis.metrics.inFlight.Inc()
}

// drain makes the reader stop; what it has read is still answered.
func (c *conn) drain() { _ = c.nc.SetReadDeadline(time.Unix(1, 0)) }

// waitAnswered returns when every request was answered or the connection is closed, which
// happens also when the peer leaves: what it still sends is read, and thrown away.
func (c *conn) waitAnswered() {
	_ = c.nc.SetReadDeadline(time.Time{})
	var watch sync.WaitGroup
	watch.Go(func() {
		_, err := io.Copy(io.Discard, c.nc)
		if err == nil {
			err = io.EOF
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			c.close(closedByPeer, err)
		}
	})
	c.mu.Lock()
	for !c.isClosed && (len(c.queue) > 0 || c.writing) {
		c.settled.Wait()
	}
	c.mu.Unlock()
	c.drain() // the watch ends
	watch.Wait()
}

// close ends the connection; the first reason counts. It doesn't wait.
func (c *conn) close(why string, err error) {
	c.mu.Lock()
	if c.isClosed {
		c.mu.Unlock()
		return
	}
	c.isClosed, c.why = true, why
	close(c.done)
	dropped := c.queue
	c.queue = nil
	c.settled.Broadcast()
	c.mu.Unlock()
	c.lis.metrics.inFlight.Sub(float64(len(dropped)))
	for _, s := range dropped {
		if s.ready { // the others are let go of when they are answered
			s.drop()
		}
	}
	_ = c.nc.Close()
	if why == closedBadInput || why == closedByHandler {
		if c.srv.quiet.allow() {
			c.srv.log.Warn("Closing a connection", "listener", c.lis.Name, "remote", c.info.RemoteAddr, "reason", why, "error", err)
		}
		return
	}
	c.srv.log.Debug("Connection closed", "listener", c.lis.Name, "remote", c.info.RemoteAddr, "reason", why, slog.Any("error", err))
}
