package quorum_test

import (
	"encoding/binary"
	"testing"

	"github.com/cockroachdb/datadriven"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
)

// scriptSnapshots is the part of a disk that holds snapshots.
type scriptSnapshots struct {
	files   []scriptSnapshot // ascending
	part    []byte           // of a download
	first   int              // batches below the log's start
	damage  bool             // the next install
	halfway bool
}

// scriptSnapshot is a file: "HEAD", the batches by number, "FOOT".
type scriptSnapshot struct {
	id   quorum.OffsetAndEpoch
	data []byte
}

func (e *env) snapshotBytes(log []int) []byte {
	data := []byte("HEAD")
	for _, i := range log {
		data = binary.BigEndian.AppendUint32(data, uint32(i))
	}
	return append(data, "FOOT"...)
}

// batchesIn is the log that a snapshot stands for; nil if it is damaged.
func batchesIn(data []byte) (log []int) {
	if len(data) < 8 || string(data[:4]) != "HEAD" || string(data[len(data)-4:]) != "FOOT" {
		return nil
	}
	for data = data[4 : len(data)-4]; len(data) >= 4; data = data[4:] {
		log = append(log, int(binary.BigEndian.Uint32(data)))
	}
	return log
}

// controlIn is what the header of a snapshot says.
func (e *env) controlIn(s scriptSnapshot) (out []quorum.ControlAt) {
	var version, voters *quorum.ControlRecord
	for _, i := range batchesIn(s.data) {
		for _, r := range e.batches[i].Control {
			switch {
			case r.KRaftVersion != nil:
				version = &r
			case r.Voters != nil:
				voters = &r
			}
		}
	}
	for _, r := range []*quorum.ControlRecord{version, voters} {
		if r != nil {
			out = append(out, quorum.ControlAt{Offset: s.id.Offset - 1, Record: *r})
		}
	}
	return out
}

// snapshotState is what opening a disk finds of snapshots. One that is ahead of the log replaces it.
func (e *env) snapshotState(n *scriptNode, s *quorum.LogState) {
	for _, f := range n.snap.files {
		s.Snapshots = append(s.Snapshots, quorum.SnapshotInfo{ID: f.id, Size: int64(len(f.data))})
	}
	if k := len(n.log); k > 0 {
		last := e.batches[n.log[k-1]]
		s.EndOffset = last.Last + 1
		s.Epochs = []quorum.EpochStart{{Epoch: last.Epoch, Start: last.Base}}
	}
	if id, ahead := s.SnapshotAhead(); ahead {
		e.printf("  %d  finds snapshot %s ahead of its log of %d", n.id, id, s.EndOffset)
		f := n.snap.files[len(n.snap.files)-1]
		n.log = batchesIn(f.data)
		n.snap.first = len(n.log)
		n.snap.files, s.Snapshots = []scriptSnapshot{f}, s.Snapshots[len(s.Snapshots)-1:]
	}
	s.Epochs = nil
	if n.snap.first > 0 {
		s.StartOffset = e.batches[n.log[n.snap.first-1]].Last + 1
	}
	s.EndOffset = s.StartOffset
	if k := len(n.snap.files); k > 0 {
		s.Control = append(s.Control, e.controlIn(n.snap.files[k-1])...)
	}
}

func (e *env) carryOutSnapshot(n *scriptNode, f quorum.Effect) {
	switch f := f.(type) {
	case quorum.ReadSnapshot:
		done := quorum.SnapshotRead{Token: f.Token, Missing: true}
		for _, s := range n.snap.files {
			if s.id == f.ID {
				end := min(int64(len(s.data)), f.Position+int64(f.MaxBytes))
				done = quorum.SnapshotRead{Token: f.Token, Data: s.data[f.Position:end]}
			}
		}
		n.due = append(n.due, done) // so that a script can come between
	case quorum.WriteSnapshot:
		e.printf("  %d  writes bytes %d to %d of snapshot %s", n.id, f.Position, f.Position+int64(len(f.Data))-1, f.ID)
		n.snap.part = append(n.snap.part[:f.Position:f.Position], f.Data...)
	case quorum.AbandonSnapshot:
		e.printf("  %d  drops what it has of snapshot %s", n.id, f.ID)
		n.snap.part = nil
	case quorum.InstallSnapshot:
		n.due = append(n.due, e.install(n, f))
	case quorum.DropPrefix:
		e.printf("  %d  begins its log at snapshot %s", n.id, f.Start)
		for n.snap.first < len(n.log) && e.batches[n.log[n.snap.first]].Base < f.Start.Offset {
			n.snap.first++
		}
		for len(n.snap.files) > 0 && n.snap.files[0].id.Offset < f.Start.Offset {
			n.snap.files = n.snap.files[1:]
		}
	}
}

func (e *env) install(n *scriptNode, f quorum.InstallSnapshot) quorum.Event {
	s := scriptSnapshot{f.ID, n.snap.part}
	n.snap.part = nil
	if n.snap.damage {
		s.data[0] ^= 1
		n.snap.damage = false
	}
	log := batchesIn(s.data)
	if log == nil || int64(len(s.data)) != f.Size {
		e.printf("  %d  finds snapshot %s damaged", n.id, f.ID)
		return quorum.SnapshotInstalled{Token: f.Token}
	}
	if n.snap.halfway {
		e.printf("  %d  gives snapshot %s its name and dies", n.id, f.ID)
		n.snap.files = append(n.snap.files, s)
		n.up, n.snap.halfway = false, false
		return quorum.SnapshotInstalled{}
	}
	e.printf("  %d  replaces its log by snapshot %s", n.id, f.ID)
	n.log, n.snap.first, n.snap.files = log, len(log), []scriptSnapshot{s}
	return quorum.SnapshotInstalled{Token: f.Token, OK: true, Size: f.Size, Control: e.controlIn(s)}
}

func (e *env) runSnapshot(t *testing.T, d *datadriven.TestData, n *scriptNode, ids []int) {
	if d.Cmd == "damage" || d.Cmd == "halfway" {
		n.snap.damage, n.snap.halfway = n.snap.damage || d.Cmd == "damage", n.snap.halfway || d.Cmd == "halfway"
		return
	}
	end := quorum.Offset(ids[1])
	k := 0
	for k < len(n.log) && e.batches[n.log[k]].Base < end {
		k++
	}
	id := quorum.OffsetAndEpoch{Offset: end}
	if k > 0 {
		id.Epoch = e.batches[n.log[k-1]].Epoch
	}
	epoch := int(id.Epoch)
	d.MaybeScanArgs(t, "epoch", &epoch)
	id.Epoch = quorum.Epoch(epoch)
	switch d.Cmd {
	case "header":
		set, ok := n.q.VotersAt(end - 1)
		e.printf("kraft.version %d, voters %v %v", n.q.KRaftVersionAt(end-1), set.IDs(), ok)
	case "clean":
		e.step(n, quorum.CleanTo{ID: id})
	case "rot":
		for i, f := range n.snap.files {
			if f.id == id {
				n.snap.files = append(n.snap.files[:i:i], n.snap.files[i+1:]...)
			}
		}
	case "spoil":
		for i, f := range n.snap.files {
			if f.id == id {
				n.snap.files[i].data = append([]byte{^f.data[0]}, f.data[1:]...)
			}
		}
	case "snapshot":
		f := scriptSnapshot{id, e.snapshotBytes(n.log[:k])}
		n.snap.files = append(n.snap.files, f)
		e.step(n, quorum.SnapshotCreated{Info: quorum.SnapshotInfo{ID: id, Size: int64(len(f.data))}})
	}
}
