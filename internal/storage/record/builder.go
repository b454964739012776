package record

import (
	"encoding/binary"
	"fmt"
	"math"
)

// BuilderConfig is what a batch's header says besides its records.
type BuilderConfig struct {
	BaseOffset    int64
	Epoch         int32 // partition leader epoch
	Compression   Codec
	Control       bool
	Transactional bool
	LogAppendTime bool
	// ProducerID 0 with Idempotent false is written as "none" (-1, -1, -1).
	Idempotent    bool
	ProducerID    int64
	ProducerEpoch int16
	BaseSequence  int32
}

// Builder makes one batch. The zero value is not usable; NewBuilder and Reset make it so.
type Builder struct {
	cfg        BuilderConfig
	buf        []byte // header space, then records
	count      int32
	lastDelta  int32
	base, high int64 // timestamps
}

// NewBuilder starts a batch.
func NewBuilder(cfg BuilderConfig) *Builder {
	b := new(Builder)
	b.Reset(cfg)
	return b
}

// Reset starts the next batch in the same memory: the batch built before becomes invalid.
func (b *Builder) Reset(cfg BuilderConfig) {
	if cap(b.buf) < HeaderSize {
		b.buf = make([]byte, HeaderSize, 1024)
	}
	*b = Builder{cfg: cfg, buf: b.buf[:HeaderSize], base: NoTimestamp, high: NoTimestamp}
}

// Append adds a record at the next offset. timestamp is in ms; key and value nil are null. It returns the record's offset.
func (b *Builder) Append(timestamp int64, key, value []byte, headers ...Header) int64 {
	return b.AppendAt(b.cfg.BaseOffset+int64(b.count), timestamp, key, value, headers...)
}

// AppendAt is Append at a given offset, which must grow: for rewriting batches that have gaps.
func (b *Builder) AppendAt(offset, timestamp int64, key, value []byte, headers ...Header) int64 {
	if b.count == 0 {
		b.base, b.high = timestamp, timestamp
	}
	b.high = max(b.high, timestamp)
	b.lastDelta = int32(offset - b.cfg.BaseOffset)
	b.buf = AppendRecord(b.buf, b.lastDelta, timestamp-b.base, key, value, headers)
	b.count++
	return offset
}

// Size is the number of bytes so far, header included, before compression.
func (b *Builder) Size() int { return len(b.buf) }

// Count is the number of records so far.
func (b *Builder) Count() int { return int(b.count) }

// Build finishes the batch. Uncompressed, it aliases the builder's memory until the next Reset.
func (b *Builder) Build() (Batch, error) {
	out := b.buf
	if b.cfg.Compression != None {
		var err error
		out, err = Compress(make([]byte, HeaderSize, HeaderSize+len(b.buf)/2), b.cfg.Compression, b.buf[HeaderSize:])
		if err != nil {
			return nil, err
		}
	}
	if len(out) > math.MaxInt32 {
		return nil, fmt.Errorf("batch of %d bytes: more than 2^31-1", len(out))
	}
	batch := Batch(out)
	b.putHeader(batch)
	return batch, nil
}

func (b *Builder) putHeader(out Batch) {
	c := b.cfg
	attr := uint16(c.Compression)
	if c.Control {
		attr |= attrControl
	}
	if c.Transactional {
		attr |= attrTransactional
	}
	if c.LogAppendTime {
		attr |= attrLogAppendTime
	}
	if !c.Idempotent {
		c.ProducerID, c.ProducerEpoch, c.BaseSequence = NoProducerID, NoProducerEpoch, NoSequence
	}
	be := binary.BigEndian
	be.PutUint64(out, uint64(c.BaseOffset))
	be.PutUint32(out[posLength:], uint32(len(out)-lengthPrefix))
	be.PutUint32(out[posEpoch:], uint32(c.Epoch))
	out[posMagic] = Magic
	be.PutUint16(out[posAttributes:], attr)
	be.PutUint32(out[posLastOffsetDelta:], uint32(b.lastDelta))
	be.PutUint64(out[posBaseTimestamp:], uint64(b.base))
	be.PutUint64(out[posMaxTimestamp:], uint64(b.high))
	be.PutUint64(out[posProducerID:], uint64(c.ProducerID))
	be.PutUint16(out[posProducerEpoch:], uint16(c.ProducerEpoch))
	be.PutUint32(out[posBaseSequence:], uint32(c.BaseSequence))
	be.PutUint32(out[posCount:], uint32(b.count))
	out.sealCRC()
}

// AppendRecord appends one encoded record.
func AppendRecord(dst []byte, offsetDelta int32, timestampDelta int64, key, value []byte, headers []Header) []byte {
	dst = binary.AppendVarint(dst, int64(recordBodySize(offsetDelta, timestampDelta, key, value, headers)))
	dst = append(dst, 0)
	dst = binary.AppendVarint(dst, timestampDelta)
	dst = binary.AppendVarint(dst, int64(offsetDelta))
	dst = appendBytes(dst, key)
	dst = appendBytes(dst, value)
	dst = binary.AppendVarint(dst, int64(len(headers)))
	for _, h := range headers {
		dst = binary.AppendVarint(dst, int64(len(h.Key)))
		dst = append(dst, h.Key...)
		dst = appendBytes(dst, h.Value)
	}
	return dst
}

// RecordSize is the number of bytes AppendRecord appends.
func RecordSize(offsetDelta int32, timestampDelta int64, key, value []byte, headers []Header) int {
	n := recordBodySize(offsetDelta, timestampDelta, key, value, headers)
	return varintSize(int64(n)) + n
}

func recordBodySize(offsetDelta int32, timestampDelta int64, key, value []byte, headers []Header) int {
	n := 1 + varintSize(timestampDelta) + varintSize(int64(offsetDelta)) + bytesSize(key) + bytesSize(value) + varintSize(int64(len(headers)))
	for _, h := range headers {
		n += varintSize(int64(len(h.Key))) + len(h.Key) + bytesSize(h.Value)
	}
	return n
}

func appendBytes(dst, v []byte) []byte {
	if v == nil {
		return binary.AppendVarint(dst, -1)
	}
	return append(binary.AppendVarint(dst, int64(len(v))), v...)
}

func bytesSize(v []byte) int {
	if v == nil {
		return 1
	}
	return varintSize(int64(len(v))) + len(v)
}

func varintSize(v int64) int {
	n := 1
	for u := uint64(v)<<1 ^ uint64(v>>63); u >= 0x80; u >>= 7 {
		n++
	}
	return n
}
