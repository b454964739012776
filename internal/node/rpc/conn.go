package rpc

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/node/trywrite"
	"github.com/kraft-dev/kraft-operator/internal/node/wire"
)

var (
	errDropped = errors.New("dropped")
	errIdle    = errors.New("idle")
	// errStale: the connection ended before the call was given to it.
	errStale = errors.New("stale connection")
)

// call is one request on its way.
type call struct {
	key, version int16
	frame        []byte
	id           int32
	sent         atomic.Bool
	done         chan struct{} // closed after answer or err is set
	answer       []byte        // body
	err          error
	then         func() // instead of done being closed; nil for calls that are waited for
}

// end tells whoever waits that answer or err is set.
func (cl *call) end() {
	if cl.then != nil {
		cl.then()
		return
	}
	close(cl.done)
}

// conn is one negotiated connection. A writer and a reader goroutine serve it from serve on.
type conn struct {
	c        *Client
	addr     string
	nc       net.Conn
	br       *bufio.Reader
	versions map[int16]versionRange // fixed after negotiate
	room     chan struct{}          // one for each call that was not answered
	gone     chan struct{}          // closed by close
	wake     chan struct{}          // the writer's, of one

	mu      sync.Mutex
	writing bool             // somebody writes: the writer, or a call that was started
	now     *trywrite.Writer // whose writing it is
	lastID  int32
	outbox  []*call // to be written, in order
	pending []*call // to be answered, in order; those of outbox too
	cause   error   // why it was closed
	lastUse time.Time
	idle    *time.Timer
}

func newConn(c *Client, addr string, nc net.Conn) *conn {
	return &conn{
		c: c, addr: addr, nc: nc, br: bufio.NewReaderSize(nc, 4096),
		versions: map[int16]versionRange{},
		room:     make(chan struct{}, c.cfg.MaxInFlight),
		gone:     make(chan struct{}),
		wake:     make(chan struct{}, 1),
		now:      trywrite.New(nc),
		lastUse:  time.Now(),
	}
}

// serve begins to serve a connection that became p's. Client.mu is held.
func (cn *conn) serve(p *peer) {
	if idle := cn.c.cfg.IdleTimeout; idle > 0 {
		cn.mu.Lock()
		cn.idle = time.AfterFunc(idle, cn.checkIdle)
		cn.mu.Unlock()
	}
	cn.c.wg.Go(cn.writeLoop)
	cn.c.wg.Go(func() {
		cn.close(cn.readLoop())
		cn.ended(p)
	})
}

// ended forgets the connection and tells the owner if it was the peer or the network that ended it.
func (cn *conn) ended(p *peer) {
	cn.c.mu.Lock()
	if p.conn == cn {
		p.conn = nil
	}
	closed := cn.c.closed
	cn.c.mu.Unlock()
	cause := cn.closeCause()
	if closed || errors.Is(cause, errDropped) || errors.Is(cause, errIdle) || errors.Is(cause, ErrClosed) {
		return
	}
	cn.c.cfg.Logger.Debug("Connection lost", "addr", cn.addr, "error", cause)
	if cn.c.cfg.OnClose != nil {
		cn.c.cfg.OnClose(cn.addr, &Error{Addr: cn.addr, Kind: causeKind(cause), Err: cause})
	}
}

func (cn *conn) closeCause() error {
	cn.mu.Lock()
	defer cn.mu.Unlock()
	return cn.cause
}

// causeKind is how a call fails whose connection was closed.
func causeKind(cause error) error {
	switch {
	case errors.Is(cause, ErrClosed):
		return ErrClosed
	case errors.Is(cause, wire.ErrMalformed), errors.Is(cause, wire.ErrTooLarge), errors.Is(cause, ErrProtocol):
		return ErrProtocol
	case errors.Is(cause, errDropped), errors.Is(cause, errIdle):
		return ErrReset
	}
	if kind := kindOf(cause); errors.Is(kind, ErrTimeout) {
		return ErrTimeout
	}
	return ErrReset
}

