package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
)

// Sizes of index entries in bytes: relative offset u32 and position u32; timestamp i64 and relative offset u32.
const (
	offsetEntrySize = 8
	timeEntrySize   = 12
	// tailFlush is how many entries are kept in memory before they go to the file. Index files are made again after an
	// unclean stop, so nothing is lost by waiting, and an append is one write instead of three.
	tailFlush = 512
)

// indexFile is an append-only array of fixed-size entries: a prefix in a file, the newest in memory. The file is opened
// when it is first needed. One may append while others look up.
type indexFile struct {
	fs    FS
	name  string
	entry int

	mu     sync.RWMutex
	file   File
	stored int    // entries in the file
	tail   []byte // entries after those
	closed bool
}

func (x *indexFile) count() int {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.stored + len(x.tail)/x.entry
}

// open opens or makes the file.
func (x *indexFile) openLocked() error {
	if x.file != nil {
		return nil
	}
	if x.closed {
		return ErrClosed
	}
	var err error
	if x.stored > 0 {
		x.file, err = x.fs.Open(x.name)
	} else {
		x.file, err = x.fs.Create(x.name)
	}
	return err
}

// opened is f, or the file opened now if f is nil.
func (x *indexFile) opened(f File) (File, error) {
	if f != nil {
		return f, nil
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	err := x.openLocked()
	return x.file, err
}

// at reads entry i into buf.
func (x *indexFile) at(i int, buf []byte) error {
	x.mu.RLock()
	if i >= x.stored {
		n := copy(buf, x.tail[min((i-x.stored)*x.entry, len(x.tail)):])
		x.mu.RUnlock()
		if n < x.entry {
			return fmt.Errorf("%s: no entry %d", x.name, i)
		}
		return nil
	}
	f := x.file
	x.mu.RUnlock()
	f, err := x.opened(f)
	if err != nil {
		return err
	}
	_, err = f.ReadAt(buf[:x.entry], int64(i)*int64(x.entry))
	return err
}

// floor is the last entry for which !after(entry), -1 for none; it is copied into buf.
func (x *indexFile) floor(buf []byte, after func(entry []byte) bool) (int, error) {
	x.mu.RLock()
	stored, f := x.stored, x.file
	if len(x.tail) > 0 && !after(x.tail[:x.entry]) { // the newest entries, the usual case
		i := floorIn(x.tail, x.entry, after)
		copy(buf, x.tail[i*x.entry:(i+1)*x.entry])
		x.mu.RUnlock()
		return stored + i, nil
	}
	x.mu.RUnlock()
	if stored == 0 {
		return -1, nil
	}
	f, err := x.opened(f)
	if err != nil {
		return -1, err
	}
	block := walkBuffers.Get().(*[walkChunk]byte)
	defer walkBuffers.Put(block)
	lo, hi := 0, stored // the first entry after lies in [lo, hi]
	for per := walkChunk / x.entry; hi-lo > per; {
		mid := lo + (hi-lo)/2
		if _, err := f.ReadAt(block[:x.entry], int64(mid)*int64(x.entry)); err != nil {
			return -1, err
		}
		if after(block[:x.entry]) {
			hi = mid
		} else {
			lo = mid
		}
	}
	entries := block[:(hi-lo)*x.entry]
	if _, err := f.ReadAt(entries, int64(lo)*int64(x.entry)); err != nil {
		return -1, err
	}
	i := floorIn(entries, x.entry, after)
	if i < 0 {
		return -1, nil // lo is 0 then
	}
	copy(buf, entries[i*x.entry:(i+1)*x.entry])
	return lo + i, nil
}

// floorIn is the last of some entries in memory for which !after, -1 for none.
func floorIn(entries []byte, size int, after func([]byte) bool) int {
	lo, hi := 0, len(entries)/size
	for lo < hi {
		mid := lo + (hi-lo)/2
		if after(entries[mid*size : (mid+1)*size]) {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo - 1
}

func (x *indexFile) append(entry []byte) {
	x.mu.Lock()
	x.tail = append(x.tail, entry...)
	full := len(x.tail) >= tailFlush*x.entry
	x.mu.Unlock()
	if full {
		_ = x.flush() // what can't be written now stays in memory, and is tried again at the next entry and at roll
	}
}

// flush moves the entries from memory to the file, which is made even if there are none.
func (x *indexFile) flush() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if err := x.openLocked(); err != nil {
		return err
	}
	if len(x.tail) == 0 {
		return nil
	}
	if _, err := x.file.WriteAt(x.tail, int64(x.stored)*int64(x.entry)); err != nil {
		return err
	}
	x.stored += len(x.tail) / x.entry
	x.tail = x.tail[:0]
	return nil
}

func (x *indexFile) sync() error {
	if err := x.flush(); err != nil {
		return err
	}
	x.mu.RLock()
	f := x.file
	x.mu.RUnlock()
	return f.Sync()
}

// truncate keeps the first n entries.
func (x *indexFile) truncate(n int) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if n >= x.stored {
		x.tail = x.tail[:min((n-x.stored)*x.entry, len(x.tail))]
		return nil
	}
	if err := x.openLocked(); err != nil {
		return err
	}
	x.tail, x.stored = x.tail[:0], n
	return x.file.Truncate(int64(n) * int64(x.entry))
}

// release gives memory and file of a segment that isn't written any more back, until the next lookup.
func (x *indexFile) release() {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.tail) == 0 {
		x.tail = nil
	}
}

func (x *indexFile) close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.closed = true
	if x.file == nil {
		return nil
	}
	err := x.file.Close()
	x.file = nil
	return err
}

// load takes over a file that is there. Kafka preallocates the file of its active segment and trims it at a clean stop;
// what is left of that after a kill, as any other damage, comes back as an error, and the index is made again.
func (x *indexFile) load(wellFormed func(first, last []byte) bool) error {
	fi, err := x.fs.Stat(x.name)
	if err != nil {
		return err
	}
	if fi.Size%int64(x.entry) != 0 || fi.Size > 1<<31 {
		return corruptFile(x.name, "%d bytes is not a whole number of entries of %d bytes", fi.Size, x.entry)
	}
	x.stored = int(fi.Size) / x.entry
	if x.stored == 0 {
		return nil
	}
	first, last := make([]byte, x.entry), make([]byte, x.entry)
	if err := errors.Join(x.at(0, first), x.at(x.stored-1, last)); err != nil {
		return err
	}
	if !wellFormed(first, last) {
		return corruptFile(x.name, "last entry %x does not follow the first, %x", last, first)
	}
	return nil
}

// idle closes the file until it is needed again: most segments are never read. Only while nobody else has the log.
func (x *indexFile) idle() error {
	err := x.close()
	x.closed = false
	return err
}

type offsetEntry struct{ rel, pos uint32 }

func getOffsetEntry(b []byte) offsetEntry {
	return offsetEntry{binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])}
}

func putOffsetEntry(b []byte, e offsetEntry) {
	binary.BigEndian.PutUint32(b, e.rel)
	binary.BigEndian.PutUint32(b[4:], e.pos)
}

type timeEntry struct {
	ts  int64
	rel uint32
}

func getTimeEntry(b []byte) timeEntry {
	return timeEntry{int64(binary.BigEndian.Uint64(b)), binary.BigEndian.Uint32(b[8:])}
}

func putTimeEntry(b []byte, e timeEntry) {
	binary.BigEndian.PutUint64(b, uint64(e.ts))
	binary.BigEndian.PutUint32(b[8:], e.rel)
}
