// Package layout reads metadata-records.txt, the layouts of Kafka's metadata records at every version, and
// writes the Go structs and codecs of package metadata from it.
package layout

import (
	_ "embed"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Text is the layouts file: facts read off the serializers of Apache Kafka 4.3.1.
//
//go:embed metadata-records.txt
var Text string

// Record is one metadata record: the fields of its highest version, in wire order.
type Record struct {
	Name       string
	ID         int
	MaxVersion int
	Fields     []Field
}

// Field is one field. Tag is its tag number, -1 when it isn't tagged. It is on the wire from version Min on.
type Field struct {
	Name string
	Type Type
	Tag  int
	Min  int
}

// Type is a primitive (Prim), or an array of a primitive or of a struct (Elem).
type Type struct {
	Prim     string
	Array    bool
	Nullable bool
	Elem     []Field
}

var header = regexp.MustCompile(`^## (\w+Record)  id=(\d+)  versions=0\.\.(\d+)$`)

// Parse reads the records that carry an id; the control records after them belong to the log.
func Parse(text string) ([]Record, error) {
	var recs []Record
	var open bool
	for i, line := range strings.Split(text, "\n") {
		switch {
		case strings.HasPrefix(line, "## "):
			m := header.FindStringSubmatch(line)
			if open = m != nil; !open {
				continue
			}
			id, _ := strconv.Atoi(m[2])
			maxVersion, _ := strconv.Atoi(m[3])
			recs = append(recs, Record{Name: m[1], ID: id, MaxVersion: maxVersion})
		case open && strings.HasPrefix(line, "v"):
			if err := addVersion(&recs[len(recs)-1], line); err != nil {
				return nil, fmt.Errorf("line %d: %w", i+1, err)
			}
		}
	}
	return recs, nil
}

// addVersion merges one version's layout: versions only ever add fields, which is checked.
func addVersion(rec *Record, line string) error {
	num, rest, _ := strings.Cut(line, "  ")
	version, err := strconv.Atoi(num[1:])
	if err != nil {
		return err
	}
	p := &parser{s: rest}
	fields, err := p.fields(version)
	if err != nil {
		return fmt.Errorf("%s %s: %w", rec.Name, num, err)
	}
	if p.s != "" {
		return fmt.Errorf("%s %s: %q is left over", rec.Name, num, p.s)
	}
	old := rec.Fields
	for i := range fields {
		at := slices.IndexFunc(old, func(f Field) bool { return f.Name == fields[i].Name })
		if at >= 0 {
			fields[i].Min = old[at].Min
			old = slices.Delete(slices.Clone(old), at, at+1)
		}
	}
	if len(old) > 0 {
		return fmt.Errorf("%s %s: field %s is gone", rec.Name, num, old[0].Name)
	}
	rec.Fields = fields
	return nil
}

type parser struct{ s string }

func (p *parser) take(prefix string) bool {
	rest, ok := strings.CutPrefix(p.s, prefix)
	if ok {
		p.s = rest
	}
	return ok
}

// word takes letters, digits and underscores.
func (p *parser) word() string {
	end := strings.IndexFunc(p.s, func(r rune) bool {
		return r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z')
	})
	if end < 0 {
		end = len(p.s)
	}
	w := p.s[:end]
	p.s = p.s[end:]
	return w
}

// fields reads "name: type, …, tags(…)": a struct's layout always ends with its tags.
func (p *parser) fields(version int) ([]Field, error) {
	var out []Field
	for !p.take("tags(") {
		f, err := p.field(version, -1)
		if err != nil {
			return nil, err
		}
		out = append(out, f)
		p.take(", ")
	}
	for !p.take(")") {
		tag, err := strconv.Atoi(p.word())
		if err != nil || !p.take("=") {
			return nil, fmt.Errorf("tag number at %q", p.s)
		}
		f, err := p.field(version, tag)
		if err != nil {
			return nil, err
		}
		out = append(out, f)
		p.take(", ")
	}
	return out, nil
}

func (p *parser) field(version, tag int) (Field, error) {
	name := p.word()
	if name == "" || !p.take(": ") {
		return Field{}, fmt.Errorf("field name at %q", p.s)
	}
	t, err := p.typ(version)
	return Field{Name: name, Type: t, Tag: tag, Min: version}, err
}

func (p *parser) typ(version int) (Type, error) {
	t := Type{Nullable: p.take("?")}
	if t.Array = p.take("compact[]"); t.Array && p.take("{") {
		elem, err := p.fields(0) // elements have no versions of their own
		if err == nil && !p.take("}") {
			err = fmt.Errorf("end of struct at %q", p.s)
		}
		t.Elem = elem
		return t, err
	}
	t.Prim = p.word()
	if t.Prim == "compact_nullable_string" {
		t.Prim, t.Nullable = "compact_string", true
	}
	if _, ok := prims[t.Prim]; !ok {
		return t, fmt.Errorf("unknown type %q", t.Prim)
	}
	return t, nil
}

// prims maps a primitive to its Go type, the stem of its codec's name, and the least bytes it takes.
var prims = map[string]struct {
	goType, stem string
	min          int
}{
	"boolean":        {"bool", "Bool", 1},
	"int8":           {"int8", "Int8", 1},
	"int16":          {"int16", "Int16", 2},
	"uint16":         {"uint16", "Uint16", 2},
	"int32":          {"int32", "Int32", 4},
	"int64":          {"int64", "Int64", 8},
	"float64":        {"float64", "Float64", 8},
	"uuid":           {"uuid.UUID", "UUID", 16},
	"compact_string": {"string", "String", 1},
	"compact_bytes":  {"[]byte", "Bytes", 1},
}
