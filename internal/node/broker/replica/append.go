package replica

import (
	"container/list"
	"errors"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/storage/record"
)

// AppendResult is what became of one partition's records.
type AppendResult struct {
	Err           error // nil, or a *kerr.Error for the wire
	Detail        error // what was wrong with the records, for the error message
	BaseOffset    int64 // of the first record, -1 on errors
	LastOffset    int64
	LogAppendTime int64 // -1 unless message.timestamp.type is LogAppendTime
	LogStart      int64
}

// AppendOp gathers the results of one produce request. With acks=all it is done when the high watermark has passed the records
// of every partition, or its time is over.
type AppendOp struct {
	done func([]AppendResult)

	mu      sync.Mutex
	results []AppendResult
	waits   []*appendWait // by slot; nil: finished or never waited
	open    int           // waits not finished, and one while the request is still being appended
	timer   *time.Timer
	over    bool
}

type appendWait struct {
	op       *AppendOp
	p        *Partition
	slot     int
	required int64         // exclusive: the high watermark that commits the records
	place    *list.Element // in p.appends, guarded by p.mu
}

// finished is a wait whose partition is done with it.
type finished struct {
	wait *appendWait
	err  error
}

// NewAppendOp starts a request of n partitions. done is called exactly once, from any goroutine, without locks.
func NewAppendOp(n int, done func([]AppendResult)) *AppendOp {
	return &AppendOp{done: done, results: make([]AppendResult, n), waits: make([]*appendWait, n), open: 1}
}

// Fail notes that a partition's records were not appended.
func (op *AppendOp) Fail(slot int, err, detail error) {
	op.mu.Lock()
	op.results[slot] = AppendResult{Err: err, Detail: detail, BaseOffset: -1, LastOffset: -1, LogAppendTime: -1, LogStart: -1}
	op.mu.Unlock()
}

// Appended ends the request's part of appending. What still waits for replicas gets timeout at most.
func (op *AppendOp) Appended(timeout time.Duration) {
	op.mu.Lock()
	op.open--
	if op.open > 0 {
		op.timer = time.AfterFunc(max(timeout, 0), op.expire)
		op.mu.Unlock()
		return
	}
	op.overLocked()
}

// overLocked calls done; it unlocks.
func (op *AppendOp) overLocked() {
	if op.over {
		op.mu.Unlock()
		return
	}
	op.over = true
	if op.timer != nil {
		op.timer.Stop()
	}
	op.mu.Unlock()
	op.done(op.results)
}

// finish notes that a partition's replicas have its records, or why they won't.
func (op *AppendOp) finish(slot int, err error) {
	op.mu.Lock()
	if op.over || op.waits[slot] == nil {
		op.mu.Unlock()
		return
	}
	op.waits[slot] = nil
	if err != nil {
		op.results[slot].Err = err
		op.results[slot].BaseOffset = -1
	}
	op.open--
	if op.open > 0 {
		op.mu.Unlock()
		return
	}
	op.overLocked()
}

// expire ends the request with REQUEST_TIMED_OUT where replicas are missing.
func (op *AppendOp) expire() {
	op.mu.Lock()
	if op.over {
		op.mu.Unlock()
		return
	}
	var left []*appendWait
	for slot, w := range op.waits {
		if w != nil {
			left = append(left, w)
			op.results[slot].Err = kerr.RequestTimedOut
		}
	}
	op.overLocked()
	for _, w := range left {
		w.p.forget(w)
	}
}

func (p *Partition) forget(w *appendWait) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if w.place != nil {
		p.appends.Remove(w.place)
		w.place = nil
	}
}

// Append appends whole batches as the leader, as one slot of op. acks is 0, 1 or -1 (all).
//
// Alias: offsets and epoch are written into records.
func (p *Partition) Append(op *AppendOp, slot int, records []byte, acks int16, origin storage.Origin) {
	now := time.Now().UnixMilli()
	var fx effects
	p.mu.Lock()
	err := p.checkLeaderLocked(-1)
	if err == nil {
		err = p.state.CheckAppend(acks, p.config.MinISR)
	}
	if err != nil {
		p.mu.Unlock()
		op.Fail(slot, err, nil)
		return
	}
	info, err := p.log.AppendLeader(records, p.state.LeaderEpoch(), now, storage.AppendOptions{
		Origin: origin, MaxDecompressedBytes: p.m.settings().MaxDecompressed,
	})
	if err != nil {
		p.mu.Unlock()
		code := appendError(err)
		if code == kerr.KafkaStorageError {
			_ = p.diskError("append", err)
		}
		op.Fail(slot, code, err)
		return
	}
	op.put(slot, AppendResult{BaseOffset: info.First, LastOffset: info.Last, LogAppendTime: info.LogAppendTime, LogStart: info.StartOffset})
	if !info.Duplicate {
		p.appendedLocked(info, now, &fx)
	}
	if acks == -1 {
		p.awaitLocked(op, slot, info.Last+1)
	}
	p.mu.Unlock()
	p.m.metrics.bytesIn.Add(float64(info.Bytes))
	p.run(fx)
}

func (op *AppendOp) put(slot int, r AppendResult) {
	op.mu.Lock()
	op.results[slot] = r
	op.mu.Unlock()
}

// appendedLocked notes new records at the end of the leader's log.
func (p *Partition) appendedLocked(info storage.AppendInfo, now int64, fx *effects) {
	p.state.SetLogEnd(p.log.EndOffset())
	p.arrivedLocked(info.Bytes)
	p.unflushed += info.Last - info.First + 1
	fx.flush = p.unflushed >= p.config.FlushMessages
	p.advanceLocked(now, fx)
	p.wakeFetchesLocked(fx)
}

// awaitLocked makes op wait until required is committed; if it is already, there is nothing to wait for.
func (p *Partition) awaitLocked(op *AppendOp, slot int, required int64) {
	done, err := p.state.Committed(required, p.config.MinISR)
	op.mu.Lock()
	defer op.mu.Unlock()
	if done {
		op.results[slot].Err = err
		return
	}
	w := &appendWait{op: op, p: p, slot: slot, required: required}
	op.waits[slot] = w
	op.open++
	w.place = p.appends.PushBack(w)
}

// appendError is the wire's error for what the log said of a client's records.
func appendError(err error) *kerr.Error {
	for _, m := range []struct {
		is   error
		wire *kerr.Error
	}{
		{storage.ErrMessageTooLarge, kerr.MessageTooLarge},
		{storage.ErrOutOfOrderSequence, kerr.OutOfOrderSequenceNumber},
		{storage.ErrInvalidProducerEpoch, kerr.InvalidProducerEpoch},
		{record.ErrBatchTooLarge, kerr.MessageTooLarge},
		{record.ErrTooLarge, kerr.MessageTooLarge},
		{record.ErrTimestamp, kerr.InvalidTimestamp},
		{record.ErrInvalid, kerr.InvalidRecord},
		{record.ErrMagic, kerr.UnsupportedForMessageFormat},
		{record.ErrCorrupt, kerr.CorruptMessage},
		{storage.ErrClosed, kerr.NotLeaderForPartition},
	} {
		if errors.Is(err, m.is) {
			return m.wire
		}
	}
	return kerr.KafkaStorageError
}
