package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/storage/record"
	"github.com/kraft-dev/kraft-operator/internal/storage/record/control"
)

// Snapshot is a complete snapshot in the folder.
type Snapshot struct {
	ID                     storage.SnapshotID
	Size                   int64 // bytes
	LastContainedTimestamp int64 // ms, the leader's clock
}

// Info is the snapshot as the engine knows it.
func (s Snapshot) Info() quorum.SnapshotInfo {
	return quorum.SnapshotInfo{ID: engineID(s.ID), Size: s.Size}
}

func engineID(id storage.SnapshotID) quorum.OffsetAndEpoch {
	return quorum.OffsetAndEpoch{Offset: quorum.Offset(id.EndOffset), Epoch: quorum.Epoch(id.Epoch)}
}

func storageID(id quorum.OffsetAndEpoch) storage.SnapshotID {
	return storage.SnapshotID{EndOffset: int64(id.Offset), Epoch: int32(id.Epoch)}
}

// doomed is a snapshot whose file waits to be removed.
type doomed struct {
	id storage.SnapshotID
	at int64 // ms; 0: its time begins with the first look
}

// addSnapshot keeps the list ascending and without doubles.
func (d *Disk) addSnapshot(s Snapshot) {
	i, there := slices.BinarySearchFunc(d.snapshots, s, func(a, b Snapshot) int { return a.ID.Compare(b.ID) })
	if there {
		d.snapshots[i] = s
		return
	}
	d.snapshots = slices.Insert(d.snapshots, i, s)
}

// OpenSnapshot opens a snapshot for reading. Errors: fs.ErrNotExist where it was dropped; wrapping storage.ErrCorrupt.
func (d *Disk) OpenSnapshot(id storage.SnapshotID) (*storage.Snapshot, error) {
	return storage.OpenSnapshot(d.fs, d.dir, id)
}

// ReadSnapshot reads a piece of a complete snapshot.
func (d *Disk) ReadSnapshot(e quorum.ReadSnapshot) (quorum.SnapshotRead, error) {
	done := quorum.SnapshotRead{Token: e.Token}
	id := storageID(e.ID)
	if d.serving == nil || d.serving.ID() != id {
		d.stopServing()
		s, err := d.OpenSnapshot(id)
		if errors.Is(err, fs.ErrNotExist) {
			done.Missing = true
			return done, nil
		}
		if err != nil {
			return done, err
		}
		d.serving = s
	}
	piece, err := d.serving.Slice(e.Position, int(e.MaxBytes))
	if err != nil {
		return done, err
	}
	done.Data, err = piece.AppendTo(nil)
	return done, err
}

func (d *Disk) stopServing() {
	if d.serving != nil {
		_ = d.serving.Close()
		d.serving = nil
	}
}

// WriteSnapshot appends to the partial download; position 0 begins it anew.
func (d *Disk) WriteSnapshot(e quorum.WriteSnapshot) error {
	if e.Position == 0 {
		if err := d.abandon(); err != nil {
			return err
		}
		var err error
		if d.download, err = storage.CreateSnapshotDownload(d.fs, d.dir, storageID(e.ID)); err != nil {
			return err
		}
	}
	if d.download == nil || d.download.ID() != storageID(e.ID) {
		return fmt.Errorf("snapshot %s: bytes at position %d of a download that was not begun", storageID(e.ID), e.Position)
	}
	return d.download.WriteAt(e.Data, e.Position)
}

// AbandonSnapshot drops the partial download.
func (d *Disk) AbandonSnapshot(quorum.AbandonSnapshot) error { return d.abandon() }

func (d *Disk) abandon() error {
	if d.download == nil {
		return nil
	}
	err := d.download.Abort()
	d.download = nil
	return err
}

// Installation is a download that was checked and is durable under its name, or was found damaged and dropped.
type Installation struct {
	effect   quorum.InstallSnapshot
	ok       bool
	snapshot Snapshot
	header   storage.SnapshotHeader
}

