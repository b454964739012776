// Package server owns the sockets on which a node is asked: it reads bounded frames,
// decodes them through package wire, calls a handler and writes the answers in
// request order.
package server

import (
	"log/slog"
	"net"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kraft-dev/kraft-operator/internal/node/wire"
)

// Handler takes requests of one connection in order, on that connection's reader
// goroutine. It must not block for long: park the request and answer it later.
type Handler func(*Request)

// Listener is one named socket (listeners, listener.security.protocol.map).
type Listener struct {
	Name             string // as in listeners=NAME://host:port, upper case
	SecurityProtocol string // only PLAINTEXT is served; others are refused by New
	Addr             string // host:port; an empty host is all addresses, port 0 any
	// Net is an already open socket to use instead of Addr. It is closed by Shutdown.
	Net net.Listener
	// APIs is what this listener serves. Empty: Config.APIs.
	APIs []wire.API
	// Handler of this listener's requests. Nil: Config.Handler.
	Handler Handler
}

// Config of a Server. Zero values take the defaults beside them.
type Config struct {
	Listeners []Listener
	APIs      []wire.API // keys and versions let through to Handler
	Handler   Handler

	MaxInFlight         int           // requests outstanding per connection: 5
	MaxProduceBytes     int           // socket.request.max.bytes: 104857600; all other APIs have caps of their own
	MaxRequestMemory    int64         // bytes of Produce frames of all connections together: 0 is no limit (queued.max.request.bytes)
	MaxConnections      int           // max.connections: 0 is no limit
	MaxConnectionsPerIP int           // max.connections.per.ip: 0 is no limit
	MaxIdle             time.Duration // connections.max.idle.ms: 10 minutes; negative is never
	ReadTimeout         time.Duration // for the next MiB of a frame whose first byte has come: 30 s
	WriteTimeout        time.Duration // for a peer to take 1 MiB of answers: 30 s
	SocketSendBuffer    int           // socket.send.buffer.bytes: 0 leaves it to the system
	SocketReceiveBuffer int           // socket.receive.buffer.bytes: 0 leaves it to the system

	Registry prometheus.Registerer // nil: no metrics; several servers may share one
	Logger   *slog.Logger          // nil: no logs
}

func (c *Config) setDefaults() {
	setDefault(&c.MaxInFlight, 5)
	setDefault(&c.MaxProduceBytes, 100<<20)
	setDefault(&c.MaxIdle, 10*time.Minute)
	setDefault(&c.ReadTimeout, 30*time.Second)
	setDefault(&c.WriteTimeout, 30*time.Second)
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
