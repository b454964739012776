package crashpoints

import (
	"reflect"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// apply is server-side apply by one manager that forces: what it sets is as it says, what it set before and no longer
// does goes, the rest is left to others.
func (s *store) apply(kind, name string, want map[string]any) (client.Object, error) {
	k := key{kind, name}
	was, before := s.objs[k], s.applied[k]
	want = runtime.DeepCopyJSON(want)
	delete(want, "apiVersion")
	delete(want, "kind")
	content := map[string]any{}
	if was != nil {
		var err error
		if content, err = runtime.DefaultUnstructuredConverter.ToUnstructured(was); err != nil {
			return nil, err
		}
	}
	merged := applied(content, before, want).(map[string]any)
	obj, err := typed(kind, merged)
	if err != nil {
		return nil, err
	}
	switch checked := conditions(kind, want); {
	case was == nil && checked.GetUID() != "":
		return nil, conflict(k, "uid mismatch: no existing object was found")
	case was == nil: // whatever version is named: so does a kube-apiserver
		obj.SetResourceVersion("")
		obj, err = s.create(obj)
	case checked.GetUID() != "" && checked.GetUID() != was.GetUID():
		immutable := field.Invalid(field.NewPath("metadata", "uid"), checked.GetUID(), "field is immutable")
		return nil, apierrors.NewInvalid(schema.GroupKind{Kind: kind}, name, field.ErrorList{immutable})
	default:
		obj, err = s.replace(obj, checked)
	}
	if err != nil {
		return nil, err
	}
	s.applied[k] = want
	return obj, nil
}

// conditions are the UID and resource version that an applied object or patch names.
func conditions(kind string, content map[string]any) client.Object {
	out := newObject(kind)
	if m, ok := content["metadata"].(map[string]any); ok {
		if uid, ok := m["uid"].(string); ok {
			out.SetUID(types.UID(uid))
		}
		if rv, ok := m["resourceVersion"].(string); ok {
			out.SetResourceVersion(rv)
		}
	}
	return out
}

// applied merges JSON values: live, what the manager set before, and what it sets now.
func applied(live, before, want any) any {
	switch w := want.(type) {
	case map[string]any:
		l, _ := live.(map[string]any)
		b, _ := before.(map[string]any)
		out := map[string]any{}
		for name, v := range l {
			if _, set := b[name]; set {
				if _, still := w[name]; !still {
					continue
				}
			}
			out[name] = v
		}
		for name, v := range w {
			out[name] = applied(l[name], b[name], v)
		}
		return out
	case []any:
		return appliedList(live, before, w)
	}
	return want
}

// appliedList merges lists of named things by their names; others are replaced whole.
func appliedList(live, before any, want []any) any {
	l, _ := live.([]any)
	b, _ := before.([]any)
	var out []any
	for _, v := range want {
		id := identity(v)
		if id == nil {
			return want
		}
		out = append(out, applied(find(l, id), find(b, id), v))
	}
	for _, v := range l { // others' entries
		if id := identity(v); id != nil && find(want, id) == nil && find(b, id) == nil {
			out = append(out, v)
		}
	}
	return out
}

// identity is what a list of maps is keyed by in the kinds of the model; nil where it is none.
func identity(v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		return nil
	}
	for _, name := range []string{"uid", "name", "mountPath", "topologyKey"} {
		if id, ok := m[name]; ok {
			return id
		}
	}
	return nil
}

func find(list []any, id any) any {
	for _, v := range list {
		if reflect.DeepEqual(identity(v), id) {
			return v
		}
	}
	return nil
}
