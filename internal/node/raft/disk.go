package raft

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"sync/atomic"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/storage/record/control"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// Dir is the folder of the metadata partition in the metadata log dir.
const Dir = Topic + "-0"

// Disk is the metadata partition's folder, opened: the log and quorum-state. It is a [Log] and an [ElectionStore].
type Disk struct {
	fs  storage.FS
	dir string
	log *storage.Log

	Report    storage.RecoveryReport
	Persisted *quorum.ElectionState // nil without quorum-state
	LogState  quorum.LogState

	kraftVersion atomic.Int32
}

// OpenDisk opens and recovers the partition under metadataLogDir and makes it durable, so that what the engine is told
// of the log is on disk. Errors name the file and what to do; nothing is changed then.
func OpenDisk(fsys storage.FS, metadataLogDir string, cfg storage.LogConfig, nowMs int64) (*Disk, error) {
	d := &Disk{fs: fsys, dir: path.Join(metadataLogDir, Dir)}
	if err := d.readElection(); err != nil {
		return nil, err
	}
	snapshots, err := d.readSnapshots()
	if err != nil {
		return nil, err
	}
	durable := int64(0)
	if n := len(snapshots); n > 0 {
		durable = snapshots[n-1].EndOffset
	}
	open := storage.MetadataOpenOptions(durable)
	open.NowMs = nowMs
	d.log, d.Report, err = storage.OpenLog(fsys, d.dir, uuid.MetadataTopicID, cfg, open)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(d.log.Flush(), d.scan()); err != nil {
		return nil, errors.Join(err, d.log.Abandon())
	}
	d.LogState.StartOffset, d.LogState.EndOffset = quorum.Offset(d.log.StartOffset()), quorum.Offset(d.log.EndOffset())
	for _, e := range d.log.Epochs() {
		d.LogState.Epochs = append(d.LogState.Epochs, quorum.EpochStart{Epoch: quorum.Epoch(e.Epoch), Start: quorum.Offset(e.StartOffset)})
	}
	return d, nil
}

func (d *Disk) readElection() error {
	s, err := storage.ReadQuorumState(d.fs, d.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	d.Persisted = &quorum.ElectionState{Epoch: quorum.Epoch(s.LeaderEpoch), LeaderID: quorum.NodeID(s.LeaderID), Voted: replicaKey(s.VotedID, s.VotedDirectoryID)}
	return nil
}

// readSnapshots lists complete snapshots and takes the voters of the 0-0 checkpoint and of the newest one.
func (d *Disk) readSnapshots() ([]storage.SnapshotID, error) {
	ids, err := storage.ListSnapshots(d.fs, d.dir)
	if err != nil {
		return nil, err
	}
	var real []storage.SnapshotID
	for i, id := range ids {
		newest := i == len(ids)-1
		if id != storage.BootstrapSnapshot {
			real = append(real, id)
		}
		s, err := storage.OpenSnapshot(d.fs, d.dir, id)
		if err != nil {
			return nil, fmt.Errorf("%w; put the file back as it was, or move the data directory away and start with an empty one under a new directory id "+
				"(controllers: remove the old voter, add the new one)", err)
		}
		if id == storage.BootstrapSnapshot {
			d.takeHeader(-1, s.Header())
		} else {
			d.LogState.Snapshots = append(d.LogState.Snapshots, quorum.SnapshotInfo{ID: quorum.OffsetAndEpoch{Offset: quorum.Offset(id.EndOffset), Epoch: quorum.Epoch(id.Epoch)}, Size: s.Size()})
			if newest {
				d.takeHeader(quorum.Offset(id.EndOffset)-1, s.Header())
			}
		}
		if err := s.Close(); err != nil {
			return nil, err
		}
	}
	return real, nil
}

func (d *Disk) takeHeader(at quorum.Offset, h storage.SnapshotHeader) {
	if h.KRaftVersion == 0 {
		return
	}
	set := VoterSetOf(control.Voters{Voters: h.Voters})
	d.kraftVersion.Store(int32(h.KRaftVersion))
	d.LogState.Control = append(d.LogState.Control,
		quorum.ControlAt{Offset: at, Record: quorum.ControlRecord{KRaftVersion: &h.KRaftVersion}},
		quorum.ControlAt{Offset: at, Record: quorum.ControlRecord{Voters: &set}})
}

// scan collects the control records of the whole log.
func (d *Disk) scan() error {
	for at := d.log.StartOffset(); at < d.log.EndOffset(); {
		data, err := d.Read(at, d.log.EndOffset(), deliverBytes)
		if err != nil {
			return err
		}
		batches, err := describeBatchesAt(data)
		if err != nil {
			return fmt.Errorf("%s at offset %d: %w", d.dir, at, err)
		}
		if len(batches) == 0 {
			return fmt.Errorf("%s: nothing to read at offset %d, the log ends at %d", d.dir, at, d.log.EndOffset())
		}
		for _, b := range batches {
			for _, c := range b.control {
				if c.Record.KRaftVersion != nil {
					d.kraftVersion.Store(int32(*c.Record.KRaftVersion))
				}
				d.LogState.Control = append(d.LogState.Control, c)
			}
			at = b.next
		}
	}
	return nil
}

// Append writes whole batches that have their offsets.
func (d *Disk) Append(batches []byte) error {
	info, err := d.log.AppendFollower(batches)
	if err == nil && info.Bytes != len(batches) {
		err = fmt.Errorf("%s: %d of %d bytes are whole batches", d.dir, info.Bytes, len(batches))
	}
	return err
}

// Flush fsyncs the log.
func (d *Disk) Flush() error { return d.log.Flush() }

// TruncateTo cuts the log.
func (d *Disk) TruncateTo(offset int64) error {
	_, err := d.log.TruncateTo(offset)
	return err
}

// Read copies whole batches.
func (d *Disk) Read(from, maxOffset int64, maxBytes int) ([]byte, error) {
	s, _, err := d.log.Read(from, maxOffset, maxBytes, true)
	if err != nil || s.Len() == 0 {
		return nil, err
	}
	return s.AppendTo(make([]byte, 0, s.Len()))
}

// StartOffset is the log start offset.
func (d *Disk) StartOffset() int64 { return d.log.StartOffset() }

// EndOffset is the log end offset.
func (d *Disk) EndOffset() int64 { return d.log.EndOffset() }

// Save writes quorum-state, durably.
func (d *Disk) Save(s quorum.ElectionState) error {
	return storage.WriteQuorumState(d.fs, d.dir, storage.ElectionState{
		LeaderID: int32(s.LeaderID), LeaderEpoch: int32(s.Epoch), VotedID: int32(s.Voted.ID), VotedDirectoryID: s.Voted.DirectoryID,
		KRaftVersion: int16(d.kraftVersion.Load()),
	})
}

// Close flushes and closes the log. Call it after the driver has ended.
func (d *Disk) Close() error {
	if d.log.Err() != nil {
		return d.log.Abandon()
	}
	return d.log.Close()
}
