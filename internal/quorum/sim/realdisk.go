package sim

import (
	"bytes"
	"errors"
	"path"
	"slices"
	"time"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
	qdisk "github.com/kraft-dev/kraft-operator/internal/quorum/disk"
	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/storage/memfs"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// realDisk is a node's disk in a real run: the node's own executor of effects, on a file system that can crash.
//
// The node's disk (the fake one) goes along as a model. It says what must be there: what it calls synced is what the engine
// was promised, and a start must find that and some prefix of the writes since. The model may lag behind what is really
// durable (a log syncs a full segment by itself), never the reverse.
type realDisk struct {
	n     *node
	fs    *memfs.FS
	whole *memfs.FS // before a crash that tore holes
	cfg   storage.LogConfig
	d     *qdisk.Disk // nil while the node is down

	persisting     bool
	persistNext    *quorum.PersistElection
	replacing      uuid.UUID     // directory id on its way to meta.properties
	writing        bool          // a snapshot
	pendingInstall *snapshotFile // a crash in the middle leaves one log or the other
	faults         diskFaults
}

const (
	dataDir      = "/data"
	partitionDir = dataDir + "/" + storage.MetadataPartitionDir
)

// newRealDisk is a disk that was just formatted.
func newRealDisk(n *node, directory uuid.UUID) *realDisk {
	w := n.w
	r := &realDisk{n: n, fs: memfs.New(), cfg: storage.MetadataLogConfig(w.s.segment, w.s.segmentMs)}
	r.cfg.IndexIntervalBytes, r.cfg.IndexMaxBytes, r.cfg.DeleteDelayMs = 200, 4096, 500
	r.fs.SetNow(func() time.Time { return time.UnixMilli(w.nowMs()) })
	err := r.fs.MkdirAll(partitionDir)
	if n.member {
		err = errors.Join(err, storage.WriteBootstrapSnapshot(r.fs, partitionDir, w.s.kraftVersion, qdisk.VotersRecord(n.initial).Voters, w.nowMs()))
	}
	err = errors.Join(err, r.fs.SyncDir(partitionDir), r.fs.SyncDir(dataDir), r.fs.SyncDir("/"), r.writeDirectory(directory))
	if err != nil {
		w.check.fail("n%d's disk can't be formatted: %v", n.id, err)
	}
	return r
}

func (r *realDisk) writeDirectory(id uuid.UUID) error {
	return storage.WriteMetaProperties(r.fs, dataDir, storage.MetaProperties{ClusterID: "sim", NodeID: int32(r.n.id), DirectoryID: id})
}

// ok takes the result of an operation. A disk that failed ends the node's life there and then.
func (r *realDisk) ok(what string, err error) bool {
	if err == nil {
		r.swallowed(what)
		return true
	}
	r.faults.failed = 0
	r.failed(what, err)
	return false
}

// persist writes quorum-state beside the loop: one at a time, the newest next. What is durable when is open: the write may
// be done at the begin or at the end of the time it takes.
func (r *realDisk) persist(e quorum.PersistElection) {
	if r.persisting {
		r.persistNext = &e
		return
	}
	n, w := r.n, r.n.w
	write := func() bool {
		done, err := r.d.PersistElection(e)
		if !r.ok("persist", err) {
			return false
		}
		if done.Seq != e.Seq {
			w.check.fail("n%d persists %d and reports %d", n.id, e.Seq, done.Seq)
		}
		w.check.persisted(n, n.disk.persisted(e.Seq))
		return true
	}
	early := w.chance(0.5)
	if early && !write() {
		return
	}
	r.persisting = true
	n.later(n.fsyncTime(), func() {
		if !early && !write() {
			return
		}
		r.persisting = false
		if next := r.persistNext; next != nil {
			r.persistNext = nil
			r.persist(*next)
		}
		if n.up {
			n.step(quorum.ElectionPersisted{Seq: e.Seq})
		}
	})
}

// flush is one fsync of the log. The model learns of it after the log, which may not say yes too early.
func (r *realDisk) flush() bool {
	mark := r.n.disk.mark()
	if !r.ok("flush", r.d.Flush()) {
		return false
	}
	r.n.disk.sync(mark)
	return true
}

// append is called with the model ahead.
func (r *realDisk) append(e quorum.Append) bool {
	if !r.ok("append", r.d.Append(e, r.n.w.nowMs())) {
		return false
	}
	if end := quorum.Offset(r.d.EndOffset()); end != e.End {
		r.n.w.check.fail("n%d's log ends at %d on disk after an append to %d", r.n.id, end, e.End)
	}
	if len(e.Control) > 0 && !r.faults.rotten() { // these bytes are the executor's
		r.compare(e.Base, r.readBack(e.Base))
	}
	return true
}

func (r *realDisk) readBack(from quorum.Offset) []byte {
	done, err := r.d.Read(quorum.Read{From: from, MaxBytes: 1})
	if err != nil {
		r.n.w.check.fail("n%d can't read at %d what it appended: %v", r.n.id, from, err)
	}
	return done.Data
}

func (r *realDisk) truncate(to quorum.Offset) bool {
	if !r.ok("truncate", r.d.Truncate(quorum.Truncate{To: to})) {
		return false
	}
	if end := quorum.Offset(r.d.EndOffset()); end != to {
		r.n.w.check.fail("n%d's log ends at %d on disk after a truncation to %d", r.n.id, end, to)
	}
	return true
}

// read may return less than was asked for.
func (r *realDisk) read(e quorum.Read) ([]byte, bool) {
	w := r.n.w
	if !w.healed {
		e.MaxBytes = min(e.MaxBytes, 1+w.rng.Int32N(3000))
	}
	done, err := r.d.Read(e)
	if !r.ok("read", err) {
		return nil, false
	}
	r.compare(e.From, done.Data)
	return done.Data, true
}

// compare: what is read is what was written there.
func (r *realDisk) compare(from quorum.Offset, data []byte) {
	n, w := r.n, r.n.w
	if r.faults.rotten() {
		return // whoever gets it looks at the checksums
	}
	ids, ok := w.decode(data)
	i := n.index(from)
	if !ok || len(ids) == 0 && i < len(n.disk.log) || i+len(ids) > len(n.disk.log) || !slices.Equal(ids, n.disk.log[i:i+len(ids)]) {
		w.check.fail("n%d reads %v (%v) at offset %d, it wrote %v", n.id, ids, ok, from, n.disk.log[min(i, len(n.disk.log)):min(i+len(ids), len(n.disk.log))])
	}
}

// replaceDirectory takes a new directory id.
func (r *realDisk) replaceDirectory(id uuid.UUID) bool {
	r.replacing = id
	if !r.ok("replace the directory id", r.writeDirectory(id)) {
		return false
	}
	r.replacing = uuid.UUID{}
	return true
}

// stop closes the disk in order.
func (r *realDisk) stop() bool {
	mark := r.n.disk.mark()
	if !r.ok("close", r.d.Close()) {
		return false
	}
	r.n.disk.sync(mark)
	return true
}

// crash ends the process, or the machine: then what was not synced is lost, kept or torn.
func (r *realDisk) crash() {
	if r.d == nil {
		return
	}
	r.d = nil
	r.fs.SetHook(nil)
	f, w := &r.faults, r.n.w
	switch {
	case f.holes:
		r.whole = r.fs
		r.fs = r.fs.CrashClone(w.rng.Uint64())
		f.tornHoles = true
	case f.powerLost || w.chance(0.75):
		r.fs = r.fs.OrderedCrashClone(w.rng.Uint64())
	}
	f.powerLost, f.holes, f.failing, f.failed = false, false, false, 0
	r.persisting, r.persistNext, r.writing = false, nil, false
}

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
