package main

import (
	"fmt"
	"go/ast"
	"reflect"
	"strings"
)

// foreign are types of other packages, as a reader of YAML knows them.
var foreign = map[string]string{
	"intstr.IntOrString":          "int or string",
	"metav1.Time":                 "time",
	"types.UID":                   "string",
	"metav1.Condition":            "Condition (Kubernetes)",
	"corev1.Toleration":           "Toleration (Kubernetes)",
	"metav1.ObjectMeta":           "ObjectMeta (Kubernetes)",
	"resource.Quantity":           "quantity",
	"corev1.LocalObjectReference": "LocalObjectReference (Kubernetes)",
}

// reference renders root and every type that it leads to, in the order in which they are met.
func (p *pkg) reference(root string) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "<!-- Written by hack/apidoc from api/v1alpha1. Run make generate; edits are lost. -->\n")
	fmt.Fprintf(&b, "# API reference: kraft.dev/v1alpha1\n\n")
	fmt.Fprintf(&b, "What a rule can see when it is applied is refused then, with the messages listed here. "+
		"What only the operator can know is refused by a condition and listed in `status.heldBack`; see [operations](operations.md).\n")
	queue, seen := []string{root}, map[string]bool{root: true}
	for len(queue) > 0 {
		t, ok := p.types[queue[0]]
		if !ok {
			return "", fmt.Errorf("type %s: not found", queue[0])
		}
		queue = queue[1:]
		text, next, err := p.render(t)
		if err != nil {
			return "", fmt.Errorf("type %s: %w", t.name, err)
		}
		b.WriteString(text)
		for _, n := range next {
			if !seen[n] {
				seen[n] = true
				queue = append(queue, n)
			}
		}
	}
	return b.String(), nil
}

// render is one type's section, and the local types that it names.
func (p *pkg) render(t *typ) (string, []string, error) {
	var b strings.Builder
	var next []string
	fmt.Fprintf(&b, "\n## %s\n\n%s\n", t.name, prose(t.doc, ""))
	refusals := list("", t.doc.refusals)
	s, isStruct := t.expr.(*ast.StructType)
	if !isStruct {
		name, locals, err := p.typeName(t.expr)
		if err != nil {
			return "", nil, err
		}
		fmt.Fprintf(&b, "\nType: %s.\n", name)
		next = append(next, locals...)
	} else {
		fmt.Fprintf(&b, "\n| field | type | default | meaning |\n|---|---|---|---|\n")
		for _, f := range s.Fields.List {
			name := jsonName(f)
			if name == "" { // the inlined TypeMeta
				continue
			}
			doc := readComment(f.Doc)
			kind, locals, err := p.typeName(f.Type)
			if err != nil {
				return "", nil, fmt.Errorf("field %s: %w", name, err)
			}
			next = append(next, locals...)
			fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", name, kind, defaultOf(doc), cell(prose(doc, name)))
			refusals = append(refusals, list(name, doc.refusals)...)
		}
	}
	if len(refusals) > 0 {
		fmt.Fprintf(&b, "\nRefused with:\n\n%s", strings.Join(refusals, ""))
	}
	return b.String(), next, nil
}

// prose is a comment's text with its bounds.
func prose(c comment, field string) string {
	text := c.text
	if text == "" && field == "metadata" {
		text = "Name, namespace, labels and annotations."
	}
	parts := append([]string{text}, c.bounds...)
	if c.required {
		parts = append(parts, "Required.")
	}
	return strings.TrimSpace(strings.Join(parts, " "))
}

func list(field string, messages []string) (out []string) {
	for _, m := range messages {
		if field != "" {
			m = "`" + field + "`: " + m
		}
		out = append(out, "- "+strings.ReplaceAll(m, "<", "&lt;")+"\n")
	}
	return out
}

func defaultOf(c comment) string {
	if c.value == "" || c.value == "{}" {
		return ""
	}
	return "`" + cell(strings.Trim(c.value, `"`)) + "`"
}

// cell keeps Markdown from reading a cell's text as the end of the cell, or as HTML.
func cell(s string) string { return strings.NewReplacer("|", `\|`, "<", "&lt;").Replace(s) }

func jsonName(f *ast.Field) string {
	if f.Tag == nil {
		return ""
	}
	name, _, _ := strings.Cut(reflect.StructTag(strings.Trim(f.Tag.Value, "`")).Get("json"), ",")
	return name
}

// typeName is a type as it reads in YAML, and the local types in it.
func (p *pkg) typeName(e ast.Expr) (string, []string, error) {
	switch e := e.(type) {
	case *ast.StarExpr:
		return p.typeName(e.X)
	case *ast.Ident:
		if _, local := p.types[e.Name]; local {
			return fmt.Sprintf("[%s](#%s)", e.Name, strings.ToLower(e.Name)), []string{e.Name}, nil
		}
		return e.Name, nil, nil
	case *ast.ArrayType:
		name, locals, err := p.typeName(e.Elt)
		return "list of " + name, locals, err
	case *ast.MapType:
		key, _, err := p.typeName(e.Key)
		if err != nil {
			return "", nil, err
		}
		value, locals, err := p.typeName(e.Value)
		return fmt.Sprintf("map of %s to %s", key, value), locals, err
	case *ast.SelectorExpr:
		from, ok := e.X.(*ast.Ident)
		if !ok {
			break
		}
		if name, ok := foreign[from.Name+"."+e.Sel.Name]; ok {
			return name, nil, nil
		}
		return "", nil, fmt.Errorf("%s.%s: say in hack/apidoc how it reads", from.Name, e.Sel.Name)
	}
	return "", nil, fmt.Errorf("a type of kind %T: hack/apidoc doesn't know it", e)
}
