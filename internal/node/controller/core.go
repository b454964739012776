package controller

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/node/raft"
	"github.com/kraft-dev/kraft-operator/internal/node/snapshots"
)

// core is the controller without goroutines: the loop calls it with one event after another, and tests do so directly.
type core struct {
	cfg      Config
	log      *slog.Logger
	metrics  *metrics
	sessions *sessions

	leader raft.LeaderAndEpoch
	// epoch is the one this node is active in, -1 on a standby.
	epoch int32

	working       roots // everything prepared; on a standby the same as committed
	committed     roots // everything committed
	lastCommitted int64
	lso           int64
	applied       int64 // exclusive end of what the log has handed over, control batches included
	nextWrite     int64 // where the next record goes; -1 on a standby

	// prepared and waiting are queues in the order of offsets: the roots of what was prepared and isn't committed yet,
	// and the answers that wait for the last stable offset.
	prepared queue[preparedRoot]
	waiting  queue[waitingCall]

	hb    *heartbeats // nil on a standby
	tasks tasks
	fault error // fatal; the loop ends with it after the event at hand
}

type preparedRoot struct {
	lastOffset int64
	roots      roots
}

type waitingCall struct {
	offset int64
	done   func(*apiError)
}

func newCore(cfg Config, m *metrics) *core {
	return &core{
		cfg: cfg, log: cfg.Logger, metrics: m, sessions: newSessions(cfg.SessionTimeout),
		leader: raft.LeaderAndEpoch{LeaderID: -1}, epoch: -1,
		working: emptyRoots(), committed: emptyRoots(), lastCommitted: -1, lso: -1, nextWrite: -1,
	}
}

func (c *core) active() bool { return c.epoch >= 0 }

// fatalError ends the process: this node's state can't be trusted any more.
type fatalError struct{ err error }

func (e *fatalError) Error() string { return e.err.Error() }
func (e *fatalError) Unwrap() error { return e.err }

func fatal(format string, args ...any) error { return &fatalError{fmt.Errorf(format, args...)} }

// commit takes committed batches. Active, they are what was prepared here; on a standby they are replayed.
// Errors: fatal only.
func (c *core) commit(batches []raft.CommittedBatch) error {
	for rest := batches; len(rest) > 0; {
		if len(rest[0].Records) == 0 {
			rest = rest[1:] // control records are not the state machine's (KAFKA-17608)
			continue
		}
		n, err := 1, error(nil)
		if c.active() {
			err = c.commitPrepared(rest[0])
		} else {
			n = raft.RunLength(rest, maxRecordsPerBatch)
			err = c.replayBatches(rest[:n])
		}
		if err != nil {
			return err
		}
		c.lastCommitted = rest[n-1].LastOffset
		c.lso = c.committed.lastStableOffset(c.lastCommitted)
		c.metrics.committed(c.lastCommitted, rest[n-1].AppendTimestamp)
		rest = rest[n:]
	}
	if len(batches) > 0 {
		c.applied = batches[len(batches)-1].LastOffset + 1
	}
	c.complete()
	c.offerSnapshot(batches)
	return nil
}

// offerSnapshot tells of the committed image, which stands after all of these batches, control batches included.
func (c *core) offerSnapshot(batches []raft.CommittedBatch) {
	if c.cfg.Snapshots == nil || len(batches) == 0 {
		return
	}
	bytes := int64(0)
	for _, b := range batches {
		bytes += int64(b.SizeBytes)
	}
	last := batches[len(batches)-1]
	c.cfg.Snapshots.Committed(c.committed.stable().img, snapshots.Point{
		EndOffset: last.LastOffset + 1, Epoch: last.Epoch, Timestamp: last.AppendTimestamp, Aligned: c.committed.begin == nil,
	}, bytes)
}

// complete answers the callers whose records, or whose view, are stable now.
func (c *core) complete() {
	for c.waiting.len() > 0 && c.waiting.front().offset <= c.lso {
		c.waiting.pop().done(nil)
	}
}

// loadSnapshot replaces the state of a standby. Errors: fatal only.
func (c *core) loadSnapshot(r raft.SnapshotReader) error {
	id := fmt.Sprintf("snapshot %d-%d", r.EndOffset(), r.Epoch())
	if c.active() {
		return fatal("%s arrived while active in epoch %d", id, c.epoch)
	}
	next, last := emptyRoots(), r.EndOffset()-1
	for b, err := range r.Batches() {
		if err != nil {
			return fatal("%s: %w", id, err)
		}
		recs, err := decodeAll(b.Records)
		if err == nil {
			// Offsets inside a snapshot are its own; what it holds stands at its end (KIP-630).
			next.state, err = next.state.applyAt(recs, last, 0, r.Epoch())
		}
		if err != nil {
			return fatal("%s: %w", id, err)
		}
	}
	c.committed, c.working = next, next
	c.lastCommitted, c.lso, c.applied = last, last, last+1
	if c.cfg.Snapshots != nil {
		c.cfg.Snapshots.Loaded()
	}
	c.log.Info("Loaded snapshot", "endOffset", r.EndOffset(), "epoch", r.Epoch())
	return nil
}

// leaderChange follows the log's leader. Errors: fatal only.
func (c *core) leaderChange(l raft.LeaderAndEpoch, now time.Time) error {
	if c.active() {
		if l.LeaderID == c.cfg.NodeID && l.Epoch == c.epoch {
			return nil
		}
		c.log.Info("Losing leadership", "leaderEpoch", c.epoch, "leaderID", l.LeaderID, "newEpoch", l.Epoch)
		c.stepDown()
	}
	c.leader = l
	c.metrics.leader(l)
	if l.LeaderID == c.cfg.NodeID {
		return c.activate(l.Epoch, now)
	}
	return nil
}

