package wire

import "encoding/binary"

// walker steps over bytes. The first step past the end makes it bad; every later step is nothing.
type walker struct {
	src []byte
	off int
	bad bool
}

func (w *walker) left() int { return len(w.src) - w.off }

func (w *walker) skip(n int64) {
	if w.bad || n < 0 || n > int64(w.left()) {
		w.bad = true
		return
	}
	w.off += int(n)
}

func (w *walker) int16() int16 {
	if w.bad || w.left() < 2 {
		w.bad = true
		return 0
	}
	v := int16(binary.BigEndian.Uint16(w.src[w.off:]))
	w.off += 2
	return v
}

func (w *walker) int32() int32 {
	if w.bad || w.left() < 4 {
		w.bad = true
		return 0
	}
	v := int32(binary.BigEndian.Uint32(w.src[w.off:]))
	w.off += 4
	return v
}

// uvarint reads an unsigned varint of at most 32 bits in at most 5 bytes.
func (w *walker) uvarint() uint32 {
	if w.bad {
		return 0
	}
	var v uint64
	for i := 0; i < 5 && w.off+i < len(w.src); i++ {
		c := w.src[w.off+i]
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			if v > 0xffffffff {
				break
			}
			w.off += i + 1
			return uint32(v)
		}
	}
	w.bad = true
	return 0
}