// call sends a request whose version is set and waits for its answer.
// Errors: errStale where nothing was sent and another connection may be tried; else an *Error.
func (cn *conn) call(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	name := kmsg.NameForKey(req.Key())
	select {
	case cn.room <- struct{}{}:
	case <-cn.gone:
		return nil, errStale
	case <-ctx.Done():
		return nil, contextError(ctx, cn.addr, name, false)
	}
	cl := &call{
		key: req.Key(), version: req.GetVersion(), done: make(chan struct{}),
		frame: wire.AppendRequest(nil, &cn.c.cfg.ClientID, 0, req),
	}
	if !cn.enqueue(cl, false) {
		return nil, errStale
	}
	select {
	case <-cl.done:
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			cn.close(fmt.Errorf("%s: no answer: %w", name, ctx.Err()))
		}
		select {
		case <-cl.done: // it came just now
			if cl.err == nil {
				break
			}
			return nil, contextError(ctx, cn.addr, name, cl.sent.Load())
		default:
			return nil, contextError(ctx, cn.addr, name, cl.sent.Load())
		}
	}
	return cn.outcome(cl, req)
}

// outcome decodes the answer of a call that has ended.
func (cn *conn) outcome(cl *call, req kmsg.Request) (kmsg.Response, error) {
	name := kmsg.NameForKey(cl.key)
	if cl.err != nil {
		return nil, cn.lost(name, cl.sent.Load())
	}
	resp := req.ResponseKind()
	resp.SetVersion(cl.version)
	if err := wire.DecodeResponse(resp, cl.answer); err != nil {
		cn.close(err)
		return nil, &Error{Addr: cn.addr, API: name, Kind: ErrProtocol, Sent: true, Err: err}
	}
	return resp, nil
}

// start sends a request whose version is set and calls then once, later, with the answer. False: nothing was sent.
func (cn *conn) start(req kmsg.Request, timeout time.Duration, then func(kmsg.Response, error)) bool {
	select {
	case cn.room <- struct{}{}:
	default:
		return false
	}
	cl := &call{key: req.Key(), version: req.GetVersion(), frame: wire.AppendRequest(nil, &cn.c.cfg.ClientID, 0, req)}
	timer := time.AfterFunc(timeout, func() {
		cn.close(fmt.Errorf("%s: no answer: %w", kmsg.NameForKey(cl.key), context.DeadlineExceeded))
	})
	cl.then = func() {
		timer.Stop()
		then(cn.outcome(cl, req))
	}
	if !cn.enqueue(cl, true) {
		timer.Stop()
		return false
	}
	return true
}

func (cn *conn) lost(api string, sent bool) error {
	cause := cn.closeCause()
	return &Error{Addr: cn.addr, API: api, Kind: causeKind(cause), Sent: sent, Err: cause}
}

// enqueue gives a call its correlation id and place; false if the connection is closed. now: it is written from here, as far as the kernel takes
// it at once and nothing is before it.
func (cn *conn) enqueue(cl *call, now bool) bool {
	cn.mu.Lock()
	if cn.cause != nil {
		cn.mu.Unlock()
		return false
	}
	cn.lastID++
	cl.id = cn.lastID
	binary.BigEndian.PutUint32(cl.frame[8:], uint32(cl.id)) // after size, key and version
	cn.pending = append(cn.pending, cl)
	cn.lastUse = time.Now()
	if !now || cn.writing || len(cn.outbox) > 0 {
		cn.outbox = append(cn.outbox, cl)
		cn.mu.Unlock()
		cn.signal()
		return true
	}
	cn.writing = true
	cn.mu.Unlock()

	cl.sent.Store(true)
	n, _ := cn.now.Write(cl.frame) // an error is the writer's to meet: ending calls from here might come back to the caller
	cn.mu.Lock()
	cn.writing = false
	if cl.frame = cl.frame[n:]; len(cl.frame) > 0 && cn.cause == nil {
		cn.outbox = slices.Insert(cn.outbox, 0, cl)
	}
	more := len(cn.outbox) > 0
	cn.mu.Unlock()
	if more {
		cn.signal()
	}
	return true
}

