package rpc

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
)

// What went wrong. Use errors.Is; a returned error is an [*Error] that wraps one of these and the cause.
var (
	// ErrRefused: nobody listens at the address. Nothing was sent.
	ErrRefused = errors.New("connection refused")
	// ErrReset: the connection broke after it was made. The request may have been carried out if Sent.
	ErrReset = errors.New("connection reset")
	// ErrTimeout: no connection or no answer in time. The request may have been carried out if Sent.
	ErrTimeout = errors.New("timed out")
	// ErrCanceled: the caller's context was canceled. The request may have been carried out if Sent.
	ErrCanceled = errors.New("canceled")
	// ErrUnreachable: no such host, or no route to it. Nothing was sent.
	ErrUnreachable = errors.New("unreachable")
	// ErrBackoff: the last attempt to connect failed, and the next one would come after the
	// caller's deadline. It wraps that attempt's error too. Nothing was sent.
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
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// kindOf sorts what the network says into our kinds.
func kindOf(err error) error {
	var dns *net.DNSError
	switch {
	case errors.Is(err, context.Canceled):
		return ErrCanceled
	case errors.As(err, &dns) && !dns.IsTimeout,
		errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		return ErrUnreachable
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), isTimeout(err):
		return ErrTimeout
	case errors.Is(err, syscall.ECONNREFUSED):
		return ErrRefused
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, syscall.ECONNRESET),
		errors.Is(err, syscall.EPIPE), errors.Is(err, net.ErrClosed), errors.Is(err, io.ErrClosedPipe):
		return ErrReset
	default:
		return ErrUnreachable
	}
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}
