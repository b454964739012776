package wire

import "io"

// Segment is a piece of a response: bytes in memory, or a range of a file.
// Exactly one of Bytes and File is set.
type Segment struct {
	Bytes []byte
	// File is read at Off for Len bytes. Where it also implements syscall.Conn (as
	// *os.File does) and the connection is plain TCP, the kernel copies it (sendfile).
	File io.ReaderAt
	Off  int64
	Len  int64
}

// Size is the number of bytes that the segment puts on the wire.
func (s Segment) Size() int64 {
	if s.File != nil {
		return s.Len
	}
	return int64(len(s.Bytes))
}

// BytesSegment is bytes that are already in memory.
func BytesSegment(b []byte) Segment { return Segment{Bytes: b} }

// FileSegment is length bytes of f from off.
func FileSegment(f io.ReaderAt, off, length int64) Segment {
	return Segment{File: f, Off: off, Len: length}
}
