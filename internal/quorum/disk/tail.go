package disk

import (
	"cmp"
	"slices"
	"sync"

	"github.com/kraft-dev/kraft-operator/internal/storage/record"
)

// tailBytes is how much of the log's end is kept in memory.
const tailBytes = 128 << 10

// tail keeps what was appended last: followers, observers and listeners nearly always ask for just that, so that a record that was appended
// a moment ago isn't read back from the file for each of them.
type tail struct {
	mu     sync.Mutex
	chunks []chunk // ascending and contiguous
	bytes  int
	last   answer // observers wake together and ask for the same
}

// chunk is what one append brought: whole batches, never changed.
type chunk struct {
	base, next int64
	data       []byte
}

// answer is what one read gave; it holds until the tail changes.
type answer struct {
	from, maxOffset int64
	maxBytes        int
	data            []byte // nil: none is kept
}

// add takes what was appended. An append larger than the bound leaves nothing behind, so that memory stays small.
func (t *tail) add(base, next int64, data []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = answer{}
	if n := len(t.chunks); n > 0 && t.chunks[n-1].next != base || len(data) > tailBytes {
		t.chunks, t.bytes = nil, 0
	}
	if len(data) > tailBytes {
		return
	}
	t.chunks = append(t.chunks, chunk{base, next, data})
	t.bytes += len(data)
	if t.bytes <= tailBytes {
		return
	}
	drop := 0
	for t.bytes > tailBytes*7/8 && drop < len(t.chunks)-1 { // more than must be, so that moving the others is rare
		t.bytes -= len(t.chunks[drop].data)
		drop++
	}
	t.chunks = slices.Delete(t.chunks, 0, drop)
}

// clear forgets everything: the log was cut or replaced.
func (t *tail) clear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.chunks, t.bytes, t.last = nil, 0, answer{}
}

// read is [Disk.ReadCommitted] from memory; not ok where from isn't here. The bytes are not to be changed.
func (t *tail) read(from, maxOffset int64, maxBytes int) (data []byte, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.chunks); n == 0 || from < t.chunks[0].base || from >= t.chunks[n-1].next {
		return nil, false
	}
	if l := t.last; l.data != nil && l.from == from && l.maxOffset == maxOffset && l.maxBytes == maxBytes {
		return l.data, true
	}
	at, _ := slices.BinarySearchFunc(t.chunks, from, func(c chunk, from int64) int { return cmp.Compare(c.next, from+1) })
	for i, c := range t.chunks[at:] {
		part, more := c.from(from, maxOffset, maxBytes-len(data), len(data) == 0)
		switch {
		case data == nil && (!more || at+i+1 == len(t.chunks)):
			data = part[:len(part):len(part)] // all of it in one chunk: not copied
		case data == nil:
			data = append(make([]byte, 0, t.room(at+i, maxBytes)), part...)
		default:
			data = append(data, part...)
		}
		if !more {
			break
		}
	}
	t.last = answer{from, maxOffset, maxBytes, data}
	return data, true
}

// room is how much the chunks from the i-th on can give.
func (t *tail) room(i, maxBytes int) (n int) {
	for _, c := range t.chunks[i:] {
		n += len(c.data)
	}
	return min(n, max(maxBytes, len(t.chunks[i].data)))
}

// from cuts out the batches from the one that holds from on, within the bounds; the first is given even where it is larger than left. more tells
// whether the chunk was used to its end.
func (c chunk) from(from, maxOffset int64, left int, first bool) (part []byte, more bool) {
	start, end := -1, 0
	for end < len(c.data) {
		b, _, err := record.Split(c.data[end:])
		if err != nil || b.NextOffset() > maxOffset {
			return c.cut(start, end), false
		}
		if start < 0 && b.NextOffset() > from {
			start = end
		}
		if start >= 0 && end+len(b)-start > left && !(first && end == start) {
			return c.cut(start, end), false
		}
		end += len(b)
	}
	return c.cut(start, end), true
}

func (c chunk) cut(start, end int) []byte {
	if start < 0 {
		return nil
	}
	return c.data[start:end]
}
