package memfs

import (
	"io"
	"io/fs"
	"sync/atomic"
	"syscall"
)

// file is an open file.
type file struct {
	fs     *FS
	name   string
	node   *inode
	write  bool
	closed atomic.Bool
}

func (h *file) check(op string, write bool) error {
	switch {
	case h.closed.Load():
		return &fs.PathError{Op: op, Path: h.name, Err: fs.ErrClosed}
	case write && !h.write:
		return &fs.PathError{Op: op, Path: h.name, Err: syscall.EBADF}
	}
	return nil
}

func (h *file) ReadAt(p []byte, off int64) (int, error) {
	if err := h.check("read", false); err != nil {
		return 0, err
	}
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if off < 0 || off >= int64(len(h.node.data)) {
		return 0, io.EOF
	}
	n := copy(p, h.node.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (h *file) WriteAt(p []byte, off int64) (int, error) {
	if err := h.check("write", true); err != nil {
		return 0, err
	}
	if err := h.fs.begin(OpWrite, h.name, len(p)); err != nil {
		return 0, err
	}
	defer h.fs.mu.Unlock()
	n, err := len(p), error(nil)
	if h.fs.capacity > 0 {
		room := h.fs.capacity - h.fs.usedLocked() + int64(len(h.node.data)) - off
		if room < int64(n) {
			n, err = int(max(room, 0)), &fs.PathError{Op: "write", Path: h.name, Err: syscall.ENOSPC}
		}
	}
	h.node.writeAt(p[:n], off)
	h.node.modTime = h.fs.now()
	return n, err
}

func (h *file) Truncate(size int64) error {
	if err := h.check("truncate", true); err != nil {
		return err
	}
	if err := h.fs.begin(OpTruncate, h.name, 0); err != nil {
		return err
	}
	defer h.fs.mu.Unlock()
	h.node.truncate(size)
	return nil
}

// Preallocate makes the file longer, as a write of zeros would; a disk that is full takes nothing.
func (h *file) Preallocate(size int64) error {
	if err := h.check("fallocate", true); err != nil {
		return err
	}
	if err := h.fs.begin(OpAllocate, h.name, 0); err != nil {
		return err
	}
	defer h.fs.mu.Unlock()
	more := size - int64(len(h.node.data))
	if h.fs.capacity > 0 && h.fs.usedLocked()+more > h.fs.capacity {
		return &fs.PathError{Op: "fallocate", Path: h.name, Err: syscall.ENOSPC}
	}
	if more > 0 {
		h.node.writeAt(make([]byte, more), int64(len(h.node.data)))
	}
	return nil
}

func (h *file) Sync() error {
	if err := h.check("sync", false); err != nil {
		return err
	}
	if err := h.fs.begin(OpSync, h.name, 0); err != nil {
		h.fs.mu.Lock()
		defer h.fs.mu.Unlock()
		h.node.pending = nil // clean pages now, and not on disk
		return err
	}
	defer h.fs.mu.Unlock()
	for _, c := range h.node.pending {
		h.node.durable = c.apply(h.node.durable)
	}
	h.node.pending = nil
	return nil
}

func (h *file) Size() (int64, error) {
	if err := h.check("stat", false); err != nil {
		return 0, err
	}
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	return int64(len(h.node.data)), nil
}

func (h *file) Close() error {
	if h.closed.Swap(true) {
		return &fs.PathError{Op: "close", Path: h.name, Err: fs.ErrClosed}
	}
	return nil
}

func (f *FS) usedLocked() (n int64) {
	for _, node := range f.names {
		n += int64(len(node.data))
	}
	return n
}

func (n *inode) writeAt(p []byte, off int64) {
	if len(p) == 0 {
		return
	}
	c := change{at: off, data: append([]byte(nil), p...)}
	n.data = c.apply(n.data)
	n.pending = append(n.pending, c)
}

func (n *inode) truncate(size int64) {
	c := change{at: size}
	n.data = c.apply(n.data)
	n.pending = append(n.pending, c)
}

// apply makes the change in buf.
func (c change) apply(buf []byte) []byte {
	end := c.at + int64(len(c.data))
	for int64(len(buf)) < end {
		buf = append(buf, make([]byte, end-int64(len(buf)))...)
	}
	if c.data == nil {
		return buf[:c.at]
	}
	copy(buf[c.at:], c.data)
	return buf
}
