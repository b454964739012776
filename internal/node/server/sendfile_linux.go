package server

import (
	"io"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// sendFile copies within the kernel. ok is false where that can't be done, and nothing was sent.
//
// The offset is given with each call: connections share one open file, and its own position
// (which TCPConn.ReadFrom would use) with it.
func sendFile(nc net.Conn, f io.ReaderAt, off, n int64) (sent int64, err error, ok bool) {
	tcp, isTCP := nc.(*net.TCPConn)
	file, isFile := f.(syscall.Conn)
	if !isTCP || !isFile {
		return 0, nil, false
	}
	src, err := file.SyscallConn()
	if err != nil {
		return 0, nil, false //nolint:nilerr // copying says the same, if it is an error
	}
	dst, err := tcp.SyscallConn()
	if err != nil {
		return 0, err, true
	}
	ok = true
	var sendErr, waitErr error
	err = src.Control(func(from uintptr) {
		waitErr = dst.Write(func(to uintptr) bool {
			for sent < n {
				at := off + sent
				m, e := unix.Sendfile(int(to), int(from), &at, int(n-sent))
				if m > 0 {
					sent += int64(m)
				}
				switch {
				case e == unix.EINTR:
				case e == unix.EAGAIN:
					return false // wait until the peer takes more
				case e != nil:
					if sent == 0 && (e == unix.EINVAL || e == unix.ENOSYS) {
						ok = false // not a file of that kind
						return true
					}
					sendErr = e
					return true
				case m == 0:
					sendErr = io.ErrUnexpectedEOF
					return true
				}
			}
			return true
		})
	})
	return sent, firstError(sendErr, waitErr, err), ok
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}
