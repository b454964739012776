// Package rpc asks other nodes: one connection per client and address, versions
// negotiated once per connection, requests pipelined and answered in order.
package rpc

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"net"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Config of a Client. Zero values take the defaults beside them.
type Config struct {
	ClientID        string
	SoftwareName    string        // "kraftd", sent in ApiVersions (KIP-511)
	SoftwareVersion string        // "0"
	ConnectTimeout  time.Duration // socket.connection.setup.timeout: 2 s, and bounded by the call's context
	DialAgain       time.Duration // another attempt joins one that has no answer: 100 ms
	RequestTimeout  time.Duration // when the call's context has no deadline: 30 s
	BackoffMin      time.Duration // reconnect.backoff: 50 ms
	BackoffMax      time.Duration // 500 ms
	MaxInFlight     int           // requests sent and not answered per connection: 64
	MaxResponse     int           // bytes: 100 MiB
	IdleTimeout     time.Duration // close a connection unused for so long: 0 is never
	// OnClose is called after an established connection to addr ended, from a goroutine that
	// holds no lock; it must not call Close. A closed connection is a hint that the peer is gone. Not called by Close.
	OnClose func(addr string, cause error)
	Dial    func(ctx context.Context, network, addr string) (net.Conn, error) // net.Dialer's
	Logger  *slog.Logger
}

func (c *Config) setDefaults() {
	setDefault(&c.SoftwareName, "kraftd")
	setDefault(&c.SoftwareVersion, "0")
	setDefault(&c.ConnectTimeout, 2*time.Second)
	setDefault(&c.DialAgain, 100*time.Millisecond)
	setDefault(&c.RequestTimeout, 30*time.Second)
	setDefault(&c.BackoffMin, 50*time.Millisecond)
	setDefault(&c.BackoffMax, 500*time.Millisecond)
	setDefault(&c.MaxInFlight, 64)
	setDefault(&c.MaxResponse, 100<<20)
	if c.Dial == nil {
		c.Dial = (&net.Dialer{}).DialContext
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
}

func setDefault[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}

// Client keeps one connection per address. For another purpose (so that a slow fetch never
// delays a vote) make another client.
type Client struct {
	cfg    Config
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	wg     sync.WaitGroup // dials and connections

	mu     sync.Mutex
	closed bool
	peers  map[string]*peer
}

// New makes a client; nothing is connected yet.
func New(cfg Config) *Client {
	cfg.setDefaults()
	c := &Client{cfg: cfg, peers: map[string]*peer{}}
	c.ctx, c.cancel = context.WithCancel(context.Background())
	return c
}

// NewClient is New with defaults.
func NewClient(clientID string, logger *slog.Logger) *Client {
	return New(Config{ClientID: clientID, Logger: logger})
}

// Option changes one call.
type Option func(*callOptions)

type callOptions struct {
	minVersion, maxVersion int16
	skipBackoff            bool
	patience               time.Duration // 0: as long as the call
}

func options(opts []Option) callOptions {
	o := callOptions{maxVersion: math.MaxInt16}
	for _, opt := range opts {
		opt(&o)
	}
	return o
}

// MinVersion refuses (ErrVersion) a peer that doesn't serve at least v.
func MinVersion(v int16) Option { return func(o *callOptions) { o.minVersion = v } }

// MaxVersion asks in no version above v, whatever the peer serves.
func MaxVersion(v int16) Option { return func(o *callOptions) { o.maxVersion = v } }

// Redial connects at once even though the last attempt failed moments ago.
func Redial() Option { return func(o *callOptions) { o.skipBackoff = true } }

// Patience is for whoever can ask somebody else: without a connection the call fails at once while a back-off runs (ErrBackoff), and so long
// after the attempt to make one began (ErrTimeout, nothing sent). The attempt goes on, for the calls to come. After one failed attempt
// another is made at once, back-off or not: a second refusal says more than the first.
func Patience(d time.Duration) Option { return func(o *callOptions) { o.patience = d } }

// Do sends req to addr (host:port) and returns the answer, in the highest version that
// the peer, the table in package wire and the options share (req's version is set to it).
//
// Order:  calls on one address are sent in the order in which Do enqueues them, and answered in it.
// Bound:  ctx, or RequestTimeout where it has no deadline. A call that times out closes the
// connection (nothing can be told from a peer that is silent); one that is canceled does not.
// Errors: an [*Error]; error codes inside the answer are the caller's business.
// Alias:  the answer's byte fields are its own; req must not be changed until Do returns.
func (c *Client) Do(ctx context.Context, addr string, req kmsg.Request, opts ...Option) (kmsg.Response, error) {
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.cfg.RequestTimeout)
		defer cancel()
	}
	o := options(opts)
	for {
		cn, err := c.connection(ctx, addr, o)
		if err != nil {
			return nil, err
		}
		version, err := cn.pick(req.Key(), o)
		if err != nil {
			return nil, &Error{Addr: addr, API: kmsg.NameForKey(req.Key()), Kind: ErrVersion, Err: err}
		}
		req.SetVersion(version)
		resp, err := cn.call(ctx, req)
		if !errors.Is(err, errStale) {
			return resp, err
		}
	}
}

// TryGo sends req to addr on the connection that there is and returns at once; the answer goes to then, once, on the goroutine that reads
// it (or that closes the connection), which then must not hold up for long. False, and nothing was done, where there is no connection,
// or none with room or with a version that serves: Do makes one, waits, or says why.
//
// Bound and errors are Do's, timeout in the place of the context's deadline.
func (c *Client) TryGo(addr string, timeout time.Duration, req kmsg.Request, then func(kmsg.Response, error), opts ...Option) bool {
	c.mu.Lock()
	var cn *conn
	if p := c.peers[addr]; p != nil {
		cn = p.conn
	}
	c.mu.Unlock()
	if cn == nil {
		return false
	}
	version, err := cn.pick(req.Key(), options(opts))
	if err != nil {
		return false
	}
	req.SetVersion(version)
	return cn.start(req, timeout, then)
}

// Connect makes sure that there is a negotiated connection to addr.
func (c *Client) Connect(ctx context.Context, addr string, opts ...Option) error {
	_, err := c.connection(ctx, addr, options(opts))
	return err
}

// Versions is the range of an API that the connected peer at addr serves; ok is false without
// a connection or where it doesn't serve the API.
func (c *Client) Versions(addr string, key int16) (lo, hi int16, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if p := c.peers[addr]; p != nil && p.conn != nil {
		r, ok := p.conn.versions[key]
		return r.lo, r.hi, ok
	}
	return 0, 0, false
}

// Drop closes the connection to addr, if any, and forgets its backoff. OnClose isn't called.
func (c *Client) Drop(addr string) {
	c.mu.Lock()
	p := c.peers[addr]
	var cn *conn
	if p != nil {
		cn, p.conn, p.failures = p.conn, nil, 0
	}
	c.mu.Unlock()
	if cn != nil {
		cn.close(errDropped)
	}
}

// Close ends every connection, fails every call with ErrClosed and waits for all goroutines.
func (c *Client) Close() {
	c.mu.Lock()
	c.closed = true
	var open []*conn
	for _, p := range c.peers {
		if p.conn != nil {
			open = append(open, p.conn)
			p.conn = nil
		}
	}
	c.mu.Unlock()
	c.cancel()
	for _, cn := range open {
		cn.close(ErrClosed)
	}
	c.wg.Wait()
}
