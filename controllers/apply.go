package controllers

import (
	"context"
	"fmt"
	"maps"
	"reflect"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// ensure makes the API's object as obj says, and leaves in obj what the API has. It writes only where something
// differs: the object isn't there, the operator wants something else than it applied last, or a hand changed a field
// that the operator sets. Fields it doesn't set are left to others.
func (r *Reconciler) ensure(ctx context.Context, obj client.Object) error {
	kind := obj.GetObjectKind().GroupVersionKind().Kind
	hash := mark(obj)
	live := reflect.New(reflect.TypeOf(obj).Elem()).Interface().(client.Object)
	err := r.Get(ctx, client.ObjectKeyFromObject(obj), live)
	if apierrors.IsNotFound(err) {
		// The cache has what is labelled as a cluster's. What stands there without is somebody's: its fields are.
		if err = r.offer(ctx, obj); !apierrors.IsConflict(err) {
			return err
		}
		err = r.Live.Get(ctx, client.ObjectKeyFromObject(obj), live)
	}
	if err != nil {
		return fmt.Errorf("%s %s: %w", kind, obj.GetName(), err)
	}
	if live.GetAnnotations()[annotationApplied] == hash && same(obj, live) {
		copyInto(live, obj)
		return nil
	}
	if !live.GetDeletionTimestamp().IsZero() {
		return fmt.Errorf("%s %s is being deleted: its place is taken when it is gone", kind, obj.GetName())
	}
	if err := takeable(kind, obj, live); err != nil {
		return err
	}
	return r.apply(ctx, obj)
}

// takenError says that an object's name is another's. Nothing of that is touched.
type takenError struct{ kind, name, by string }

func (e *takenError) Error() string {
	return fmt.Sprintf("%s %s stands here and belongs to %s: delete it, or give this cluster or its listener another name", e.kind, e.name, e.by)
}

// takeable tells whether what stands under an object's name is, or may become, its cluster's: what the cluster or its deleted former
// self controls, or what has its label and nobody controls. Names of two clusters can be the same: listener external of demo, and
// demo-external.
func takeable(kind string, obj, live client.Object) error {
	mine, theirs := metav1.GetControllerOf(obj), metav1.GetControllerOf(live)
	switch {
	case theirs == nil && live.GetLabels()[labelCluster] == mine.Name:
		return nil
	case theirs == nil:
		return &takenError{kind, live.GetName(), "no KRaftCluster"}
	case theirs.Kind == mine.Kind && theirs.Name == mine.Name:
		return nil
	}
	return &takenError{kind, live.GetName(), theirs.Kind + " " + theirs.Name}
}

// mark annotates an object with the hash of itself, to tell later whether the operator wants something else by then.
func mark(obj client.Object) string {
	hash := hashOf(obj)
	annotations := maps.Clone(obj.GetAnnotations())
	if annotations == nil {
		annotations = map[string]string{}
	}
	annotations[annotationApplied] = hash
	obj.SetAnnotations(annotations)
	return hash
}

// marked is a marked copy.
func marked(set *appsv1.StatefulSet) *appsv1.StatefulSet {
	c := set.DeepCopy()
	mark(c)
	return c
}

// apply is server-side apply with force: what the operator sets is its own.
func (r *Reconciler) apply(ctx context.Context, obj client.Object) error {
	return r.offer(ctx, obj, client.ForceOwnership)
}

// offer is server-side apply without force: a field that somebody else has set to something else is a conflict.
func (r *Reconciler) offer(ctx context.Context, obj client.Object, opts ...client.ApplyOption) error {
	kind := obj.GetObjectKind().GroupVersionKind().Kind
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		return fmt.Errorf("%s %s: %w", kind, obj.GetName(), err)
	}
	delete(content, "status")
	u := &unstructured.Unstructured{Object: content}
	opts = append(opts, client.FieldOwner(fieldManager))
	if err := r.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), opts...); err != nil {
		return fmt.Errorf("applying %s %s: %w", kind, obj.GetName(), err)
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, obj); err != nil {
		return fmt.Errorf("%s %s: %w", kind, obj.GetName(), err)
	}
	return nil
}

// copyInto leaves in to what the API has; from isn't used any more.
func copyInto(from, to client.Object) {
	kind := to.GetObjectKind().GroupVersionKind()
	reflect.ValueOf(to).Elem().Set(reflect.ValueOf(from).Elem())
	to.GetObjectKind().SetGroupVersionKind(kind)
}

// create makes obj if it isn't there. It reports whether this call made it.
func (r *Reconciler) create(ctx context.Context, obj client.Object) (bool, error) {
	err := r.Create(ctx, obj, client.FieldOwner(fieldManager))
	switch {
	case apierrors.IsAlreadyExists(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("creating %s %s: %w", obj.GetObjectKind().GroupVersionKind().Kind, obj.GetName(), err)
	}
	return true, nil
}
