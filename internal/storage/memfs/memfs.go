// Package memfs is a file system in memory that can crash: what was not synced may be lost, kept or torn, as a seed says.
// It injects faults too. For tests and simulation.
//
// Model: bytes written since a file's last Sync reach the disk in sectors of 512 bytes, in any order or not at all; names
// changed since the last SyncDir reach it in the order they were changed (journaled file systems do so), up to some point.
// A failed Sync leaves its bytes readable but clean: a later Sync doesn't write them, a crash loses them (fsync of Linux).
package memfs

import (
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/kraft-dev/kraft-operator/internal/storage"
)

// OpKind is what is done to the file system.
type OpKind string

// Kinds of operations that change it. Reading is not counted.
const (
	OpCreate   OpKind = "create"
	OpWrite    OpKind = "write"
	OpTruncate OpKind = "truncate"
	OpAllocate OpKind = "allocate"
	OpSync     OpKind = "sync"
	OpRename   OpKind = "rename"
	OpRemove   OpKind = "remove"
	OpMkdir    OpKind = "mkdir"
	OpSyncDir  OpKind = "syncdir"
)

// Op is one operation, before it is done.
type Op struct {
	Kind OpKind
	Name string // of the file, or its folder
	Len  int    // bytes of a write
	N    int64  // 1 for the first operation of this FS
}

// ErrStopped is what every operation returns after StopAfter's last one: the machine is dead.
var ErrStopped = fmt.Errorf("memfs: stopped")

// FS implements storage.FS.
type FS struct {
	mu       sync.Mutex
	names    map[string]*inode
	durable  map[string]*inode // names as the disk has them
	journal  []rename          // changes of names since, in order
	locks    map[string]bool
	ops      int64
	stopAt   int64 // 0: never
	hook     func(Op) error
	capacity int64 // bytes of all files, 0: no bound
	now      func() time.Time
}

// rename is one change of a name: to node, or gone if node is nil.
type rename struct {
	dir  string
	name string
	node *inode
}

// inode is a file or a folder.
type inode struct {
	isDir   bool
	data    []byte // as read
	durable []byte // as on disk
	pending []change
	modTime time.Time
	ro      bool
}

// change is an unsynced write, or a truncation if data is nil.
type change struct {
	at   int64
	data []byte
}

// New is an empty file system with its root.
func New() *FS {
	root := &inode{isDir: true}
	f := &FS{names: map[string]*inode{"/": root, ".": root}, durable: map[string]*inode{"/": root, ".": root}, locks: map[string]bool{}}
	f.now = func() time.Time { return time.UnixMilli(f.ops) }
	return f
}

// SetNow sets the clock of modification times; the default counts operations.
func (f *FS) SetNow(now func() time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.now = now
}

// SetHook is called before each operation, without the file system's lock, so that it may wait (a slow disk). Its error
// is what the operation returns, undone; for OpSync see the package.
func (f *FS) SetHook(hook func(Op) error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hook = hook
}

// SetCapacity makes writes past so many bytes in all files fail with ENOSPC, after the part that fits. 0 is no bound.
func (f *FS) SetCapacity(bytes int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.capacity = bytes
}

// StopAfter lets n more operations happen; the next ones return ErrStopped and change nothing.
func (f *FS) StopAfter(n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.stopAt = f.ops + n + 1
}

// Ops is the number of operations so far.
func (f *FS) Ops() int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ops
}

// FailSync is a hook that fails every Sync and SyncDir of names that contain part.
func FailSync(part string) func(Op) error {
	return func(op Op) error {
		if (op.Kind == OpSync || op.Kind == OpSyncDir) && strings.Contains(op.Name, part) {
			return &fs.PathError{Op: string(op.Kind), Path: op.Name, Err: syscall.EIO}
		}
		return nil
	}
}

// begin counts an operation and asks the hook; it returns with the lock held if err is nil.
func (f *FS) begin(kind OpKind, name string, n int) error {
	f.mu.Lock()
	f.ops++
	op := Op{Kind: kind, Name: name, Len: n, N: f.ops}
	hook, stopped := f.hook, f.stopAt > 0 && f.ops >= f.stopAt
	f.mu.Unlock()
	if stopped {
		return &fs.PathError{Op: string(kind), Path: name, Err: ErrStopped}
	}
	if hook != nil {
		if err := hook(op); err != nil {
			return err
		}
	}
	f.mu.Lock()
	return nil
}

func clean(name string) string { return path.Clean(name) }

func notExist(op, name string) error {
	return &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
}

func (f *FS) set(name string, node *inode) {
	if node == nil {
		delete(f.names, name)
	} else {
		f.names[name] = node
	}
	f.journal = append(f.journal, rename{dir: path.Dir(name), name: name, node: node})
}

func (f *FS) open(name string, write bool) (storage.File, error) {
	name = clean(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	node := f.names[name]
	switch {
	case node == nil:
		return nil, notExist("open", name)
	case node.isDir:
		return nil, &fs.PathError{Op: "open", Path: name, Err: syscall.EISDIR}
	case write && node.ro:
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrPermission}
	}
	return &file{fs: f, name: name, node: node, write: write}, nil
}

// Open implements storage.FS.
func (f *FS) Open(name string) (storage.File, error) { return f.open(name, true) }

// OpenRead implements storage.FS.
func (f *FS) OpenRead(name string) (storage.File, error) { return f.open(name, false) }

