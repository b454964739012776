package record

import (
	"fmt"
	"sync"
)

// ProduceOptions are the rules of a topic for batches from clients.
type ProduceOptions struct {
	MaxBatchBytes        int   // max.message.bytes; 0: no bound
	MaxDecompressedBytes int   // 0: DefaultMaxDecompressed
	RequireKeys          bool  // cleanup.policy has compact
	NowMs                int64 // for the two below
	TimestampBeforeMaxMs int64 // message.timestamp.before.max.ms; 0: no bound
	TimestampAfterMaxMs  int64 // message.timestamp.after.max.ms; 0: no bound
	AllowControl         bool  // the coordinators' markers
}

// ErrBatchTooLarge is wrapped when a batch is larger than max.message.bytes (wire: MESSAGE_TOO_LARGE, RECORD_LIST_TOO_LARGE).
var ErrBatchTooLarge = fmt.Errorf("batch is larger than max.message.bytes")

// ValidateProduce checks a batch from a client as a Kafka leader does before it gives offsets: Validate, then count,
// contiguous offset deltas, keys where they are compulsory, timestamps, and that the records fill the batch.
//
// Errors wrap ErrCorrupt, ErrInvalid, ErrTimestamp, ErrBatchTooLarge or ErrTooLarge.
func ValidateProduce(b Batch, o ProduceOptions) error {
	_, err := InspectProduce(b, o)
	return err
}

// InspectProduce is ValidateProduce, and returns the largest timestamp of the records (the header's is only a claim).
func InspectProduce(b Batch, o ProduceOptions) (maxTimestamp int64, err error) {
	if o.MaxBatchBytes > 0 && len(b) > o.MaxBatchBytes {
		return 0, fmt.Errorf("%d bytes, at most %d: %w", len(b), o.MaxBatchBytes, ErrBatchTooLarge)
	}
	if err := b.Validate(); err != nil {
		return 0, err
	}
	if err := validateProduceHeader(b, o); err != nil {
		return 0, err
	}
	data := []byte(b[HeaderSize:])
	if b.Compression() != None {
		buf := scratch.Get().(*[]byte)
		defer putScratch(buf)
		out, err := Decompress((*buf)[:0], b.Compression(), data, o.MaxDecompressedBytes)
		if err != nil {
			return 0, err
		}
		*buf, data = out, out
	}
	return validateRecords(b, data, o)
}

func validateProduceHeader(b Batch, o ProduceOptions) error {
	switch {
	case b.BaseOffset() != 0:
		return fmt.Errorf("%w: base offset %d in a produced batch, want 0", ErrInvalid, b.BaseOffset())
	case b.Count() == 0:
		return fmt.Errorf("%w: batch without records", ErrInvalid)
	case b.LastOffsetDelta() != b.Count()-1:
		return fmt.Errorf("%w: last offset delta %d with %d records", ErrInvalid, b.LastOffsetDelta(), b.Count())
	case b.IsControl() && !o.AllowControl:
		return fmt.Errorf("%w: clients may not write control batches", ErrInvalid)
	case b.HasProducerID() && b.BaseSequence() < 0 && !b.IsControl():
		return fmt.Errorf("%w: base sequence %d with producer id %d", ErrInvalid, b.BaseSequence(), b.ProducerID())
	case b.HasProducerID() && b.ProducerEpoch() < 0:
		return fmt.Errorf("%w: producer epoch %d with producer id %d", ErrInvalid, b.ProducerEpoch(), b.ProducerID())
	case b.IsTransactional() && !b.HasProducerID():
		return fmt.Errorf("%w: transactional batch without a producer id", ErrInvalid)
	case b.HasDeleteHorizon():
		return fmt.Errorf("%w: a produced batch has no delete horizon", ErrInvalid)
	}
	return nil
}

func validateRecords(b Batch, data []byte, o ProduceOptions) (int64, error) {
	maxTs := NoTimestamp
	count, want := b.Count(), int32(0)
	for ; want < count; want++ {
		body, rest, err := cutRecord(data)
		if err != nil {
			return 0, fmt.Errorf("record %d of %d: %w", want, count, err)
		}
		d := decoder{buf: body}
		d.int8()
		tsDelta, offsetDelta := d.varlong(), d.varint()
		key := d.bytes()
		d.bytes()
		for n := d.headerCount(); n > 0 && !d.bad; n-- {
			if d.bytes() == nil {
				d.bad = true // a header key can't be null
			}
			d.bytes()
		}
		switch {
		case d.bad || len(d.buf) > 0:
			return 0, fmt.Errorf("%w: record %d of %d is malformed", ErrInvalid, want, count)
		case offsetDelta != want:
			return 0, fmt.Errorf("%w: record %d has offset delta %d", ErrInvalid, want, offsetDelta)
		case key == nil && o.RequireKeys && !b.IsControl():
			return 0, fmt.Errorf("%w: record %d has no key, the topic is compacted", ErrInvalid, want)
		}
		ts := b.timestamp(tsDelta)
		maxTs = max(maxTs, ts)
		if err := checkTimestamp(ts, o); err != nil {
			return 0, fmt.Errorf("record %d: %w", want, err)
		}
		data = rest
	}
	if len(data) > 0 {
		return 0, fmt.Errorf("%w: %d bytes after the last record", ErrInvalid, len(data))
	}
	return maxTs, nil
}

func (d *decoder) headerCount() int32 {
	n := d.varint()
	if n < 0 || int(n) > len(d.buf)/2 {
		d.bad = true
		return 0
	}
	return n
}

func checkTimestamp(ts int64, o ProduceOptions) error {
	switch {
	case ts == NoTimestamp:
		return nil
	case o.TimestampBeforeMaxMs > 0 && ts < o.NowMs && o.NowMs-ts > o.TimestampBeforeMaxMs:
		return fmt.Errorf("%w: %d is more than message.timestamp.before.max.ms=%d before %d", ErrTimestamp, ts, o.TimestampBeforeMaxMs, o.NowMs)
	case o.TimestampAfterMaxMs > 0 && ts > o.NowMs && ts-o.NowMs > o.TimestampAfterMaxMs:
		return fmt.Errorf("%w: %d is more than message.timestamp.after.max.ms=%d after %d", ErrTimestamp, ts, o.TimestampAfterMaxMs, o.NowMs)
	}
	return nil
}

// scratch holds decompression buffers that die with the validation; large ones are left to the collector.
var scratch = sync.Pool{New: func() any { return new([]byte) }}

const maxScratch = 1 << 20

func putScratch(buf *[]byte) {
	if cap(*buf) <= maxScratch {
		scratch.Put(buf)
	}
}

// Recompress rewrites a batch under another codec (compression.type of the topic), all else equal.
func Recompress(b Batch, codec Codec, maxBytes int) (Batch, error) {
	data, err := Decompress(nil, b.Compression(), b[HeaderSize:], maxBytes)
	if err != nil {
		return nil, err
	}
	out := make([]byte, HeaderSize, HeaderSize+len(data))
	copy(out, b[:HeaderSize])
	if out, err = Compress(out, codec, data); err != nil {
		return nil, err
	}
	n := Batch(out)
	n.putSize()
	n.putAttributes(uint16(b.Attributes())&^attrCompression | uint16(codec))
	n.sealCRC()
	return n, nil
}
