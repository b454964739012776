package crashpoints

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
)

// api is a manager's client. Reads come from its cache, or straight from the store; every call passes the fault.
type api struct {
	client.Client // nil: a method that the model lacks panics
	m             *manager
	cached        bool
}

func (a *api) objects() map[key]client.Object {
	if a.cached {
		return a.m.cache
	}
	return a.m.w.objs
}

func (a *api) Get(_ context.Context, k client.ObjectKey, out client.Object, _ ...client.GetOption) error {
	id := key{kindOf(out), k.Name}
	read := func() error {
		obj := a.objects()[id]
		if obj == nil || k.Namespace != namespace {
			return notFound(id)
		}
		copyInto(out, obj)
		return nil
	}
	if a.cached {
		return read()
	}
	return a.m.call(point{Verb: "get", Object: id.String(), read: true}, func() effect { return failed(read()) })
}

func (a *api) List(_ context.Context, list client.ObjectList, opts ...client.ListOption) error {
	o := (&client.ListOptions{}).ApplyOptions(opts)
	kind := kindOf(list)
	read := func() error {
		var found []client.Object
		for id, obj := range a.objects() {
			if id.kind == kind && o.Namespace == namespace && (o.LabelSelector == nil || o.LabelSelector.Matches(labels.Set(obj.GetLabels()))) {
				found = append(found, obj)
			}
		}
		slices.SortFunc(found, func(x, y client.Object) int {
			if x.GetName() < y.GetName() {
				return -1
			}
			return 1
		})
		items := make([]runtime.Object, len(found))
		for i := range found {
			items[i] = found[i].DeepCopyObject()
		}
		return meta.SetList(list, items)
	}
	if a.cached {
		return read()
	}
	return a.m.call(point{Verb: "list", Object: kind, read: true}, func() effect { return failed(read()) })
}

func (a *api) Create(_ context.Context, obj client.Object, _ ...client.CreateOption) error {
	return a.m.call(point{Verb: "create", Object: keyOf(obj).String()}, func() effect {
		made, err := a.m.w.create(obj.DeepCopyObject().(client.Object))
		return effect{func() { copyInto(obj, made) }, err}
	})
}

func (a *api) Update(_ context.Context, obj client.Object, _ ...client.UpdateOption) error {
	return a.m.call(point{Verb: "update", Object: keyOf(obj).String()}, func() effect { return a.update(obj, false) })
}

// update writes everything but the status, or the status alone. What isn't JSON doesn't survive: times are seconds.
func (a *api) update(obj client.Object, status bool) effect {
	k := keyOf(obj)
	content, err := json.Marshal(obj)
	if err != nil {
		return failed(err)
	}
	next := newObject(k.kind)
	if err := json.Unmarshal(content, next); err != nil {
		return failed(err)
	}
	if next, err = withPart(a.m.w.objs[k], next, status); err != nil {
		return failed(err)
	}
	written, err := a.m.w.replace(next, obj)
	if err == nil {
		a.m.w.rules.recorded(written)
	}
	return effect{func() { copyInto(obj, written) }, err}
}

// withPart is was with the status of obj, or obj with the status of was.
func withPart(was, obj client.Object, status bool) (client.Object, error) {
	if was == nil {
		return nil, notFound(keyOf(obj))
	}
	from, to := was.DeepCopyObject().(client.Object), obj
	if status {
		from, to = obj, from
	}
	switch f := from.(type) {
	case *v1alpha1.KRaftCluster:
		to.(*v1alpha1.KRaftCluster).Status = f.Status
	case *corev1.Pod:
		to.(*corev1.Pod).Status = f.Status
	default:
		return nil, fmt.Errorf("the model has no update of %T", obj)
	}
	return to, nil
}

func (a *api) Patch(_ context.Context, obj client.Object, patch client.Patch, _ ...client.PatchOption) error {
	return a.m.call(point{Verb: "patch", Object: keyOf(obj).String()}, func() effect { return a.patch(obj, patch, false) })
}