// InstallSnapshot checks the download, freezes it and replaces the log by an empty one at its end.
func (d *Disk) InstallSnapshot(e quorum.InstallSnapshot) (quorum.SnapshotInstalled, error) {
	in, err := d.PrepareInstall(e)
	if err != nil {
		return quorum.SnapshotInstalled{}, err
	}
	return d.FinishInstall(in)
}

// PrepareInstall is the slow half: it reads and fsyncs the whole download and gives it its name. The owner may go on meanwhile.
// The log is flushed first: it is sound up to its end, then, if a crash comes before it is replaced.
func (d *Disk) PrepareInstall(e quorum.InstallSnapshot) (in Installation, err error) {
	in.effect = e
	id := storageID(e.ID)
	if d.download == nil || d.download.ID() != id || d.download.Size() != e.Size {
		return in, fmt.Errorf("snapshot %s: the download to install is not there, or not of %d bytes", id, e.Size)
	}
	if err := d.log.Flush(); err != nil {
		return in, err
	}
	d.freezing.Lock()
	err = d.download.Freeze()
	d.freezing.Unlock()
	if errors.Is(err, storage.ErrCorrupt) {
		return in, nil
	}
	if err != nil {
		return in, err
	}
	in.snapshot, in.header, err = d.inspect(id)
	in.ok = err == nil
	return in, err
}

func (d *Disk) inspect(id storage.SnapshotID) (Snapshot, storage.SnapshotHeader, error) {
	s, err := d.OpenSnapshot(id)
	if err != nil {
		return Snapshot{}, storage.SnapshotHeader{}, err
	}
	h := s.Header()
	return Snapshot{ID: id, Size: s.Size(), LastContainedTimestamp: h.LastContainedLogTimestamp}, h, s.Close()
}

// FinishInstall is the owner's half: it replaces the log and drops older snapshots.
func (d *Disk) FinishInstall(in Installation) (quorum.SnapshotInstalled, error) {
	d.download = nil
	done := quorum.SnapshotInstalled{Token: in.effect.Token, OK: in.ok}
	if !in.ok {
		return done, nil
	}
	d.tail.clear()
	if err := d.log.TruncateFullyAndStartAt(in.snapshot.ID.EndOffset); err != nil {
		return done, fmt.Errorf("replace the metadata log by snapshot %s: %w", in.snapshot.ID, err)
	}
	d.addSnapshot(in.snapshot)
	if err := d.dropSnapshots(in.snapshot.ID.EndOffset); err != nil {
		return done, err
	}
	at := in.effect.ID.Offset - 1
	d.setLevels(nil)
	if in.header.KRaftVersion > 0 {
		d.setLevels([]levelAt{{at, in.header.KRaftVersion}})
	}
	done.Size, done.Control = in.snapshot.Size, headerControl(at, in.header)
	return done, nil
}

// headerControl is the header of a snapshot as control records at an offset.
func headerControl(at quorum.Offset, h storage.SnapshotHeader) []quorum.ControlAt {
	if h.KRaftVersion == 0 {
		return nil
	}
	set := VoterSetOf(control.Voters{Voters: h.Voters})
	return []quorum.ControlAt{
		{Offset: at, Record: quorum.ControlRecord{KRaftVersion: &h.KRaftVersion}},
		{Offset: at, Record: quorum.ControlRecord{Voters: &set}},
	}
}

// dropSnapshots takes the snapshots that end below offset away; their files go with RemovePending.
func (d *Disk) dropSnapshots(offset int64) error {
	for len(d.snapshots) > 0 && d.snapshots[0].ID.EndOffset < offset {
		id := d.snapshots[0].ID
		if d.serving != nil && d.serving.ID() == id {
			d.stopServing()
		}
		if err := storage.DeleteSnapshot(d.fs, d.dir, id); err != nil {
			return fmt.Errorf("drop snapshot %s: %w", id, err)
		}
		d.snapshots = d.snapshots[1:]
		d.doomed = append(d.doomed, doomed{id: id})
	}
	return nil
}

