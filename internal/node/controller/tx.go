package controller

import (
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// tx is one operation at work: the state it sees and the records it has emitted. It changes nothing outside itself
// until its records have their place in the log.
type tx struct {
	cfg *Config
	hb  *heartbeats
	rnd *rand.Rand
	now time.Time
	// base is the offset that the first record will have unless a control record comes between: nextWriteOffset.
	base  int64
	epoch int32
	// user operations may write only so much at once.
	user bool

	before   roots // the working roots that the operation found
	roots    roots
	records  []metadata.Record
	applied  int // records[:applied] are in roots
	prepared []func(lastOffset int64)
	cache    rulesCache
}

func newTx(c *core, now time.Time) *tx {
	return &tx{cfg: &c.cfg, hb: c.hb, rnd: c.cfg.Rand, now: now, base: c.nextWrite, epoch: c.epoch, before: c.working, roots: c.working}
}

func (tx *tx) emit(recs ...metadata.Record) { tx.records = append(tx.records, recs...) }

// view is the working state with everything emitted so far applied. Records that don't apply are a bug of the operation:
// that panics, before anything was appended.
func (tx *tx) view() *state {
	if err := tx.flush(); err != nil {
		panic(err)
	}
	return tx.roots.state
}

func (tx *tx) flush() error {
	next, err := tx.roots.replay(tx.records[tx.applied:], tx.base+int64(tx.applied), tx.epoch)
	if err != nil {
		return fmt.Errorf("records of this operation don't apply: %w", err)
	}
	tx.roots, tx.applied = next, len(tx.records)
	return nil
}

// onPrepared runs f once the records have their offsets, with the last of them, or the highest offset given out so far
// if there are none. It doesn't run for an operation that failed.
func (tx *tx) onPrepared(f func(lastOffset int64)) { tx.prepared = append(tx.prepared, f) }

// version is the one in which rec is written now.
func (tx *tx) version(rec metadata.Record) int16 {
	return tx.roots.state.img.MetadataVersion().RecordVersion(rec)
}

// newUUID is random and never a reserved one.
func (tx *tx) newUUID() uuid.UUID {
	id, err := uuid.New(randReader{tx.rnd})
	if err != nil {
		panic(err) // the reader never fails
	}
	return id
}

// randReader makes bytes of a seedable source.
type randReader struct{ rnd *rand.Rand }

func (r randReader) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(r.rnd.Uint32())
	}
	return len(p), nil
}

// discard forgets every record and effect: a request that is only to be validated.
func (tx *tx) discard() {
	tx.records, tx.applied, tx.prepared, tx.roots = nil, 0, nil, tx.before
}