// Create implements storage.FS.
func (f *FS) Create(name string) (storage.File, error) {
	name = clean(name)
	if err := f.begin(OpCreate, name, 0); err != nil {
		return nil, err
	}
	defer f.mu.Unlock()
	if dir := f.names[path.Dir(name)]; dir == nil || !dir.isDir {
		return nil, notExist("create", name)
	}
	node := f.names[name]
	switch {
	case node == nil:
		node = &inode{}
		f.set(name, node)
	case node.isDir:
		return nil, &fs.PathError{Op: "create", Path: name, Err: syscall.EISDIR}
	case node.ro:
		return nil, &fs.PathError{Op: "create", Path: name, Err: fs.ErrPermission}
	default:
		node.truncate(0)
	}
	node.modTime = f.now()
	return &file{fs: f, name: name, node: node, write: true}, nil
}

// Rename implements storage.FS. Folders move with all in them.
func (f *FS) Rename(oldname, newname string) error {
	oldname, newname = clean(oldname), clean(newname)
	if err := f.begin(OpRename, newname, 0); err != nil {
		return err
	}
	defer f.mu.Unlock()
	node := f.names[oldname]
	if node == nil {
		return notExist("rename", oldname)
	}
	if node.isDir {
		for name, n := range maps.Clone(f.names) {
			if rest, ok := strings.CutPrefix(name, oldname+"/"); ok {
				f.set(newname+"/"+rest, n)
				f.set(name, nil)
				f.journal[len(f.journal)-2].dir, f.journal[len(f.journal)-1].dir = path.Dir(newname), path.Dir(newname)+"\x00"
			}
		}
	}
	f.set(newname, node)
	f.set(oldname, nil)
	// One change, not two: a crash shows the old or the new name.
	f.journal[len(f.journal)-2].dir, f.journal[len(f.journal)-1].dir = path.Dir(newname), path.Dir(newname)+"\x00"
	return nil
}

// Remove implements storage.FS.
func (f *FS) Remove(name string) error {
	name = clean(name)
	if err := f.begin(OpRemove, name, 0); err != nil {
		return err
	}
	defer f.mu.Unlock()
	if f.names[name] == nil {
		return notExist("remove", name)
	}
	f.set(name, nil)
	return nil
}

// RemoveAll implements storage.FS.
func (f *FS) RemoveAll(name string) error {
	name = clean(name)
	if err := f.begin(OpRemove, name, 0); err != nil {
		return err
	}
	defer f.mu.Unlock()
	for _, n := range slices.Sorted(maps.Keys(f.names)) {
		if n == name || strings.HasPrefix(n, name+"/") {
			f.set(n, nil)
		}
	}
	return nil
}

// MkdirAll implements storage.FS.
func (f *FS) MkdirAll(dir string) error {
	dir = clean(dir)
	if err := f.begin(OpMkdir, dir, 0); err != nil {
		return err
	}
	defer f.mu.Unlock()
	var missing []string
	for d := dir; f.names[d] == nil; d = path.Dir(d) {
		missing = append(missing, d)
	}
	for _, d := range slices.Backward(missing) {
		f.set(d, &inode{isDir: true, modTime: f.now()})
	}
	if !f.names[dir].isDir {
		return &fs.PathError{Op: "mkdir", Path: dir, Err: syscall.ENOTDIR}
	}
	return nil
}

// SyncDir implements storage.FS.
func (f *FS) SyncDir(dir string) error {
	dir = clean(dir)
	if err := f.begin(OpSyncDir, dir, 0); err != nil {
		return err
	}
	defer f.mu.Unlock()
	if f.names[dir] == nil {
		return notExist("sync", dir)
	}
	// A journal commits everything before, other folders' names too; counting on that would be luck, so only this
	// folder's changes become durable here.
	rest := f.journal[:0]
	for _, j := range f.journal {
		if strings.TrimSuffix(j.dir, "\x00") == dir {
			j.apply(f.durable)
		} else {
			rest = append(rest, j)
		}
	}
	clear(f.journal[len(rest):])
	f.journal = rest
	return nil
}

func (j rename) apply(names map[string]*inode) {
	if j.node == nil {
		delete(names, j.name)
	} else {
		names[j.name] = j.node
	}
}

// List implements storage.FS.
func (f *FS) List(dir string) ([]string, error) {
	dir = clean(dir)
	f.mu.Lock()
	defer f.mu.Unlock()
	if n := f.names[dir]; n == nil || !n.isDir {
		return nil, notExist("list", dir)
	}
	var out []string
	for name := range f.names {
		if path.Dir(name) == dir && name != dir && name != "." && name != "/" {
			out = append(out, path.Base(name))
		}
	}
	slices.Sort(out)
	return out, nil
}

// Stat implements storage.FS.
func (f *FS) Stat(name string) (storage.FileInfo, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	node := f.names[clean(name)]
	if node == nil {
		return storage.FileInfo{}, notExist("stat", name)
	}
	return storage.FileInfo{Size: int64(len(node.data)), ModTime: node.modTime, IsDir: node.isDir}, nil
}

// SetReadOnly implements storage.FS. It is taken to be durable at once.
func (f *FS) SetReadOnly(name string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	node := f.names[clean(name)]
	if node == nil {
		return notExist("chmod", name)
	}
	node.ro = true
	return nil
}

// Lock implements storage.FS.
func (f *FS) Lock(name string) (io.Closer, error) {
	name = clean(name)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.locks[name] {
		return nil, fmt.Errorf("%s: %w", name, storage.ErrLocked)
	}
	if dir := f.names[path.Dir(name)]; dir == nil {
		return nil, notExist("lock", name)
	}
	if f.names[name] == nil {
		f.set(name, &inode{})
	}
	f.locks[name] = true
	return unlock{f, name}, nil
}

type unlock struct {
	fs   *FS
	name string
}

func (u unlock) Close() error {
	u.fs.mu.Lock()
	defer u.fs.mu.Unlock()
	delete(u.fs.locks, u.name)
	return nil
}

var _ storage.FS = (*FS)(nil)
