// Command apidoc writes the reference of the API's kinds, as Markdown, from the types themselves: their comments,
// defaults, bounds and refusals. It knows the markers that this API uses and ignores others.
package main

import (
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
)

func main() {
	types := flag.String("types", "api/v1alpha1", "folder of the API's types")
	out := flag.String("out", "docs/api.md", "file to write; - is standard output")
	flag.Parse()
	if err := run(*types, *out); err != nil {
		fmt.Fprintln(os.Stderr, "apidoc:", err)
		os.Exit(1)
	}
}

func run(dir, out string) error {
	p, err := load(dir)
	if err != nil {
		return err
	}
	text, err := p.reference("KRaftCluster")
	if err != nil {
		return err
	}
	if out == "-" {
		_, err = os.Stdout.WriteString(text)
		return err
	}
	return os.WriteFile(out, []byte(text), 0o644)
}

// pkg is the types of one package by name.
type pkg struct{ types map[string]*typ }

// typ is one declared type.
type typ struct {
	name string
	doc  comment
	expr ast.Expr
}

// load parses the files of dir, without tests and generated deepcopy functions.
func load(dir string) (*pkg, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	p := &pkg{types: map[string]*typ{}}
	fset := token.NewFileSet()
	for _, name := range files {
		base := filepath.Base(name)
		if strings.HasSuffix(base, "_test.go") || strings.HasPrefix(base, "zz_") {
			continue
		}
		f, err := parser.ParseFile(fset, name, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		p.add(f)
	}
	if len(p.types) == 0 {
		return nil, fmt.Errorf("%s: no types", dir)
	}
	return p, nil
}

func (p *pkg) add(f *ast.File) {
	for _, d := range f.Decls {
		g, ok := d.(*ast.GenDecl)
		if !ok || g.Tok != token.TYPE {
			continue
		}
		for _, s := range g.Specs {
			t, ok := s.(*ast.TypeSpec)
			if !ok {
				continue
			}
			doc := t.Doc
			if doc == nil {
				doc = g.Doc
			}
			p.types[t.Name.Name] = &typ{name: t.Name.Name, doc: readComment(doc), expr: t.Type}
		}
	}
}
