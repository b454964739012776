package wire

//go:generate go run ./gen -out schema_gen.go

// kind says how a field lies on the wire.
type kind uint8

const (
	kindFixed          kind = iota + 1 // elem bytes
	kindString                         // int16 length, or compact
	kindBytes                          // int32 length, or compact
	kindArrayOfFixed                   // count, then elements of elem bytes
	kindArrayOfStrings                 // count, then strings
	kindArrayOfStructs                 // count, then structures[elem]
	kindStruct                         // structures[elem]
	kindOptional                       // int8: -1 absent, else structures[elem] follows
)

const (
	never    = 127 // nullFrom of a field that is never null, max of a field without an end
	untagged = -1
)

// field is one field of a structure, in wire order; tagged fields come last.
type field struct {
	kind     kind
	min, max int8   // versions that carry it
	nullFrom int8   // first version in which null is allowed
	tag      int8   // untagged, or the tag number
	elem     uint16 // by kind
	name     string
}

func (f *field) in(version int16) bool {
	return version >= int16(f.min) && version <= int16(f.max)
}

// structure is a run of fields, and the size of the Go struct that kmsg decodes it into.
type structure struct {
	first, count uint16
	goSize       uint16
}

// message is the schema of one request or response.
type message struct {
	root         uint16
	flexibleFrom int8
	known        bool
}
