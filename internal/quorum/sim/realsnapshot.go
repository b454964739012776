package sim

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"time"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
	qdisk "github.com/kraft-dev/kraft-operator/internal/quorum/disk"
	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/storage/record"
	"github.com/kraft-dev/kraft-operator/internal/storage/record/control"
)

// Snapshots on real disks: Kafka's files, whose records are the numbers of the batches.

// decodeRealSnapshot reads a snapshot's bytes without the help of the code under test.
func (w *world) decodeRealSnapshot(f snapshotFile) (log []batchID, out []quorum.ControlAt, ok bool) {
	at, footer := f.id.Offset-1, false
	for i, data := 0, f.data; len(data) > 0; i++ {
		b, rest, err := record.Split(data)
		if err != nil || b.Validate() != nil || footer {
			return nil, nil, false
		}
		recs, err := control.DecodeBatch(b)
		if err != nil || i == 0 && len(recs) == 0 {
			return nil, nil, false
		}
		for _, r := range recs {
			switch c := r.Record.(type) {
			case control.SnapshotFooter:
				footer = true
			case control.KRaftVersion:
				out = append(out, quorum.ControlAt{Offset: at, Record: quorum.ControlRecord{KRaftVersion: &c.Level}})
			case control.Voters:
				set := qdisk.VoterSetOf(c)
				out = append(out, quorum.ControlAt{Offset: at, Record: quorum.ControlRecord{Voters: &set}})
			}
		}
		if !b.IsControl() {
			for r, err := range b.Records(0) {
				if err != nil || len(r.Value) != 4 {
					return nil, nil, false
				}
				log = append(log, batchID(binary.BigEndian.Uint32(r.Value)))
			}
		}
		data = rest
	}
	return log, out, footer
}

// write makes a snapshot of a log: a while for the records, and one for the fsyncs, and then the engine hears of it. Meanwhile
// the log goes on, and may begin later.
func (r *realDisk) write(id quorum.OffsetAndEpoch, log []batchID, level int16, voters *quorum.VoterSet) {
	n, w := r.n, r.n.w
	if r.writing {
		return
	}
	h := storage.SnapshotHeader{LastContainedLogTimestamp: w.nowMs(), KRaftVersion: level}
	if voters != nil && level > 0 {
		h.Voters = qdisk.VotersRecord(*voters).Voters
	}
	out, err := r.d.CreateSnapshot(storage.SnapshotID{EndOffset: int64(id.Offset), Epoch: int32(id.Epoch)}, h, w.nowMs())
	if !r.ok("create a snapshot", err) || out == nil {
		return
	}
	r.writing = true
	n.later(w.between(0, 5*time.Millisecond), func() {
		for _, b := range log {
			if !r.ok("write a snapshot", out.Append(binary.BigEndian.AppendUint32(nil, uint32(b)))) {
				return
			}
		}
		n.later(n.fsyncTime(), func() { r.freeze(id, out) })
	})
}

func (r *realDisk) freeze(id quorum.OffsetAndEpoch, out *qdisk.SnapshotWriter) {
	n, w := r.n, r.n.w
	r.writing = false
	mark := n.disk.mark()
	s, fresh, err := out.Freeze()
	if injected(err) && !errors.Is(err, storage.ErrPoisoned) { // no fsync was tried: there is no such snapshot, that is all
		r.faults.failed = 0
		return
	}
	if !r.ok("freeze a snapshot", err) {
		return
	}
	n.disk.sync(mark)
	if !fresh {
		return
	}
	f := r.snapshotFile(id)
	w.check.snapshot(n, f)
	n.later(w.between(0, time.Millisecond), func() {
		ev, ok, err := r.d.SnapshotCreated(s)
		if !r.ok("take a snapshot into the list", err) || !ok {
			return
		}
		n.disk.addSnapshot(f)
		n.step(ev)
	})
}

