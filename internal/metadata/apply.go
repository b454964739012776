package metadata

import (
	"errors"
	"fmt"

	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// ErrInconsistent is wrapped by every error of Apply: the record doesn't fit the image.
var ErrInconsistent = errors.New("record does not fit the metadata image")

// applier builds the next image. Maps of next that are still prev's are copied before the first write.
type applier struct {
	prev, next *Image
	delta      *Delta
	topics     map[uuid.UUID]*Topic                 // topics of this pass, which it may write
	parts      map[uuid.UUID]bool                   // those whose partitions were copied
	configs    map[ConfigResource]map[string]string // settings of this pass, which it may write
	counts     map[int32]*Counts
}

// Apply returns the image after recs, the last of which stands at lastOffset in leader epoch epoch. img doesn't
// change. It keeps recs' slices: neither records nor what they point to may be written afterwards.
//
// Cost:   O(changed · log size), whatever the size of the image.
// Errors: ErrInconsistent for an unknown topic, partition, broker or credential, a broker epoch that isn't the
// registered one, a name or id taken twice, and for transaction records, which Replayer handles.
func (img *Image) Apply(recs []Record, lastOffset int64, epoch int32) (*Image, error) {
	next, _, err := img.ApplyDelta(recs, lastOffset, epoch)
	return next, err
}

// ApplyDelta is Apply, and names what changed.
func (img *Image) ApplyDelta(recs []Record, lastOffset int64, epoch int32) (*Image, *Delta, error) {
	next := *img
	next.Offset, next.Epoch = lastOffset, epoch
	a := &applier{prev: img, next: &next, delta: NewDelta()}
	for i, rec := range recs {
		if err := a.apply(rec); err != nil {
			return nil, nil, fmt.Errorf("record %d of %d up to offset %d: %T: %w: %w", i+1, len(recs), lastOffset, rec, ErrInconsistent, err)
		}
	}
	a.flushCounts()
	return &next, a.delta, nil
}

func (a *applier) apply(rec Record) error {
	switch rec := rec.(type) {
	case *RegisterBrokerRecord:
		return a.registerBroker(rec)
	case *UnregisterBrokerRecord:
		return a.unregisterBroker(rec)
	case *FenceBrokerRecord:
		return a.changeBroker(rec.ID, rec.Epoch, func(b *Broker) error { b.Fenced = true; return nil })
	case *UnfenceBrokerRecord:
		return a.changeBroker(rec.ID, rec.Epoch, func(b *Broker) error { b.Fenced = false; return nil })
	case *BrokerRegistrationChangeRecord:
		return a.changeRegistration(rec)
	case *RegisterControllerRecord:
		return a.registerController(rec)
	case *TopicRecord:
		return a.createTopic(rec)
	case *RemoveTopicRecord:
		return a.removeTopic(rec)
	case *PartitionRecord:
		return a.setPartition(rec)
	case *PartitionChangeRecord:
		return a.changePartition(rec)
	case *ClearElrRecord:
		return a.clearELR(rec)
	case *FeatureLevelRecord:
		return a.setFeature(rec)
	case *ConfigRecord:
		return a.setConfig(rec)
	case *ProducerIdsRecord:
		return a.setProducerIDs(rec)
	case *NoOpRecord, *ZkMigrationStateRecord: // the latter stays in logs upgraded from 3.x and means nothing
		return nil
	case *BeginTransactionRecord, *EndTransactionRecord, *AbortTransactionRecord:
		return errors.New("transaction records mark what to apply and are not applied themselves")
	}
	return a.applyAccess(rec)
}

// applyAccess applies the records of users, rights and quotas.
func (a *applier) applyAccess(rec Record) error {
	switch rec := rec.(type) {
	case *AccessControlEntryRecord:
		return a.addACL(rec)
	case *RemoveAccessControlEntryRecord:
		return a.removeACL(rec)
	case *UserScramCredentialRecord:
		return a.setScram(rec)
	case *RemoveUserScramCredentialRecord:
		return a.removeScram(rec)
	case *ClientQuotaRecord:
		return a.setQuota(rec)
	case *DelegationTokenRecord:
		return a.setToken(rec)
	case *RemoveDelegationTokenRecord:
		return a.removeToken(rec)
	}
	return fmt.Errorf("unknown record type %d", rec.Type())
}
