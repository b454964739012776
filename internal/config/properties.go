package config

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxPropertiesBytes bounds a properties file.
const MaxPropertiesBytes = 1 << 20

// Parse reads the format of java.util.Properties: comments (#, !), key and value split at the first =, : or
// blank, continuation lines, \t \n \r \f and \uXXXX escapes. The last of two equal keys counts.
//
// Errors: a file larger than MaxPropertiesBytes, text that isn't UTF-8 (Java would read Latin-1; escapes mean
// the same to both), a broken \u escape, an empty key; each with its line.
func Parse(data []byte) (map[string]string, error) {
	if len(data) > MaxPropertiesBytes {
		return nil, fmt.Errorf("properties file of %d bytes: at most %d are read", len(data), MaxPropertiesBytes)
	}
	if !utf8.Valid(data) {
		return nil, fmt.Errorf("line %d: not UTF-8: save the file as UTF-8, or write the character as a \\uXXXX escape", badLine(data))
	}
	out := map[string]string{}
	lines := &lineReader{rest: string(data)}
	for lines.next() {
		key, value := split(lines.logical)
		k, err := unescape(key)
		if err == nil && k == "" {
			err = fmt.Errorf("no key before %q", abbreviate(value))
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", lines.at, err)
		}
		if out[k], err = unescape(value); err != nil {
			return nil, fmt.Errorf("line %d: property %s: %w", lines.at, k, err)
		}
	}
	return out, nil
}

func badLine(data []byte) int {
	for i := 0; ; {
		r, n := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && n <= 1 {
			return 1 + bytes.Count(data[:i], []byte("\n"))
		}
		i += n
	}
}

const blanks = " \t\f"

// lineReader joins natural lines to logical ones.
type lineReader struct {
	rest    string
	line    int // natural lines read
	at      int // where the logical line starts
	logical string
}

func (l *lineReader) natural() (string, bool) {
	if l.rest == "" {
		return "", false
	}
	l.line++
	end := strings.IndexAny(l.rest, "\r\n")
	if end < 0 {
		s := l.rest
		l.rest = ""
		return s, true
	}
	s, skip := l.rest[:end], 1
	if strings.HasPrefix(l.rest[end:], "\r\n") {
		skip = 2
	}
	l.rest = l.rest[end+skip:]
	return s, true
}

func (l *lineReader) next() bool {
	for {
		s, ok := l.natural()
		if !ok {
			return false
		}
		s = strings.TrimLeft(s, blanks)
		if s == "" || s[0] == '#' || s[0] == '!' {
			continue
		}
		l.at = l.line
		var b strings.Builder
		for continues(s) {
			b.WriteString(s[:len(s)-1])
			if s, ok = l.natural(); !ok {
				s = ""
			}
			s = strings.TrimLeft(s, blanks)
		}
		b.WriteString(s)
		if l.logical = b.String(); l.logical != "" {
			return true
		}
	}
}

// continues tells whether s ends in an odd number of backslashes.
func continues(s string) bool {
	return (len(s)-len(strings.TrimRight(s, `\`)))%2 == 1
}

// split cuts a logical line at the first =, : or blank that isn't escaped.
func split(s string) (key, value string) {
	end := len(s)
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' {
			i++
		} else if strings.IndexByte("=:"+blanks, s[i]) >= 0 {
			end = i
			break
		}
	}
	value = strings.TrimLeft(s[end:], blanks)
	if value != "" && (value[0] == '=' || value[0] == ':') {
		value = strings.TrimLeft(value[1:], blanks)
	}
	return s[:end], value
}

func unescape(s string) (string, error) {
	if !strings.Contains(s, `\`) {
		return s, nil
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		if i++; i == len(s) {
			break // a lone backslash at the end of the file means nothing
		}
		switch s[i] {
		case 't':
			b.WriteByte('\t')
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 'f':
			b.WriteByte('\f')
		case 'u':
			r, n, err := unicodeEscape(s[i-1:])
			if err != nil {
				return "", err
			}
			b.WriteRune(r)
			i += n - 2
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), nil
}

// unicodeEscape reads \uXXXX, or two of them that are a surrogate pair, and returns the bytes it took.
func unicodeEscape(s string) (rune, int, error) {
	unit := func(s string) (rune, bool) {
		if len(s) < 6 || s[:2] != `\u` {
			return 0, false
		}
		v, err := strconv.ParseUint(s[2:6], 16, 16)
		return rune(v), err == nil
	}
	hi, ok := unit(s)
	if !ok {
		return 0, 0, fmt.Errorf("%q: want \\u and four hexadecimal digits", abbreviate(s))
	}
	if !utf16.IsSurrogate(hi) {
		return hi, 6, nil
	}
	lo, ok := unit(s[6:])
	if r := utf16.DecodeRune(hi, lo); ok && r != utf8.RuneError {
		return r, 12, nil
	}
	return 0, 0, fmt.Errorf("%q: half a surrogate pair", s[:6])
}

func abbreviate(s string) string {
	if len(s) <= 64 {
		return s
	}
	return strings.ToValidUTF8(s[:64], "") + "…"
}

// Format writes properties in the order of their keys, in ASCII, so that Parse and Java read them alike.
func Format(p map[string]string) []byte {
	var b []byte
	for _, k := range slices.Sorted(maps.Keys(p)) {
		b = appendEscaped(b, k, true)
		b = append(b, '=')
		b = appendEscaped(b, p[k], false)
		b = append(b, '\n')
	}
	return b
}

func appendEscaped(b []byte, s string, key bool) []byte {
	for i, r := range s {
		switch {
		case r == '\t':
			b = append(b, `\t`...)
		case r == '\n':
			b = append(b, `\n`...)
		case r == '\r':
			b = append(b, `\r`...)
		case r == '\f':
			b = append(b, `\f`...)
		case r == '\\', r == ' ' && (key || i == 0), key && strings.ContainsRune("=:#!", r):
			b = append(b, '\\', byte(r))
		case r < ' ' || r > '~':
			for _, u := range utf16.Encode([]rune{r}) {
				b = fmt.Appendf(b, `\u%04x`, u)
			}
		default:
			b = append(b, byte(r))
		}
	}
	return b
}
