// Package record is Kafka's record batch, magic 2 (KIP-98): views over bytes, validation, iteration, building.
// It does no I/O and keeps no state but pools of codecs.
package record

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math"
)

// Sizes and positions of the batch header, in bytes.
const (
	HeaderSize   = 61 // a batch without records
	lengthPrefix = 12 // base offset and length, not counted by the length field
	Magic        = 2

	posLength          = 8
	posEpoch           = 12
	posMagic           = 16
	posCRC             = 17
	posAttributes      = 21
	posLastOffsetDelta = 23
	posBaseTimestamp   = 27
	posMaxTimestamp    = 35
	posProducerID      = 43
	posProducerEpoch   = 51
	posBaseSequence    = 53
	posCount           = 57
)

// Attribute bits.
const (
	attrCompression   = 0x07
	attrLogAppendTime = 0x08
	attrTransactional = 0x10
	attrControl       = 0x20
	attrDeleteHorizon = 0x40
)

// Values that mean "none".
const (
	NoProducerID    int64 = -1
	NoProducerEpoch int16 = -1
	NoSequence      int32 = -1
	NoTimestamp     int64 = -1
	NoEpoch         int32 = -1
)

var (
	// ErrCorrupt is wrapped by every error about bytes that no writer of batches produces.
	ErrCorrupt = errors.New("corrupt record batch")
	// ErrCRC (it wraps ErrCorrupt) is a CRC-32C mismatch.
	ErrCRC = fmt.Errorf("%w: CRC-32C mismatch", ErrCorrupt)
	// ErrMagic (it wraps ErrCorrupt) is a batch of the message formats before magic 2, or of none.
	ErrMagic = fmt.Errorf("%w: magic is not 2", ErrCorrupt)
	// ErrInvalid is wrapped where the bytes are a batch but break a rule of producers (wire: INVALID_RECORD).
	ErrInvalid = errors.New("invalid record")
	// ErrTimestamp is wrapped where a record's timestamp is outside the topic's bounds (wire: INVALID_TIMESTAMP).
	ErrTimestamp = errors.New("invalid timestamp")
	// ErrTooLarge is wrapped where decompressed records pass the caller's bound.
	ErrTooLarge = errors.New("decompressed records pass the bound")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Batch is one whole batch: a view, never a copy. Its header and length were checked by Split; nothing else was.
type Batch []byte

// Split cuts the first whole batch off buf.
//
// Errors: io.EOF when buf is empty; wrapping io.ErrUnexpectedEOF when the batch is cut; wrapping ErrCorrupt when the
// header can't be a batch's (ErrMagic for the formats before magic 2).
func Split(buf []byte) (b Batch, rest []byte, err error) {
	if len(buf) == 0 {
		return nil, nil, io.EOF
	}
	if len(buf) > posMagic && buf[posMagic] != Magic {
		return nil, nil, fmt.Errorf("%w: %d", ErrMagic, int8(buf[posMagic]))
	}
	if len(buf) < HeaderSize {
		return nil, nil, fmt.Errorf("batch header of %d bytes, want %d: %w", len(buf), HeaderSize, io.ErrUnexpectedEOF)
	}
	size, err := SizeInHeader(buf)
	if err != nil {
		return nil, nil, err
	}
	if size > len(buf) {
		return nil, nil, fmt.Errorf("batch of %d bytes, %d are there: %w", size, len(buf), io.ErrUnexpectedEOF)
	}
	return Batch(buf[:size:size]), buf[size:], nil
}

// SizeInHeader is the whole size in bytes that a batch header (at least 12 bytes) declares.
// Errors: wrapping ErrCorrupt if no batch can have it.
func SizeInHeader(header []byte) (int, error) {
	n := int32(binary.BigEndian.Uint32(header[posLength:]))
	if n < HeaderSize-lengthPrefix || n > math.MaxInt32-lengthPrefix {
		return 0, fmt.Errorf("%w: batch length %d", ErrCorrupt, n)
	}
	return int(n) + lengthPrefix, nil
}

// Validate checks what a reader relies on: sizes, magic, CRC-32C, codec, and offsets and counts that aren't negative.
// Records inside are not looked at. Errors wrap ErrCorrupt.
func (b Batch) Validate() error {
	if err := b.ValidateHeader(); err != nil {
		return err
	}
	if got, want := b.computeCRC(), b.CRC(); got != want {
		return fmt.Errorf("%w: stored %08x, computed %08x, base offset %d", ErrCRC, want, got, b.BaseOffset())
	}
	return nil
}

// ValidateHeader is Validate without the CRC: it reads the header only.
func (b Batch) ValidateHeader() error {
	if len(b) < HeaderSize {
		return fmt.Errorf("%w: %d bytes", ErrCorrupt, len(b))
	}
	if b[posMagic] != Magic {
		return fmt.Errorf("%w: %d", ErrMagic, int8(b[posMagic]))
	}
	size, err := SizeInHeader(b)
	switch {
	case err != nil:
		return err
	case size != len(b):
		return fmt.Errorf("%w: length field says %d bytes, batch has %d", ErrCorrupt, size, len(b))
	}
	return b.checkFields()
}

// checkFields looks at the header's fields but its length; b may be a header alone.
func (b Batch) checkFields() error {
	switch {
	case b.BaseOffset() < 0:
		return fmt.Errorf("%w: base offset %d", ErrCorrupt, b.BaseOffset())
	case b.LastOffsetDelta() < 0 || b.BaseOffset() > math.MaxInt64-1-int64(b.LastOffsetDelta()):
		return fmt.Errorf("%w: last offset delta %d", ErrCorrupt, b.LastOffsetDelta())
	case b.Count() < 0 || int64(b.Count()) > int64(b.LastOffsetDelta())+1:
		return fmt.Errorf("%w: %d records with last offset delta %d", ErrCorrupt, b.Count(), b.LastOffsetDelta())
	case b.Compression() > Zstd:
		return fmt.Errorf("%w: compression %d", ErrCorrupt, b.Compression())
	}
	return nil
}

// CheckHeader checks a header of HeaderSize bytes whose records aren't at hand, and returns the batch's whole size.
func CheckHeader(header []byte) (int, error) {
	b := Batch(header[:HeaderSize])
	if b[posMagic] != Magic {
		return 0, fmt.Errorf("%w: %d", ErrMagic, int8(b[posMagic]))
	}
	size, err := SizeInHeader(b)
	if err != nil {
		return 0, err
	}
	return size, b.checkFields()
}

func (b Batch) computeCRC() uint32 { return crc32.Checksum(b[posAttributes:], castagnoli) }

func (b Batch) i16(pos int) int16 { return int16(binary.BigEndian.Uint16(b[pos:])) }
func (b Batch) i32(pos int) int32 { return int32(binary.BigEndian.Uint32(b[pos:])) }
func (b Batch) i64(pos int) int64 { return int64(binary.BigEndian.Uint64(b[pos:])) }

// BaseOffset is the offset of the first record.
func (b Batch) BaseOffset() int64 { return b.i64(0) }

// LastOffset is the offset of the last record the batch was written with (compaction may have removed it).
func (b Batch) LastOffset() int64 { return b.BaseOffset() + int64(b.LastOffsetDelta()) }

// NextOffset is LastOffset + 1.
func (b Batch) NextOffset() int64 { return b.LastOffset() + 1 }

// Epoch is the partition leader epoch.
func (b Batch) Epoch() int32 { return b.i32(posEpoch) }

// CRC is the stored CRC-32C; it covers the bytes from the attributes on, so neither base offset nor epoch.
func (b Batch) CRC() uint32 { return binary.BigEndian.Uint32(b[posCRC:]) }

// Attributes are the raw bits.
func (b Batch) Attributes() int16 { return b.i16(posAttributes) }

// Compression is the codec of the records.
func (b Batch) Compression() Codec { return Codec(b.Attributes() & attrCompression) }

// IsControl tells whether the records are control records (leader change, voters, transaction markers).
func (b Batch) IsControl() bool { return b.Attributes()&attrControl != 0 }

// IsTransactional tells whether the batch belongs to a transaction.
func (b Batch) IsTransactional() bool { return b.Attributes()&attrTransactional != 0 }

// LogAppendTime tells whether timestamps are the broker's: then every record has MaxTimestamp.
func (b Batch) LogAppendTime() bool { return b.Attributes()&attrLogAppendTime != 0 }

// HasDeleteHorizon tells whether BaseTimestamp is a compaction's delete horizon (KIP-534).
func (b Batch) HasDeleteHorizon() bool { return b.Attributes()&attrDeleteHorizon != 0 }

// LastOffsetDelta is LastOffset - BaseOffset.
func (b Batch) LastOffsetDelta() int32 { return b.i32(posLastOffsetDelta) }

// BaseTimestamp is in ms since 1970; timestamps of records are relative to it.
func (b Batch) BaseTimestamp() int64 { return b.i64(posBaseTimestamp) }

// MaxTimestamp is in ms since 1970.
func (b Batch) MaxTimestamp() int64 { return b.i64(posMaxTimestamp) }

// ProducerID is -1 for producers that are not idempotent.
func (b Batch) ProducerID() int64 { return b.i64(posProducerID) }

// ProducerEpoch is -1 without a producer id.
func (b Batch) ProducerEpoch() int16 { return b.i16(posProducerEpoch) }

// BaseSequence is the sequence of the first record, -1 for none.
func (b Batch) BaseSequence() int32 { return b.i32(posBaseSequence) }

// LastSequence is the sequence of the last record; sequences wrap from 2^31-1 to 0. -1 for none.
func (b Batch) LastSequence() int32 {
	if b.BaseSequence() == NoSequence {
		return NoSequence
	}
	return AddSequence(b.BaseSequence(), b.LastOffsetDelta())
}

// HasProducerID tells whether the batch comes from an idempotent or transactional producer.
func (b Batch) HasProducerID() bool { return b.ProducerID() > NoProducerID }

// Count is the number of records.
func (b Batch) Count() int32 { return b.i32(posCount) }

// SetBaseOffset moves the batch to another offset in place; the CRC doesn't cover it.
func (b Batch) SetBaseOffset(offset int64) { binary.BigEndian.PutUint64(b, uint64(offset)) }

// SetEpoch sets the partition leader epoch in place; the CRC doesn't cover it.
func (b Batch) SetEpoch(epoch int32) { binary.BigEndian.PutUint32(b[posEpoch:], uint32(epoch)) }

// SetLogAppendTime makes ms the timestamp of every record and computes the CRC again.
func (b Batch) SetLogAppendTime(ms int64) {
	b.putAttributes(uint16(b.Attributes()) | attrLogAppendTime)
	binary.BigEndian.PutUint64(b[posMaxTimestamp:], uint64(ms))
	b.sealCRC()
}

// SetCreateTime makes the timestamps the producer's own, the largest of them ms, and computes the CRC again.
func (b Batch) SetCreateTime(ms int64) {
	b.putAttributes(uint16(b.Attributes()) &^ attrLogAppendTime)
	binary.BigEndian.PutUint64(b[posMaxTimestamp:], uint64(ms))
	b.sealCRC()
}

func (b Batch) putAttributes(v uint16) { binary.BigEndian.PutUint16(b[posAttributes:], v) }
func (b Batch) putSize()               { binary.BigEndian.PutUint32(b[posLength:], uint32(len(b)-lengthPrefix)) }
func (b Batch) sealCRC()               { binary.BigEndian.PutUint32(b[posCRC:], b.computeCRC()) }

// AddSequence is sequence + delta, wrapped from 2^31-1 to 0 as producers do.
func AddSequence(sequence, delta int32) int32 {
	if sequence > math.MaxInt32-delta {
		return delta - (math.MaxInt32 - sequence) - 1
	}
	return sequence + delta
}