// renounce gives up leadership after a fault; the log hears of it. That the log takes no more of this epoch is none: it has lost the
// leadership, or is leaving, and the news of that is on its way.
func (c *core) renounce(why error) {
	epoch := c.epoch
	if errors.Is(why, raft.ErrNotLeader) {
		c.log.Info("Losing leadership", "leaderEpoch", epoch, "err", why)
	} else {
		c.log.Error("Renouncing leadership", "leaderEpoch", epoch, "err", why)
		c.metrics.faults.Inc()
	}
	c.stepDown()
	c.cfg.Log.Resign(epoch)
}

// stepDown goes back to what is committed and lets every caller look for the next controller.
func (c *core) stepDown() {
	c.epoch, c.nextWrite = -1, -1
	c.working = c.committed
	c.prepared.reset()
	c.hb = nil
	c.sessions.reset()
	c.tasks = tasks{}
	c.metrics.active(false)
	for c.waiting.len() > 0 {
		c.waiting.pop().done(errNotController)
	}
}

// operation reads the working state through tx and emits records into it. What it returns goes to the caller once the
// records are committed; an apiError undoes the records.
type operation func(tx *tx) error

// write runs op as the active controller and calls done once: with nil after everything op saw and did is committed,
// with an error after nothing of it happened, or after leadership was lost and nobody knows.
func (c *core) write(name string, now time.Time, op operation, done func(*apiError)) {
	if !c.active() {
		done(errNotController)
		return
	}
	tx := newTx(c, now)
	err := c.run(tx, op)
	var api *apiError
	switch {
	case err == nil:
	case errors.As(err, &api):
		tx.discard()
		answer := done
		done = func(lost *apiError) {
			if lost == nil {
				lost = api
			}
			answer(lost)
		}
	default:
		done(asAPIError(err))
		c.renounce(fmt.Errorf("%s: %w", name, err))
		return
	}
	if len(tx.records) > 0 {
		c.append(name, tx, done)
		return
	}
	for _, f := range tx.prepared {
		f(c.nextWrite - 1)
	}
	if c.prepared.len() == 0 && c.waiting.len() == 0 {
		done(nil)
		return
	}
	c.waiting.push(waitingCall{c.nextWrite - 1, done}) // what op saw may not be committed yet
}

// run turns a panic of one operation into a fault, which costs leadership, not the process.
func (c *core) run(tx *tx, op operation) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
			c.log.Error("Operation panicked", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	if err := op(tx); err != nil {
		return err
	}
	if len(tx.records) > maxRecordsPerBatch {
		return nil // a broker's fence over very many partitions: applied once, chunk by chunk, as it is appended
	}
	return tx.flush()
}

// maxRecordsPerBatch bounds one prepared batch, and maxRecordsPerOperation what one request may write.
const (
	maxRecordsPerBatch     = 10_000
	maxRecordsPerOperation = 10_000
)

func (c *core) append(name string, tx *tx, done func(*apiError)) {
	recs := tx.records
	if tx.user && len(recs) > maxRecordsPerOperation {
		done(fail(kerr.PolicyViolation, "Unable to perform excessively large batch operation."))
		return
	}
	last := int64(-1)
	for start := 0; start < len(recs); start += maxRecordsPerBatch {
		chunk := recs[start:min(len(recs), start+maxRecordsPerBatch)]
		var err error
		if last, err = c.appendChunk(chunk, tx); err != nil {
			c.appendFailed(name, err, start == 0, done)
			return
		}
	}
	for _, f := range tx.prepared {
		f(last)
	}
	c.waiting.push(waitingCall{last, done})
	c.metrics.records.Add(float64(len(recs)))
}

func (c *core) appendChunk(chunk []metadata.Record, tx *tx) (int64, error) {
	values := make([][]byte, len(chunk))
	for i, rec := range chunk {
		values[i] = metadata.Encode(rec, tx.version(rec))
	}
	last, err := c.cfg.Log.PrepareAppend(c.epoch, values)
	if err != nil {
		return 0, err
	}
	base := last - int64(len(chunk)) + 1
	switch {
	case base < c.nextWrite:
		err = fatal("offset %d was given to records that may not stand before %d", base, c.nextWrite)
	case base == tx.base && len(chunk) == len(tx.records):
		c.working = tx.roots // applied at these very offsets already
	default:
		if c.working, err = c.working.replay(chunk, base, c.epoch); err != nil {
			err = fatal("replaying own records at offset %d: %w", base, err)
		}
	}
	if err != nil {
		c.fault = err
		return 0, err
	}
	c.nextWrite = last + 1
	c.prepared.push(preparedRoot{last, c.working})
	c.cfg.Log.SchedulePreparedAppend()
	return last, nil
}

// appendFailed decides what a refused append costs. Nothing of the operation happened if its first chunk was refused.
func (c *core) appendFailed(name string, err error, first bool, done func(*apiError)) {
	switch {
	case first && errors.Is(err, raft.ErrBufferFull):
		c.log.Warn("Log is behind, refusing an operation", "operation", name)
		done(fail(kerr.RequestTimedOut, "The metadata log has too many batches to write."))
	case first && errors.Is(err, raft.ErrBatchTooLarge):
		done(fail(kerr.PolicyViolation, "Unable to perform excessively large batch operation."))
	case errors.Is(err, raft.ErrNotLeader):
		done(errNotController)
		c.renounce(err)
	default:
		done(asAPIError(err))
		c.renounce(err)
	}
}