func (d *Disk) removeDoomed(nowMs int64) error {
	var later []doomed
	for _, s := range d.doomed {
		if s.at == 0 {
			s.at = nowMs + d.cfg.DeleteDelayMs
		}
		if s.at > nowMs {
			later = append(later, s)
			continue
		}
		if err := storage.RemoveDeletedSnapshot(d.fs, d.dir, s.id); err != nil {
			return err
		}
	}
	d.doomed = later
	return nil
}

// SnapshotWriter writes this node's own snapshot. It is used from one goroutine, which needn't be the owner.
type SnapshotWriter struct {
	disk *Disk
	w    *storage.SnapshotWriter
	out  Snapshot
}

// CreateSnapshot begins a snapshot of committed records, with header h. It returns nil, nil where the snapshot is there, or the log has
// left it behind. Errors: the log has no batch that ends there in that epoch.
func (d *Disk) CreateSnapshot(id storage.SnapshotID, h storage.SnapshotHeader, nowMs int64) (*SnapshotWriter, error) {
	if there, err := d.exists(id); err != nil || there || id.EndOffset <= d.log.StartOffset() {
		return nil, err
	}
	data, err := d.ReadCommitted(id.EndOffset-1, id.EndOffset, 1)
	if err != nil {
		return nil, fmt.Errorf("snapshot %s: %w", id, err)
	}
	if b, _, err := record.Split(data); err != nil || b.NextOffset() != id.EndOffset || b.Epoch() != id.Epoch {
		return nil, fmt.Errorf("snapshot %s: no batch of that epoch ends at offset %d", id, id.EndOffset-1)
	}
	w, err := storage.CreateSnapshot(d.fs, d.dir, id, h, nowMs)
	if err != nil || w == nil {
		return nil, err
	}
	return &SnapshotWriter{disk: d, w: w, out: Snapshot{ID: id, LastContainedTimestamp: h.LastContainedLogTimestamp}}, nil
}

// ID is the snapshot's.
func (w *SnapshotWriter) ID() storage.SnapshotID { return w.out.ID }

// Append adds metadata record values.
func (w *SnapshotWriter) Append(values ...[]byte) error { return w.w.Append(values...) }

// Abort drops the snapshot; after Freeze it does nothing.
func (w *SnapshotWriter) Abort() error { return w.w.Abort() }

// Freeze ends the snapshot and makes it durable. ok is false where another of that id came first. The log is flushed before,
// so that what it holds below a snapshot is durable: damage there is never a torn tail. Hand the result to
// [Disk.SnapshotCreated]. Errors that wrap storage.ErrPoisoned stop the node; after others there is no such snapshot.
func (w *SnapshotWriter) Freeze() (s Snapshot, ok bool, err error) {
	if err := w.disk.log.Flush(); err != nil {
		return s, false, errors.Join(err, w.w.Abort())
	}
	w.disk.freezing.Lock()
	defer w.disk.freezing.Unlock()
	there, err := w.disk.exists(w.out.ID)
	if err != nil || there {
		return s, false, errors.Join(err, w.w.Abort())
	}
	w.out.Size, err = w.w.Freeze()
	return w.out, err == nil, err
}

func (d *Disk) exists(id storage.SnapshotID) (bool, error) {
	_, err := d.fs.Stat(d.dir + "/" + id.Name())
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// SnapshotCreated takes a frozen snapshot into the list and returns the engine's event. One that the log has left behind meanwhile
// is deleted; ok is false then. The owner's.
func (d *Disk) SnapshotCreated(s Snapshot) (ev quorum.SnapshotCreated, ok bool, err error) {
	d.addSnapshot(s)
	if s.ID.EndOffset < d.log.StartOffset() {
		return ev, false, d.dropSnapshots(d.log.StartOffset())
	}
	return quorum.SnapshotCreated{Info: s.Info()}, true, nil
}
