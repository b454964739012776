package main

import (
	"fmt"
	"go/ast"
	"go/token"
	"reflect"
	"strconv"
	"strings"
)

// reader turns one readFrom body into rows.
type reader struct {
	t     *tables
	where string // for errors: the path to the structure being read
}

func (r *reader) errorf(format string, args ...any) error {
	return fmt.Errorf("%s: %s", r.where, fmt.Sprintf(format, args...))
}

// message reads a whole readFrom: preamble, fields, return.
func (r *reader) message(body []ast.Stmt, typ reflect.Type, m *messageRow) error {
	m.flexibleFrom = never
	preamble := 5 // v.Default, b, version, _, s
	if len(body) > preamble && strings.HasPrefix(text(body[4]), "isFlexible := ") {
		v, err := versionRange(body[4].(*ast.AssignStmt).Rhs[0])
		if err != nil || v.max != never {
			return r.errorf("unknown %q", text(body[4]))
		}
		m.flexibleFrom = v.min
		preamble = 7 // and isFlexible, _
	}
	if len(body) <= preamble || text(body[preamble-1]) != "s := v" {
		return r.errorf("unknown preamble")
	}
	last := len(body) - 1
	if got := text(body[last]); got != "return b.Complete()" {
		return r.errorf("want return b.Complete(), got %q", got)
	}
	var err error
	m.root, err = r.structure(body[preamble:last], typ)
	return err
}

// structure reads the fields of one struct and the tags after them.
func (r *reader) structure(stmts []ast.Stmt, typ reflect.Type) (int, error) {
	outer := r.where
	r.where = typ.Name()
	defer func() { r.where = outer }()
	var plain, tagged []row
	for i, st := range stmts {
		v := versions{0, never}
		block, isBlock := st.(*ast.BlockStmt)
		if cond, ok := st.(*ast.IfStmt); ok {
			if cond.Else != nil || cond.Init != nil {
				return 0, r.errorf("if with else or init: %q", text(cond.Cond))
			}
			if text(cond.Cond) == "isFlexible" {
				if i != len(stmts)-1 {
					return 0, r.errorf("fields after the tags")
				}
				var err error
				if tagged, err = r.tags(cond.Body.List, typ); err != nil {
					return 0, err
				}
				continue
			}
			var err error
			if v, err = versionRange(cond.Cond); err != nil {
				return 0, r.errorf("%v", err)
			}
			block, isBlock = cond.Body, true
		}
		if !isBlock {
			return 0, r.errorf("unknown statement %q", text(st))
		}
		f, err := r.field(block.List, typ)
		if err != nil {
			return 0, err
		}
		f.min, f.max, f.tag = v.min, v.max, untagged
		plain = append(plain, f)
	}
	return r.t.addStruct(typ.Name(), int(typ.Size()), plain, tagged), nil
}

// tags reads either the skipping of unknown tags, or the loop with known ones.
func (r *reader) tags(stmts []ast.Stmt, typ reflect.Type) ([]row, error) {
	if len(stmts) != 1 {
		return nil, r.errorf("tags: %d statements", len(stmts))
	}
	if text(stmts[0]) == "s.UnknownTags = internalReadTags(&b)" {
		return nil, nil
	}
	loop, ok := stmts[0].(*ast.ForStmt)
	if !ok || text(loop.Init) != "i := b.Uvarint()" || len(loop.Body.List) != 1 {
		return nil, r.errorf("tags: unknown loop %q", text(stmts[0]))
	}
	sw, ok := loop.Body.List[0].(*ast.SwitchStmt)
	if !ok || text(sw.Init) != "key := b.Uvarint()" {
		return nil, r.errorf("tags: no switch")
	}
	var rows []row
	for _, c := range sw.Body.List {
		cc := c.(*ast.CaseClause)
		if cc.List == nil {
			if text(cc.Body[0]) != "s.UnknownTags.Set(key, b.Span(int(b.Uvarint())))" {
				return nil, r.errorf("tags: default %q", text(cc.Body[0]))
			}
			continue
		}
		tag, err := strconv.Atoi(text(cc.List[0]))
		if err != nil {
			return nil, r.errorf("tag %q", text(cc.List[0]))
		}
		last := len(cc.Body) - 1
		if !strings.HasPrefix(text(cc.Body[0]), "b := kbin.Reader{") || !strings.HasPrefix(text(cc.Body[last]), "if err := b.Complete()") {
			return nil, r.errorf("tag %d: no reader of its own", tag)
		}
		f, err := r.field(cc.Body[1:last], typ)
		if err != nil {
			return nil, err
		}
		f.max, f.tag = never, tag
		rows = append(rows, f)
	}
	return rows, nil
}

// versions is an inclusive range.
type versions struct{ min, max int }

// versionRange reads "version >= a", "version <= b" or both joined by &&.
func versionRange(e ast.Expr) (versions, error) {
	b, ok := e.(*ast.BinaryExpr)
	if !ok {
		return versions{}, fmt.Errorf("condition %q", text(e))
	}
	if b.Op == token.LAND {
		lo, err := versionRange(b.X)
		if err != nil {
			return lo, err
		}
		hi, err := versionRange(b.Y)
		if err != nil {
			return hi, err
		}
		return versions{max(lo.min, hi.min), min(lo.max, hi.max)}, nil
	}
	n, err := strconv.Atoi(text(b.Y))
	if err != nil || text(b.X) != "version" {
		return versions{}, fmt.Errorf("condition %q", text(e))
	}
	switch b.Op {
	case token.GEQ:
		return versions{n, never}, nil
	case token.LEQ:
		return versions{0, n}, nil
	case token.LSS:
		return versions{0, n - 1}, nil
	default:
		return versions{}, fmt.Errorf("condition %q", text(e))
	}
}
