package raft

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kraft-dev/kraft-operator/internal/node/server"
	"github.com/kraft-dev/kraft-operator/internal/quorum"
	"github.com/kraft-dev/kraft-operator/internal/quorum/disk"
)

// inboxSize bounds what waits for the loop. Handlers block on a full inbox, which slows their connections down.
const inboxSize = 1024

// commitLinger bounds how long a record waits for the commit under way: docs/decisions/0019.
const commitLinger = 5 * time.Millisecond

// Driver runs one replica of the metadata log.
type Driver struct {
	cfg     Config
	q       *quorum.Quorum
	disk    *disk.Disk
	acc     *accumulator
	deliver *delivery
	flusher *syncer
	persist *syncer
	metrics *metrics
	start   time.Time

	inbox   chan func()
	stopped chan struct{} // closed when the loop has ended
	status  atomic.Pointer[quorum.Status]
	fatal   chan error // capacity 1

	sends    sync.WaitGroup // and what else the loop has started
	sendCtx  context.Context
	stopSend context.CancelFunc

	// Owned by the loop.
	requests     map[uint64]*server.Request
	nextReply    uint64
	pending      []quorum.Event                // completions produced while effects are carried out
	flushSeq     uint64                        // newest Flush asked for
	flushDone    uint64                        // newest Flush reported
	questions    map[uint64]chan quorum.Effect // ask.go
	nextQuestion uint64
	proposals    []proposal
	notes        notes
	helpless     map[string]int // answers in a row of a bootstrap server that name no leader
	dead         bool           // an effect failed: nothing may leave any more
	shutdown     chan struct{}  // closed at ShutdownComplete
}

// proposal remembers when records were prepared, for the commit latency.
type proposal struct {
	last  quorum.Offset
	since time.Time
}

// New makes a driver; Run starts it.
func New(cfg Config) (*Driver, error) {
	q, err := quorum.New(cfg.Quorum, cfg.Disk.Persisted, cfg.Disk.LogState, cfg.Seed)
	if err != nil {
		return nil, err
	}
	d := &Driver{
		cfg: cfg, q: q, disk: cfg.Disk, acc: newAccumulator(), start: time.Now(),
		inbox: make(chan func(), inboxSize), stopped: make(chan struct{}), fatal: make(chan error, 1),
		requests: map[uint64]*server.Request{}, questions: map[uint64]chan quorum.Effect{}, helpless: map[string]int{}, shutdown: make(chan struct{}),
	}
	d.sendCtx, d.stopSend = context.WithCancel(context.Background())
	d.deliver = newDelivery(cfg.Disk, d.fail)
	d.deliver.newestSnapshot(cfg.Disk.Snapshots())
	d.flusher = newSyncer(cfg.Disk.Flush, func(seq uint64) { d.post(func() { d.flushed(seq) }) }, d.fail)
	d.persist = newSyncer(nil, func(seq uint64) { d.post(func() { d.step(quorum.ElectionPersisted{Seq: seq}) }) }, d.fail)
	st := q.Status()
	d.status.Store(&st)
	d.metrics = newMetrics(cfg.Registry, d)
	return d, nil
}

// Register adds a state machine; it is given the newest snapshot, if there is one, and everything behind it. Before or after Run.
func (d *Driver) Register(l Listener) { d.deliver.register(l) }

// Run drives the replica until ctx ends or the disk fails; the error is the disk's. It returns after all its
// goroutines have ended. To leave gracefully call Shutdown first.
func (d *Driver) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	for _, f := range []func(context.Context){d.deliver.run, d.flusher.run, d.persist.run} {
		wg.Go(func() { f(ctx) })
	}
	err := d.loop(ctx)
	close(d.stopped)
	cancel()
	d.stopSend()
	wg.Wait()
	d.sends.Wait()
	for _, r := range d.requests {
		r.Close(errors.New("the node is shutting down"))
	}
	return err
}

