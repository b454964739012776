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

// memory is a client of the model's store. Reads come from a manager's cache, or straight from the store.
type memory struct {
	client.Client // nil: a method that the model lacks panics
	m             *manager
	cached        bool
}

func (c *memory) objects() map[key]client.Object {
	if c.cached {
		return c.m.cache
	}
	return c.m.w.objs
}

func (c *memory) Get(_ context.Context, k client.ObjectKey, out client.Object, _ ...client.GetOption) error {
	id := key{kindOf(out), k.Name}
	obj := c.objects()[id]
	if obj == nil || k.Namespace != c.m.w.namespace {
		return notFound(id)
	}
	copyInto(out, obj)
	return nil
}

func (c *memory) List(_ context.Context, list client.ObjectList, opts ...client.ListOption) error {
	o := (&client.ListOptions{}).ApplyOptions(opts)
	kind := kindOf(list)
	var found []client.Object
	for id, obj := range c.objects() {
		if id.kind == kind && o.Namespace == c.m.w.namespace && (o.LabelSelector == nil || o.LabelSelector.Matches(labels.Set(obj.GetLabels()))) {
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

func (c *memory) Create(_ context.Context, obj client.Object, _ ...client.CreateOption) error {
	made, err := c.m.w.store.create(copyOf(obj))
	if err == nil {
		copyInto(obj, made)
	}
	return err
}

func (c *memory) Patch(_ context.Context, obj client.Object, patch client.Patch, _ ...client.PatchOption) error {
	if patch.Type() != "application/merge-patch+json" {
		return fmt.Errorf("the model has no %s", patch.Type())
	}
	data, err := patch.Data(obj)
	if err != nil {
		return err
	}
	written, err := c.m.w.merge(keyOf(obj), data, false)
	if err == nil {
		copyInto(obj, written)
	}
	return err
}

func (c *memory) Apply(_ context.Context, obj runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
	u, o := obj.(appliedObject), (&client.ApplyOptions{}).ApplyOptions(opts)
	if o.Force == nil || !*o.Force {
		return errors.New("the model has no apply without force")
	}
	written, err := c.m.w.apply(u.GetKind(), u.GetName(), u.UnstructuredContent())
	if err != nil {
		return err
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(written)
	u.SetUnstructuredContent(content)
	return err
}

func (c *memory) Delete(_ context.Context, obj client.Object, opts ...client.DeleteOption) error {
	return c.m.w.remove(keyOf(obj), (&client.DeleteOptions{}).ApplyOptions(opts).Preconditions)
}

func (c *memory) SubResource(name string) client.SubResourceClient {
	return &memoryPart{c: c, name: name}
}

// memoryPart is a subresource.
type memoryPart struct {
	client.SubResourceClient // nil
	c                        *memory
	name                     string
}

// Update writes the status alone. What isn't JSON doesn't survive: times are seconds.
func (p *memoryPart) Update(_ context.Context, obj client.Object, _ ...client.SubResourceUpdateOption) error {
	if p.name != "status" {
		return fmt.Errorf("the model has no update of %s", p.name)
	}
	k := keyOf(obj)
	content, err := json.Marshal(obj)
	if err != nil {
		return err
	}
	next := newObject(k.kind)
	if err := json.Unmarshal(content, next); err != nil {
		return err
	}
	if next, err = withStatus(p.c.m.w.objs[k], next); err != nil {
		return err
	}
	written, err := p.c.m.w.replace(next, obj)
	if err == nil {
		copyInto(obj, written)
	}
	return err
}

// withStatus is was with the status of obj.
func withStatus(was, obj client.Object) (client.Object, error) {
	if was == nil {
		return nil, notFound(keyOf(obj))
	}
	to := copyOf(was)
	switch from := obj.(type) {
	case *v1alpha1.KRaftCluster:
		to.(*v1alpha1.KRaftCluster).Status = from.Status
	case *corev1.Pod:
		to.(*corev1.Pod).Status = from.Status
	default:
		return nil, fmt.Errorf("the model has no status of %T", obj)
	}
	return to, nil
}

// Create is an eviction.
func (p *memoryPart) Create(_ context.Context, obj, sub client.Object, _ ...client.SubResourceCreateOption) error {
	k, o := keyOf(obj), &client.DeleteOptions{}
	if e := sub.(*policyv1.Eviction); e.DeleteOptions != nil {
		o.Preconditions = e.DeleteOptions.Preconditions
	}
	if why := p.c.m.w.evictable(k, o.Preconditions); why != "" {
		return apierrors.NewTooManyRequests(why, 0)
	}
	return p.c.m.w.remove(k, o.Preconditions)
}
