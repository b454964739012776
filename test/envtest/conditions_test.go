package envtest

import (
	"testing"

	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// TestConditionsOfApply has the answers of a kube-apiserver that the operator's writes rest on, and that the crash points' model plays: an
// apply goes by name, unless it names a version or a UID.
func TestConditionsOfApply(t *testing.T) {
	t.Parallel()
	const another = "c38b2e56-ed5d-49a0-84ef-d5a4a9f0d9a3"
	apply := func(name, uid, version, value string) (*unstructured.Unstructured, error) {
		meta := map[string]any{"name": name, "namespace": "default"}
		if uid != "" {
			meta["uid"] = uid
		}
		if version != "" {
			meta["resourceVersion"] = version
		}
		u := &unstructured.Unstructured{Object: map[string]any{"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": map[string]any{"value": value}}}
		return u, kube.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(u), client.FieldOwner("conditions"), client.ForceOwnership)
	}
	made, err := apply("conditions", "", "1", "first")
	require.NoError(t, err, "a version is no condition where there is nothing: it is made")
	uid, version := string(made.GetUID()), made.GetResourceVersion()
	invalid := func(err error) bool {
		return apierrors.IsInvalid(err) && err.(apierrors.APIStatus).Status().Details.Causes[0].Field == "metadata.uid"
	}
	for _, c := range []struct {
		what, name, uid, version string
		refused                  func(error) bool
	}{
		{"to make what is there", "conditions", "", "1", apierrors.IsConflict},
		{"another object's UID", "conditions", another, "", invalid},
		{"another object's UID, this one's version", "conditions", another, version, invalid},
		{"a UID where there is nothing", "conditions-gone", another, "", apierrors.IsConflict},
		{"a UID and a version where there is nothing", "conditions-gone", another, version, apierrors.IsConflict},
	} {
		_, err := apply(c.name, c.uid, c.version, "second")
		require.True(t, c.refused(err), "%s: %v", c.what, err)
		var there unstructured.UnstructuredList
		there.SetGroupVersionKind(metav1.SchemeGroupVersion.WithKind("ConfigMapList"))
		there.SetAPIVersion("v1")
		require.NoError(t, kube.List(t.Context(), &there, client.InNamespace("default")))
		for _, cm := range there.Items {
			require.NotEqual(t, "conditions-gone", cm.GetName(), c.what)
			value, _, _ := unstructured.NestedString(cm.Object, "data", "value")
			require.NotEqual(t, "second", value, c.what)
		}
	}
	_, err = apply("conditions", uid, version, "as seen")
	require.NoError(t, err)
	_, err = apply("conditions", uid, version, "as seen before")
	require.True(t, apierrors.IsConflict(err), err)
	_, err = apply("conditions", uid, "", "whatever the version")
	require.NoError(t, err)
}
