package storage

import (
	"fmt"
	"io"
	"slices"
)

// Slice is a range of bytes of a segment's file. It stays readable for DeleteDelayMs after its segment leaves the log,
// and then fails with fs.ErrClosed; after a truncation it may hold other bytes, as readers past the high watermark know.
type Slice struct {
	file     File
	position int64
	size     int
}

// Len is the number of bytes.
func (s Slice) Len() int { return s.size }

// Position is where the bytes begin in the segment's file.
func (s Slice) Position() int64 { return s.position }

// File is the segment's file; nil if the slice is empty. If it is an OSFile, its descriptor can be given to sendfile with
// Position and Len.
func (s Slice) File() File { return s.file }

// AppendTo reads the bytes into memory, appended to dst.
func (s Slice) AppendTo(dst []byte) ([]byte, error) {
	if s.size == 0 {
		return dst, nil
	}
	n := len(dst)
	dst = slices.Grow(dst, s.size)[:n+s.size]
	if _, err := s.file.ReadAt(dst[n:], s.position); err != nil {
		return dst[:n], fmt.Errorf("read %d bytes at %d: %w", s.size, s.position, err)
	}
	return dst, nil
}

// Reader reads the bytes in order.
func (s Slice) Reader() io.Reader {
	if s.size == 0 {
		return io.LimitReader(nil, 0)
	}
	return io.NewSectionReader(s.file, s.position, int64(s.size))
}
