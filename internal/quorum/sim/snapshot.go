package sim

import (
	"encoding/binary"
	"hash/crc32"
	"reflect"
	"slices"
	"time"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
)

// snapshotFile is a complete snapshot: its header (kraft.version, voters), every batch up to its end, a checksum.
type snapshotFile struct {
	id   quorum.OffsetAndEpoch
	data []byte
}

const (
	snapshotHead = 12
	snapshotFoot = 4
)

func (f snapshotFile) info() quorum.SnapshotInfo {
	return quorum.SnapshotInfo{ID: f.id, Size: int64(len(f.data))}
}

// encodeSnapshot writes what the state machine knows. A voter set goes by its number.
func (w *world) encodeSnapshot(log []batchID, level int16, voters *quorum.VoterSet) []byte {
	set := uint32(0)
	if voters != nil {
		w.sets = append(w.sets, *voters)
		set = uint32(len(w.sets))
	}
	// Two nodes say the same in other bytes: the pieces of two don't make a whole.
	data := binary.BigEndian.AppendUint32(nil, w.rng.Uint32())
	data = binary.BigEndian.AppendUint32(data, uint32(level))
	data = binary.BigEndian.AppendUint32(data, set)
	for _, id := range log {
		data = binary.BigEndian.AppendUint32(data, uint32(id))
	}
	return binary.BigEndian.AppendUint32(data, crc32.ChecksumIEEE(data))
}

// decodeSnapshot is the check of the whole that a driver makes before it installs one.
func (w *world) decodeSnapshot(f snapshotFile) (log []batchID, control []quorum.ControlAt, ok bool) {
	if w.real {
		return w.decodeRealSnapshot(f)
	}
	end := len(f.data) - snapshotFoot
	if end < snapshotHead || crc32.ChecksumIEEE(f.data[:end]) != binary.BigEndian.Uint32(f.data[end:]) {
		return nil, nil, false
	}
	if level := int16(binary.BigEndian.Uint32(f.data[4:])); level > 0 {
		control = append(control, quorum.ControlAt{Offset: f.id.Offset - 1, Record: quorum.ControlRecord{KRaftVersion: &level}})
	}
	if set := binary.BigEndian.Uint32(f.data[8:]); set > 0 {
		control = append(control, quorum.ControlAt{Offset: f.id.Offset - 1, Record: quorum.ControlRecord{Voters: &w.sets[set-1]}})
	}
	for at := snapshotHead; at < end; at += batchSize {
		log = append(log, decodeBatch(f.data[at:]))
	}
	return log, control, true
}

// planSnapshot makes snapshots, and cleans logs, now and then and here and there.
func (w *world) planSnapshot() {
	if w.s.snapshot == 0 {
		return
	}
	w.after(w.between(0, 2*w.s.snapshot), func() {
		n := w.nodes[w.rng.IntN(len(w.nodes))]
		if n.up && n.frozenUntil <= w.now {
			k := n.verified // what it has applied, and it may lag
			if k > 0 && w.chance(0.3) {
				k = 1 + w.rng.IntN(k)
			}
			n.makeSnapshot(k)
			if !w.healed && w.chance(w.s.clean) {
				n.clean()
				if w.chance(0.1) { // with files and segments still to be deleted
					n.later(w.between(0, 2*w.s.fsync), func() { w.faultCrash(n) })
				}
			}
		}
		w.planSnapshot()
	})
}

// makeSnapshot is the state machine's work, of the first k batches. It takes a while, and then the log may have moved
// on or have been replaced.
func (n *node) makeSnapshot(k int) {
	if k <= n.disk.first {
		return
	}
	last := n.w.batches[n.disk.log[k-1]].info
	if newest := len(n.disk.snapshots) - 1; newest >= 0 && last.Last < n.disk.snapshots[newest].id.Offset {
		return
	}
	f := snapshotFile{id: quorum.OffsetAndEpoch{Offset: last.Last + 1, Epoch: last.Epoch}}
	var voters *quorum.VoterSet
	if set, ok := n.q.VotersAt(last.Last); ok {
		voters = &set
	}
	if n.real != nil {
		n.real.write(f.id, slices.Clone(n.disk.log[:k]), n.q.KRaftVersionAt(last.Last), voters)
		return
	}
	f.data = n.w.encodeSnapshot(n.disk.log[:k], n.q.KRaftVersionAt(last.Last), voters)
	n.w.check.snapshot(n, f)
	n.later(n.fsyncTime(), func() {
		n.disk.addSnapshot(f)
		n.step(quorum.SnapshotCreated{Info: f.info()})
	})
}

