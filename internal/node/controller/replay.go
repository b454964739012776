package controller

import (
	"fmt"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/node/raft"
)

// commitPrepared moves the committed root to what was prepared here.
func (c *core) commitPrepared(b raft.CommittedBatch) error {
	if err := c.notYetCommitted(b); err != nil {
		return err
	}
	last := int64(-1)
	for c.prepared.len() > 0 && c.prepared.front().lastOffset <= b.LastOffset {
		p := c.prepared.pop()
		c.committed, last = p.roots, p.lastOffset
	}
	if last != b.LastOffset {
		return fatal("batch %d to %d was committed in epoch %d, but nothing that this active controller prepared ends there", b.BaseOffset, b.LastOffset, c.epoch)
	}
	return nil
}

// replayBatches applies a run of batches on a standby.
func (c *core) replayBatches(run []raft.CommittedBatch) error {
	var recs []metadata.Record
	for _, b := range run {
		if err := c.notYetCommitted(b); err != nil {
			return err
		}
		some, err := decodeAll(b.Records)
		if err != nil {
			return fatal("replaying batch %d to %d of epoch %d: %w", b.BaseOffset, b.LastOffset, b.Epoch, err)
		}
		recs = append(recs, some...)
	}
	first, last := run[0], run[len(run)-1]
	var err error
	if c.committed, err = c.committed.replay(recs, first.BaseOffset, first.Epoch); err != nil {
		return fatal("replaying batch %d to %d of epoch %d: %w", first.BaseOffset, last.LastOffset, first.Epoch, err)
	}
	c.working = c.committed
	return nil
}

func (c *core) notYetCommitted(b raft.CommittedBatch) error {
	if b.LastOffset <= c.lastCommitted {
		return fatal("batch %d to %d was committed again, last committed offset is %d", b.BaseOffset, b.LastOffset, c.lastCommitted)
	}
	return nil
}

func decodeAll(values [][]byte) ([]metadata.Record, error) {
	recs := make([]metadata.Record, len(values))
	for i, v := range values {
		rec, _, err := metadata.Decode(v)
		if err != nil {
			return nil, fmt.Errorf("record %d: %w", i, err)
		}
		recs[i] = rec
	}
	return recs, nil
}
