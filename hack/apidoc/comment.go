package main

import (
	"go/ast"
	"regexp"
	"strconv"
	"strings"
)

// comment is a doc comment: its prose, and what its markers say.
type comment struct {
	text     string
	required bool
	value    string   // +default or +kubebuilder:default
	bounds   []string // as sentences
	refusals []string // messages of its validation rules
}

var rule = regexp.MustCompile(`(message|messageExpression)="((?:[^"\\]|\\.)*)"$`)

// bounds are the markers that limit a value, and how the limit reads.
var bounds = []struct{ marker, before, after string }{
	{"kubebuilder:validation:Enum=", "One of ", "."},
	{"kubebuilder:validation:Minimum=", "At least ", "."},
	{"kubebuilder:validation:Maximum=", "At most ", "."},
	{"kubebuilder:validation:MinItems=", "At least ", " of them."},
	{"kubebuilder:validation:MaxItems=", "At most ", " of them."},
	{"kubebuilder:validation:MaxProperties=", "At most ", " of them."},
	{"kubebuilder:validation:MaxLength=", "At most ", " characters."},
	{"kubebuilder:validation:Pattern=", "Matches ", "."},
}

func readComment(g *ast.CommentGroup) (c comment) {
	if g == nil {
		return c
	}
	var prose []string
	for _, l := range g.List {
		line := strings.TrimSpace(strings.TrimPrefix(l.Text, "//"))
		marker, isMarker := strings.CutPrefix(line, "+")
		if isMarker {
			c.mark(marker)
		} else {
			prose = append(prose, line)
		}
	}
	c.text = strings.TrimSpace(strings.Join(prose, " "))
	return c
}

func (c *comment) mark(m string) {
	switch {
	case m == "required":
		c.required = true
	case strings.HasPrefix(m, "default="):
		c.value = strings.TrimPrefix(m, "default=")
	case strings.HasPrefix(m, "kubebuilder:default="):
		c.value = strings.TrimPrefix(m, "kubebuilder:default=")
	case strings.HasPrefix(m, "kubebuilder:validation:XValidation:"):
		if found := rule.FindStringSubmatch(m); found != nil {
			c.refuse(found[1], found[2])
		}
	}
	for _, b := range bounds {
		limit, ok := strings.CutPrefix(m, b.marker)
		if !ok {
			continue
		}
		if b.before == "One of " {
			limit = "`" + strings.ReplaceAll(strings.Trim(limit, `"`), ";", "`, `") + "`"
		}
		if b.before == "Matches " {
			limit = "`" + strings.Trim(limit, "`") + "`"
		}
		c.bounds = append(c.bounds, b.before+limit+b.after)
	}
}

func (c *comment) refuse(kind, quoted string) {
	text, err := strconv.Unquote(`"` + quoted + `"`)
	if err != nil {
		text = quoted
	}
	if kind == "messageExpression" {
		text = outline(text)
	}
	c.refusals = append(c.refusals, text)
}

// outline is the fixed text of a CEL expression that builds a message, with … for each part that it computes.
func outline(expr string) string {
	var out strings.Builder
	depth, quoted, computed := 0, false, false
	for _, ch := range expr {
		switch {
		case ch == '\'':
			quoted = !quoted
			if depth == 0 && quoted && computed {
				out.WriteString("…")
				computed = false
			}
		case quoted && depth == 0:
			out.WriteRune(ch)
		case quoted:
		case strings.ContainsRune("([{", ch):
			depth++
			computed = true
		case strings.ContainsRune(")]}", ch):
			depth--
		}
	}
	if computed {
		out.WriteString("…")
	}
	return out.String()
}
