package plan

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Diff names the places where two JSON values differ, sorted: "spec.containers[kraftd].image". Items of a list are
// told apart by their name, else by their position.
func Diff(before, after any) []string {
	var out []string
	diff("", before, after, &out)
	slices.Sort(out)
	return slices.Compact(out)
}

func diff(path string, a, b any, out *[]string) {
	if (a == nil) != (b == nil) && strings.HasSuffix(path, "]") {
		*out = append(*out, path) // an item that came or went
		return
	}
	ma, okA := a.(map[string]any)
	mb, okB := b.(map[string]any)
	if okA && okB || okA && b == nil && len(ma) > 0 || okB && a == nil && len(mb) > 0 { // one that isn't there is empty
		for k := range ma {
			diff(join(path, k), ma[k], mb[k], out)
		}
		for k := range mb {
			if _, ok := ma[k]; !ok {
				diff(join(path, k), nil, mb[k], out)
			}
		}
		return
	}
	la, okA := a.([]any)
	lb, okB := b.([]any)
	if okA && okB || okA && b == nil && len(la) > 0 || okB && a == nil && len(lb) > 0 {
		diff(path, byName(la), byName(lb), out)
		return
	}
	if !reflect.DeepEqual(a, b) {
		*out = append(*out, path)
	}
}

func byName(list []any) map[string]any {
	out := map[string]any{}
	for i, v := range list {
		key := fmt.Sprintf("[%d]", i)
		if m, ok := v.(map[string]any); ok {
			for _, by := range []string{"name", "topologyKey"} {
				if name, ok := m[by].(string); ok {
					key = "[" + name + "]"
					break
				}
			}
		}
		out[key] = v
	}
	return out
}

func join(path, key string) string {
	switch {
	case path == "":
		return key
	case key[0] == '[':
		return path + key
	default:
		return path + "." + key
	}
}
