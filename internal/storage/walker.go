package storage

import (
	"fmt"
	"io"
	"sync"

	"github.com/kraft-dev/kraft-operator/internal/storage/record"
)

const walkChunk = 4 << 10

var walkBuffers = sync.Pool{New: func() any { return new([walkChunk]byte) }}

// walker reads batch headers of a file, one after the other, a chunk at a time.
type walker struct {
	file  io.ReaderAt
	name  string
	chunk *[walkChunk]byte
	from  int64 // position of chunk[0]
	n     int   // valid bytes in chunk
}

// at reads and checks the header of the batch at position; the batch must end at or before end. The header is valid until
// the next call. Errors wrap ErrCorrupt, or are the disk's.
func (w *walker) at(position, end int64) (header record.Batch, size int, err error) {
	if end-position < record.HeaderSize {
		return nil, 0, corruptFile(w.name, "byte %d: %d bytes left: %w", position, end-position, io.ErrUnexpectedEOF)
	}
	if w.chunk == nil {
		w.chunk = walkBuffers.Get().(*[walkChunk]byte)
	}
	if position < w.from || position+record.HeaderSize > w.from+int64(w.n) {
		n, err := w.file.ReadAt(w.chunk[:min(walkChunk, end-position)], position)
		if n < record.HeaderSize {
			return nil, 0, fmt.Errorf("read %s at byte %d: %w", w.name, position, err)
		}
		w.from, w.n = position, n
	}
	header = record.Batch(w.chunk[position-w.from:][:record.HeaderSize])
	size, err = record.CheckHeader(header)
	if err != nil {
		return nil, 0, corruptFile(w.name, "byte %d: %w", position, err)
	}
	if int64(size) > end-position {
		return nil, 0, corruptFile(w.name, "byte %d: batch of %d bytes, %d left: %w", position, size, end-position, io.ErrUnexpectedEOF)
	}
	return header, size, nil
}

func (w *walker) close() {
	if w.chunk != nil {
		walkBuffers.Put(w.chunk)
		w.chunk, w.n = nil, 0
	}
}
