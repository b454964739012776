// Package metadata holds Kafka's metadata records (their own ids, versions and encoding), the image that they
// build, and the changes from one image to the next. It is pure: no clock, socket, disk or goroutine.
package metadata

import (
	"errors"
	"fmt"
)

//go:generate go run ./gen

// RecordType is a metadata record's id in the frame of a record value.
type RecordType int16

// Record is one metadata record, a pointer to one of the generated structs.
type Record interface {
	Type() RecordType
	MaxVersion() int16
	AppendTo(dst []byte, version int16) []byte
	decode(r *reader, version int16)
}

// frameVersion is the only frame that Kafka writes: varints 1, type, version, then the body.
const frameVersion = 1

// ErrMalformed is wrapped by every error of Decode.
var ErrMalformed = errors.New("malformed metadata record")

// Encode returns rec's value in the metadata log: frame version, type and version as unsigned varints, then
// the body. Fields that the version lacks are left out. A version outside [0, rec.MaxVersion()] panics: the
// caller takes it from Versions.
func Encode(rec Record, version int16) []byte { return AppendRecord(nil, rec, version) }

// AppendRecord is Encode, appending to dst.
func AppendRecord(dst []byte, rec Record, version int16) []byte {
	if version < 0 || version > rec.MaxVersion() {
		panic(fmt.Sprintf("metadata: encode %T at version %d, supported are 0 to %d", rec, version, rec.MaxVersion()))
	}
	dst = append(dst, frameVersion)
	dst = appendUvarint(dst, uint64(rec.Type()))
	dst = appendUvarint(dst, uint64(version))
	return rec.AppendTo(dst, version)
}

// Decode reads one record value as it stands in the log and returns the record and its version.
//
// Bound:  time and memory are proportional to len(value); nothing in the result aliases it.
// Errors: ErrMalformed for an unknown frame, type or version, a length beyond the value's end, null where the
// layout has none, or bytes after the body. Unknown tagged fields are skipped.
func Decode(value []byte) (Record, int16, error) {
	r := &reader{b: value}
	frame, typ, version := r.uvarint(), r.uvarint(), r.uvarint()
	switch {
	case r.err != nil:
		return nil, 0, fmt.Errorf("%w: frame: %w", ErrMalformed, r.err)
	case frame != frameVersion:
		return nil, 0, fmt.Errorf("%w: frame version %d, supported is %d", ErrMalformed, frame, frameVersion)
	case typ > 0x7fff:
		return nil, 0, fmt.Errorf("%w: unknown record type %d", ErrMalformed, typ)
	}
	rec := newRecord(RecordType(typ))
	if rec == nil {
		return nil, 0, fmt.Errorf("%w: unknown record type %d", ErrMalformed, typ)
	}
	if version > uint64(rec.MaxVersion()) {
		return nil, 0, fmt.Errorf("%w: %T version %d, supported are 0 to %d", ErrMalformed, rec, version, rec.MaxVersion())
	}
	rec.decode(r, int16(version))
	if r.err == nil && len(r.b) > 0 {
		r.err = fmt.Errorf("%d bytes after its end", len(r.b))
	}
	if r.err != nil {
		return nil, 0, fmt.Errorf("%w: %T version %d: %w", ErrMalformed, rec, version, r.err)
	}
	return rec, int16(version), nil
}
