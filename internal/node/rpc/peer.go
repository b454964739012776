package rpc

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// peer is what the client knows of one address. Guarded by Client.mu.
type peer struct {
	conn     *conn
	dialing  *dialing
	failures int       // attempts failed in a row
	retryAt  time.Time // when the next attempt may start
	lastErr  error     // of the last attempt
}

// dialing is an attempt that callers wait for together.
type dialing struct {
	since time.Time
	done  chan struct{}
	conn  *conn // set before done is closed
	err   error
}

// connection returns the negotiated connection to addr, made now if need be.
func (c *Client) connection(ctx context.Context, addr string, o callOptions) (*conn, error) {
	for {
		cn, d, wait, lastErr, err := c.attempt(addr, o)
		if cn != nil || err != nil {
			return cn, err
		}
		if d != nil {
			return d.wait(ctx, addr, o.patience)
		}
		if deadline, ok := ctx.Deadline(); o.patience > 0 || ok && time.Until(deadline) < wait {
			return nil, &Error{Addr: addr, Kind: ErrBackoff, Err: lastErr}
		}
		timer := time.NewTimer(wait)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return nil, contextError(ctx, addr, "", false)
		case <-c.ctx.Done():
			timer.Stop()
			return nil, &Error{Addr: addr, Kind: ErrClosed}
		}
	}
}

// wait returns the connection that is being made, if that ends before ctx does and, where patience isn't 0, within it.
func (d *dialing) wait(ctx context.Context, addr string, patience time.Duration) (*conn, error) {
	var enough <-chan time.Time // never
	if patience > 0 {
		timer := time.NewTimer(patience - time.Since(d.since))
		defer timer.Stop()
		enough = timer.C
	}
	select {
	case <-d.done:
		return d.conn, d.err
	case <-ctx.Done():
		return nil, contextError(ctx, addr, "", false)
	case <-enough:
		return nil, &Error{Addr: addr, Kind: ErrTimeout, Err: fmt.Errorf("no connection within %s", patience)}
	}
}

// attempt gives the connection there is, or the attempt to make one (started here if it may), or
// how long until the next attempt.
func (c *Client) attempt(addr string, o callOptions) (cn *conn, d *dialing, wait time.Duration, lastErr, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return nil, nil, 0, nil, &Error{Addr: addr, Kind: ErrClosed}
	}
	p := c.peers[addr]
	if p == nil {
		p = &peer{}
		c.peers[addr] = p
	}
	if p.conn != nil && p.conn.closeCause() == nil {
		return p.conn, nil, 0, nil, nil
	}
	if p.dialing != nil {
		return nil, p.dialing, 0, nil, nil
	}
	once := o.patience > 0 && p.failures == 1
	if wait = time.Until(p.retryAt); p.failures > 0 && wait > 0 && !o.skipBackoff && !once {
		return nil, nil, wait, p.lastErr, nil
	}
	d = &dialing{since: time.Now(), done: make(chan struct{})}
	p.dialing = d
	c.wg.Go(func() { c.dial(addr, p, d) })
	return nil, d, 0, nil, nil
}

// dial makes one attempt and tells those who wait.
func (c *Client) dial(addr string, p *peer, d *dialing) {
	ctx, cancel := context.WithTimeout(c.ctx, c.cfg.ConnectTimeout)
	defer cancel()
	cn, err := c.open(ctx, addr)
	c.mu.Lock()
	p.dialing = nil
	if err == nil && c.closed {
		err = ErrClosed
	}
	if err == nil {
		p.conn, p.failures, p.lastErr = cn, 0, nil
		cn.serve(p)
	} else {
		err = dialError(addr, err)
		p.failures++
		p.retryAt = time.Now().Add(c.backoff(p.failures))
		p.lastErr = err
	}
	c.mu.Unlock()
	if err != nil {
		if cn != nil {
			_ = cn.nc.Close()
			cn = nil
		}
		c.cfg.Logger.Debug("Connecting failed", "addr", addr, "error", err)
	}
	d.conn, d.err = cn, err
	close(d.done)
}

func dialError(addr string, err error) error {
	var typed *Error
	switch {
	case errors.As(err, &typed):
		return err
	case errors.Is(err, ErrClosed), errors.Is(err, context.Canceled): // only Close cancels
		return &Error{Addr: addr, Kind: ErrClosed}
	default:
		return &Error{Addr: addr, Kind: kindOf(err), Err: err}
	}
}

// backoff doubles from BackoffMin to BackoffMax, less up to a fifth so that peers don't fall into step.
func (c *Client) backoff(failures int) time.Duration {
	d := c.cfg.BackoffMin << min(failures-1, 16)
	if d > c.cfg.BackoffMax || d <= 0 {
		d = c.cfg.BackoffMax
	}
	return d - time.Duration(rand.Int64N(int64(d)/5+1))
}

func contextError(ctx context.Context, addr, api string, sent bool) error {
	return &Error{Addr: addr, API: api, Kind: kindOf(ctx.Err()), Sent: sent, Err: ctx.Err()}
}
