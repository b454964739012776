package server

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/kraft-dev/kraft-operator/internal/node/wire"
)

const (
	// trustedFrame is allocated at once; of a larger frame only as much as has arrived, times 4.
	trustedFrame = 64 << 10
	// frameStep is how much must arrive within one read timeout.
	frameStep = 1 << 20
	// minFrame is key, version, correlation id and a null client id.
	minFrame = 10
	produce  = 0
)

// Buffers of Produce frames, by size. Larger ones are left to the collector.
var frameClasses = [...]int{16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20}

var framePools [len(frameClasses)]sync.Pool

// getFrame returns n bytes with a capacity of at least n, from a pool if there is one for the size.
func getFrame(n int) []byte {
	for i, size := range frameClasses {
		if n > size {
			continue
		}
		if b, ok := framePools[i].Get().(*[]byte); ok {
			return (*b)[:n]
		}
		return make([]byte, n, size)
	}
	return make([]byte, n)
}

// putFrame gives back what getFrame returned.
func putFrame(b []byte) {
	for i, size := range frameClasses {
		if cap(b) == size {
			b = b[:0]
			framePools[i].Put(&b)
			return
		}
	}
}

// frameReader reads size-prefixed frames of one connection.
type frameReader struct {
	nc      net.Conn
	br      *bufio.Reader
	timeout time.Duration
	until   time.Time // the deadline of reading that was set last; zero: none
}

// setDeadline sets the deadline of reading, unless the one that is set ends less than slack before it: setting it costs each frame.
func (f *frameReader) setDeadline(t time.Time, slack time.Duration) error {
	if early := t.Sub(f.until); !f.until.IsZero() && early >= 0 && early < slack && time.Until(f.until) > 0 {
		return nil
	}
	f.until = t
	return f.nc.SetReadDeadline(t)
}

// readAhead is small: it is all that an idle connection costs, and holds most requests.
const readAhead = 512

func newFrameReader(nc net.Conn, timeout time.Duration) frameReader {
	return frameReader{nc: nc, br: bufio.NewReaderSize(nc, readAhead), timeout: timeout}
}

// prefix waits for the start of a frame, without consuming it: size, key and version.
//
// The first byte is waited for as long as the connection's deadline says, the others one read timeout.
// Errors: wire.ErrMalformed for a size that no request has; wire.ErrTooLarge over maxSize.
func (f *frameReader) prefix(maxSize int) (size int, key, version int16, err error) {
	if _, err = f.br.Peek(1); err != nil {
		return 0, 0, 0, err
	}
	if f.br.Buffered() < 8 {
		if err = f.setDeadline(time.Now().Add(f.timeout), 0); err != nil {
			return 0, 0, 0, err
		}
	}
	b, err := f.br.Peek(4)
	if err != nil {
		return 0, 0, 0, cutShort(err)
	}
	size = int(int32(binary.BigEndian.Uint32(b)))
	if size < minFrame {
		return 0, 0, 0, fmt.Errorf("frame of %d bytes: %w", size, wire.ErrMalformed)
	}
	if size > maxSize {
		return 0, 0, 0, fmt.Errorf("frame of %d bytes, at most %d: %w", size, maxSize, wire.ErrTooLarge)
	}
	if b, err = f.br.Peek(8); err != nil {
		return 0, 0, 0, cutShort(err)
	}
	return size, int16(binary.BigEndian.Uint16(b[4:])), int16(binary.BigEndian.Uint16(b[6:])), nil
}

// body consumes the size and reads the frame. What it allocates is bounded by what has arrived.
func (f *frameReader) body(size int, pooled bool) ([]byte, error) {
	if _, err := f.br.Discard(4); err != nil {
		return nil, err
	}
	alloc := func(n int) []byte { return make([]byte, n) }
	free := func([]byte) {}
	if pooled {
		alloc, free = getFrame, putFrame
	}
	buf := alloc(min(size, trustedFrame))
	read := 0
	for {
		for read < len(buf) {
			to := min(len(buf), read+frameStep)
			if f.br.Buffered() < to-read {
				if err := f.setDeadline(time.Now().Add(f.timeout), 0); err != nil {
					free(buf)
					return nil, err
				}
			}
			n, err := io.ReadFull(f.br, buf[read:to])
			read += n
			if err != nil {
				free(buf)
				return nil, cutShort(err)
			}
		}
		if read == size {
			return buf, nil
		}
		larger := alloc(min(size, 4*len(buf)))
		copy(larger, buf)
		free(buf)
		buf = larger
	}
}

// cutShort turns an end inside a frame into what it is.
func cutShort(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
