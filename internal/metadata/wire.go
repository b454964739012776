package metadata

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// The primitives of Kafka's flexible messages: big-endian numbers, lengths as unsigned varints of n+1 with 0
// for null.

func appendUvarint(dst []byte, v uint64) []byte { return binary.AppendUvarint(dst, v) }

func appendBool(dst []byte, v bool) []byte {
	if v {
		return append(dst, 1)
	}
	return append(dst, 0)
}
func appendInt8(dst []byte, v int8) []byte       { return append(dst, byte(v)) }
func appendInt16(dst []byte, v int16) []byte     { return binary.BigEndian.AppendUint16(dst, uint16(v)) }
func appendUint16(dst []byte, v uint16) []byte   { return binary.BigEndian.AppendUint16(dst, v) }
func appendInt32(dst []byte, v int32) []byte     { return binary.BigEndian.AppendUint32(dst, uint32(v)) }
func appendInt64(dst []byte, v int64) []byte     { return binary.BigEndian.AppendUint64(dst, uint64(v)) }
func appendUUID(dst []byte, v uuid.UUID) []byte  { return append(dst, v[:]...) }
func appendFloat64(dst []byte, v float64) []byte { return appendInt64(dst, int64(math.Float64bits(v))) }

func appendString(dst []byte, v string) []byte {
	return append(appendUvarint(dst, uint64(len(v))+1), v...)
}

func appendBytes(dst []byte, v []byte) []byte {
	return append(appendUvarint(dst, uint64(len(v))+1), v...)
}

func appendNullableString(dst []byte, v *string) []byte {
	if v == nil {
		return append(dst, 0)
	}
	return appendString(dst, *v)
}

func appendInt32s(dst []byte, v []int32) []byte {
	dst = appendUvarint(dst, uint64(len(v))+1)
	for _, n := range v {
		dst = appendInt32(dst, n)
	}
	return dst
}

func appendUUIDs(dst []byte, v []uuid.UUID) []byte {
	dst = appendUvarint(dst, uint64(len(v))+1)
	for _, u := range v {
		dst = append(dst, u[:]...)
	}
	return dst
}

func appendStrings(dst []byte, v []string) []byte {
	dst = appendUvarint(dst, uint64(len(v))+1)
	for _, s := range v {
		dst = appendString(dst, s)
	}
	return dst
}

// Null stays off the wire as a tagged field's default, so these are reached with a value only.
func appendNullableInt32s(dst []byte, v []int32) []byte    { return appendInt32s(dst, v) }
func appendNullableUUIDs(dst []byte, v []uuid.UUID) []byte { return appendUUIDs(dst, v) }

func appendTag(dst []byte, tag uint64, body []byte) []byte {
	dst = appendUvarint(dst, tag)
	dst = appendUvarint(dst, uint64(len(body)))
	return append(dst, body...)
}

var errShort = errors.New("cut short")

// maxStringBytes is Kafka's bound for strings that are not record payloads.
const maxStringBytes = math.MaxInt16

// reader takes values off b. After the first error every method returns zero values.
type reader struct {
	b   []byte
	err error
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.b = nil
}

