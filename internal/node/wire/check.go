package wire

import (
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// What decoding may cost beside the body's own bytes. The amplification of well-formed
// messages stays under 12 (a list of one-letter names); unknown tags are the worst case,
// since kmsg keeps each structure's in a map of its own.
const (
	baseMemory         = 64 << 10
	requestMemoryRatio = 16 // bytes of memory per byte of a request
	// Responses come from nodes that we chose to ask.
	responseMemoryRatio = 32

	unknownTagsCost = 400 // the map, with its first 8 entries
	unknownTagCost  = 100 // an entry, with the map's growth
	pointerCost     = 24  // a *string's header and rounding
)

// CheckRequest walks a request's body against its schema without allocating.
//
// Bound:  a few nanoseconds per byte; a body that passes costs kmsg at most
// 64 KiB + 16 bytes of memory per byte of body.
// Checks: every length and count against the bytes left (counts by the least size of an
// element), tag order and sizes, null only where allowed, no trailing bytes.
// Errors: ErrMalformed, ErrTooLarge, ErrUnknownAPI.
func CheckRequest(key, version int16, body []byte) error {
	return check(requestSchemas[:], "request", key, version, body, baseMemory+requestMemoryRatio*int64(len(body)))
}

// CheckResponse walks a response's body; as [CheckRequest], with 32 bytes of memory per byte.
func CheckResponse(key, version int16, body []byte) error {
	return check(responseSchemas[:], "response", key, version, body, baseMemory+responseMemoryRatio*int64(len(body)))
}

func check(schemas []message, what string, key, version int16, body []byte, memory int64) error {
	if key < 0 || int(key) >= len(schemas) || !schemas[key].known {
		return fmt.Errorf("%s key %d: %w", what, key, ErrUnknownAPI)
	}
	m := schemas[key]
	c := checker{
		walker:   walker{src: body},
		version:  version,
		flexible: m.flexibleFrom != never && version >= int16(m.flexibleFrom),
		memory:   memory,
	}
	c.structure(m.root)
	if c.why == nil && !c.bad && c.left() != 0 {
		c.why = errTrailing
	}
	if c.why == nil && !c.bad {
		return nil
	}
	return c.explain(what, key)
}

// Reasons are values, so that a flood of bad frames allocates only the one final error.
var (
	errShort      = errors.New("ends early")
	errTrailing   = errors.New("trailing bytes")
	errLength     = errors.New("length is more than the bytes left")
	errCount      = errors.New("count is more than the bytes left can hold")
	errNull       = errors.New("null is not allowed")
	errTagCount   = errors.New("tag count is more than the bytes left can hold")
	errTagOrder   = errors.New("tags are not ascending")
	errTagSize    = errors.New("tag has another size than its field")
	errPresence   = errors.New("presence is neither -1 nor 1")
	errMemory     = errors.New("needs more memory than a message of its size may")
	errNoElements = errors.New("elements without bytes")
)

// checker is one walk. The first problem stays in why, with the field it was found in.
type checker struct {
	walker
	version  int16
	flexible bool
	memory   int64 // what is left of the budget
	why      error
	field    string
	at       int
}

func (c *checker) fail(f *field, why error) {
	if c.why != nil {
		return
	}
	c.why, c.at, c.bad = why, c.off, true
	if f != nil {
		c.field = f.name
	}
}

func (c *checker) explain(what string, key int16) error {
	if c.why == nil {
		c.why, c.at = errShort, c.off
	}
	kind := ErrMalformed
	if errors.Is(c.why, errMemory) {
		kind = ErrTooLarge
	}
	where := ""
	if c.field != "" {
		where = "field " + c.field + ", "
	}
	return fmt.Errorf("%s %s v%d: %soffset %d of %d: %w: %w",
		kmsg.NameForKey(key), what, c.version, where, c.at, len(c.src), c.why, kind)
}

func (c *checker) charge(f *field, n int64) {
	if c.memory -= n; c.memory < 0 {
		c.fail(f, errMemory)
	}
}

func (c *checker) structure(i uint16) {
	s := structures[i]
	fs := fields[s.first : s.first+s.count]
	for j := range fs {
		f := &fs[j]
		if f.tag != untagged {
			break
		}
		if !f.in(c.version) {
			continue
		}
		c.value(f)
		if c.bad {
			c.fail(f, errShort)
			return
		}
	}
	if c.flexible {
		c.tags(fs)
	}
}

func (c *checker) value(f *field) {
	switch f.kind {
	case kindFixed:
		c.skip(int64(f.elem))
	case kindString:
		c.length(f, c.stringLength())
	case kindBytes:
		c.length(f, c.count())
	case kindStruct:
		c.structure(f.elem)
	case kindOptional:
		c.optional(f)
	case kindArrayOfFixed, kindArrayOfStrings, kindArrayOfStructs:
		c.array(f)
	}
}

// stringLength is -1 for null.
func (c *checker) stringLength() int64 {
	if c.flexible {
		return int64(c.uvarint()) - 1
	}
	return int64(c.int16())
}

// count is the length of bytes or of an array; -1 is null.
func (c *checker) count() int64 {
	if c.flexible {
		return int64(c.uvarint()) - 1
	}
	return int64(c.int32())
}

func (c *checker) allowNull(f *field) bool { return c.version >= int16(f.nullFrom) }

func (c *checker) length(f *field, n int64) {
	switch {
	case c.bad:
	case n == -1:
		if !c.allowNull(f) {
			c.fail(f, errNull)
		}
	case n < 0 || n > int64(c.left()):
		c.fail(f, errLength)
	default:
		if f.kind == kindString {
			c.charge(f, n+pointerCost)
		}
		c.skip(n)
	}
}

func (c *checker) optional(f *field) {
	if c.left() < 1 {
		c.bad = true
		return
	}
	present := int8(c.src[c.off])
	c.off++
	switch present {
	case -1:
	case 1:
		c.charge(f, int64(structures[f.elem].goSize))
		c.structure(f.elem)
	default:
		c.fail(f, errPresence)
	}
}

func (c *checker) array(f *field) {
	n := c.count()
	switch {
	case c.bad || n == 0:
		return
	case n == -1:
		if !c.allowNull(f) {
			c.fail(f, errNull)
		}
		return
	}
	least, goSize := c.element(f)
	if least == 0 {
		c.fail(f, errNoElements)
		return
	}
	if n < 0 || n > int64(c.left())/least {
		c.fail(f, errCount)
		return
	}
	c.charge(f, n*goSize)
	switch f.kind {
	case kindArrayOfFixed:
		c.skip(n * least)
	case kindArrayOfStrings:
		elem := field{kind: kindString, nullFrom: never, name: f.name}
		for ; n > 0 && !c.bad; n-- {
			c.length(&elem, c.stringLength())
		}
	case kindArrayOfStructs:
		for ; n > 0 && !c.bad; n-- {
			c.structure(f.elem)
		}
	}
}

// element gives the least number of bytes that an element of f takes on the wire in this
// version, and the size of what it is decoded into.
func (c *checker) element(f *field) (least, goSize int64) {
	switch f.kind {
	case kindArrayOfFixed:
		return int64(f.elem), int64(f.elem)
	case kindArrayOfStrings:
		return c.leastLength(2), 16
	default:
		return c.leastStructure(f.elem), int64(structures[f.elem].goSize)
	}
}

// leastLength is the size of an empty length or count whose fixed form has n bytes.
func (c *checker) leastLength(n int64) int64 {
	if c.flexible {
		return 1
	}
	return n
}

func (c *checker) leastStructure(i uint16) int64 {
	s := structures[i]
	fs := fields[s.first : s.first+s.count]
	var n int64
	for j := range fs {
		f := &fs[j]
		if f.tag != untagged || !f.in(c.version) {
			continue
		}
		switch f.kind {
		case kindFixed:
			n += int64(f.elem)
		case kindString:
			n += c.leastLength(2)
		case kindStruct:
			n += c.leastStructure(f.elem)
		case kindOptional:
			n++
		default:
			n += c.leastLength(4)
		}
	}
	if c.flexible {
		n++ // tag count
	}
	return n
}

// tags walks the tag buffer of a structure with these fields.
func (c *checker) tags(fs []field) {
	count := int64(c.uvarint())
	if c.bad || count == 0 {
		return
	}
	if count > int64(c.left())/2 { // a tag and a size each
		c.fail(nil, errTagCount)
		return
	}
	last, unknown := int64(-1), false
	for ; count > 0 && !c.bad; count-- {
		tag := int64(c.uvarint())
		size := int64(c.uvarint())
		switch {
		case c.bad:
			return
		case tag <= last:
			c.fail(nil, errTagOrder)
			return
		case size > int64(c.left()):
			c.fail(nil, errLength)
			return
		}
		last = tag
		if f := taggedField(fs, tag); f != nil {
			c.tagged(f, int(size))
			continue
		}
		if !unknown {
			unknown = true
			c.charge(nil, unknownTagsCost)
		}
		c.charge(nil, unknownTagCost)
		c.skip(size)
	}
}

func taggedField(fs []field, tag int64) *field {
	for j := len(fs) - 1; j >= 0 && fs[j].tag != untagged; j-- {
		if int64(fs[j].tag) == tag {
			return &fs[j]
		}
	}
	return nil
}

// tagged walks a known field in a window of its declared size, and wants it to fill that.
func (c *checker) tagged(f *field, size int) {
	all := c.src
	end := c.off + size
	c.src = all[:end]
	c.value(f)
	c.src = all
	switch {
	case c.bad:
		c.fail(f, errShort)
	case c.off != end:
		c.fail(f, errTagSize)
	}
}