// carryOutSnapshot is the driver's part for snapshots on a real disk. The model goes first.
func (r *realDisk) carryOutSnapshot(e quorum.Effect) {
	n, w := r.n, r.n.w
	switch e := e.(type) {
	case quorum.ReadSnapshot:
		n.later(w.between(0, w.s.fsync/4), func() {
			if ev, ok := r.readSnapshot(e); ok {
				n.step(ev)
			}
		})
	case quorum.WriteSnapshot:
		r.ok("write a download", r.d.WriteSnapshot(e))
	case quorum.AbandonSnapshot:
		r.ok("abandon a download", r.d.AbandonSnapshot(e))
	case quorum.InstallSnapshot:
		r.install(e)
	case quorum.DropPrefix:
		if r.ok("drop the prefix", r.d.DropPrefix(e)) {
			if start := quorum.Offset(r.d.StartOffset()); start != e.Start.Offset {
				w.check.fail("n%d's log begins at %d on disk, it was dropped below %d", n.id, start, e.Start.Offset)
			}
			n.later(w.between(0, 2*time.Second), r.removePending)
		}
	}
}

// removePending removes the files of what was dropped. The driver lives on if it fails, unless the log was poisoned.
func (r *realDisk) removePending() {
	err := r.d.RemovePending(r.n.w.nowMs())
	if injected(err) { // a start removes them
		r.faults.failed = 0
		return
	}
	r.ok("remove what was dropped", err)
}

func (r *realDisk) readSnapshot(e quorum.ReadSnapshot) (quorum.SnapshotRead, bool) {
	n := r.n
	done, err := r.d.ReadSnapshot(e)
	if !r.ok("read a snapshot", err) {
		return done, false
	}
	i := slices.IndexFunc(n.disk.snapshots, func(f snapshotFile) bool { return f.id == e.ID })
	switch {
	case i < 0 && done.Missing || r.faults.rotten():
	case i < 0 || done.Missing:
		n.w.check.fail("n%d reads snapshot %s: missing %v, index %d", n.id, e.ID, done.Missing, i)
	default:
		data := n.disk.snapshots[i].data
		if want := data[e.Position:min(int64(len(data)), e.Position+int64(e.MaxBytes))]; !bytes.Equal(done.Data, want) {
			n.w.check.fail("n%d reads %d other bytes of snapshot %s at %d than were written, %d", n.id, len(done.Data), e.ID, e.Position, len(want))
		}
	}
	return done, true
}

// install takes its time twice: to check and sync the download, and to replace the log.
func (r *realDisk) install(e quorum.InstallSnapshot) {
	n, w := r.n, r.n.w
	n.installing = true
	slow := time.Duration(0)
	if w.chance(0.1) {
		slow = w.between(0, 4*time.Second)
	}
	f := snapshotFile{e.ID, n.disk.part}
	n.disk.part, r.pendingInstall = nil, &f
	n.later(n.fsyncTime()+slow, func() {
		mark := n.disk.mark()
		in, err := r.d.PrepareInstall(e)
		if !r.ok("prepare an installation", err) {
			return
		}
		n.disk.sync(mark)
		n.later(n.fsyncTime(), func() { r.finishInstall(e, f, in) })
	})
}

func (r *realDisk) finishInstall(e quorum.InstallSnapshot, f snapshotFile, in qdisk.Installation) {
	n, w := r.n, r.n.w
	done, err := r.d.FinishInstall(in)
	if !r.ok("install a snapshot", err) {
		return
	}
	n.installing, r.pendingInstall = false, nil
	log, header, ok := w.decodeSnapshot(f)
	switch {
	case !done.OK && ok:
		w.check.fail("n%d refuses snapshot %s of %d bytes, which is sound", n.id, f.id, len(f.data))
	case done.OK && (!ok || e.Size != int64(len(f.data)) || done.Size != e.Size):
		w.check.fail("n%d installs snapshot %s of %d bytes, which is damaged", n.id, f.id, len(f.data))
	case done.OK:
		if !sameControl(done.Control, header) {
			w.check.fail("n%d installs snapshot %s with header %+v, it has %+v", n.id, f.id, done.Control, header)
		}
		w.check.install(n, f, log)
		n.disk.replace(f, log)
		n.verified = 0
		w.count("snapshots installed")
	}
	n.step(done)
}