func (d *Driver) now() quorum.Instant { return time.Since(d.start) }

func (d *Driver) loop(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	clean := time.NewTicker(cleanInterval)
	defer clean.Stop()
	d.step(quorum.Start{})
	d.publish()
	for {
		timer.Reset(d.untilNext())
		select {
		case f := <-d.inbox:
			f()
			d.drainInbox()
		case <-d.acc.wake:
		case <-timer.C:
			if d.now() >= d.q.Deadline() {
				d.step(quorum.Tick{})
			}
		case <-clean.C:
			d.clean()
		case err := <-d.fatal:
			d.acc.stop()
			return err
		case <-ctx.Done():
			d.acc.stop()
			return nil
		}
		d.propose()
		d.publish()
	}
}

// drainInbox takes what has piled up, so that one proposal and one flush serve it all.
func (d *Driver) drainInbox() {
	for range inboxSize {
		select {
		case f := <-d.inbox:
			f()
		default:
			return
		}
	}
}

// untilNext is when the loop must wake by itself: the engine's deadline, or the end of the linger.
func (d *Driver) untilNext() time.Duration {
	wait := time.Hour // long enough to be of no account
	if at := d.q.Deadline(); at != quorum.Never {
		wait = min(wait, at-d.now())
	}
	if oldest, ok := d.acc.oldest(); ok {
		wait = min(wait, d.linger()-time.Since(oldest))
	}
	return max(wait, 0)
}

// linger is how long a record waits for others now: not at all in an idle log. What comes during a flush, or while a commit is under way,
// goes out together.
func (d *Driver) linger() time.Duration {
	switch {
	case d.flushSeq > d.flushDone:
		return d.cfg.Linger
	case len(d.proposals) > 0:
		return min(d.cfg.Linger, commitLinger)
	}
	return 0
}

// propose drains the accumulator if the log is idle, or if the oldest record has lingered long enough.
func (d *Driver) propose() {
	if linger := d.linger(); linger > 0 {
		if oldest, ok := d.acc.oldest(); !ok || time.Since(oldest) < linger {
			return
		}
	}
	if p, since, ok := d.acc.drain(); ok {
		d.proposals = append(d.proposals, proposal{last: p.Batches[len(p.Batches)-1].Last, since: since})
		d.step(p)
	}
}

// step feeds one event and all that its effects complete on the spot.
func (d *Driver) step(ev quorum.Event) {
	if d.dead {
		return
	}
	d.apply(d.q.Step(d.now(), ev))
	for i := 0; i < len(d.pending) && !d.dead; i++ { // it grows meanwhile
		d.apply(d.q.Step(d.now(), d.pending[i]))
	}
	clear(d.pending)
	d.pending = d.pending[:0]
}

// publish shows the engine's state to other goroutines.
func (d *Driver) publish() {
	st := d.q.Status()
	d.status.Store(&st)
}

func (d *Driver) flushed(seq uint64) {
	d.flushDone = max(d.flushDone, seq)
	d.step(quorum.Flushed{Seq: seq})
}

// post hands f to the loop; false after the loop has ended.
func (d *Driver) post(f func()) bool {
	select {
	case d.inbox <- f:
		return true
	case <-d.stopped:
		return false
	}
}

// fail stops the node for good: no answer is safe after a disk has failed.
func (d *Driver) fail(err error) {
	select {
	case d.fatal <- err:
	default:
	}
}

// PrepareAppend gives offsets to records, which stay together in one batch (that other calls may share), and returns the last offset.
// Nothing is written before SchedulePreparedAppend. Errors: ErrNotLeader, ErrBatchTooLarge, ErrBufferFull.
func (d *Driver) PrepareAppend(epoch int32, records [][]byte) (int64, error) {
	return d.acc.prepare(epoch, records, time.Now())
}

// SchedulePreparedAppend lets everything that was prepared be written.
func (d *Driver) SchedulePreparedAppend() { d.acc.release() }

