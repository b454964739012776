package raft

import (
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
	"github.com/kraft-dev/kraft-operator/internal/quorum/disk"
	"github.com/kraft-dev/kraft-operator/internal/storage"
)

// cleanInterval is how often retention is looked at besides after each new snapshot, and files that were dropped are removed.
const cleanInterval = time.Minute

// carryOutSnapshot is carryOut for the effects on snapshots.
func (d *Driver) carryOutSnapshot(e quorum.Effect) error {
	switch e := e.(type) {
	case quorum.ReadSnapshot:
		done, err := d.disk.ReadSnapshot(e)
		if err != nil {
			return err
		}
		d.pending = append(d.pending, done)
	case quorum.WriteSnapshot:
		return d.disk.WriteSnapshot(e)
	case quorum.AbandonSnapshot:
		return d.disk.AbandonSnapshot(e)
	case quorum.InstallSnapshot:
		d.cfg.Logger.Info("Installing a snapshot", "endOffset", e.ID.Offset, "epoch", e.ID.Epoch, "bytes", e.Size, "logEndOffset", d.disk.EndOffset())
		d.sends.Go(func() { d.install(e) })
	case quorum.DropPrefix:
		d.cfg.Logger.Info("Dropping what a snapshot holds", "logStartOffset", e.Start.Offset, "epoch", e.Start.Epoch)
		return d.disk.DropPrefix(e)
	}
	return nil
}

// install reads and fsyncs a download beside the loop, which then replaces the log. The engine leaves the log alone meanwhile.
func (d *Driver) install(e quorum.InstallSnapshot) {
	in, err := d.disk.PrepareInstall(e)
	if err != nil {
		d.fail(err)
		return
	}
	d.post(func() {
		done, err := d.disk.FinishInstall(in)
		if err != nil {
			d.dead = true
			d.fail(err)
			return
		}
		if !done.OK {
			d.cfg.Logger.Warn("A downloaded snapshot is damaged", "endOffset", e.ID.Offset, "epoch", e.ID.Epoch)
		}
		d.deliver.newestSnapshot(d.disk.Snapshots())
		d.step(done)
	})
}

// clean applies retention and removes the files of what was dropped a while ago.
func (d *Driver) clean() {
	now := time.Now().UnixMilli()
	start, ok := d.cfg.Retention.Start(d.disk.Snapshots(), d.disk.Segments(), d.deliver.lowest(), now)
	if ok {
		d.step(quorum.CleanTo{ID: quorum.OffsetAndEpoch{Offset: quorum.Offset(start.EndOffset), Epoch: quorum.Epoch(start.Epoch)}})
	}
	if err := d.disk.RemovePending(now); err != nil {
		d.cfg.Logger.Warn("Files that were dropped could not be removed; a start removes them", "err", err)
	}
}

// NewestSnapshot is the exclusive end offset of the newest snapshot on this disk, 0 if there is none.
func (d *Driver) NewestSnapshot() int64 { return d.deliver.newestEnd() }

// SnapshotWriter writes one snapshot of this node's state machine, from one goroutine.
type SnapshotWriter struct {
	d *Driver
	w *disk.SnapshotWriter
}

// CreateSnapshot begins a snapshot of the state after record endOffset-1, which was committed in epoch and is the last of its
// batch; timestamp is that batch's, in wall-clock milliseconds. It returns nil, nil where that snapshot is there, or the log has
// left it behind. Any goroutine but the loop's and a listener's may call it.
func (d *Driver) CreateSnapshot(endOffset int64, epoch int32, timestamp int64) (*SnapshotWriter, error) {
	header := storage.SnapshotHeader{LastContainedLogTimestamp: timestamp}
	var refused error
	asked := make(chan struct{})
	if !d.post(func() {
		defer close(asked)
		refused = d.snapshotHeader(&header, quorum.Offset(endOffset)-1)
	}) {
		return nil, errStopped
	}
	select {
	case <-asked:
	case <-d.stopped:
		return nil, errStopped
	}
	if refused != nil {
		return nil, refused
	}
	w, err := d.disk.CreateSnapshot(storage.SnapshotID{EndOffset: endOffset, Epoch: epoch}, header, time.Now().UnixMilli())
	if err != nil || w == nil {
		return nil, err
	}
	return &SnapshotWriter{d: d, w: w}, nil
}

var errStopped = errors.New("the quorum's loop has ended")

// snapshotHeader says which voters were in force at an offset. It runs in the loop.
func (d *Driver) snapshotHeader(h *storage.SnapshotHeader, last quorum.Offset) error {
	if hw := d.q.Status().HighWatermark; last >= hw {
		return fmt.Errorf("snapshot up to offset %d: the high watermark is %d", last, hw)
	}
	h.KRaftVersion = d.q.KRaftVersionAt(last)
	if h.KRaftVersion == 0 {
		return nil
	}
	set, ok := d.q.VotersAt(last)
	if !ok {
		return fmt.Errorf("snapshot up to offset %d: kraft.version is %d there, and no voters are known", last, h.KRaftVersion)
	}
	h.Voters = disk.VotersRecord(set).Voters
	return nil
}

// Append adds metadata record values, frame included.
func (w *SnapshotWriter) Append(values ...[]byte) error { return w.w.Append(values...) }

// Abort drops the snapshot; after Freeze it does nothing.
func (w *SnapshotWriter) Abort() error { return w.w.Abort() }

// Freeze completes the snapshot, durably, and lets the log know. It returns its size in bytes; 0 where another of that id came first.
// An fsync that fails stops the node.
func (w *SnapshotWriter) Freeze() (int64, error) {
	s, ok, err := w.w.Freeze()
	if err != nil {
		if errors.Is(err, storage.ErrPoisoned) {
			w.d.fail(err)
		}
		return 0, err
	}
	if ok {
		w.d.post(func() { w.d.snapshotCreated(s) })
	}
	return s.Size, nil
}

func (d *Driver) snapshotCreated(s disk.Snapshot) {
	ev, ok, err := d.disk.SnapshotCreated(s)
	if err != nil {
		d.dead = true
		d.fail(err)
		return
	}
	if ok {
		d.deliver.newestSnapshot(d.disk.Snapshots())
		d.step(ev)
		d.clean()
	}
}

// snapshotReader hands a snapshot of the disk to a listener.
type snapshotReader struct{ s *storage.Snapshot }

func (r snapshotReader) EndOffset() int64 { return r.s.ID().EndOffset }
func (r snapshotReader) Epoch() int32     { return r.s.ID().Epoch }
func (r snapshotReader) LastContainedLogTimestamp() int64 {
	return r.s.Header().LastContainedLogTimestamp
}
func (r snapshotReader) Close() error { return r.s.Close() }

func (r snapshotReader) Batches() iter.Seq2[CommittedBatch, error] {
	return func(yield func(CommittedBatch, error) bool) {
		for b, err := range r.s.Batches() {
			var c CommittedBatch
			if err == nil {
				c, err = decodeBatch(slices.Clone(b)) // the reader uses its bytes again
			}
			if !yield(c, err) || err != nil {
				return
			}
		}
	}
}
