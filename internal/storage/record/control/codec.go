package control

import (
	"encoding/binary"
	"fmt"

	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

func (r LeaderChange) appendValue(dst []byte) []byte {
	dst = append(dst, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(r.LeaderID))
	for _, ids := range [][]int32{r.Voters, r.GrantingVoters} {
		dst = binary.AppendUvarint(dst, uint64(len(ids))+1)
		for _, id := range ids {
			dst = binary.BigEndian.AppendUint32(dst, uint32(id))
			dst = append(dst, 0)
		}
	}
	return append(dst, 0)
}

func (r SnapshotHeader) appendValue(dst []byte) []byte {
	dst = append(dst, 0, 0)
	dst = binary.BigEndian.AppendUint64(dst, uint64(r.LastContainedLogTimestamp))
	return append(dst, 0)
}

func (SnapshotFooter) appendValue(dst []byte) []byte { return append(dst, 0, 0, 0) }

func (r KRaftVersion) appendValue(dst []byte) []byte {
	dst = append(dst, 0, 0)
	dst = binary.BigEndian.AppendUint16(dst, uint16(r.Level))
	return append(dst, 0)
}

func (r Voters) appendValue(dst []byte) []byte {
	dst = append(dst, 0, 0)
	dst = binary.AppendUvarint(dst, uint64(len(r.Voters))+1)
	for _, v := range r.Voters {
		dst = binary.BigEndian.AppendUint32(dst, uint32(v.ID))
		dst = append(dst, v.DirectoryID[:]...)
		dst = binary.AppendUvarint(dst, uint64(len(v.Endpoints))+1)
		for _, e := range v.Endpoints {
			dst = appendString(dst, e.Name)
			dst = appendString(dst, e.Host)
			dst = binary.BigEndian.AppendUint16(dst, e.Port)
			dst = append(dst, 0)
		}
		dst = binary.BigEndian.AppendUint16(dst, uint16(v.MinVersion))
		dst = binary.BigEndian.AppendUint16(dst, uint16(v.MaxVersion))
		dst = append(dst, 0, 0) // tags of the feature, tags of the voter
	}
	return append(dst, 0)
}

func (u Unknown) appendValue(dst []byte) []byte { return append(dst, u.Value...) }

func appendString(dst []byte, s string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s))+1)
	return append(dst, s...)
}

// decoder reads big-endian flexible fields; the first error sticks.
type decoder struct {
	buf []byte
	err error
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = fmt.Errorf(format, args...)
	}
	d.buf = nil
}

func (d *decoder) take(n int) []byte {
	if n < 0 || n > len(d.buf) {
		d.fail("%d bytes wanted, %d left", n, len(d.buf))
		return make([]byte, min(max(n, 0), 16))
	}
	v := d.buf[:n]
	d.buf = d.buf[n:]
	return v
}

func (d *decoder) i16() int16  { return int16(binary.BigEndian.Uint16(d.take(2))) }
func (d *decoder) i32() int32  { return int32(binary.BigEndian.Uint32(d.take(4))) }
func (d *decoder) i64() int64  { return int64(binary.BigEndian.Uint64(d.take(8))) }
func (d *decoder) u16() uint16 { return binary.BigEndian.Uint16(d.take(2)) }

// version reads the record's own version field; later versions only add tagged fields, so they are read too.
func (d *decoder) version() {
	if v := d.i16(); v < 0 {
		d.fail("version %d", v)
	}
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.buf)
	if n <= 0 || v > 1<<32-1 {
		d.fail("bad varint")
		return 0
	}
	d.buf = d.buf[n:]
	return v
}

// count reads an array's length, bounded by the bytes left at least bytes an element.
func (d *decoder) count(least int) int {
	n := d.uvarint()
	if d.err != nil {
		return 0
	}
	if n == 0 {
		d.fail("null array")
		return 0
	}
	if n-1 > uint64(len(d.buf)/least) {
		d.fail("array of %d, %d bytes left", n-1, len(d.buf))
		return 0
	}
	return int(n - 1)
}

func (d *decoder) string() string {
	n := d.uvarint()
	if n == 0 {
		d.fail("null string")
		return ""
	}
	if n-1 > uint64(len(d.buf)) {
		d.fail("string of %d bytes, %d left", n-1, len(d.buf))
		return ""
	}
	return string(d.take(int(n - 1)))
}

// tags skips tagged fields.
func (d *decoder) tags() {
	for n := d.uvarint(); n > 0 && d.err == nil; n-- {
		d.uvarint()
		d.take(int(d.uvarint()))
	}
}

func (d *decoder) leaderChange() LeaderChange {
	d.version()
	r := LeaderChange{LeaderID: d.i32()}
	for _, ids := range []*[]int32{&r.Voters, &r.GrantingVoters} {
		n := d.count(5)
		*ids = make([]int32, 0, n)
		for range n {
			*ids = append(*ids, d.i32())
			d.tags()
		}
	}
	return r
}

func (d *decoder) voters() Voters {
	d.version()
	n := d.count(4 + 16 + 1 + 4 + 2)
	r := Voters{Voters: make([]Voter, 0, n)}
	for range n {
		v := Voter{ID: d.i32()}
		v.DirectoryID = uuid.UUID(d.take(16))
		m := d.count(5)
		v.Endpoints = make([]Endpoint, 0, m)
		for range m {
			e := Endpoint{Name: d.string(), Host: d.string(), Port: d.u16()}
			d.tags()
			v.Endpoints = append(v.Endpoints, e)
		}
		v.MinVersion, v.MaxVersion = d.i16(), d.i16()
		d.tags()
		d.tags()
		r.Voters = append(r.Voters, v)
	}
	return r
}
