package metadata

import (
	"errors"
	"fmt"
)

// Replayer applies committed records in the order of the log and keeps metadata transactions (KIP-868) out of
// sight until they end. It has one owner; the images it hands out are for everyone.
type Replayer struct {
	base    *Image // what was published last
	current *Image // base and what was applied since, outside of transactions
	delta   *Delta // from base to current
	txn     *Image // current and the open transaction's records; nil when none is open
	pending *Delta // from current to txn
}

// NewReplayer starts from img.
func NewReplayer(img *Image) *Replayer {
	return &Replayer{base: img, current: img, delta: NewDelta()}
}

// InTransaction tells whether a transaction is open: then the published image must not become a snapshot at
// the last applied offset.
func (r *Replayer) InTransaction() bool { return r.txn != nil }

// Apply applies one batch's records, the last of which stands at lastOffset in epoch. A batch without records
// (a control batch) moves the offset.
//
// Errors: those of Image.Apply; a transaction in a transaction, an end or abort without a begin. The replayer
// then stands where it stood before the batch.
func (r *Replayer) Apply(recs []Record, lastOffset int64, epoch int32) error {
	w := replay{current: r.current, txn: r.txn, outside: NewDelta(), inside: NewDelta()}
	start := 0
	for i, rec := range recs {
		at := lastOffset - int64(len(recs)-1-i)
		switch rec.(type) {
		case *BeginTransactionRecord, *EndTransactionRecord, *AbortTransactionRecord:
		default:
			continue
		}
		if err := w.run(recs[start:i], at-1, epoch); err != nil {
			return err
		}
		if err := w.mark(rec, r.pending); err != nil {
			return fmt.Errorf("offset %d: %w: %w", at, ErrInconsistent, err)
		}
		start = i + 1
	}
	if err := w.run(recs[start:], lastOffset, epoch); err != nil {
		return err
	}
	r.current, r.txn = w.current, w.txn
	r.delta.Merge(w.outside)
	switch {
	case w.txn == nil:
		r.pending = nil
	case w.fresh || r.pending == nil:
		r.pending = w.inside
	default:
		r.pending.Merge(w.inside)
	}
	return nil
}

// replay is the work of one batch, which counts only if all of it succeeds.
type replay struct {
	current, txn    *Image
	outside, inside *Delta
	fresh           bool // the transaction that was open before the batch has ended
}

// run applies the records between two marks. It also moves the offset when there are none.
func (w *replay) run(recs []Record, lastOffset int64, epoch int32) error {
	if w.txn != nil {
		next, d, err := w.txn.ApplyDelta(recs, lastOffset, epoch)
		if err == nil {
			w.txn = next
			w.inside.Merge(d)
		}
		return err
	}
	next, d, err := w.current.ApplyDelta(recs, lastOffset, epoch)
	if err == nil {
		w.current = next
		w.outside.Merge(d)
	}
	return err
}

func (w *replay) mark(rec Record, pending *Delta) error {
	_, begins := rec.(*BeginTransactionRecord)
	_, ends := rec.(*EndTransactionRecord)
	switch {
	case begins && w.txn != nil:
		return errors.New("a transaction begins inside another")
	case begins:
		w.txn = w.current
		return nil
	case w.txn == nil:
		return errors.New("a transaction ends that did not begin")
	}
	if ends {
		if !w.fresh && pending != nil {
			w.outside.Merge(pending)
		}
		w.outside.Merge(w.inside)
		w.current = w.txn
	}
	w.txn, w.inside, w.fresh = nil, NewDelta(), true
	return nil
}

// Publish returns the last published image, the one to publish now (never with an open transaction's records),
// and what changed between them.
func (r *Replayer) Publish() (prev, next *Image, delta *Delta) {
	prev, next, delta = r.base, r.current, r.delta
	r.base, r.delta = r.current, NewDelta()
	return prev, next, delta
}

// Load replaces the whole state by a snapshot's image; an open transaction is forgotten.
func (r *Replayer) Load(img *Image) {
	r.current, r.txn, r.pending = img, nil, nil
	r.delta = Changes(r.base, img)
}
