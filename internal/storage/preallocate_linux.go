package storage

import (
	"os"

	"golang.org/x/sys/unix"
)

func preallocate(f *os.File, size int64) error {
	fi, err := f.Stat()
	if err != nil || fi.Size() >= size {
		return err
	}
	return unix.Fallocate(int(f.Fd()), 0, fi.Size(), size-fi.Size())
}
