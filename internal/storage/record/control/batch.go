package control

import (
	"fmt"

	"github.com/kraft-dev/kraft-operator/internal/storage/record"
)

// AppendBatch builds one uncompressed control batch whose records all have timestampMs, at baseOffset and epoch.
func AppendBatch(dst []byte, baseOffset int64, epoch int32, timestampMs int64, recs ...Record) []byte {
	b := record.NewBuilder(record.BuilderConfig{BaseOffset: baseOffset, Epoch: epoch, Control: true})
	for _, r := range recs {
		key, value := Encode(r)
		b.Append(timestampMs, key, value)
	}
	batch, err := b.Build()
	if err != nil { // only past 2^31 bytes
		panic(fmt.Sprintf("control batch of %d records: %v", len(recs), err))
	}
	return append(dst, batch...)
}

// Offset is a control record with its place in the log.
type Offset struct {
	Offset int64
	Record Record
}

// DecodeBatch reads the records of a control batch; nil for a data batch. Transaction markers come back as Unknown.
func DecodeBatch(b record.Batch) ([]Offset, error) {
	if !b.IsControl() {
		return nil, nil
	}
	var out []Offset
	for r, err := range b.Records(0) {
		if err != nil {
			return nil, err
		}
		c, err := Decode(r.Key, r.Value)
		if err != nil {
			return nil, fmt.Errorf("offset %d: %w", r.Offset, err)
		}
		out = append(out, Offset{Offset: r.Offset, Record: c})
	}
	return out, nil
}