// clean is the retention rule: any snapshot but the first will do.
func (n *node) clean() {
	if k := len(n.disk.snapshots); k > 0 {
		i := n.w.rng.IntN(k)
		if n.w.chance(0.5) {
			i = k - 1
		}
		n.step(quorum.CleanTo{ID: n.disk.snapshots[i].id})
	}
}

// addSnapshot: a snapshot has its name, durably.
func (d *disk) addSnapshot(f snapshotFile) {
	add := func(to []snapshotFile) []snapshotFile {
		i, found := slices.BinarySearchFunc(to, f.id.Offset, func(f snapshotFile, o quorum.Offset) int { return int(f.id.Offset - o) })
		if found {
			return to
		}
		return slices.Insert(slices.Clone(to), i, f)
	}
	d.snapshots, d.synced.snapshots = add(d.snapshots), add(d.synced.snapshots)
}

// replace makes a snapshot the whole of the disk, durably.
func (d *disk) replace(f snapshotFile, log []batchID) {
	d.done += len(d.writes)
	d.writes = nil
	d.log, d.first, d.snapshots = slices.Clone(log), len(log), []snapshotFile{f}
	d.synced.log, d.synced.first, d.synced.trimmed, d.synced.snapshots = log, len(log), len(log), d.snapshots
}

// carryOutSnapshot is the driver's part for snapshots.
func (n *node) carryOutSnapshot(e quorum.Effect) {
	w := n.w
	switch e := e.(type) {
	case quorum.ReadSnapshot:
		if n.real != nil {
			break
		}
		n.later(w.between(0, w.s.fsync/4), func() { n.step(n.readSnapshot(e)) })
	case quorum.WriteSnapshot:
		if e.Position != 0 && (e.ID != n.disk.partID || e.Position != int64(len(n.disk.part))) {
			w.check.fail("n%d writes snapshot %s from byte %d, it has %d bytes of %s", n.id, e.ID, e.Position, len(n.disk.part), n.disk.partID)
		}
		if e.Position == 0 {
			n.damaged = n.damagedNext
		}
		n.damaged, n.damagedNext = n.damaged || n.damagedNext, false
		n.disk.partID, n.disk.part = e.ID, append(n.disk.part[:e.Position:e.Position], e.Data...)
	case quorum.AbandonSnapshot:
		if e.ID != n.disk.partID || n.disk.part == nil {
			w.check.fail("n%d abandons snapshot %s, it fetches %s", n.id, e.ID, n.disk.partID)
		}
		n.disk.part = nil
	case quorum.InstallSnapshot:
		if n.real == nil {
			n.install(e)
		}
	case quorum.DropPrefix:
		n.dropPrefix(e.Start)
	}
	if n.real != nil {
		n.real.carryOutSnapshot(e)
	}
}

// readSnapshot finds the file when the read comes to it: it may have been deleted since.
func (n *node) readSnapshot(e quorum.ReadSnapshot) quorum.Event {
	for _, f := range n.disk.snapshots {
		if f.id == e.ID {
			return quorum.SnapshotRead{Token: e.Token, Data: f.data[e.Position:min(int64(len(f.data)), e.Position+int64(e.MaxBytes))]}
		}
	}
	return quorum.SnapshotRead{Token: e.Token, Missing: true}
}

// install takes its time, and a crash can come when the snapshot has its name and the log is still the old one.
func (n *node) install(e quorum.InstallSnapshot) {
	w := n.w
	f := snapshotFile{e.ID, n.disk.part}
	n.disk.part, n.installing = nil, true
	slow := time.Duration(0)
	if w.chance(0.2) {
		slow = w.between(0, 4*time.Second)
	}
	n.later(n.fsyncTime()+slow, func() {
		log, control, ok := w.decodeSnapshot(f)
		if !ok || e.Size != int64(len(f.data)) {
			if !n.damaged {
				w.check.fail("n%d fetched snapshot %s, and it is damaged, though no bit was flipped", n.id, f.id)
			}
			n.installing = false
			n.step(quorum.SnapshotInstalled{Token: e.Token})
			return
		}
		w.check.install(n, f, log)
		n.disk.synced.snapshots = append(slices.Clone(n.disk.synced.snapshots), f)
		n.later(n.fsyncTime(), func() {
			w.check.install(n, f, log)
			n.disk.replace(f, log)
			n.verified, n.installing = 0, false
			w.count("snapshots installed")
			n.step(quorum.SnapshotInstalled{Token: e.Token, OK: true, Size: e.Size, Control: control})
		})
	})
}

