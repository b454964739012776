package raft

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/node/auth"
	"github.com/kraft-dev/kraft-operator/internal/node/rpc"
	"github.com/kraft-dev/kraft-operator/internal/quorum"
	"github.com/kraft-dev/kraft-operator/internal/quorum/disk"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// Network sends one request and returns the answer; *rpc.Client is one.
type Network interface {
	Do(ctx context.Context, addr string, req kmsg.Request, opts ...rpc.Option) (kmsg.Response, error)
}

// Config of a Driver. Everything is needed unless it says otherwise.
type Config struct {
	Quorum  quorum.Config
	Disk    *disk.Disk // closed by the caller, after Run
	Network Network
	Seed    uint64

	// Retention says when the log's prefix may go.
	Retention Retention

	// Linger is append.linger.ms, a ceiling: an idle log appends at once, and what arrives during a flush goes
	// out with the next, but no later than this.
	Linger time.Duration
	// ShutdownTimeout bounds the graceful leave (Kafka: 5 s).
	ShutdownTimeout time.Duration
	// ReplaceDirectory durably gives the metadata directory a fresh directory id (decision 7).
	ReplaceDirectory func() (uuid.UUID, error)
	Authorizer       auth.Authorizer
	Logger           *slog.Logger
	Registry         prometheus.Registerer // nil: no metrics
}
