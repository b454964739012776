package main

import (
	"fmt"
	"go/ast"
	"io"
	"reflect"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// row is one field as it will be written; kind is the name of wire's constant.
type row struct {
	kind     string
	min, max int
	nullFrom int
	tag      int
	elem     int
	name     string
}

type structRow struct {
	first, count, goSize int
	name                 string
}

type messageRow struct {
	key, root, flexibleFrom int
	name                    string
}

// tables are the flat lists that end up in schema_gen.go.
type tables struct {
	fields              []row
	structs             []structRow
	requests, responses []messageRow
}

const (
	never    = 127
	untagged = -1
)

func (t *tables) addMessage(decoders map[string]*ast.FuncDecl, key int16) error {
	req, resp := kmsg.RequestForKey(key), kmsg.ResponseForKey(key)
	if req == nil || resp == nil {
		return fmt.Errorf("key %d: kmsg has no such message", key)
	}
	r, err := t.message(decoders, int(key), reflect.TypeOf(req).Elem())
	if err != nil {
		return err
	}
	t.requests = append(t.requests, r)
	if r, err = t.message(decoders, int(key), reflect.TypeOf(resp).Elem()); err != nil {
		return err
	}
	t.responses = append(t.responses, r)
	return nil
}

func (t *tables) message(decoders map[string]*ast.FuncDecl, key int, typ reflect.Type) (messageRow, error) {
	fn, ok := decoders[typ.Name()]
	if !ok {
		return messageRow{}, fmt.Errorf("%s: no readFrom", typ.Name())
	}
	p := &reader{t: t, where: typ.Name()}
	m := messageRow{key: key, name: typ.Name()}
	err := p.message(fn.Body.List, typ, &m)
	return m, err
}

// addStruct stores the fields of one structure side by side and returns its index.
func (t *tables) addStruct(name string, goSize int, untaggedRows, taggedRows []row) int {
	first := len(t.fields)
	t.fields = append(t.fields, untaggedRows...)
	t.fields = append(t.fields, taggedRows...)
	t.structs = append(t.structs, structRow{
		first: first, count: len(t.fields) - first, goSize: goSize, name: name,
	})
	return len(t.structs) - 1
}

func (t *tables) write(w io.Writer) {
	fmt.Fprintf(w, "var fields = [...]field{\n")
	for _, f := range t.fields {
		fmt.Fprintf(w, "{%s, %d, %d, %d, %d, %d, %q},\n", f.kind, f.min, f.max, f.nullFrom, f.tag, f.elem, f.name)
	}
	fmt.Fprintf(w, "}\n\nvar structures = [...]structure{\n")
	for _, s := range t.structs {
		fmt.Fprintf(w, "{%d, %d, %d}, // %s\n", s.first, s.count, s.goSize, s.name)
	}
	fmt.Fprintf(w, "}\n\n")
	writeMessages(w, "requestSchemas", t.requests)
	writeMessages(w, "responseSchemas", t.responses)
}

func writeMessages(w io.Writer, name string, rows []messageRow) {
	fmt.Fprintf(w, "var %s = [...]message{\n", name)
	for _, m := range rows {
		fmt.Fprintf(w, "%d: {%d, %d, true}, // %s\n", m.key, m.root, m.flexibleFrom, m.name)
	}
	fmt.Fprintf(w, "}\n\n")
}
