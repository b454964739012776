// Package disk carries out the engine's disk effects on a real log and real files: the metadata partition's folder with
// its segments, snapshots and quorum-state (KIP-595, KIP-630).
//
// It starts no goroutine and reads no clock, so the driver of a node and the simulation run the same code, the one on a
// disk, the other on memfs. Each effect is a method of its name; where the engine waits for a completion, the method
// returns that event. An error stops the node: what the disk holds is no longer known, or is not what it should be.
//
// # Who may call what
//
// One goroutine at a time, the owner, carries out effects in the order the engine gave them. Beside the owner, from any
// goroutine: [Disk.Flush], [Disk.PersistElection] (one at a time), [Disk.ReadCommitted], [Disk.StartOffset],
// [Disk.OpenSnapshot], [Disk.CreateSnapshot] with the writer it returns, and [Disk.PrepareInstall] while the engine
// waits for the installation.
package disk

import (
	"fmt"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/storage/record"
	"github.com/kraft-dev/kraft-operator/internal/storage/record/control"
)

// Disk is the metadata partition's folder, opened.
type Disk struct {
	fs  storage.FS
	dir string
	cfg storage.LogConfig
	log *storage.Log

	Report    storage.RecoveryReport
	Persisted *quorum.ElectionState // nil without quorum-state
	LogState  quorum.LogState
	// Replaced is the snapshot that the whole log gave way to when it was opened, nil if it did not.
	Replaced *storage.SnapshotID

	kraftVersion atomic.Int32 // in force at the log's end

	// freezing is held while a file gets a snapshot's name: the node's own writer and a download may come to the same.
	freezing sync.Mutex

	tail tail

	// The owner's.
	levels    []levelAt
	snapshots []Snapshot // ascending; 0-0 is not among them
	download  *storage.SnapshotDownload
	serving   *storage.Snapshot // the one that was read last
	doomed    []doomed
}

// levelAt is a KRaftVersion record in the log; the 0-0 checkpoint's stands at -1.
type levelAt struct {
	offset quorum.Offset
	level  int16
}

// PersistElection replaces quorum-state, durably.
func (d *Disk) PersistElection(e quorum.PersistElection) (quorum.ElectionPersisted, error) {
	err := storage.WriteQuorumState(d.fs, d.dir, storage.ElectionState{
		LeaderID: int32(e.State.LeaderID), LeaderEpoch: int32(e.State.Epoch), VotedID: int32(e.State.Voted.ID), VotedDirectoryID: e.State.Voted.DirectoryID,
		KRaftVersion: int16(d.kraftVersion.Load()),
	})
	return quorum.ElectionPersisted{Seq: e.Seq}, err
}

// Append writes whole batches that have their offsets; control records become one batch with nowMs as timestamp.
func (d *Disk) Append(e quorum.Append, nowMs int64) error {
	data := e.Data
	if len(e.Control) > 0 {
		data = control.AppendBatch(nil, int64(e.Base), int32(e.Epoch), nowMs, ControlRecords(e.Control)...)
	}
	info, err := d.log.AppendFollower(data)
	if err == nil && info.Bytes != len(data) {
		err = fmt.Errorf("%d of %d bytes are whole batches", info.Bytes, len(data))
	}
	if err != nil {
		return fmt.Errorf("append to the metadata log at %d: %w", e.Base, err)
	}
	d.tail.add(int64(e.Base), int64(e.End), data)
	d.noteLevels(e.Base, e.Control)
	for _, b := range e.Batches {
		d.noteLevels(b.Base, b.Control)
	}
	return nil
}

func (d *Disk) noteLevels(base quorum.Offset, records []quorum.ControlRecord) {
	for i, r := range records {
		if r.KRaftVersion != nil {
			d.setLevels(append(d.levels, levelAt{base + quorum.Offset(i), *r.KRaftVersion}))
		}
	}
}

func (d *Disk) setLevels(levels []levelAt) {
	d.levels = levels
	newest := int16(0)
	if n := len(levels); n > 0 {
		newest = levels[n-1].level
	}
	d.kraftVersion.Store(int32(newest))
}

// Truncate cuts the log.
func (d *Disk) Truncate(e quorum.Truncate) error {
	d.tail.clear()
	if _, err := d.log.TruncateTo(int64(e.To)); err != nil {
		return fmt.Errorf("truncate the metadata log to %d: %w", e.To, err)
	}
	n := len(d.levels)
	for n > 0 && d.levels[n-1].offset >= e.To {
		n--
	}
	d.setLevels(d.levels[:n])
	return nil
}

