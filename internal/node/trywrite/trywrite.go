// Package trywrite writes to a connection from a goroutine that must not wait: what the kernel takes at once is sent, the rest is the
// caller's. It spares an answer that somebody waits for the start of a goroutine and its turn.
package trywrite

import (
	"net"
	"syscall"
)

// Largest is how much is tried at most: more is better left to a goroutine that may wait for the peer.
const Largest = 32 << 10

// Writer writes to one connection; a nil one takes nothing. It is not safe for concurrent use, and its owner sees to it that nobody else writes to
// the connection meanwhile.
type Writer struct {
	raw  syscall.RawConn
	call func(fd uintptr) // made once, so that a write allocates nothing
	b    []byte
	n    int
	err  error
}

// New is nil where the connection isn't a socket of this system that can be tried.
func New(nc net.Conn) *Writer {
	tcp, ok := nc.(*net.TCPConn)
	if !ok || !supported {
		return nil
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return nil
	}
	w := &Writer{raw: raw}
	w.call = func(fd uintptr) { w.n, w.err = write(fd, w.b) }
	return w
}

// Write returns how many bytes the kernel took, maybe none, and an error only if the connection is broken.
func (w *Writer) Write(b []byte) (int, error) {
	if w == nil || len(b) > Largest {
		return 0, nil
	}
	w.b, w.n, w.err = b, 0, nil
	if err := w.raw.Control(w.call); err != nil {
		return 0, err
	}
	w.b = nil
	return w.n, w.err
}
