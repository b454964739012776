package metadata

import "fmt"

// Replayer applies committed records in the order of the log and keeps metadata transactions (KIP-868) out of
// sight until they end. It has one owner; the images it hands out are for everyone.
type Replayer struct {
	base    *Image // what was published last
	current *Image // base and what was applied since, outside of transactions
	txn     *Image // current and the open transaction's records; nil when none is open
	delta   *Delta // from base to current
	pending *Delta // from current to txn
}

// NewReplayer starts from img.
func NewReplayer(img *Image) *Replayer {
	return &Replayer{base: img, current: img, delta: NewDelta()}
}

// InTransaction tells whether a transaction is open: then the stable image must not become a snapshot at the
// last applied offset.
func (r *Replayer) InTransaction() bool { return r.txn != nil }

// Apply applies one batch's records, the last of which stands at lastOffset in epoch.
//
// Errors: those of Image.Apply; a transaction in a transaction, an end or abort without a begin. After an error
// the replayer stands where it stood before the batch.
func (r *Replayer) Apply(recs []Record, lastOffset int64, epoch int32) error {
	saved := *r
	saved.delta = r.delta.clone()
	if err := r.apply(recs, lastOffset, epoch); err != nil {
		*r = saved
		return err
	}
	return nil
}

func (r *Replayer) apply(recs []Record, lastOffset int64, epoch int32) error {
	start := 0
	for i, rec := range recs {
		var mark func() error
		switch rec := rec.(type) {
		case *BeginTransactionRecord:
			mark = func() error { return r.begin(rec) }
		case *EndTransactionRecord:
			mark = r.end
		case *AbortTransactionRecord:
			mark = r.abort
		default:
			continue
		}
		at := lastOffset - int64(len(recs)-1-i)
		if err := r.run(recs[start:i], at-1, epoch); err != nil {
			return err
		}
		if err := mark(); err != nil {
			return fmt.Errorf("offset %d: %w: %w", at, ErrInconsistent, err)
		}
		start = i + 1
	}
	return r.run(recs[start:], lastOffset, epoch)
}

// run applies records between two transaction marks. It also moves the offset when there are none.
func (r *Replayer) run(recs []Record, lastOffset int64, epoch int32) error {
	onto, delta := r.current, r.delta
	if r.txn != nil {
		onto, delta = r.txn, r.pending
	}
	next, d, err := onto.ApplyDelta(recs, lastOffset, epoch)
	if err != nil {
		return err
	}
	delta.Merge(d)
	if r.txn != nil {
		r.txn = next
	} else {
		r.current = next
	}
	return nil
}

func (r *Replayer) begin(rec *BeginTransactionRecord) error {
	if r.txn != nil {
		return fmt.Errorf("a transaction begins (%s) inside another", orEmpty(rec.Name))
	}
	r.txn, r.pending = r.current, NewDelta()
	return nil
}

func (r *Replayer) end() error {
	if r.txn == nil {
		return fmt.Errorf("a transaction ends that did not begin")
	}
	r.delta.Merge(r.pending)
	r.current, r.txn, r.pending = r.txn, nil, nil
	return nil
}

func (r *Replayer) abort() error {
	if r.txn == nil {
		return fmt.Errorf("a transaction is aborted that did not begin")
	}
	r.txn, r.pending = nil, nil
	return nil
}

func orEmpty(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// Publish returns the stable image, without an open transaction, and what changed since the last Publish.
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

func (d *Delta) clone() *Delta {
	c := NewDelta()
	c.Merge(d)
	for id, t := range d.Topics {
		c.Topics[id].Created = t.Created
	}
	return c
}
