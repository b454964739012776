package storage

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/kraft-dev/kraft-operator/internal/storage/record"
	"github.com/kraft-dev/kraft-operator/internal/storage/record/control"
)

// rememberedBatches is how many of a producer's batches can be recognised when they come again: as many as a client
// may have in flight.
const rememberedBatches = 5

// producerBatch is what is remembered of a batch.
type producerBatch struct {
	lastSeq   int32
	lastOff   int64
	delta     int32 // last offset - first offset, and so for sequences
	timestamp int64
}

func (b producerBatch) firstSeq() int32 {
	if b.lastSeq < b.delta {
		return math.MaxInt32 - (b.delta - b.lastSeq) + 1
	}
	return b.lastSeq - b.delta
}

// producerEntry is the state of one producer id.
type producerEntry struct {
	epoch            int16
	coordinatorEpoch int32
	lastTs           int64
	txnFirst         int64 // first offset of the open transaction, -1 for none
	n                int
	batches          [rememberedBatches]producerBatch // oldest first, n of them
}

func newProducerEntry() producerEntry {
	return producerEntry{epoch: record.NoProducerEpoch, coordinatorEpoch: -1, lastTs: record.NoTimestamp, txnFirst: -1}
}

func (e *producerEntry) lastSeq() int32 {
	if e.n == 0 {
		return record.NoSequence
	}
	return e.batches[e.n-1].lastSeq
}

func (e *producerEntry) add(b producerBatch) {
	if e.n == rememberedBatches {
		copy(e.batches[:], e.batches[1:])
		e.n--
	}
	e.batches[e.n] = b
	e.n++
}

// setEpoch moves to another epoch: batches of the old one can't be duplicates any more.
func (e *producerEntry) setEpoch(epoch int16) {
	if epoch != e.epoch {
		e.epoch, e.n = epoch, 0
	}
}

// duplicate finds a batch that was written already.
func (e *producerEntry) duplicate(b record.Batch) (producerBatch, bool) {
	if b.ProducerEpoch() != e.epoch {
		return producerBatch{}, false
	}
	for _, old := range e.batches[:e.n] {
		if old.firstSeq() == b.BaseSequence() && old.lastSeq == b.LastSequence() {
			return old, true
		}
	}
	return producerBatch{}, false
}

// producers is the producer state of a log (KIP-98, KIP-360): what batches up to offset end have left.
type producers struct{ byID map[int64]producerEntry }

func newProducers() producers { return producers{byID: map[int64]producerEntry{}} }

func (p *producers) get(id int64) producerEntry {
	if e, ok := p.byID[id]; ok {
		return e
	}
	return newProducerEntry()
}

// check tells what a leader does with a batch of a producer: write it, answer it as a duplicate, or refuse it.
func (p *producers) check(b record.Batch, fromClient bool) (dup producerBatch, isDup bool, err error) {
	e := p.get(b.ProducerID())
	if b.IsControl() {
		return dup, false, checkProducerEpoch(b, e)
	}
	if fromClient {
		if dup, isDup = e.duplicate(b); isDup {
			return dup, true, nil
		}
	}
	if err := checkProducerEpoch(b, e); err != nil || !fromClient {
		return dup, false, err
	}
	return dup, false, checkSequence(b, e)
}

func checkProducerEpoch(b record.Batch, e producerEntry) error {
	if b.ProducerEpoch() < e.epoch {
		return fmt.Errorf("producer %d: epoch %d, current %d: %w", b.ProducerID(), b.ProducerEpoch(), e.epoch, ErrInvalidProducerEpoch)
	}
	return nil
}

func checkSequence(b record.Batch, e producerEntry) error {
	first, last := b.BaseSequence(), e.lastSeq()
	switch {
	case e.epoch == record.NoProducerEpoch: // nothing is known (any more): any sequence may begin
		return nil
	case b.ProducerEpoch() != e.epoch && first == 0:
		return nil
	case b.ProducerEpoch() != e.epoch:
		return fmt.Errorf("producer %d: new epoch %d begins with sequence %d, want 0: %w", b.ProducerID(), b.ProducerEpoch(), first, ErrOutOfOrderSequence)
	case first == record.AddSequence(last, 1) || e.n == 0 && first == 0:
		return nil
	}
	return fmt.Errorf("producer %d: sequence %d after %d: %w", b.ProducerID(), first, last, ErrOutOfOrderSequence)
}

// note takes a batch that was written (with its offsets) into the state. The header is enough for data batches, control
// batches must be whole.
func (p *producers) note(b record.Batch) {
	if !b.HasProducerID() {
		return
	}
	e := p.get(b.ProducerID())
	e.setEpoch(b.ProducerEpoch())
	e.lastTs = b.MaxTimestamp()
	switch {
	case b.IsControl():
		if coordinatorEpoch, ok := endMarker(b); ok {
			e.txnFirst, e.coordinatorEpoch = -1, coordinatorEpoch
		}
	default:
		e.add(producerBatch{lastSeq: b.LastSequence(), lastOff: b.LastOffset(), delta: b.LastOffsetDelta(), timestamp: b.MaxTimestamp()})
		if b.IsTransactional() && e.txnFirst < 0 {
			e.txnFirst = b.BaseOffset()
		}
	}
	p.byID[b.ProducerID()] = e
}

// endMarker reads the coordinator epoch of a batch that ends a transaction: control type abort or commit.
func endMarker(b record.Batch) (coordinatorEpoch int32, ok bool) {
	for r, err := range b.Records(0) {
		if err != nil {
			return 0, false
		}
		t, err := control.DecodeKey(r.Key)
		if err != nil || t != control.TypeAbort && t != control.TypeCommit || len(r.Value) < 6 {
			return 0, false
		}
		return int32(binary.BigEndian.Uint32(r.Value[2:])), true // version i16, coordinator epoch i32
	}
	return 0, false
}

// expire forgets producers that were silent for maxMs.
func (p *producers) expire(nowMs, maxMs int64) (n int) {
	if maxMs <= 0 {
		return 0
	}
	for id, e := range p.byID {
		if e.txnFirst < 0 && nowMs-e.lastTs >= maxMs {
			delete(p.byID, id)
			n++
		}
	}
	return n
}

func (p *producers) firstUnstable() (int64, bool) {
	first, open := int64(math.MaxInt64), false
	for _, e := range p.byID {
		if e.txnFirst >= 0 {
			first, open = min(first, e.txnFirst), true
		}
	}
	return first, open
}

func (p *producers) list() []ProducerState {
	out := make([]ProducerState, 0, len(p.byID))
	for id, e := range p.byID {
		out = append(out, ProducerState{ProducerID: id, Epoch: e.epoch, LastSequence: e.lastSeq(), LastTimestamp: e.lastTs,
			CoordinatorEpoch: e.coordinatorEpoch, CurrentTxnFirstOff: e.txnFirst})
	}
	slices.SortFunc(out, func(a, b ProducerState) int {
		if a.ProducerID < b.ProducerID {
			return -1
		}
		return 1
	})
	return out
}