// take returns the next n bytes, or nil.
func (r *reader) take(n int, field string) []byte {
	if len(r.b) < n {
		r.fail(fmt.Errorf("field %s: %w: %d bytes left of %d", field, errShort, len(r.b), n))
		return nil
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

// uvarint reads an unsigned varint of at most five bytes and 32 bits, as Kafka does.
func (r *reader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 || n > 5 || v > math.MaxUint32 {
		if n == 0 {
			r.fail(fmt.Errorf("varint: %w", errShort))
		} else {
			r.fail(errors.New("varint longer than 32 bits"))
		}
		return 0
	}
	r.b = r.b[n:]
	return v
}

// length reads a compact length; -1 is null. Each element takes at least least bytes, which bounds it.
func (r *reader) length(field string, least int, nullable bool) int {
	if r.err != nil {
		return -1
	}
	v := r.uvarint()
	switch {
	case r.err != nil:
		r.err = fmt.Errorf("field %s: %w", field, r.err)
		return -1
	case v == 0 && nullable:
		return -1
	case v == 0:
		r.fail(fmt.Errorf("field %s: null, which it can't be", field))
		return -1
	case v-1 > uint64(len(r.b)/least):
		r.fail(fmt.Errorf("field %s: %w: length %d with %d bytes left", field, errShort, v-1, len(r.b)))
		return -1
	}
	return int(v - 1)
}

func (r *reader) Bool(field string) bool { return r.Int8(field) != 0 }

func (r *reader) Int8(field string) int8 {
	if b := r.take(1, field); b != nil {
		return int8(b[0])
	}
	return 0
}

func (r *reader) Uint16(field string) uint16 {
	if b := r.take(2, field); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *reader) Int16(field string) int16 { return int16(r.Uint16(field)) }

func (r *reader) Int32(field string) int32 {
	if b := r.take(4, field); b != nil {
		return int32(binary.BigEndian.Uint32(b))
	}
	return 0
}

func (r *reader) Int64(field string) int64 {
	if b := r.take(8, field); b != nil {
		return int64(binary.BigEndian.Uint64(b))
	}
	return 0
}

func (r *reader) Float64(field string) float64 { return math.Float64frombits(uint64(r.Int64(field))) }

func (r *reader) UUID(field string) (u uuid.UUID) {
	copy(u[:], r.take(16, field))
	return u
}

func (r *reader) NullableString(field string) *string {
	n := r.length(field, 1, true)
	if n < 0 {
		return nil
	}
	s := r.text(n, field)
	return &s
}

func (r *reader) String(field string) string {
	return r.text(r.length(field, 1, false), field)
}

func (r *reader) text(n int, field string) string {
	if n > maxStringBytes {
		r.fail(fmt.Errorf("field %s: string of %d bytes, at most %d", field, n, maxStringBytes))
	}
	if n <= 0 || r.err != nil {
		return ""
	}
	return string(r.take(n, field))
}

func (r *reader) Bytes(field string) []byte {
	n := r.length(field, 1, false)
	if n < 0 {
		return nil
	}
	return append([]byte{}, r.take(n, field)...)
}

func (r *reader) int32s(field string, nullable bool) []int32 {
	n := r.length(field, 4, nullable)
	if n < 0 {
		return nil
	}
	out := make([]int32, n)
	for i := range out {
		out[i] = r.Int32(field)
	}
	return out
}

func (r *reader) Int32s(field string) []int32         { return r.int32s(field, false) }
func (r *reader) NullableInt32s(field string) []int32 { return r.int32s(field, true) }

func (r *reader) uuids(field string, nullable bool) []uuid.UUID {
	n := r.length(field, 16, nullable)
	if n < 0 {
		return nil
	}
	out := make([]uuid.UUID, n)
	for i := range out {
		out[i] = r.UUID(field)
	}
	return out
}

func (r *reader) UUIDs(field string) []uuid.UUID         { return r.uuids(field, false) }
func (r *reader) NullableUUIDs(field string) []uuid.UUID { return r.uuids(field, true) }

func (r *reader) Strings(field string) []string {
	n := r.length(field, 1, false)
	out := make([]string, max(n, 0))
	for i := range out {
		if out[i] = r.String(field); r.err != nil {
			return nil
		}
	}
	return out
}

// tags reads the tagged fields. known decodes one from a reader of exactly its bytes and returns false for a
// tag that this version doesn't have, which is skipped.
func (r *reader) tags(known func(tag uint64, r *reader) bool) {
	n := r.uvarint()
	if n > uint64(len(r.b)/2) { // a tag takes two bytes at least
		r.fail(fmt.Errorf("tagged fields: %w: %d with %d bytes left", errShort, n, len(r.b)))
	}
	for range n {
		tag, size := r.uvarint(), r.uvarint()
		if r.err == nil && size > uint64(len(r.b)) {
			r.fail(fmt.Errorf("tag %d: %w: %d bytes with %d left", tag, errShort, size, len(r.b)))
		}
		if r.err != nil {
			return
		}
		body := &reader{b: r.b[:size]}
		r.b = r.b[size:]
		if !known(tag, body) {
			continue
		}
		if body.err == nil && len(body.b) > 0 {
			body.err = fmt.Errorf("%d bytes after its end", len(body.b))
		}
		if body.err != nil {
			r.fail(fmt.Errorf("tag %d: %w", tag, body.err))
			return
		}
	}
}

func (r *reader) skipTags() { r.tags(func(uint64, *reader) bool { return false }) }