// Flush fsyncs everything appended or truncated before the call.
func (d *Disk) Flush() error { return d.log.Flush() }

// Read gives whole batches, up to the log's end; they are not to be changed.
func (d *Disk) Read(e quorum.Read) (quorum.ReadDone, error) {
	data, err := d.ReadCommitted(int64(e.From), d.log.EndOffset(), int(e.MaxBytes))
	if err != nil {
		return quorum.ReadDone{}, fmt.Errorf("read the metadata log at %d: %w", e.From, err)
	}
	return quorum.ReadDone{Token: e.Token, Data: data}, nil
}

// ReadCommitted gives whole batches that end below maxOffset, from the one that holds from on; at least one if there is one. They
// are not to be changed: what was appended last comes from memory.
// Errors: storage.ErrOffsetOutOfRange below the log's start, which moves; fs.ErrClosed where a segment went meanwhile; wrapping
// storage.ErrCorrupt where offsets or epochs are not what was written.
func (d *Disk) ReadCommitted(from, maxOffset int64, maxBytes int) ([]byte, error) {
	if from >= d.log.StartOffset() {
		if data, ok := d.tail.read(from, maxOffset, maxBytes); ok {
			return data, nil
		}
	}
	s, _, err := d.log.Read(from, maxOffset, maxBytes, true)
	if err != nil || s.Len() == 0 {
		return nil, err
	}
	data, err := s.AppendTo(make([]byte, 0, s.Len()))
	if err != nil {
		return nil, err
	}
	return data, d.checkRead(data)
}

// checkRead looks at what no CRC covers, offsets and epochs, before the bytes leave: a receiver could not tell that they changed
// on the disk. The records' own CRCs are the receiver's to check.
func (d *Disk) checkRead(data []byte) error {
	next := int64(-1)
	for len(data) > 0 {
		b, rest, err := record.Split(data)
		if err != nil {
			return fmt.Errorf("%s: after offset %d: %w: %w; %s", d.dir, next, storage.ErrCorrupt, err, wayOut)
		}
		epoch := d.log.EpochAt(b.BaseOffset())
		if next >= 0 && b.BaseOffset() != next || epoch >= 0 && b.Epoch() != epoch {
			return fmt.Errorf("%s: %w: a batch of epoch %d at offset %d, where epoch %d at %d was written; %s",
				d.dir, storage.ErrCorrupt, b.Epoch(), b.BaseOffset(), epoch, next, wayOut)
		}
		next, data = b.NextOffset(), rest
	}
	return nil
}

// StartOffset is the log start offset.
func (d *Disk) StartOffset() int64 { return d.log.StartOffset() }

// EndOffset is the log end offset.
func (d *Disk) EndOffset() int64 { return d.log.EndOffset() }

// Segments are the log's segments, ascending.
func (d *Disk) Segments() []storage.SegmentSize { return d.log.Segments() }

// Snapshots are the complete snapshots, ascending, without 0-0. The owner's.
func (d *Disk) Snapshots() []Snapshot { return slices.Clone(d.snapshots) }

// DropPrefix lets the log begin at a snapshot, and deletes what lies wholly below it.
func (d *Disk) DropPrefix(e quorum.DropPrefix) error {
	if err := d.log.AdvanceStart(int64(e.Start.Offset)); err != nil {
		return fmt.Errorf("drop the metadata log below %d: %w", e.Start.Offset, err)
	}
	return d.dropSnapshots(int64(e.Start.Offset))
}

// RemovePending really removes the files of segments and snapshots that were dropped file.delete.delay.ms ago. The owner's.
func (d *Disk) RemovePending(nowMs int64) error {
	if _, err := d.log.RemovePending(nowMs); err != nil {
		return err
	}
	return d.removeDoomed(nowMs)
}

// Close flushes and closes the log; call it when nothing else uses the disk any more.
func (d *Disk) Close() error {
	return d.close(false)
}

// Abandon closes the files as they are, without writing anything.
func (d *Disk) Abandon() error {
	return d.close(true)
}

func (d *Disk) close(abandon bool) error {
	if d.serving != nil {
		_ = d.serving.Close()
	}
	if d.download != nil {
		_ = d.download.Abort() // what is left of it is removed at the next start
	}
	if abandon || d.log.Err() != nil {
		return d.log.Abandon()
	}
	return d.log.Close()
}
