package controllers

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kraft-dev/kraft-operator/controllers/plan/planted"
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
		// The cache has what is labelled as a cluster's. What stands there without may be somebody's.
		if err = r.applyNew(ctx, obj); !apierrors.IsConflict(err) {
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
	return r.applyOver(ctx, obj, live)
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

// neverVersion is the resource version of no object: etcd's first write has revision 2. An apply that names it makes an object, and is a
// conflict where there is one (seen of a kube-apiserver: TestConditionsOfApply in test/envtest).
const neverVersion = "1"

// applyNew applies an object that must not be there. Server-side apply goes by name: without this, a process that was frozen before the
// write would wake and write over the object of a cluster that was made anew under the same name.
func (r *Reconciler) applyNew(ctx context.Context, obj client.Object) error {
	if planted.Bug != planted.AppliesByName {
		obj.SetResourceVersion(neverVersion)
	}
	return r.apply(ctx, obj)
}

// applyOver applies over the object that was seen, in whatever version; one that is gone is not made again.
func (r *Reconciler) applyOver(ctx context.Context, obj, live client.Object) error {
	obj.SetUID(live.GetUID())
	obj.SetResourceVersion("")
	return r.apply(ctx, obj)
}

// applyAsSeen applies over the object as it was seen. The UID is named, too: an apply that only names a version makes what is gone.
func (r *Reconciler) applyAsSeen(ctx context.Context, obj, live client.Object) error {
	obj.SetUID(live.GetUID())
	obj.SetResourceVersion(live.GetResourceVersion())
	return r.apply(ctx, obj)
}

// apply is server-side apply with force: what the operator sets is its own. The UID and resource version in obj are conditions; where
// they aren't met, it is a conflict.
func (r *Reconciler) apply(ctx context.Context, obj client.Object, opts ...client.ApplyOption) error {
	kind := obj.GetObjectKind().GroupVersionKind().Kind
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
	if err != nil {
		return fmt.Errorf("%s %s: %w", kind, obj.GetName(), err)
	}
	delete(content, "status")
	u := &unstructured.Unstructured{Object: content}
	opts = append(opts, client.FieldOwner(fieldManager), client.ForceOwnership)
	if err := r.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), opts...); err != nil {
		if anotherUID(err) {
			err = apierrors.NewConflict(schema.GroupResource{Group: obj.GetObjectKind().GroupVersionKind().Group, Resource: kind}, obj.GetName(), err)
		}
		return fmt.Errorf("applying %s %s: %w", kind, obj.GetName(), err)
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, obj); err != nil {
		return fmt.Errorf("%s %s: %w", kind, obj.GetName(), err)
	}
	return nil
}

// anotherUID tells whether the API refused an apply as its UID isn't that of the object that is there: it says that the field is immutable.
func anotherUID(err error) bool {
	status := apierrors.APIStatus(nil)
	if !apierrors.IsInvalid(err) || !errors.As(err, &status) || status.Status().Details == nil {
		return false
	}
	return slices.ContainsFunc(status.Status().Details.Causes, func(c metav1.StatusCause) bool { return c.Field == "metadata.uid" })
}

// seen is a merge patch of what was read: a conflict where it has changed, or is another's, by now.
func seen(live client.Object) client.Patch {
	return client.MergeFromWithOptions(live, client.MergeFromWithOptimisticLock{})
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
