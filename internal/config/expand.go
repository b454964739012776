package config

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Expand replaces each ${env:NAME} in the values of p by what lookup gives (os.LookupEnv in a node). Other text
// in ${} stays as it is, as in Kafka, and so does what a variable holds.
//
// Errors: a variable that isn't set, with the property that needs it.
func Expand(p map[string]string, lookup func(name string) (string, bool)) (map[string]string, error) {
	out := make(map[string]string, len(p))
	for _, key := range slices.Sorted(maps.Keys(p)) {
		v, err := expand(p[key], lookup)
		if err != nil {
			return nil, fmt.Errorf("property %s: %w", key, err)
		}
		out[key] = v
	}
	return out, nil
}

func expand(s string, lookup func(string) (string, bool)) (string, error) {
	const open = "${env:"
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(s, open)
		b.WriteString(before)
		if !ok {
			return b.String(), nil
		}
		name, after, ok := strings.Cut(rest, "}")
		if !ok {
			return "", fmt.Errorf("value %q: %s is not closed by }", abbreviate(s), open)
		}
		v, set := lookup(name)
		if !set {
			return "", fmt.Errorf("environment variable %s is not set: set it, or write the value itself", abbreviate(name))
		}
		b.WriteString(v)
		s = after
	}
}
