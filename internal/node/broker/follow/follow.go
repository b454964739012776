// Package follow fetches what other brokers lead: one loop, client and connection per (leader, fetcher number), so that a
// partition always fetches from its leader in order (num.replica.fetchers loops per leader).
//
// Fetches carry the follower's last fetched epoch; the leader answers with the diverging epoch where the logs part (KIP-320,
// KIP-595), so no OffsetForLeaderEpoch round comes first. They carry the broker epoch, so that a fetch of an earlier life can't
// bring a broker into an ISR (KIP-903). They use no fetch session.
package follow

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/node/rpc"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// Partition is a follower as the loops need it. Calls come from one goroutine at a time per partition; each names the leader
// epoch it was asked in and changes nothing if that is over.
type Partition interface {
	// ID names the partition.
	ID() (topic string, id uuid.UUID, index int32)
	// Position is where to fetch from; false: this broker doesn't follow the partition any more.
	Position() (Position, bool)
	// AppendFetched appends whole batches with the leader's offsets, then takes its high watermark and log start.
	AppendFetched(leaderEpoch int32, records []byte, leaderHW, leaderStart int64) error
	// Diverged cuts the log where it parts from the leader's: epoch is the largest common one the leader has, endOffset where it ends there.
	Diverged(leaderEpoch int32, epoch int32, endOffset int64) error
	// OutOfRange realigns a log whose end lies outside [leaderStart, leaderEnd].
	OutOfRange(leaderEpoch int32, leaderStart, leaderEnd int64) error
	// Failed says that fetching ended for good in this epoch.
	Failed(leaderEpoch int32, err error)
}

// Position is the state of a follower between two fetches.
type Position struct {
	LeaderEpoch      int32
	FetchOffset      int64 // the local log end
	LastFetchedEpoch int32 // epoch of the record before FetchOffset, -1 for none
	LogStartOffset   int64
}

// ErrStale is what a Partition returns when the leader epoch named by a call is over.
var ErrStale = errors.New("leader epoch is over")

// Client asks one leader.
type Client interface {
	Do(ctx context.Context, addr string, req kmsg.Request, opts ...rpc.Option) (kmsg.Response, error)
	Drop(addr string)
	Close()
}

// Settings of the fetchers, read anew for each fetch. Zero values take Kafka's defaults.
type Settings struct {
	MaxWaitMs        int32         // replica.fetch.wait.max.ms: 500
	MinBytes         int32         // replica.fetch.min.bytes: 1
	PartitionMax     int32         // replica.fetch.max.bytes: 1 MiB
	ResponseMax      int32         // replica.fetch.response.max.bytes: 10 MiB
	Backoff          time.Duration // replica.fetch.backoff.ms: 1 s, the longest pause after a failure
	SocketTimeout    time.Duration // replica.socket.timeout.ms: 30 s
	FetchersByLeader int           // num.replica.fetchers: 1
}

func (s Settings) withDefaults() Settings {
	if s.MaxWaitMs <= 0 {
		s.MaxWaitMs = 500
	}
	if s.MinBytes <= 0 {
		s.MinBytes = 1
	}
	if s.PartitionMax <= 0 {
		s.PartitionMax = 1 << 20
	}
	if s.ResponseMax <= 0 {
		s.ResponseMax = 10 << 20
	}
	if s.Backoff <= 0 {
		s.Backoff = time.Second
	}
	if s.SocketTimeout <= 0 {
		s.SocketTimeout = 30 * time.Second
	}
	if s.FetchersByLeader <= 0 {
		s.FetchersByLeader = 1
	}
	return s
}

// Config of the Fetchers.
type Config struct {
	Local       int32
	BrokerEpoch func() int64
	Settings    func() Settings
	// Address is host:port of a broker's inter-broker listener; false while it isn't registered.
	Address   func(broker int32) (string, bool)
	NewClient func() Client
	Logger    *slog.Logger
}

// Fetchers owns the loops.
type Fetchers struct {
	cfg    Config
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu    sync.Mutex
	loops map[loopKey]*loop
	of    map[Partition]*loop
}

type loopKey struct {
	leader  int32
	fetcher int
}

// New makes fetchers that fetch nothing yet.
func New(cfg Config) *Fetchers {
	ctx, cancel := context.WithCancel(context.Background())
	return &Fetchers{cfg: cfg, ctx: ctx, cancel: cancel, loops: map[loopKey]*loop{}, of: map[Partition]*loop{}}
}

// Follow makes p fetch from leader, at once; it moves there if it fetched from another.
func (f *Fetchers) Follow(p Partition, leader int32) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ctx.Err() != nil {
		return
	}
	key := loopKey{leader, f.number(p)}
	l := f.loops[key]
	if old := f.of[p]; old != nil && old != l {
		f.leave(p, old)
	}
	if l == nil {
		l = newLoop(f, key)
		f.loops[key] = l
		f.wg.Go(l.run)
	}
	f.of[p] = l
	l.add(p)
}

// Unfollow stops fetching for p. A fetch in flight may still call it: with an epoch that is over.
func (f *Fetchers) Unfollow(p Partition) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if l := f.of[p]; l != nil {
		f.leave(p, l)
	}
}

// leave takes p out of a loop and ends the loop with its last partition.
func (f *Fetchers) leave(p Partition, l *loop) {
	delete(f.of, p)
	if l.remove(p) == 0 {
		delete(f.loops, l.key)
		l.stop()
	}
}

// number spreads partitions over a leader's loops, the same way each time.
func (f *Fetchers) number(p Partition) int {
	n := f.cfg.Settings().withDefaults().FetchersByLeader
	_, id, index := p.ID()
	h := uint32(index) * 31
	for _, b := range id {
		h = h*31 + uint32(b)
	}
	return int(h % uint32(n))
}

// Count is the number of partitions that are followed.
func (f *Fetchers) Count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.of)
}

// Close ends every loop and waits for it.
func (f *Fetchers) Close() {
	f.mu.Lock()
	f.cancel()
	f.mu.Unlock()
	f.wg.Wait()
}
