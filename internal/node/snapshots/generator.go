// Package snapshots makes a node's own snapshots of its metadata image (KIP-630): every node does so, controller or broker, active
// or not, each by its own counters.
package snapshots

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
)

// worthwhile is how many records of log a start has to read at least for a leaving node to write a snapshot in their place.
const worthwhile = 10_000

// recordsPerAppend is how many records are encoded at a time; Kafka puts as many into a batch.
const recordsPerAppend = 1024

// Point is where an image stands in the log.
type Point struct {
	EndOffset int64 // exclusive
	Epoch     int32 // of the last record below it
	Timestamp int64 // of the last batch, wall-clock milliseconds
	// Aligned: EndOffset ends a batch, the image holds all below it, and no metadata transaction is open.
	Aligned bool
}

// Writer writes one snapshot; *raft.SnapshotWriter is one.
type Writer interface {
	Append(values ...[]byte) error
	// Freeze returns the size in bytes, 0 where another of that id came first.
	Freeze() (int64, error)
	Abort() error
}

// Config of a Generator.
type Config struct {
	MaxBytes int64         // metadata.log.max.record.bytes.between.snapshots
	Interval time.Duration // metadata.log.max.snapshot.interval.ms; 0 is off
	// Create begins a snapshot; nil, nil where it exists already.
	Create func(Point) (Writer, error)
	// HighWatermark of the log, exclusive; false while it isn't known.
	HighWatermark func() (int64, bool)
	// Newest is the exclusive end offset of the newest snapshot, 0 if there is none.
	Newest   func() int64
	Registry prometheus.Registerer // nil: no metrics
	Logger   *slog.Logger
}

// Generator follows one state machine and writes its snapshots in the background, one at a time, from immutable images.
type Generator struct {
	cfg     Config
	start   time.Time
	jobs    chan job // capacity 1
	metrics *metrics

	mu       sync.Mutex
	trigger  trigger
	busy     chan struct{} // closed when the snapshot under way is done; nil: none is
	caughtUp bool
	latest   job // the newest image that a snapshot can be made of; nil img: none yet
}

type job struct {
	img    *metadata.Image
	at     Point
	reason string
	most   int // records; it is given up if there are more. 0: no bound
}

var errTooMany = errors.New("the image holds too many records")

// New makes a generator; Run writes.
func New(cfg Config) *Generator {
	g := &Generator{cfg: cfg, start: time.Now(), jobs: make(chan job, 1)}
	g.trigger = trigger{maxBytes: cfg.MaxBytes, interval: cfg.Interval}
	g.metrics = newMetrics(cfg.Registry)
	return g
}

// Committed tells of the image after committed batches of so many bytes. It doesn't block. Until the image has caught up with the high
// watermark once nothing is counted: what was read at a start is no reason for a snapshot.
func (g *Generator) Committed(img *metadata.Image, at Point, bytes int64) {
	now := time.Since(g.start)
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.caughtUp {
		hw, known := g.cfg.HighWatermark()
		if g.caughtUp = known && at.EndOffset >= hw; g.caughtUp {
			g.trigger.reset(now)
			g.keep(img, at)
		}
		return
	}
	g.keep(img, at)
	if reason := g.trigger.committed(now, bytes, at.Aligned, g.busy != nil); reason != "" {
		g.busy = make(chan struct{})
		g.jobs <- job{img: img, at: at, reason: reason} // never full: not busy
	}
}

func (g *Generator) keep(img *metadata.Image, at Point) {
	if at.Aligned {
		g.latest = job{img: img, at: at, reason: "leaving"}
	}
}

// Leave writes a last snapshot before the node stops, where that spares its next start at least half of what it would read
// otherwise: starts don't count for the rules of Kafka, so the log behind the last snapshot may have grown over many of them.
// It returns when the snapshot is there, none is worth it, or ctx has ended. Nothing may be committed after it that a snapshot is wanted of.
func (g *Generator) Leave(ctx context.Context) {
	g.mu.Lock()
	j, log, busy := g.latest, g.latest.at.EndOffset-g.cfg.Newest(), g.busy
	last := busy == nil && j.img != nil && log >= worthwhile
	if last {
		g.busy = make(chan struct{}) // and stays so: Run begins no other
	}
	g.mu.Unlock()
	switch {
	case last:
		j.most = int(log / 2)
		g.take(ctx, j)
	case busy != nil: // it will do
		select {
		case <-busy:
		case <-ctx.Done():
		}
	}
}

// Loaded tells that the state machine was replaced by a snapshot.
func (g *Generator) Loaded() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.trigger.reset(time.Since(g.start))
}

// Run writes snapshots until ctx ends. One that fails is dropped and logged; the next is tried when it is due.
func (g *Generator) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case j := <-g.jobs:
			g.take(ctx, j)
			g.mu.Lock()
			close(g.busy)
			g.busy = nil
			g.mu.Unlock()
		}
	}
}

func (g *Generator) take(ctx context.Context, j job) {
	log := g.cfg.Logger.With("endOffset", j.at.EndOffset, "epoch", j.at.Epoch)
	began := time.Now()
	size, err := g.write(ctx, j)
	switch {
	case ctx.Err() != nil || errors.Is(err, errTooMany):
	case err != nil:
		g.metrics.failed.Inc()
		log.Error("No snapshot could be made", "reason", j.reason, "err", err)
	case size > 0:
		g.metrics.generated(size)
		log.Info("Made a snapshot", "reason", j.reason, "bytes", size, "took", time.Since(began).Round(time.Millisecond))
	}
}

// write returns 0 where the snapshot is there already.
func (g *Generator) write(ctx context.Context, j job) (int64, error) {
	w, err := g.cfg.Create(j.at)
	if err != nil || w == nil {
		return 0, err
	}
	if err := g.fill(ctx, w, j); err != nil {
		return 0, errors.Join(err, w.Abort())
	}
	return w.Freeze()
}

func (g *Generator) fill(ctx context.Context, w Writer, j job) error {
	version := j.img.MetadataVersion()
	values := make([][]byte, 0, recordsPerAppend)
	n := 0
	for rec := range j.img.Records() {
		if n++; j.most > 0 && n > j.most {
			return errTooMany
		}
		values = append(values, metadata.Encode(rec, version.RecordVersion(rec)))
		if len(values) < recordsPerAppend {
			continue
		}
		if err := errors.Join(ctx.Err(), w.Append(values...)); err != nil {
			return err
		}
		values = values[:0]
	}
	return errors.Join(ctx.Err(), w.Append(values...))
}