func (cn *conn) signal() {
	select {
	case cn.wake <- struct{}{}:
	default:
	}
}

// takeOutbox makes the caller the one who writes what is to be written, until it says written; none while another one writes, who signals.
func (cn *conn) takeOutbox() (batch []*call) {
	cn.mu.Lock()
	defer cn.mu.Unlock()
	if cn.writing || len(cn.outbox) == 0 {
		return nil
	}
	batch, cn.outbox, cn.writing = cn.outbox, nil, true
	return batch
}

func (cn *conn) written() {
	cn.mu.Lock()
	cn.writing = false
	cn.mu.Unlock()
}

// writeLoop writes what is in the outbox, all of it at once.
func (cn *conn) writeLoop() {
	for {
		select {
		case <-cn.wake:
		case <-cn.gone:
			return
		}
		batch := cn.takeOutbox()
		if len(batch) == 0 {
			continue
		}
		buffers := make(net.Buffers, 0, len(batch))
		for _, cl := range batch {
			cl.sent.Store(true)
			buffers = append(buffers, cl.frame)
			cl.frame = nil
		}
		err := cn.nc.SetWriteDeadline(time.Now().Add(cn.c.cfg.RequestTimeout))
		if err == nil {
			_, err = buffers.WriteTo(cn.nc)
		}
		cn.written()
		if err != nil {
			cn.close(err)
			return
		}
	}
}

// readLoop hands answers to their calls until the connection ends.
func (cn *conn) readLoop() error {
	for {
		frame, err := readFrame(cn.br, cn.c.cfg.MaxResponse)
		if err != nil {
			return err
		}
		cn.mu.Lock()
		if len(cn.pending) == 0 {
			cn.mu.Unlock()
			return fmt.Errorf("an answer that nothing was asked for: %w", ErrProtocol)
		}
		cl := cn.pending[0]
		cn.pending[0] = nil
		cn.pending = cn.pending[1:]
		cn.lastUse = time.Now()
		cn.mu.Unlock()
		id, body, err := wire.ParseResponseHeader(cl.key, cl.version, frame)
		if err == nil && id != cl.id {
			err = fmt.Errorf("correlation id %d, want %d: %w", id, cl.id, ErrProtocol)
		}
		cl.answer, cl.err = body, err
		if err != nil {
			cn.close(err)
			cl.end()
			return err
		}
		cl.end()
		<-cn.room
	}
}

// close ends the connection and fails its calls; the first cause counts. It doesn't wait.
func (cn *conn) close(cause error) {
	cn.mu.Lock()
	if cn.cause != nil {
		cn.mu.Unlock()
		return
	}
	cn.cause = cause
	failed := cn.pending
	cn.pending, cn.outbox = nil, nil
	if cn.idle != nil {
		cn.idle.Stop()
	}
	close(cn.gone)
	cn.mu.Unlock()
	_ = cn.nc.Close()
	for _, cl := range failed {
		cl.err = cause
		cl.end()
	}
}

// checkIdle closes a connection that nobody has used for IdleTimeout.
func (cn *conn) checkIdle() {
	cn.mu.Lock()
	left := cn.c.cfg.IdleTimeout - time.Since(cn.lastUse)
	if cn.cause == nil && (left > 0 || len(cn.pending) > 0) {
		cn.idle.Reset(max(left, cn.c.cfg.IdleTimeout/4))
		cn.mu.Unlock()
		return
	}
	cn.mu.Unlock()
	cn.forget()
	cn.close(errIdle)
}

// forget makes new calls open another connection.
func (cn *conn) forget() {
	cn.c.mu.Lock()
	defer cn.c.mu.Unlock()
	if p := cn.c.peers[cn.addr]; p != nil && p.conn == cn {
		p.conn = nil
	}
}
