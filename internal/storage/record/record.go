package record

import (
	"encoding/binary"
	"fmt"
	"iter"
	"math"
)

// Record is one record. Its slices alias the batch (or, if compressed, one buffer of that batch's own).
type Record struct {
	Offset     int64
	Timestamp  int64  // ms since 1970
	Attributes int8   // unused by Kafka so far
	Key, Value []byte // nil: null
	Headers    []Header
}

// Header is one record header. Value nil: null.
type Header struct {
	Key   string
	Value []byte
}

// Records walks the records. maxBytes bounds what decompression may make; 0 means DefaultMaxDecompressed.
//
// Errors end the walk: wrapping ErrCorrupt (a record that overruns its batch, a wrong count, bytes left over), ErrTooLarge.
func (b Batch) Records(maxBytes int) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		data := []byte(b[HeaderSize:])
		if b.Compression() != None {
			var err error
			if data, err = Decompress(nil, b.Compression(), data, maxBytes); err != nil {
				yield(Record{}, fmt.Errorf("batch at offset %d: %w", b.BaseOffset(), err))
				return
			}
		}
		count := b.Count()
		for i := int32(0); i < count; i++ {
			r, rest, err := b.next(data)
			if err != nil {
				yield(Record{}, fmt.Errorf("batch at offset %d: record %d of %d: %w", b.BaseOffset(), i, count, err))
				return
			}
			if !yield(r, nil) {
				return
			}
			data = rest
		}
		if len(data) > 0 {
			yield(Record{}, fmt.Errorf("%w: batch at offset %d: %d bytes after the last record", ErrCorrupt, b.BaseOffset(), len(data)))
		}
	}
}

// next decodes the first record of data.
func (b Batch) next(data []byte) (Record, []byte, error) {
	body, rest, err := cutRecord(data)
	if err != nil {
		return Record{}, nil, err
	}
	d := decoder{buf: body}
	r := Record{Attributes: d.int8()}
	tsDelta, offsetDelta := d.varlong(), d.varint()
	r.Key, r.Value = d.bytes(), d.bytes()
	n := d.varint()
	switch {
	case d.bad || n < 0 || int(n) > len(d.buf)/2: // a header is two lengths at least
		return Record{}, nil, fmt.Errorf("%w: malformed record", ErrCorrupt)
	case offsetDelta < 0 || offsetDelta > b.LastOffsetDelta():
		return Record{}, nil, fmt.Errorf("%w: offset delta %d outside 0..%d", ErrCorrupt, offsetDelta, b.LastOffsetDelta())
	}
	if n > 0 {
		r.Headers = make([]Header, n)
	}
	for i := range r.Headers {
		key := d.bytes()
		if key == nil {
			d.bad = true
		}
		r.Headers[i] = Header{Key: string(key), Value: d.bytes()}
	}
	if d.bad || len(d.buf) > 0 {
		return Record{}, nil, fmt.Errorf("%w: malformed record headers", ErrCorrupt)
	}
	r.Offset = b.BaseOffset() + int64(offsetDelta)
	r.Timestamp = b.timestamp(tsDelta)
	return r, rest, nil
}

func (b Batch) timestamp(delta int64) int64 {
	switch {
	case b.LogAppendTime():
		return b.MaxTimestamp()
	case b.BaseTimestamp() == NoTimestamp && delta == 0:
		return NoTimestamp
	}
	return b.BaseTimestamp() + delta
}

// cutRecord takes the length prefix off and returns that record's bytes.
func cutRecord(data []byte) (body, rest []byte, err error) {
	d := decoder{buf: data}
	n := d.varint()
	if d.bad || n < 0 || int(n) > len(d.buf) {
		return nil, nil, fmt.Errorf("%w: record length %d, %d bytes left", ErrCorrupt, n, len(d.buf))
	}
	return d.buf[:n:n], d.buf[n:], nil
}

// decoder reads record fields; after the first error bad is set and every read gives zero.
type decoder struct {
	buf []byte
	bad bool
}

func (d *decoder) int8() int8 {
	if len(d.buf) == 0 {
		d.bad = true
		return 0
	}
	v := int8(d.buf[0])
	d.buf = d.buf[1:]
	return v
}

func (d *decoder) varlong() int64 {
	v, n := binary.Varint(d.buf)
	if n <= 0 {
		d.bad, d.buf = true, nil
		return 0
	}
	d.buf = d.buf[n:]
	return v
}

func (d *decoder) varint() int32 {
	v := d.varlong()
	if v < math.MinInt32 || v > math.MaxInt32 {
		d.bad = true
		return 0
	}
	return int32(v)
}

// bytes reads a length-prefixed field; nil for length -1.
func (d *decoder) bytes() []byte {
	n := d.varint()
	if n == -1 && !d.bad {
		return nil
	}
	if d.bad || n < 0 || int(n) > len(d.buf) {
		d.bad, d.buf = true, nil
		return nil
	}
	v := d.buf[:n:n]
	d.buf = d.buf[n:]
	return v
}
