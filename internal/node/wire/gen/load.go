package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

const kmsgModule = "github.com/twmb/franz-go/pkg/kmsg"

// loadDecoders finds kmsg in the module cache and returns its readFrom methods by receiver type.
func loadDecoders() (map[string]*ast.FuncDecl, error) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", kmsgModule).Output()
	if err != nil {
		return nil, fmt.Errorf("finding %s: %w", kmsgModule, err)
	}
	path := filepath.Join(strings.TrimSpace(string(dir)), "generated.go")
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	out := map[string]*ast.FuncDecl{}
	for _, d := range file.Decls {
		fn, ok := d.(*ast.FuncDecl)
		if !ok || fn.Recv == nil || fn.Name.Name != "readFrom" {
			continue
		}
		star, ok := fn.Recv.List[0].Type.(*ast.StarExpr)
		if !ok {
			return nil, fmt.Errorf("readFrom with a value receiver")
		}
		out[star.X.(*ast.Ident).Name] = fn
	}
	return out, nil
}

// servedKeys is every API in the table that still exists. The table is read here and not
// through package wire, which doesn't compile while its schema is being made.
func servedKeys(tsvPath string) ([]int16, error) {
	tsv, err := os.ReadFile(tsvPath)
	if err != nil {
		return nil, err
	}
	var keys []int16
	for line := range strings.Lines(string(tsv)) {
		f := strings.Split(line, "\t")
		if strings.HasPrefix(line, "#") || len(f) < 3 || strings.HasSuffix(f[2], "--1") {
			continue
		}
		key, err := strconv.ParseInt(f[0], 10, 16)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", tsvPath, err)
		}
		keys = append(keys, int16(key))
	}
	return keys, nil
}
