package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
	"github.com/kraft-dev/kraft-operator/internal/storage/memfs"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// What may befall a disk, and what KRaft promises then:
//
//   - An fsync or another operation fails: the process ends before anything after it leaves. It may come back on the same
//     disk: it does not count on what a failed fsync left in memory.
//   - A minority of the voters may lose their disks or find them rotten, all told, and come back as observers under fresh
//     directory ids. Observers may lose theirs at will. (Votes of kraft.version 0 have no directory id: there, no voter may.)
//   - An old copy of a disk may be put in its place where everything that this voter had acknowledged, and an epoch not
//     below its own, is on the disks of a majority, not counting it, of each set of voters that anybody knows of. Nobody can see that from outside: the advice is
//     never to restore a voter's volume, but to replace it. An observer's old copy does no harm.
//   - The bytes of the last batch before the end of a log, and digits of quorum-state and meta.properties, may not rot:
//     the one can't be told from a torn write, the others have no checksum in Kafka's format. They are not played.

// planDisk schedules what befalls disks.
func (w *world) planDisk() {
	if w.s.diskFaults == 0 {
		return
	}
	w.after(w.between(0, 2*w.s.diskFaults), func() {
		if w.healed {
			return
		}
		w.diskFault(w.nodes[w.rng.IntN(len(w.nodes))])
		w.planDisk()
	})
}

func (w *world) diskFault(n *node) {
	kind := w.rng.IntN(9)
	if l := w.leader(); kind == 5 && l != nil && w.chance(0.5) { // whose log others read
		n = l
	}
	switch {
	case kind < 2 && n.up:
		w.tracef("FAULT n%d's disk is slow", n.id)
		n.slowUntil, n.slowBy = w.now+w.between(0, 5*time.Second), 10+w.rng.IntN(90)
	case kind == 2 && n.up:
		n.failDisk()
	case kind == 3 && n.real != nil && n.up:
		n.real.losePowerAfter(w.rng.Int64N(20))
	case kind == 4 && n.real != nil && n.up && w.mayLose(n):
		n.real.faults.holes = true
		w.faultCrash(n)
	case kind == 5 && n.real != nil && n.up && n.frozenUntil <= w.now && !n.installing:
		w.faultRot(n)
	case kind == 6 && w.mayLose(n):
		w.lose(n)
	case kind > 6:
		w.oldDisk()
	}
}

// failDisk makes operations fail: the next fsync, or any write.
func (n *node) failDisk() {
	w := n.w
	if n.real == nil {
		n.failSync = true
		return
	}
	kinds := []memfs.OpKind{memfs.OpSync, memfs.OpSyncDir}
	switch w.rng.IntN(4) {
	case 0:
		kinds = append(kinds, memfs.OpWrite, memfs.OpCreate, memfs.OpRename, memfs.OpTruncate)
	case 1:
		kinds = []memfs.OpKind{memfs.OpSyncDir}
	}
	n.real.failFrom(w.rng.IntN(6), kinds...)
}

// faultRot spoils something, and restarts the node sooner or later, to find out.
func (w *world) faultRot(n *node) {
	if !n.real.rotSome() {
		return
	}
	n.later(w.between(0, 2*time.Second), func() { w.faultCrash(n) })
}

// comeBack starts a node that is down.
func (n *node) comeBack(after time.Duration) {
	n.w.after(after, func() {
		if !n.up {
			n.start()
		}
	})
}

// observes reports whether a node never votes. A controller that joins by itself may.
func (w *world) observes(n *node) bool {
	return n.id >= w.s.controllers() && !(w.s.autoJoin && n.controller)
}

// mayLose reports whether a node's disk may be lost for good.
func (w *world) mayLose(n *node) bool {
	switch {
	case w.observes(n):
		return true
	case w.s.kraftVersion == 0 || w.s.strike > 0: // strikeAfterCommit has that one
		return false
	case w.s.changes:
		return len(w.check.committed) > 0 && w.dispensable(n)
	}
	lost := 0
	for _, v := range w.nodes[:w.s.voters] {
		if v.wiped && v != n {
			lost++
		}
	}
	return lost < (w.s.voters-1)/2
}

