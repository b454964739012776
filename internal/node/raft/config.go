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
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// Log is the metadata log on disk. One goroutine appends and truncates; Flush and Read may run beside it.
type Log interface {
	// Append writes whole batches whose offsets are already given, at the log's end, without fsync.
	Append(batches []byte) error
	// Flush fsyncs everything appended or truncated before the call. A failed one is final.
	Flush() error
	TruncateTo(offset int64) error
	// Read returns whole batches from the one that holds from, below maxOffset; at least one if there is one.
	Read(from, maxOffset int64, maxBytes int) ([]byte, error)
	StartOffset() int64
	EndOffset() int64
}

// ElectionStore keeps the file quorum-state.
type ElectionStore interface {
	// Save replaces the file durably: write, fsync, rename, fsync of the directory.
	Save(quorum.ElectionState) error
}

// Network sends one request and returns the answer; *rpc.Client is one.
type Network interface {
	Do(ctx context.Context, addr string, req kmsg.Request, opts ...rpc.Option) (kmsg.Response, error)
}

// Config of a Driver. Everything is needed unless it says otherwise.
type Config struct {
	Quorum    quorum.Config
	Persisted *quorum.ElectionState // nil: there is no quorum-state
	LogState  quorum.LogState
	Log       Log
	Elections ElectionStore
	Network   Network
	Seed      uint64

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
