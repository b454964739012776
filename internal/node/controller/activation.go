package controller

import (
	"time"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
)

// activate makes this node the active controller of an epoch (section 6.3 of the reference: claim). The log has already
// handed over everything up to this epoch's LeaderChange, so that its end is where this node writes next.
func (c *core) activate(epoch int32, now time.Time) error {
	c.epoch = epoch
	c.nextWrite = c.cfg.Log.LogEndOffset()
	if c.nextWrite <= c.lastCommitted {
		return fatal("elected in epoch %d with log end offset %d, below the last committed offset %d", epoch, c.nextWrite, c.lastCommitted)
	}
	c.hb = newHeartbeats(c.sessions)
	for _, b := range c.working.state.img.Brokers() {
		c.hb.activate(b.ID, b.Epoch, b.Fenced, b.InControlledShutdown, c.nextWrite, now)
	}
	c.metrics.active(true)
	c.log.Info("Becoming the active controller", "leaderEpoch", epoch, "nextWriteOffset", c.nextWrite)
	c.write("activate", now, c.activationRecords, func(e *apiError) {
		if e != nil && e != errNotController {
			c.fault = fatal("activating in epoch %d: %w", epoch, e)
		}
	})
	if c.active() {
		c.tasks = c.newTasks(now)
	}
	return nil
}

// activationRecords finishes what a controller before left open, or lays down the bootstrap records in one transaction,
// so that no one ever sees half of them (KIP-868).
func (c *core) activationRecords(tx *tx) error {
	open := c.working.begin != nil
	if open {
		tx.emit(abortTransaction("Controller failover"))
	}
	if c.working.stable().img.MetadataVersion() != 0 {
		return nil
	}
	boot := c.cfg.BootstrapRecords
	if len(boot) == 0 {
		boot = []metadata.Record{featureLevel(metadata.FeatureMetadataVersion, int16(metadata.MVLatest))}
	}
	levels := map[string]int16{}
	for _, rec := range boot {
		if f, ok := rec.(*metadata.FeatureLevelRecord); ok {
			levels[f.Name] = f.FeatureLevel
		}
	}
	transaction := metadata.MetadataVersion(levels[metadata.FeatureMetadataVersion]).Transactions()
	if transaction {
		begin := metadata.NewBeginTransactionRecord()
		begin.Name = ptr("Bootstrap records")
		tx.emit(begin)
	}
	tx.emit(boot...)
	if levels[metadata.FeatureELRVersion] > 0 {
		// ELR counts by one min ISR of the whole cluster, so that must stand in the log (KIP-966).
		tx.emit(configRecord(metadata.ResourceBroker, "", minISRConfig, ptr(c.staticMinISR())))
	}
	if transaction {
		tx.emit(metadata.NewEndTransactionRecord())
	}
	return nil
}

func (c *core) staticMinISR() string {
	if v, ok := c.cfg.Static[minISRConfig]; ok && v != "" {
		return v
	}
	return "1"
}

func abortTransaction(reason string) metadata.Record {
	rec := metadata.NewAbortTransactionRecord()
	rec.Reason = ptr(reason)
	return rec
}

func featureLevel(name string, level int16) metadata.Record {
	rec := metadata.NewFeatureLevelRecord()
	rec.Name, rec.FeatureLevel = name, level
	return rec
}

func ptr[T any](v T) *T { return &v }
