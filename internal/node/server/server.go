package server

import (
	"context"
	"net"
)

// Server serves the listeners of one configuration.
type Server struct {
	cfg Config
}

// New checks the configuration; no socket is opened yet.
func New(cfg Config) (*Server, error) { return &Server{cfg: cfg}, nil }

// Start opens every listener and begins to accept. If one fails, all are closed again.
func (s *Server) Start() error { return nil }

// Addr is the address on which a started listener accepts; nil for an unknown name.
func (s *Server) Addr(listener string) net.Addr { return nil }

// Shutdown stops accepting and reading, lets parked requests be answered and
// written until ctx ends, then closes every connection. It returns after all
// goroutines of the server have ended; the error is ctx's if answers were lost.
func (s *Server) Shutdown(ctx context.Context) error { return nil }
