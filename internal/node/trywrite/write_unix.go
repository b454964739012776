//go:build unix

package trywrite

import (
	"errors"

	"golang.org/x/sys/unix"
)

const supported = true

// write is one write(2) on a socket that doesn't block, as all of Go's are.
func write(fd uintptr, b []byte) (int, error) {
	for {
		n, err := unix.Write(int(fd), b)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			return 0, nil
		case err != nil:
			return 0, err
		default:
			return n, nil
		}
	}
}
