// Package rpc asks other nodes: one connection per client and address, versions
// negotiated once per connection, requests pipelined and answered in order.
package rpc

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// What went wrong. Use errors.Is; a returned error is an [*Error] that wraps one of these and the cause.
var (
	// ErrRefused: nobody listens at the address. Nothing was sent.
	ErrRefused = errors.New("connection refused")
	// ErrReset: the connection broke after it was made. The request may have been carried out.
	ErrReset = errors.New("connection reset")
	// ErrTimeout: no connection or no answer in time. The request may have been carried out if Sent.
	ErrTimeout = errors.New("timed out")
	// ErrUnreachable: no such host, or no route to it. Nothing was sent.
	ErrUnreachable = errors.New("unreachable")
	// ErrBackoff: the last attempt to connect failed moments ago. Nothing was sent.
	ErrBackoff = errors.New("waiting to reconnect")
	// ErrVersion: the peer serves no version that we and the caller's limits allow. Nothing was sent.
	ErrVersion = errors.New("no common version")
	// ErrAuth: the peer refused our credentials.
	ErrAuth = errors.New("authentication failed")
	// ErrProtocol: the peer's answer could not be read; the connection was closed.
	ErrProtocol = errors.New("protocol error")
	// ErrClosed: this client was closed.
	ErrClosed = errors.New("client closed")
)

// Error is a failed call.
type Error struct {
	Addr string
	API  string // "" while connecting
	Kind error  // one of the Err values
	Sent bool   // the request may have reached the peer
	Err  error  // the cause, may be nil
}

func (e *Error) Error() string {
	s := e.Addr + ": "
	if e.API != "" {
		s += e.API + ": "
	}
	s += e.Kind.Error()
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap gives the kind and the cause.
func (e *Error) Unwrap() []error { return []error{e.Kind, e.Err} }

// Config of a Client. Zero values take the defaults beside them.
type Config struct {
	ClientID        string
	SoftwareName    string        // "kraftd", sent in ApiVersions (KIP-511)
	SoftwareVersion string        // "0"
	ConnectTimeout  time.Duration // socket.connection.setup.timeout: 2 s, and bounded by the call's context
	RequestTimeout  time.Duration // when the call's context has no deadline: 30 s
	BackoffMin      time.Duration // reconnect.backoff: 50 ms
	BackoffMax      time.Duration // 500 ms
	MaxInFlight     int           // requests sent and not answered per connection: 64
	MaxResponse     int           // bytes: 100 MiB
	IdleTimeout     time.Duration // close a connection unused for so long: 0 is never
	// OnClose is called after an established connection to addr ended, from a goroutine that
	// holds no lock. A closed connection is a hint that the peer is gone. Not called by Close.
	OnClose func(addr string, cause error)
	Dial    func(ctx context.Context, network, addr string) (net.Conn, error) // net.Dialer's
	Logger  *slog.Logger
}

// Client keeps one connection per address. For another purpose (so that a slow fetch never
// delays a vote) make another client.
type Client struct {
	cfg Config
}

// New makes a client; nothing is connected yet.
func New(cfg Config) *Client { return &Client{cfg: cfg} }

// NewClient is New with defaults.
func NewClient(clientID string, logger *slog.Logger) *Client {
	return New(Config{ClientID: clientID, Logger: logger})
}

// Option changes one call.
type Option func(*callOptions)

type callOptions struct {
	minVersion, maxVersion int16
	ignoreBackoff          bool
}

// MinVersion refuses (ErrVersion) a peer that doesn't serve at least v.
func MinVersion(v int16) Option { return func(o *callOptions) { o.minVersion = v } }

// MaxVersion asks in no version above v, whatever the peer serves.
func MaxVersion(v int16) Option { return func(o *callOptions) { o.maxVersion = v } }

// Redial connects at once even though the last attempt failed moments ago.
func Redial() Option { return func(o *callOptions) { o.ignoreBackoff = true } }

// Do sends req to addr (host:port) and returns the answer, in the highest version that
// the peer, the table in package wire and the options share (req's version is set to it).
//
// Errors: an [*Error]; error codes inside the answer are the caller's business.
// Alias:  the answer's byte fields are its own; req must not be changed until Do returns.
func (c *Client) Do(ctx context.Context, addr string, req kmsg.Request, opts ...Option) (kmsg.Response, error) {
	return nil, &Error{Addr: addr, Kind: ErrClosed}
}

// Connect makes sure that there is a negotiated connection to addr.
func (c *Client) Connect(ctx context.Context, addr string, opts ...Option) error {
	return &Error{Addr: addr, Kind: ErrClosed}
}

// Versions is the range of an API that the connected peer at addr serves; ok is false without
// a connection or where it doesn't serve the API.
func (c *Client) Versions(addr string, key int16) (lo, hi int16, ok bool) { return 0, 0, false }

// Drop closes the connection to addr, if any. OnClose isn't called.
func (c *Client) Drop(addr string) {}

// Close ends every connection, fails every call with ErrClosed and waits for all goroutines.
func (c *Client) Close() {}
