package controller

import (
	"fmt"

	"github.com/tidwall/btree"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
)

// state is everything the controller knows at one point of the log. It is immutable: apply returns the next one, which
// shares all that didn't change, so a root can be kept or gone back to for nothing.
type state struct {
	img *metadata.Image
	index
	// registered holds the offset of each broker's RegisterBroker record: one that read it has caught up.
	registered *btree.Map[int32, int64]
	// featuresOffset is where a feature level last changed, -1 for never: the epoch of finalized features.
	featuresOffset int64
}

func emptyState() *state {
	return &state{img: metadata.Empty(), index: newIndex(), registered: btree.NewMap[int32, int64](0), featuresOffset: -1}
}

// apply returns the state after recs, the first of which stands at offset base. Transaction records are not for here.
// An error means that the records don't fit this state: the log and this node disagree.
func (s *state) apply(recs []metadata.Record, base int64, epoch int32) (*state, error) {
	return s.applyAt(recs, base, 1, epoch)
}

// applyAt is apply with offsets that step apart: 1 in the log, 0 in a snapshot, whose records all stand at its end.
func (s *state) applyAt(recs []metadata.Record, base, step int64, epoch int32) (*state, error) {
	if len(recs) == 0 {
		return s, nil
	}
	img, delta, err := s.img.ApplyDelta(recs, base+step*int64(len(recs)-1), epoch)
	if err != nil {
		return nil, err
	}
	next := &state{img: img, index: s.after(s.img, img, delta), registered: s.registered, featuresOffset: s.featuresOffset}
	for i, rec := range recs {
		offset := base + step*int64(i)
		switch rec := rec.(type) {
		case *metadata.RegisterBrokerRecord:
			next.ownRegistered(s).Set(rec.BrokerID, offset)
		case *metadata.UnregisterBrokerRecord:
			next.ownRegistered(s).Delete(rec.BrokerID)
		case *metadata.FeatureLevelRecord:
			next.featuresOffset = offset
		}
	}
	return next, nil
}

// ownRegistered is a map that may be written: prev's, copied once.
func (s *state) ownRegistered(prev *state) *btree.Map[int32, int64] {
	if s.registered == prev.registered {
		s.registered = prev.registered.Copy()
	}
	return s.registered
}

// elrEnabled says whether partitions keep eligible leader replicas (KIP-966).
func (s *state) elrEnabled() bool {
	return s.img.MetadataVersion().ELR() && s.img.Feature(metadata.FeatureELRVersion) > 0
}

// roots is a state inside or outside a metadata transaction (KIP-868).
type roots struct {
	state *state
	// begin is the state before the open transaction, nil without one; beginOffset is its BeginTransaction record's.
	begin       *state
	beginOffset int64
}

func emptyRoots() roots { return roots{state: emptyState(), beginOffset: -1} }

// stable is what readers may see: nothing of an open transaction.
func (r roots) stable() *state {
	if r.begin != nil {
		return r.begin
	}
	return r.state
}

// lastStableOffset is lastCommitted, or the offset before an open transaction.
func (r roots) lastStableOffset(lastCommitted int64) int64 {
	if r.begin != nil {
		return r.beginOffset - 1
	}
	return lastCommitted
}

// replay applies consecutive records, transaction records included. After an error r must not be used.
func (r roots) replay(recs []metadata.Record, base int64, epoch int32) (roots, error) {
	start := 0
	for i, rec := range recs {
		switch rec.(type) {
		case *metadata.BeginTransactionRecord, *metadata.EndTransactionRecord, *metadata.AbortTransactionRecord:
		default:
			continue
		}
		next, err := r.state.apply(recs[start:i], base+int64(start), epoch)
		if err != nil {
			return r, err
		}
		r.state, start = next, i+1
		if err := r.transaction(rec, base+int64(i)); err != nil {
			return r, err
		}
	}
	next, err := r.state.apply(recs[start:], base+int64(start), epoch)
	if err != nil {
		return r, err
	}
	r.state = next
	return r, nil
}

func (r *roots) transaction(rec metadata.Record, offset int64) error {
	_, begins := rec.(*metadata.BeginTransactionRecord)
	if open := r.begin != nil; open == begins {
		return fmt.Errorf("offset %d: %T while a transaction is open: %t", offset, rec, open)
	}
	switch rec.(type) {
	case *metadata.BeginTransactionRecord:
		r.begin, r.beginOffset = r.state, offset
	case *metadata.AbortTransactionRecord:
		r.state, r.begin, r.beginOffset = r.begin, nil, -1
	default:
		r.begin, r.beginOffset = nil, -1
	}
	return nil
}
