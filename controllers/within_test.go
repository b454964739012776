package controllers

import (
	"maps"
	"reflect"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

func TestSameIgnoresWhatOthersSet(t *testing.T) {
	config := func(data map[string]string) client.Object { return &corev1.ConfigMap{Data: data} }
	set := func(replicas *int32, args ...string) client.Object {
		return &appsv1.StatefulSet{Spec: appsv1.StatefulSetSpec{Replicas: replicas, Template: corev1.PodTemplateSpec{
			Spec: corev1.PodSpec{Containers: []corev1.Container{{Args: args}}},
		}}}
	}
	budget := func(most *intstr.IntOrString) client.Object {
		return &policyv1.PodDisruptionBudget{Spec: policyv1.PodDisruptionBudgetSpec{MaxUnavailable: most}}
	}
	claim := func(size string) client.Object {
		return &corev1.PersistentVolumeClaim{Spec: corev1.PersistentVolumeClaimSpec{Resources: corev1.VolumeResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)},
		}}}
	}
	for _, tc := range []struct {
		name       string
		want, live client.Object
		is         bool
	}{
		{"a default added", config(map[string]string{"a": "1"}), config(map[string]string{"a": "1", "b": "2"}), true},
		{"a field changed", config(map[string]string{"a": "1"}), config(map[string]string{"a": "2"}), false},
		{"a field removed", config(map[string]string{"a": "1"}), config(nil), false},
		{"an empty value isn't there", config(map[string]string{"a": ""}), config(nil), false},
		{"unset is nothing", set(nil), set(ptr.To(int32(1))), true},
		{"zero behind a pointer is a value", set(ptr.To(int32(0))), set(ptr.To(int32(1))), false},
		{"and no default", set(ptr.To(int32(0))), set(nil), false},
		{"an item added", set(nil, "x"), set(nil, "x", "y"), false},
		{"an item changed", set(nil, "x", ""), set(nil, "x", "y"), false},
		{"none allowed", budget(ptr.To(intstr.FromInt32(0))), budget(ptr.To(intstr.FromInt32(1))), false},
		{"none allowed, as it is", budget(ptr.To(intstr.FromInt32(0))), budget(ptr.To(intstr.FromInt32(0))), true},
		{"the same amount in other words", claim("1Gi"), claim("1024Mi"), true},
		{"another amount", claim("1Gi"), claim("2Gi"), false},
		{"an empty struct is nothing", &corev1.Pod{Spec: corev1.PodSpec{SecurityContext: &corev1.PodSecurityContext{}}}, &corev1.Pod{}, true},
		{"a status is the API's", &corev1.Pod{Status: corev1.PodStatus{Phase: corev1.PodRunning}}, &corev1.Pod{}, true},
		{"a kind is left out by a typed read", &corev1.Pod{TypeMeta: metav1.TypeMeta{Kind: "Pod"}}, &corev1.Pod{}, true},
	} {
		require.Equal(t, tc.is, same(tc.want, tc.live), tc.name)
	}
}

// TestSameSeesEveryField of what the operator makes: each is taken away and changed in turn.
func TestSameSeesEveryField(t *testing.T) {
	s := fixture(nil)
	objs := append(s.objects(s.nodes[0]), s.objects(s.nodes[3])...)
	for _, obj := range append(append(objs, s.shared()...), s.liveConfigMap(), s.budget(poolBrokers, 0)) {
		require.True(t, same(obj, obj.DeepCopyObject().(client.Object)))
		content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(obj)
		require.NoError(t, err)
		for _, top := range []string{"apiVersion", "kind", "status"} {
			delete(content, top)
		}
		fields := 0
		eachChange(content, func(path string) {
			live := reflect.New(reflect.TypeOf(obj).Elem()).Interface().(client.Object)
			if runtime.DefaultUnstructuredConverter.FromUnstructured(content, live) != nil {
				return // not a value that the API could have
			}
			fields++
			require.False(t, same(obj, live), "%s %s: %s", obj.GetObjectKind().GroupVersionKind().Kind, obj.GetName(), path)
		})
		require.Greater(t, fields, 10)
	}
}

// eachChange takes each scalar in a JSON value away, or changes it, calls see, and puts it back.
func eachChange(m map[string]any, see func(path string)) {
	for k, v := range maps.Clone(m) {
		switch v := v.(type) {
		case nil:
			continue
		case map[string]any:
			eachChange(v, func(path string) { see(k + "." + path) })
			continue
		case []any:
			for i := range v {
				if item, ok := v[i].(map[string]any); ok {
					eachChange(item, func(path string) { see(k + "[]." + path) })
				}
			}
			m[k] = v[1:]
			see(k + " with an item less")
		case string:
			m[k] = v + "1"
			see(k + " changed")
		case int64:
			m[k] = v + 1
			see(k + " changed")
		case bool:
			m[k] = !v
			see(k + " changed")
		}
		delete(m, k)
		see(k + " taken away")
		m[k] = v
	}
}