// finishInstall is what a start does with a snapshot that is ahead of the log.
func (n *node) finishInstall() {
	s := n.logState()
	id, ahead := s.SnapshotAhead()
	if !ahead {
		return
	}
	f := n.disk.snapshots[len(n.disk.snapshots)-1]
	log, _, ok := n.w.decodeSnapshot(f)
	if !ok || f.id != id {
		n.w.check.fail("n%d finds snapshot %s damaged", n.id, f.id)
	}
	n.w.tracef("n%d replaces its log of %d batches by snapshot %s", n.id, len(n.disk.log), id)
	n.w.check.install(n, f, log)
	n.disk.replace(f, log)
}

func (n *node) dropPrefix(start quorum.OffsetAndEpoch) {
	w, d := n.w, &n.disk
	if !slices.ContainsFunc(d.snapshots, func(f snapshotFile) bool { return f.id == start }) {
		w.check.fail("n%d begins its log at snapshot %s, which it does not have", n.id, start)
	}
	k := d.first
	for k < len(d.log) && w.batches[d.log[k]].info.Base < start.Offset {
		k++
	}
	d.first = k
	d.snapshots = slices.DeleteFunc(slices.Clone(d.snapshots), func(f snapshotFile) bool { return f.id.Offset < start.Offset })
	w.count("logs cleaned")
}

// offsetAt is where the batch with this number in a log begins.
func (w *world) offsetAt(log []batchID, i int) quorum.Offset { return w.endOf(log[:i]) }

// snapshot: what a state machine writes is what was committed, under the right id and with the right header.
func (c *checker) snapshot(n *node, f snapshotFile) {
	log, control, _ := c.w.decodeSnapshot(f)
	if len(log) > len(c.committed) || !slices.Equal(log, c.committed[:len(log)]) {
		c.fail("n%d has snapshot %s, which is not what was committed", n.id, f.id)
	}
	last := c.w.batches[log[len(log)-1]].info
	if f.id != (quorum.OffsetAndEpoch{Offset: last.Last + 1, Epoch: last.Epoch}) {
		c.fail("n%d has snapshot %s of a log that ends at %d with epoch %d", n.id, f.id, last.Last+1, last.Epoch)
	}
	var level *int16
	var voters *quorum.VoterSet
	for _, id := range log {
		for _, r := range c.w.batches[id].info.Control {
			if r.KRaftVersion != nil {
				level = r.KRaftVersion
			}
			if r.Voters != nil {
				voters = r.Voters
			}
		}
	}
	var want []quorum.ControlAt
	if level != nil {
		want = append(want, quorum.ControlAt{Offset: f.id.Offset - 1, Record: quorum.ControlRecord{KRaftVersion: level}})
	}
	if voters != nil {
		want = append(want, quorum.ControlAt{Offset: f.id.Offset - 1, Record: quorum.ControlRecord{Voters: voters}})
	}
	if !reflect.DeepEqual(control, want) {
		c.fail("n%d has snapshot %s with the header %+v, at its end %+v were in force", n.id, f.id, control, want)
	}
}

// install: a snapshot replaces a log only where nothing that was committed is lost.
func (c *checker) install(n *node, f snapshotFile, log []batchID) {
	c.snapshot(n, f)
	kept := 0
	for kept < len(n.disk.log) && holds(c.committed, kept, n.disk.log[kept]) {
		kept++
	}
	if kept > len(log) {
		c.fail("n%d replaces its log, with %d committed batches, by snapshot %s, which has %d", n.id, kept, f.id, len(log))
	}
	if f.id.Offset < n.committed {
		c.fail("n%d replaces its log by snapshot %s, its high watermark is %d", n.id, f.id, n.committed)
	}
}
