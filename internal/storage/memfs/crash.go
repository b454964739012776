package memfs

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// sector is the unit that a disk writes whole.
const sector = 512

// CrashClone is the disk as a machine finds it that comes up after a power loss now. Equal seeds and histories give
// equal disks. Seeds divisible by 4 lose all that wasn't synced, remainder 1 keeps all of it, others lose and tear.
// f itself is not changed and can go on, as if nothing had happened.
func (f *FS) CrashClone(seed uint64) *FS { return f.crashClone(seed, false) }

// OrderedCrashClone is CrashClone on a file system that lets a file grow only over bytes that are there (ext4 with
// data=ordered, XFS): of the writes to one file since its last Sync the first so many are kept, and the next one in part.
func (f *FS) OrderedCrashClone(seed uint64) *FS { return f.crashClone(seed, true) }

func (f *FS) crashClone(seed uint64, ordered bool) *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	rng := rand.New(rand.NewPCG(seed, 0x6b72616674))
	out := New()
	out.now, out.ops, out.capacity = f.now, f.ops, f.capacity
	names := maps.Clone(f.durable)
	for i, n := 0, f.kept(rng, seed); i < n; i++ {
		f.journal[i].apply(names)
	}
	copies := map[*inode]*inode{}
	for _, name := range sortedNames(names) { // in order: the seed decides the same for the same file
		node := names[name]
		if copies[node] == nil {
			copies[node] = node.crashed(rng, seed, ordered)
		}
		out.names[name] = copies[node]
	}
	out.durable = maps.Clone(out.names)
	return out
}

// kept is how many of the changed names reached the disk.
func (f *FS) kept(rng *rand.Rand, seed uint64) int {
	n := len(f.journal)
	switch {
	case seed%4 == 0:
		return 0
	case seed%4 == 1 || n == 0:
		return n
	}
	n = rng.IntN(n + 1)
	if n < len(f.journal) && n > 0 && len(f.journal[n].dir) > 0 && f.journal[n].dir[len(f.journal[n].dir)-1] == 0 {
		n++ // both halves of a rename
	}
	return n
}

func (n *inode) crashed(rng *rand.Rand, seed uint64, ordered bool) *inode {
	out := &inode{isDir: n.isDir, modTime: n.modTime, ro: n.ro}
	out.durable = append([]byte(nil), n.durable...)
	kept := len(n.pending)
	if ordered && seed%4 > 1 {
		kept = rng.IntN(len(n.pending) + 1)
	}
	for i, c := range n.pending {
		switch {
		case seed%4 == 0 || i > kept:
		case seed%4 == 1 || ordered && i < kept:
			out.durable = c.apply(out.durable)
		case ordered && c.data != nil:
			out.durable = change{at: c.at, data: c.data[:rng.IntN(len(c.data)+1)]}.applyIfAny(out.durable)
		case ordered:
		default:
			out.durable = c.tear(rng, out.durable)
		}
	}
	out.data = append([]byte(nil), out.durable...)
	return out
}

// tear applies some sectors of a write, or all of a truncation, or none.
func (c change) tear(rng *rand.Rand, buf []byte) []byte {
	switch style := rng.IntN(4); {
	case style == 0:
		return buf
	case style == 1 || c.data == nil:
		return c.apply(buf)
	case style == 2: // a prefix, the rest never came
		cut := rng.IntN(len(c.data) + 1)
		return change{at: c.at, data: c.data[:cut]}.applyIfAny(buf)
	}
	for from := 0; from < len(c.data); {
		to := min(len(c.data), from+sector-int((c.at+int64(from))%sector))
		if rng.IntN(2) == 0 {
			buf = change{at: c.at + int64(from), data: c.data[from:to]}.apply(buf)
		}
		from = to
	}
	return buf
}

func (c change) applyIfAny(buf []byte) []byte {
	if len(c.data) == 0 {
		return buf
	}
	return c.apply(buf)
}

// KillClone is the file system as the next process finds it after kill -9: nothing is lost, nothing more is durable.
func (f *FS) KillClone() *FS {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := New()
	out.now, out.ops, out.capacity = f.now, f.ops, f.capacity
	copies := map[*inode]*inode{}
	dup := func(n *inode) *inode {
		if n != nil && copies[n] == nil {
			c := *n
			c.data, c.durable = append([]byte(nil), n.data...), append([]byte(nil), n.durable...)
			c.pending = append([]change(nil), n.pending...)
			copies[n] = &c
		}
		return copies[n]
	}
	for name, n := range f.names {
		out.names[name] = dup(n)
	}
	for name, n := range f.durable {
		out.durable[name] = dup(n)
	}
	for _, j := range f.journal {
		j.node = dup(j.node)
		out.journal = append(out.journal, j)
	}
	return out
}

// Corrupt flips bits of one byte of a file, on disk and as read: rot.
func (f *FS) Corrupt(name string, at int64, xor byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	node := f.names[clean(name)]
	node.data[at] ^= xor
	if at < int64(len(node.durable)) {
		node.durable[at] ^= xor
	}
}

func sortedNames(m map[string]*inode) []string {
	out := make([]string, 0, len(m))
	for name := range m {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}
