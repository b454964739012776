package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"path"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/storage/record"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// wayOut is how a replica with a damaged disk comes back.
const wayOut = "put the file back as it was, or replace this replica: stop the node, move its data directory away, and start it with an empty one " +
	"under a new directory id (controllers: remove the old voter, add the new one)"

// opening is one Open: what it finds before it decides.
type opening struct {
	*Disk
	newest   storage.SnapshotID
	real     bool               // newest is one: there is a snapshot other than 0-0
	boot     []quorum.ControlAt // of the 0-0 checkpoint
	header   []quorum.ControlAt // of the newest snapshot
	inLog    []quorum.ControlAt // of the log
	inLogErr error
}

// Open opens and recovers the partition under metadataLogDir and makes it durable, so that what the engine is told of the log
// is on disk. It reads the log once.
//
// What an interrupted write, download or removal left behind is removed, and so are snapshots below the log's start. A snapshot that
// is ahead of the log ([quorum.LogState.SnapshotAhead]) replaces it. Errors name the file and what to do: a damaged snapshot
// or quorum-state, damage in the log that is not a torn tail, a log that starts above 0 without a snapshot for what is missing.
func Open(fsys storage.FS, metadataLogDir string, cfg storage.LogConfig, nowMs int64) (*Disk, error) {
	return open(fsys, metadataLogDir, cfg, nowMs, false)
}

// OpenObserver is Open for a node that can never vote, a broker without the controller role: it acknowledges nothing and doesn't flush what
// it fetches, so a power loss may leave holes behind its newest snapshot. The log is cut there, and fetched again.
func OpenObserver(fsys storage.FS, metadataLogDir string, cfg storage.LogConfig, nowMs int64) (*Disk, error) {
	return open(fsys, metadataLogDir, cfg, nowMs, true)
}

func open(fsys storage.FS, metadataLogDir string, cfg storage.LogConfig, nowMs int64, cutHoles bool) (*Disk, error) {
	o := opening{Disk: &Disk{fs: fsys, dir: path.Join(metadataLogDir, storage.MetadataPartitionDir), cfg: cfg}}
	if err := o.readElection(); err != nil {
		return nil, err
	}
	if err := o.readSnapshots(); err != nil {
		return nil, err
	}
	if err := o.checkBeginning(); err != nil {
		return nil, err
	}
	opt := storage.MetadataOpenOptions(o.newest.EndOffset)
	opt.NowMs, opt.OnBatch, opt.CutHoles = nowMs, o.onBatch, cutHoles
	var err error
	if o.log, o.Report, err = storage.OpenLog(fsys, o.dir, uuid.MetadataTopicID, cfg, opt); err != nil {
		return nil, err
	}
	if err := o.reconcile(); err != nil {
		return nil, errors.Join(err, o.log.Abandon())
	}
	return o.Disk, nil
}

func (o *opening) readElection() error {
	s, err := storage.ReadQuorumState(o.fs, o.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	o.Persisted = &quorum.ElectionState{Epoch: quorum.Epoch(s.LeaderEpoch), LeaderID: quorum.NodeID(s.LeaderID), Voted: quorum.NoReplica}
	if s.VotedID >= 0 {
		o.Persisted.Voted = quorum.ReplicaKey{ID: quorum.NodeID(s.VotedID), DirectoryID: s.VotedDirectoryID}
	}
	return nil
}

// readSnapshots lists complete snapshots. The newest, which the state machine and the voters come from, is read whole.
func (o *opening) readSnapshots() error {
	ids, err := storage.ListSnapshots(o.fs, o.dir)
	if err != nil {
		return err
	}
	for i, id := range ids {
		newest := i == len(ids)-1
		s, err := o.OpenSnapshot(id)
		if err == nil && newest {
			err = s.Check()
		}
		if err != nil {
			return damaged(err, newest)
		}
		h := s.Header()
		if id == storage.BootstrapSnapshot {
			o.boot = headerControl(-1, h)
		} else {
			o.addSnapshot(Snapshot{ID: id, Size: s.Size(), LastContainedTimestamp: h.LastContainedLogTimestamp})
			if newest {
				o.newest, o.real, o.header = id, true, headerControl(quorum.Offset(id.EndOffset)-1, h)
			}
		}
		if err := s.Close(); err != nil {
			return err
		}
	}
	return nil
}

func damaged(err error, newest bool) error {
	if !newest {
		return fmt.Errorf("%w; a newer snapshot stands, so this file may be moved away; nothing was changed", err)
	}
	return fmt.Errorf("%w; nothing was changed; %s", err, wayOut)
}

// checkBeginning refuses a log that begins above 0 where no snapshot holds what lay below.
func (o *opening) checkBeginning() error {
	first, ok, err := storage.FirstSegment(o.fs, o.dir)
	if err != nil || !ok || first == 0 || o.real && o.newest.EndOffset >= first {
		return err
	}
	return fmt.Errorf("%s: the log begins at offset %d in %020d.log, and there is no snapshot (.checkpoint) of what lay below; nothing was changed; %s",
		o.dir, first, first, wayOut)
}

// onBatch collects the control records while the log is checked.
func (o *opening) onBatch(b record.Batch) {
	if o.inLogErr != nil {
		return
	}
	recs, err := ControlOf(b)
	if err != nil {
		o.inLogErr = fmt.Errorf("%s: control batch at offset %d: %w; %s", o.dir, b.BaseOffset(), err, wayOut)
	}
	o.inLog = append(o.inLog, recs...)
}

// reconcile makes log and snapshots agree, and tells the engine of the outcome.
func (o *opening) reconcile() error {
	o.describeLog()
	if id, ahead := o.LogState.SnapshotAhead(); ahead {
		newest := storageID(id)
		if err := o.log.TruncateFullyAndStartAt(newest.EndOffset); err != nil {
			return fmt.Errorf("replace the metadata log by snapshot %s: %w", newest, err)
		}
		o.Replaced, o.inLog, o.inLogErr = &newest, nil, nil
	}
	if o.inLogErr != nil {
		return o.inLogErr
	}
	if err := o.dropSnapshots(o.log.StartOffset()); err != nil {
		return err
	}
	if err := errors.Join(o.RemovePending(0), o.RemovePending(math.MaxInt64)); err != nil { // nobody reads them yet
		return err
	}
	if err := o.log.Flush(); err != nil {
		return err
	}
	o.describeLog()
	o.LogState.Control = append(append(o.boot, o.header...), o.inLog...)
	var levels []levelAt
	for _, c := range o.LogState.Control {
		if c.Record.KRaftVersion != nil {
			levels = append(levels, levelAt{c.Offset, *c.Record.KRaftVersion})
		}
	}
	o.setLevels(levels)
	return nil
}

func (o *opening) describeLog() {
	o.LogState = quorum.LogState{StartOffset: quorum.Offset(o.log.StartOffset()), EndOffset: quorum.Offset(o.log.EndOffset())}
	for _, e := range o.log.Epochs() {
		o.LogState.Epochs = append(o.LogState.Epochs, quorum.EpochStart{Epoch: quorum.Epoch(e.Epoch), Start: quorum.Offset(e.StartOffset)})
	}
	for _, s := range o.snapshots {
		o.LogState.Snapshots = append(o.LogState.Snapshots, s.Info())
	}
}
