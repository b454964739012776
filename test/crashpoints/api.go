package crashpoints

import (
	"context"
	"errors"
	"fmt"

	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
)

// api is a manager's client. Every write passes the fault and the rules, and so does every read that doesn't come from a cache.
type api struct {
	client.Client // what is under it
	m             *manager
	cached        bool
}

func (a *api) Get(ctx context.Context, k client.ObjectKey, out client.Object, opts ...client.GetOption) error {
	if a.cached {
		return a.Client.Get(ctx, k, out, opts...)
	}
	p := point{Verb: "get", Object: key{kindOf(out), k.Name}.String(), read: true}
	return a.m.call(ctx, p, func() effect {
		err := a.Client.Get(ctx, k, out, opts...)
		if c, ok := out.(*v1alpha1.KRaftCluster); ok && err == nil {
			a.m.mayRest = c.Spec.Hibernated
		}
		return failed(err)
	})
}

func (a *api) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	if a.cached {
		return a.Client.List(ctx, list, opts...)
	}
	return a.m.call(ctx, point{Verb: "list", Object: kindOf(list), read: true}, func() effect { return failed(a.Client.List(ctx, list, opts...)) })
}

func (a *api) Create(ctx context.Context, obj client.Object, opts ...client.CreateOption) error {
	return a.m.call(ctx, point{Verb: "create", Object: keyOf(obj).String()}, func() effect {
		made := copyOf(obj)
		err := a.Client.Create(ctx, made, opts...)
		return effect{func() { copyInto(obj, made) }, err}
	})
}

func (a *api) Patch(ctx context.Context, obj client.Object, patch client.Patch, opts ...client.PatchOption) error {
	return a.m.call(ctx, point{Verb: "patch", Object: keyOf(obj).String()}, func() effect {
		was, written := a.m.w.objs[keyOf(obj)], copyOf(obj)
		err := a.Client.Patch(ctx, written, patch, opts...)
		if err == nil {
			a.m.w.rules.patched(a.m, was, written)
		}
		return effect{func() { copyInto(obj, written) }, err}
	})
}

// appliedObject is an unstructured object that is applied.
type appliedObject interface {
	runtime.ApplyConfiguration
	GetKind() string
	GetName() string
	UnstructuredContent() map[string]any
	SetUnstructuredContent(map[string]any)
}

func (a *api) Apply(ctx context.Context, obj runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
	u, ok := obj.(appliedObject)
	if !ok {
		return errors.New("unstructured objects are applied here")
	}
	k := key{u.GetKind(), u.GetName()}
	if len((&client.ApplyOptions{}).ApplyOptions(opts).DryRun) > 0 {
		return nil // nothing is written, and the model has no admission that could refuse it
	}
	return a.m.call(ctx, point{Verb: "apply", Object: k.String()}, func() effect {
		was, before := a.m.w.objs[k], runtime.DeepCopyJSON(u.UnstructuredContent())
		if err := a.Client.Apply(ctx, obj, opts...); err != nil {
			return failed(err)
		}
		after := u.UnstructuredContent()
		u.SetUnstructuredContent(before)
		written, err := typed(k.kind, after)
		if err != nil {
			return failed(err)
		}
		a.m.w.rules.patched(a.m, was, written)
		return effect{func() { u.SetUnstructuredContent(after) }, nil}
	})
}

func (a *api) Delete(ctx context.Context, obj client.Object, opts ...client.DeleteOption) error {
	o := (&client.DeleteOptions{}).ApplyOptions(opts)
	k := keyOf(obj)
	return a.m.call(ctx, point{Verb: "delete", Object: k.String()}, func() effect {
		a.m.w.rules.deletes(a.m, k, a.m.w.objs[k], o)
		if o.GracePeriodSeconds != nil && *o.GracePeriodSeconds == 0 {
			a.m.w.violate("%s deletes %s by force", a.m.name, k)
		}
		return failed(a.Client.Delete(ctx, obj, opts...))
	})
}

// Update of a whole object is nothing that the operator does.
func (a *api) Update(_ context.Context, obj client.Object, _ ...client.UpdateOption) error {
	return fmt.Errorf("an update of %T that no rule looks at", obj)
}

func (a *api) Status() client.SubResourceWriter { return a.SubResource("status") }

func (a *api) SubResource(name string) client.SubResourceClient {
	return &subresource{a.Client.SubResource(name), a, name}
}

type subresource struct {
	client.SubResourceClient // what is under it
	a                        *api
	name                     string
}

// Update is of a status.
func (s *subresource) Update(ctx context.Context, obj client.Object, opts ...client.SubResourceUpdateOption) error {
	return s.a.m.call(ctx, point{Verb: s.name, Object: keyOf(obj).String()}, func() effect {
		written := copyOf(obj)
		err := s.SubResourceClient.Update(ctx, written, opts...)
		if err == nil {
			s.a.m.w.rules.recorded(written)
		}
		return effect{func() { copyInto(obj, written) }, err}
	})
}

// Patch is nothing that the operator does.
func (s *subresource) Patch(_ context.Context, obj client.Object, _ client.Patch, _ ...client.SubResourcePatchOption) error {
	return fmt.Errorf("a patch of the %s of %T that no rule looks at", s.name, obj)
}

// Create is an eviction.
func (s *subresource) Create(ctx context.Context, obj, sub client.Object, opts ...client.SubResourceCreateOption) error {
	e, ok := sub.(*policyv1.Eviction)
	if !ok || s.name != "eviction" {
		return fmt.Errorf("a %s that no rule looks at", s.name)
	}
	k := keyOf(obj)
	return s.a.m.call(ctx, point{Verb: "evict", Object: k.String()}, func() effect {
		was, taken := s.a.m.w.objs[k], s.a.m.w.rules.clone()
		o := &client.DeleteOptions{}
		if e.DeleteOptions != nil {
			o.Preconditions = e.DeleteOptions.Preconditions
		}
		broken := len(s.a.m.w.violations)
		s.a.m.w.rules.deletes(s.a.m, k, was, o)
		err := s.SubResourceClient.Create(ctx, obj, sub, opts...)
		if err != nil { // it isn't taken down
			s.a.m.w.rules, s.a.m.w.violations = taken, s.a.m.w.violations[:broken]
		}
		return failed(err)
	})
}

func copyOf(obj client.Object) client.Object { return obj.DeepCopyObject().(client.Object) }