// Resign gives up the leadership of epoch, because the state machine can't go on.
func (d *Driver) Resign(epoch int32) {
	d.post(func() { d.step(quorum.Resign{Epoch: quorum.Epoch(epoch)}) })
}

// SetRoutes replaces the addresses that are tried beside the voters' recorded ones (kraft.routes).
func (d *Driver) SetRoutes(routes []quorum.Node) {
	d.post(func() { d.step(quorum.Routes{Nodes: routes}) })
}

// Status is a recent copy of the engine's state.
func (d *Driver) Status() quorum.Status { return *d.status.Load() }

// Now is the clock of Status's instants.
func (d *Driver) Now() quorum.Instant { return d.now() }

// LeaderAndEpoch is the leader this replica knows of.
func (d *Driver) LeaderAndEpoch() LeaderAndEpoch {
	st := d.status.Load()
	return LeaderAndEpoch{LeaderID: int32(st.LeaderID), Epoch: int32(st.Epoch)}
}

// HighWatermark is the exclusive end of what is known to be committed.
func (d *Driver) HighWatermark() (int64, bool) {
	hw := d.status.Load().HighWatermark
	return int64(hw), hw >= 0
}

// LogEndOffset is the exclusive end of the log.
func (d *Driver) LogEndOffset() int64 { return int64(d.status.Load().LogEndOffset) }

// VoterEndpoint is a voter's address on the first controller listener, from the newest voter set.
func (d *Driver) VoterEndpoint(id int32) (host string, port int, ok bool) {
	v, ok := d.status.Load().Voters.ByID(quorum.NodeID(id))
	if !ok {
		return "", 0, false
	}
	e, ok := v.Endpoint(d.cfg.Quorum.Listener)
	return e.Host, int(e.Port), ok
}

// VoterAddress is VoterEndpoint as host:port.
func (d *Driver) VoterAddress(id int32) (addr string, ok bool) {
	host, port, ok := d.VoterEndpoint(id)
	return net.JoinHostPort(host, strconv.Itoa(port)), ok
}

// Voters is the newest voter set, committed or not.
func (d *Driver) Voters() quorum.VoterSet { return d.status.Load().Voters }

// KRaftVersion is the finalized kraft.version.
func (d *Driver) KRaftVersion() int16 { return d.status.Load().KRaftVersion }

// Shutdown leaves gracefully: what was prepared is proposed, a successor is let to the log's end, and
// EndQuorumEpoch names it. It returns when that is done, at the latest after ShutdownTimeout or ctx; Run goes on
// until its own context ends, so that peers are still answered.
func (d *Driver) Shutdown(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, d.cfg.ShutdownTimeout)
	defer cancel()
	if !d.post(func() {
		if p, since, ok := d.acc.drain(); ok {
			d.proposals = append(d.proposals, proposal{last: p.Batches[len(p.Batches)-1].Last, since: since})
			d.step(p)
		}
		d.acc.stop()
		d.step(quorum.Shutdown{})
	}) {
		return nil
	}
	select {
	case <-d.shutdown:
		return nil
	case <-d.stopped:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("leaving the quorum: %w", ctx.Err())
	}
}

func hostPort(n quorum.Node) string { return net.JoinHostPort(n.Host, strconv.Itoa(int(n.Port))) }

// Ping returns when the loop has taken a turn, or ctx's error.
func (d *Driver) Ping(ctx context.Context) error {
	turned := make(chan struct{})
	select {
	case d.inbox <- func() { close(turned) }:
	case <-d.stopped:
		return errors.New("the quorum's loop has ended")
	case <-ctx.Done():
		return fmt.Errorf("the quorum's loop does not turn: %w", ctx.Err())
	}
	select {
	case <-turned:
		return nil
	case <-d.stopped:
		return errors.New("the quorum's loop has ended")
	case <-ctx.Done():
		return fmt.Errorf("the quorum's loop does not turn: %w", ctx.Err())
	}
}
