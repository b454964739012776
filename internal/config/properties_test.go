package config

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParseReadsJavaProperties(t *testing.T) {
	for _, tc := range []struct {
		name, file string
		want       map[string]string
	}{
		{"the three separators", "a=1\nb:2\nc 3", map[string]string{"a": "1", "b": "2", "c": "3"}},
		{"blanks around them", "  a \t= 1 \n b  :  2", map[string]string{"a": "1 ", "b": "2"}},
		{"only the first separator counts", "a==b\nc=:d\ne : =f", map[string]string{"a": "=b", "c": ":d", "e": "=f"}},
		{"comments and empty lines", "# x\n ! y\n\n\t\f\na=1 # no comment", map[string]string{"a": "1 # no comment"}},
		{"the line ends of three systems", "a=1\rb=2\r\nc=3\n", map[string]string{"a": "1", "b": "2", "c": "3"}},
		{"continuation lines", "a=1,\\\n   2,\\\r\n\t3\nb=x", map[string]string{"a": "1,2,3", "b": "x"}},
		{"an even number of backslashes ends a line", "a=x\\\\\nb=y", map[string]string{"a": `x\`, "b": "y"}},
		{"a comment does not continue", "# x \\\na=1", map[string]string{"a": "1"}},
		{"a continuation is no comment", "a=1\\\n# 2", map[string]string{"a": "1# 2"}},
		{"escapes", `a\ b\=\:=\t\n\r\f\\\q`, map[string]string{"a b=:": "\t\n\r\f\\q"}},
		{"unicode escapes", `a=\u00fc\ud83d\ude00x`, map[string]string{"a": "ü😀x"}},
		{"UTF-8", "rack=Zürich", map[string]string{"rack": "Zürich"}},
		{"the last of two", "a=1\na=2", map[string]string{"a": "2"}},
		{"no value", "a\nb=", map[string]string{"a": "", "b": ""}},
		{"a backslash at the end", "a=1\\", map[string]string{"a": "1"}},
		{"nothing", "", map[string]string{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := Parse([]byte(tc.file))
			require.NoError(t, err)
			require.Equal(t, tc.want, got)
		})
	}
}

func TestParseNamesTheLine(t *testing.T) {
	for file, want := range map[string]string{
		"a=1\n=2":         `line 2: no key before "2"`,
		"\n\nb=\\u12":     `line 3: property b: "\\u12": want \u and four hexadecimal digits`,
		"b=\\u12xy":       "four hexadecimal digits",
		"a\\\nb=\\ud800x": "line 1: property ab: \"\\\\ud800\": half a surrogate pair",
		"a=1\nb=\xff":     "line 2: not UTF-8",
		strings.Repeat(" ", MaxPropertiesBytes+1): "at most 1048576 are read",
	} {
		_, err := Parse([]byte(file))
		require.ErrorContains(t, err, want)
	}
}

func TestFormatIsReadBack(t *testing.T) {
	p := map[string]string{"a b": " x ", "k=:#!": "=:#!", "t": "\t\n\r\f\\", "u": "ü😀", "e": ""}
	got, err := Parse(Format(p))
	require.NoError(t, err)
	require.Equal(t, p, got)
	require.Equal(t, "a\\ b=\\ x \ne=\nk\\=\\:\\#\\!==:#!\nt=\\t\\n\\r\\f\\\\\nu=\\u00fc\\ud83d\\ude00\n", string(Format(p)))
}

// Invariants: no panic; what parses formats to ASCII that parses to the same; loading it never panics.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"a=1\nb : 2", "a=\\u00fc\\\n b", "#x\n!y\\\nz", "node.id=1\nlisteners=A://[::1]:9092", "=\n\\", "a=\\ud83d\\ude00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		p, err := Parse(data)
		if err != nil {
			return
		}
		out := Format(p)
		for _, b := range out {
			require.Less(t, b, byte(0x80))
		}
		again, err := Parse(out)
		require.NoError(t, err)
		require.Equal(t, p, again)
		if c, err := Load(node()); err == nil {
			_, _ = ParseLive(data, c.Live())
		}
		_, _ = Load(p)
	})
}