func (a *api) patch(obj client.Object, patch client.Patch, status bool) effect {
	if patch.Type() != "application/merge-patch+json" {
		return failed(fmt.Errorf("the model has no %s", patch.Type()))
	}
	data, err := patch.Data(obj)
	if err != nil {
		return failed(err)
	}
	k := keyOf(obj)
	was := a.m.w.objs[k]
	written, err := a.m.w.merge(k, data, status)
	if err == nil {
		a.m.w.rules.patched(a.m, was, written)
	}
	return effect{func() { copyInto(obj, written) }, err}
}

func (a *api) Apply(_ context.Context, obj runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
	o := (&client.ApplyOptions{}).ApplyOptions(opts)
	u, ok := obj.(interface {
		GetKind() string
		GetName() string
		UnstructuredContent() map[string]any
		SetUnstructuredContent(map[string]any)
	})
	if !ok || o.Force == nil || !*o.Force {
		return errors.New("the model applies forced unstructured objects")
	}
	k := key{u.GetKind(), u.GetName()}
	return a.m.call(point{Verb: "apply", Object: k.String()}, func() effect {
		was := a.m.w.objs[k]
		written, err := a.m.w.apply(k.kind, k.name, u.UnstructuredContent())
		if err != nil {
			return failed(err)
		}
		a.m.w.rules.patched(a.m, was, written)
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(written)
		return effect{func() { u.SetUnstructuredContent(content) }, err}
	})
}

func (a *api) Delete(_ context.Context, obj client.Object, opts ...client.DeleteOption) error {
	o := (&client.DeleteOptions{}).ApplyOptions(opts)
	k := keyOf(obj)
	return a.m.call(point{Verb: "delete", Object: k.String()}, func() effect {
		was := a.m.w.objs[k]
		a.m.w.rules.deletes(a.m, k, was, o)
		if o.GracePeriodSeconds != nil && *o.GracePeriodSeconds == 0 {
			a.m.w.violate("%s deletes %s by force", a.m.name, k)
		}
		return failed(a.m.w.remove(k, o.Preconditions))
	})
}

func (a *api) Status() client.SubResourceWriter { return &subresource{a: a, name: "status"} }

func (a *api) SubResource(name string) client.SubResourceClient {
	return &subresource{a: a, name: name}
}

type subresource struct {
	client.SubResourceClient // nil
	a                        *api
	name                     string
}

func (s *subresource) Update(_ context.Context, obj client.Object, _ ...client.SubResourceUpdateOption) error {
	if s.name != "status" {
		return fmt.Errorf("the model has no update of %s", s.name)
	}
	return s.a.m.call(point{Verb: "status", Object: keyOf(obj).String()}, func() effect { return s.a.update(obj, true) })
}

func (s *subresource) Patch(_ context.Context, obj client.Object, patch client.Patch, _ ...client.SubResourcePatchOption) error {
	if s.name != "status" {
		return fmt.Errorf("the model has no patch of %s", s.name)
	}
	return s.a.m.call(point{Verb: "status", Object: keyOf(obj).String()}, func() effect { return s.a.patch(obj, patch, true) })
}

// Create is an eviction.
func (s *subresource) Create(_ context.Context, obj, sub client.Object, _ ...client.SubResourceCreateOption) error {
	e, ok := sub.(*policyv1.Eviction)
	if !ok || s.name != "eviction" {
		return fmt.Errorf("the model has no %s", s.name)
	}
	k := keyOf(obj)
	return s.a.m.call(point{Verb: "evict", Object: k.String()}, func() effect {
		w := s.a.m.w
		o := &client.DeleteOptions{}
		if e.DeleteOptions != nil {
			o.Preconditions = e.DeleteOptions.Preconditions
		}
		if why := w.evictable(k, o.Preconditions); why != "" {
			return failed(apierrors.NewTooManyRequests(why, 0))
		}
		w.rules.deletes(s.a.m, k, w.objs[k], o)
		return failed(w.remove(k, o.Preconditions))
	})
}