// lose takes a disk away. With the rules of formation the next one may be formatted as the same initial voter, which is
// the worst case, otherwise it has a directory id of its own.
func (w *world) lose(n *node) {
	w.tracef("FAULT n%d loses its disk", n.id)
	w.count("disks lost")
	if n.up {
		n.crash()
	}
	if key := n.key(); len(n.disk.synced.log) > len(n.lost[key]) {
		n.lost[key] = n.disk.synced.log
	}
	n.wiped, n.old = true, nil
	w.check.forgetVotes(n.key())
	directory := n.initialDirectory
	if w.s.changes || n.id < w.s.voters && !w.s.formationSafe || len(w.check.committed) > 0 && w.chance(0.2) { // or its operator knows that the quorum has formed
		directory = w.randomUUID()
	}
	n.member = n.member && !w.s.changes
	n.format(directory)
	n.comeBack(w.between(0, 2*time.Second))
}

// backup is a copy of a disk, as a power loss would leave it.
type backup struct {
	disk disk
	fs   *memfs.FS
}

func (n *node) backup() *backup {
	b := &backup{disk: n.disk}
	d := &b.disk
	d.synced.log, d.synced.snapshots = slices.Clone(d.synced.log), slices.Clone(d.synced.snapshots)
	d.log, d.snapshots = slices.Clone(d.log), slices.Clone(d.snapshots)
	d.writes, d.pending = slices.Clone(d.writes), slices.Clone(d.pending)
	if n.real != nil {
		if f := n.real.faults; n.installing || f.rotten() || f.tornHoles || f.holes || n.real.replacing != (uuid.UUID{}) {
			return n.old
		}
		b.fs = n.real.fs.OrderedCrashClone(n.w.rng.Uint64())
	}
	return b
}

// mayRestore reports whether a node's old disk may come back: see above. A disk that had not taken part yet is a lost one.
func (w *world) mayRestore(n *node) bool {
	if n.old.disk.synced.election == nil || n.wiped {
		return false
	}
	if w.observes(n) {
		return true
	}
	sets := w.setsIn(n.old.disk.log, n.old.disk.synced.log)
	for _, o := range w.nodes {
		sets = append(sets, o.sets()...)
	}
	for _, set := range sets {
		if !w.check.hasKey(set, n.key()) {
			continue
		}
		others := 0
		for _, v := range set.Voters() {
			if o := w.nodes[v.Key.ID]; o != n && w.check.hasKey(set, o.key()) && remembers(o, n) {
				others++
			}
		}
		if others < set.Majority() {
			return false
		}
	}
	return true
}

// remembers: whatever another has acknowledged and voted, this one's disk would stand against what contradicts it.
func remembers(o, other *node) bool {
	epoch, log := newestEpoch(&other.disk), other.disk.synced.log
	e := o.disk.synced.election
	// A vote in the same epoch may be for itself: such a candidate would ask again.
	return e != nil && (e.Epoch > epoch || e.Epoch == epoch && e.LeaderID >= 0) &&
		len(o.disk.synced.log) >= len(log) && slices.Equal(o.disk.synced.log[:len(log)], log)
}

func newestEpoch(d *disk) (epoch quorum.Epoch) {
	if d.synced.election != nil {
		epoch = d.synced.election.Epoch
	}
	for _, p := range d.pending {
		epoch = max(epoch, p.State.Epoch)
	}
	return epoch
}

// oldDisk restores one that may be, or keeps copies for later.
func (w *world) oldDisk() {
	for _, i := range w.rng.Perm(len(w.nodes)) {
		n := w.nodes[i]
		if n.old != nil && w.mayRestore(n) {
			w.restore(n)
			return
		}
		if n.old == nil || w.chance(0.1) {
			n.old = n.backup()
		}
	}
}

func (w *world) restore(n *node) {
	w.tracef("FAULT n%d gets back an old disk, %d batches of %d", n.id, len(n.old.disk.synced.log), len(n.disk.synced.log))
	if n.up {
		n.crash()
	}
	w.check.forgetVotes(n.key())
	n.restored = true
	n.disk = n.old.disk
	if n.real != nil {
		n.real.fs, n.real.faults, n.real.pendingInstall = n.old.fs, diskFaults{}, nil
	}
	n.old = nil
	w.count("old disks restored")
	n.comeBack(w.between(0, time.Second))
}

// mendDisks ends what befell disks.
func (w *world) mendDisks() {
	for _, n := range w.nodes {
		n.slowUntil, n.failSync = 0, false
		if n.real == nil {
			continue
		}
		n.real.fs.SetHook(nil)
		n.real.fs.StopAfter(1 << 62)
		n.real.faults.failed = 0
		if n.real.faults.rotten() && n.up {
			n.crash()
		}
	}
}

func segmentName(base int64) string { return fmt.Sprintf("%020d.log", base) }
