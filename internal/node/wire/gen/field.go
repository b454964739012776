package main

import (
	"bytes"
	"go/ast"
	"go/printer"
	"go/token"
	"reflect"
	"strconv"
	"strings"
)

// text prints a node on one line, for comparison with what kmsg's generator writes.
func text(n any) string {
	if n == nil || reflect.ValueOf(n).IsNil() {
		return ""
	}
	var b bytes.Buffer
	if err := printer.Fprint(&b, token.NewFileSet(), n); err != nil {
		return err.Error()
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// field reads the statements that decode one field of typ.
func (r *reader) field(stmts []ast.Stmt, typ reflect.Type) (row, error) {
	first := text(stmts[0])
	switch {
	case strings.HasPrefix(first, "if present := b.Int8(); present != -1 && b.Ok() {"):
		return r.optional(stmts, typ)
	case strings.HasPrefix(first, "v := &s."):
		f, err := r.goField(typ, strings.TrimPrefix(first, "v := &s."))
		if err != nil {
			return row{}, err
		}
		return r.inner(stmts[1:], f.Type, row{kind: "kindStruct", nullFrom: never, name: f.Name})
	case strings.HasPrefix(first, "v := s."):
		f, err := r.goField(typ, strings.TrimPrefix(first, "v := s."))
		if err != nil {
			return row{}, err
		}
		return r.array(stmts[1:], f)
	default:
		return r.scalar(stmts, typ)
	}
}

func (r *reader) goField(typ reflect.Type, name string) (reflect.StructField, error) {
	f, ok := typ.FieldByName(name)
	if !ok {
		return f, r.errorf("no field %q", name)
	}
	return f, nil
}

// inner reads "v.Default(); s := v; fields…" into a structure and points f at it.
func (r *reader) inner(stmts []ast.Stmt, typ reflect.Type, f row) (row, error) {
	if len(stmts) < 2 || text(stmts[0]) != "v.Default()" || text(stmts[1]) != "s := v" {
		return f, r.errorf("%s: not a struct", f.name)
	}
	var err error
	f.elem, err = r.structure(stmts[2:], typ)
	return f, err
}

// optional reads a nullable struct.
func (r *reader) optional(stmts []ast.Stmt, typ reflect.Type) (row, error) {
	body := stmts[0].(*ast.IfStmt).Body.List
	if len(stmts) != 1 || len(body) < 4 {
		return row{}, r.errorf("optional struct: %q", text(stmts[0]))
	}
	as := body[1].(*ast.AssignStmt) // v := s.F
	f, err := r.goField(typ, strings.TrimPrefix(text(as.Rhs[0]), "s."))
	if err != nil {
		return row{}, err
	}
	return r.inner(body[2:], f.Type.Elem(), row{kind: "kindOptional", nullFrom: 0, name: f.Name})
}

// array reads a counted list: after "v := s.F" come a, l, the count, the loop, "v = a" and "s.F = v".
func (r *reader) array(stmts []ast.Stmt, f reflect.StructField) (row, error) {
	out := row{nullFrom: never, name: f.Name}
	var loop *ast.ForStmt
	for _, st := range stmts {
		got := text(st)
		switch st := st.(type) {
		case *ast.ForStmt:
			loop = st
		case *ast.IfStmt:
			if strings.HasSuffix(text(st.Cond), "|| l == 0") {
				n, err := strconv.Atoi(strings.Fields(got)[3])
				if err != nil || !strings.HasPrefix(got, "if version < ") {
					return out, r.errorf("%s: nullable since %q", f.Name, got)
				}
				out.nullFrom = n
				continue
			}
			switch {
			case got == "if isFlexible { l = b.CompactArrayLen() } else { l = b.ArrayLen() }",
				strings.HasPrefix(got, "if !b.Ok() {"), strings.HasPrefix(got, "if l > 0 {"):
			default:
				return out, r.errorf("%s: array: unknown %q", f.Name, got)
			}
		default:
			switch got {
			case "a := v", "var l int32", "l = b.ArrayLen()", "a = a[:0]", "v = a", "s." + f.Name + " = v":
			default:
				return out, r.errorf("%s: array: unknown %q", f.Name, got)
			}
		}
	}
	if loop == nil {
		return out, r.errorf("%s: array without a loop", f.Name)
	}
	return r.elements(loop.Body.List, f, out)
}

// elements reads the loop over an array.
func (r *reader) elements(stmts []ast.Stmt, f reflect.StructField, out row) (row, error) {
	if text(stmts[0]) == "v := &a[i]" {
		out.kind = "kindArrayOfStructs"
		return r.inner(stmts[1:], f.Type.Elem(), out)
	}
	last := len(stmts) - 1
	if text(stmts[last]) != "a[i] = v" {
		return out, r.errorf("%s: element %q", f.Name, text(stmts[last]))
	}
	elem, err := r.value(stmts[:last])
	if err != nil {
		return out, err
	}
	switch {
	case elem.kind == "kindFixed":
		out.kind, out.elem = "kindArrayOfFixed", elem.elem
	case elem.kind == "kindString" && elem.nullFrom == never:
		out.kind = "kindArrayOfStrings"
	default:
		return out, r.errorf("%s: array of %s", f.Name, elem.kind)
	}
	return out, nil
}

// scalar reads a value and its assignment "s.F = v".
func (r *reader) scalar(stmts []ast.Stmt, typ reflect.Type) (row, error) {
	last := len(stmts) - 1
	as, ok := stmts[last].(*ast.AssignStmt)
	if !ok || !strings.HasPrefix(text(as.Lhs[0]), "s.") {
		return row{}, r.errorf("not an assignment: %q", text(stmts[last]))
	}
	f, err := r.goField(typ, strings.TrimPrefix(text(as.Lhs[0]), "s."))
	if err != nil {
		return row{}, err
	}
	out, err := r.value(stmts[:last])
	out.name = f.Name
	return out, err
}

// widths are the fixed-size reads.
var widths = map[string]int{
	"Bool": 1, "Int8": 1, "Int16": 2, "Uint16": 2, "Int32": 4, "Uint32": 4, "Int64": 8, "Float64": 8, "Uuid": 16,
}

// value classifies the reads in stmts: all must agree on one kind.
func (r *reader) value(stmts []ast.Stmt) (row, error) {
	calls := map[string]bool{}
	var nullFrom []int
	for _, st := range stmts {
		ast.Inspect(st, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.CallExpr:
				if sel, ok := n.Fun.(*ast.SelectorExpr); ok && text(sel.X) == "b" {
					calls[strings.TrimPrefix(strings.TrimPrefix(sel.Sel.Name, "Unsafe"), "Compact")] = true
				}
			case *ast.IfStmt:
				if v, err := versionRange(n.Cond); err == nil && v.min == 0 {
					nullFrom = append(nullFrom, v.max+1) // "if version < n" reads it as not null
				}
			}
			return true
		})
	}
	out := row{nullFrom: never}
	has := func(names ...string) bool {
		for _, n := range names {
			if !calls[n] {
				return false
			}
		}
		return len(calls) == len(names)
	}
	switch {
	case has("String"):
		out.kind = "kindString"
	case has("NullableString"):
		out.kind, out.nullFrom = "kindString", 0
	case has("String", "NullableString") && len(nullFrom) == 1:
		out.kind, out.nullFrom = "kindString", nullFrom[0]
	case has("Bytes"):
		out.kind = "kindBytes"
	case has("NullableBytes"):
		out.kind, out.nullFrom = "kindBytes", 0
	case len(calls) == 1:
		out.kind = "kindFixed"
		for name := range calls {
			if out.elem = widths[name]; out.elem == 0 {
				return out, r.errorf("unknown read b.%s", name)
			}
		}
	default:
		return out, r.errorf("unknown reads %v in %q", calls, text(stmts[0]))
	}
	return out, nil
}
