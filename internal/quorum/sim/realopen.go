package sim

import (
	"bytes"
	"errors"
	"path"
	"slices"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
	qdisk "github.com/kraft-dev/kraft-operator/internal/quorum/disk"
	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// open recovers the disk, holds what it finds against the model, and makes the model the same. ok is false where the disk
// refuses because it is damaged.
func (r *realDisk) open() (*quorum.ElectionState, quorum.LogState, bool) {
	n, w := r.n, r.n.w
	meta, err := storage.ReadMetaProperties(r.fs, dataDir)
	if err == nil {
		r.d, err = qdisk.Open(r.fs, dataDir, r.cfg, w.nowMs())
	}
	if err != nil {
		r.d = nil
		r.refused(err)
		return nil, quorum.LogState{}, false
	}
	if old := n.directory(); meta.DirectoryID != old && meta.DirectoryID != r.replacing {
		w.check.fail("n%d comes back with directory id %s, it was %s", n.id, meta.DirectoryID, old)
	}
	n.disk.synced.directory, r.replacing = meta.DirectoryID, uuid.UUID{}
	r.mendOldSnapshots()
	r.foundElection()
	r.foundLog()
	r.faults.rot, r.faults.tornHoles, r.whole = nil, false, nil // what rotted can be made again
	return r.d.Persisted, r.d.LogState, true
}

// foundElection: the newest election state that was durable, or one that was on its way.
func (r *realDisk) foundElection() {
	n, w := r.n, r.n.w
	d, found := &n.disk, r.d.Persisted
	same := func(a, b *quorum.ElectionState) bool {
		if a == nil || b == nil {
			return a == b
		}
		x, y := *a, *b
		if w.s.kraftVersion == 0 || !n.member && x.Voted.DirectoryID.IsZero() { // kraft.version 0, maybe only so far: its file has no room for it
			x.Voted.DirectoryID, y.Voted.DirectoryID = uuid.UUID{}, uuid.UUID{}
		}
		return x == y
	}
	ok := same(found, d.synced.election)
	for _, p := range d.pending {
		if !ok && same(found, &p.State) {
			ok = true
			d.synced.election = found
			w.check.persisted(n, []quorum.ElectionState{p.State})
		}
	}
	if !ok {
		w.check.fail("n%d comes back with election state %+v, %+v was on its disk", n.id, found, d.synced.election)
	}
	d.pending = nil
}

// foundLog: all that was synced is there, and of the later writes the first so many.
func (r *realDisk) foundLog() {
	n, w, d := r.n, r.n.w, &r.n.disk
	snapshots := r.foundSnapshots()
	start := quorum.Offset(r.d.StartOffset())
	ids := r.batches(start)
	prefix := 0 // what lies below the start was committed
	for prefix < len(w.check.committed) && w.batches[w.check.committed[prefix]].info.Base < start {
		prefix++
	}
	log := append(slices.Clone(w.check.committed[:prefix]), ids...)
	if w.offsetAt(log, prefix) != start || w.endOf(log) != quorum.Offset(r.d.EndOffset()) {
		w.check.fail("n%d's log goes from %d to %d, its batches from %d to %d", n.id, start, r.d.EndOffset(), w.offsetAt(log, prefix), w.endOf(log))
	}
	switch newest := len(snapshots) - 1; {
	case r.d.Replaced != nil:
		w.tracef("n%d's log was replaced by snapshot %s", n.id, r.d.Replaced)
		d.log = d.synced.log
		w.check.install(n, snapshots[newest], log)
	case r.installed(log, prefix):
		w.check.install(n, *r.pendingInstall, log)
	case !r.plausible(log, prefix):
		r.lostWrites(log)
	}
	d.log, d.synced.log = log, slices.Clone(log)
	d.first, d.synced.first, d.synced.trimmed = prefix, prefix, prefix
	d.snapshots, d.synced.snapshots = snapshots, snapshots
	d.writes, d.part = nil, nil
	r.pendingInstall = nil
	r.foundEpochs()
}

// foundEpochs: the leader epochs are those of the batches.
func (r *realDisk) foundEpochs() {
	n, w := r.n, r.n.w
	var want []quorum.EpochStart
	for _, id := range n.disk.log[n.disk.first:] {
		if b := w.batches[id].info; len(want) == 0 || want[len(want)-1].Epoch < b.Epoch {
			want = append(want, quorum.EpochStart{Epoch: b.Epoch, Start: b.Base})
		}
	}
	found := r.d.LogState.Epochs
	if len(found) > len(want) || len(found) == 0 && len(want) > 0 {
		w.check.fail("n%d comes back with leader epochs %v, its batches have %v", n.id, found, want)
	}
	want = want[len(want)-len(found):]
	for i, e := range found {
		if e.Epoch != want[i].Epoch || e.Start != want[i].Start && (i > 0 || e.Start < want[i].Start) {
			w.check.fail("n%d comes back with leader epochs %v, its batches have %v", n.id, found, want)
		}
	}
}

// installed: the crash came in the middle of an installation, or after.
func (r *realDisk) installed(log []batchID, first int) bool {
	if r.pendingInstall == nil || len(log) != first {
		return false
	}
	want, _, ok := r.n.w.decodeSnapshot(*r.pendingInstall)
	return ok && slices.Equal(want, log)
}

// batches reads the log, from its start.
func (r *realDisk) batches(start quorum.Offset) (ids []batchID) {
	n, w := r.n, r.n.w
	for at := int64(start); at < r.d.EndOffset(); { // a read ends with its segment
		data, err := r.d.ReadCommitted(at, r.d.EndOffset(), 1<<30)
		if err != nil {
			w.check.fail("n%d's log can't be read at %d after it was opened: %v", n.id, at, err)
		}
		more, ok := w.decode(data)
		if !ok || len(more) == 0 {
			w.check.fail("n%d comes back with batches that nobody wrote, after offset %d", n.id, at)
		}
		ids = append(ids, more...)
		at = int64(w.endOf(ids))
	}
	return ids
}

// plausible reports whether a log is what was synced and some prefix of the writes since. Below its start nothing is known.
func (r *realDisk) plausible(log []batchID, first int) bool {
	d := r.n.disk
	state := slices.Clone(d.synced.log)
	for i := 0; ; i++ {
		if len(state) == len(log) && len(log) >= first && slices.Equal(state[first:], log[first:]) {
			return true
		}
		if i == len(d.writes) {
			return false
		}
		if wr := d.writes[i]; wr.append == noBatch {
			if wr.truncate <= len(log) && len(log) <= len(state) && len(log) >= first && slices.Equal(state[first:len(log)], log[first:]) {
				return true // whole segments go one by one
			}
			state = state[:min(wr.truncate, len(state))]
		} else {
			state = append(state, wr.append)
		}
	}
}

// foundSnapshots: complete ones stay, unless they were dropped; and each is what was committed.
func (r *realDisk) foundSnapshots() []snapshotFile {
	n, w := r.n, r.n.w
	var out []snapshotFile
	for _, s := range r.d.Snapshots() {
		f := r.snapshotFile(s.Info().ID)
		w.check.snapshot(n, f)
		out = append(out, f)
	}
	if r.d.Replaced != nil {
		return out
	}
	live := n.disk.synced.snapshots
	if len(n.disk.snapshots) > 0 {
		live = n.disk.snapshots
	}
	for _, f := range live {
		if r.pendingInstall != nil && f.id.Offset < r.pendingInstall.id.Offset && quorum.Offset(r.d.StartOffset()) == r.pendingInstall.id.Offset {
			continue
		}
		i := slices.IndexFunc(out, func(o snapshotFile) bool { return o.id == f.id })
		if i < 0 || !bytes.Equal(out[i].data, f.data) && !r.faults.rotten() {
			w.check.fail("n%d comes back without snapshot %s, or with another one of that name", n.id, f.id)
		}
	}
	return out
}

// snapshotFile reads a whole snapshot, past the executor.
func (r *realDisk) snapshotFile(id quorum.OffsetAndEpoch) snapshotFile {
	name := path.Join(partitionDir, storage.SnapshotID{EndOffset: int64(id.Offset), Epoch: int32(id.Epoch)}.Name())
	f, err := r.fs.OpenRead(name)
	var data []byte
	if err == nil {
		var size int64
		size, err = f.Size()
		data = make([]byte, size)
		if err == nil {
			_, err = f.ReadAt(data, 0)
		}
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		r.n.w.check.fail("n%d has no snapshot %s: %v", r.n.id, id, err)
	}
	return snapshotFile{id, data}
}
