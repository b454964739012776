package crashpoints

import (
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
)

func service(t *testing.T, s *store, spec map[string]any, meta map[string]any) *corev1.Service {
	t.Helper()
	m := map[string]any{"name": "svc"}
	for k, v := range meta {
		m[k] = v
	}
	obj, err := s.apply("Service", "svc", map[string]any{"metadata": m, "spec": spec})
	require.NoError(t, err)
	return obj.(*corev1.Service)
}

func ports(list ...any) map[string]any { return map[string]any{"type": "NodePort", "ports": list} }

// TestAppliedFieldsGoWhenTheyAreNoLongerSet, and what others set stays.
func TestAppliedFieldsGoWhenTheyAreNoLongerSet(t *testing.T) {
	s := newStore()
	one := map[string]any{"name": "a", "port": int64(1)}
	two := map[string]any{"name": "b", "port": int64(2)}
	first := service(t, s, ports(one, two), map[string]any{"labels": map[string]any{"x": "1", "y": "2"}})
	require.NotZero(t, first.Spec.Ports[0].NodePort)

	again := service(t, s, ports(one, two), map[string]any{"labels": map[string]any{"x": "1", "y": "2"}})
	require.Equal(t, first.ResourceVersion, again.ResourceVersion, "nothing changed, nothing is written")

	hands := again.DeepCopy()
	hands.Labels["hand"] = "z"
	_, err := s.replace(hands, &corev1.Service{})
	require.NoError(t, err)
	last := service(t, s, ports(one), map[string]any{"labels": map[string]any{"x": "1"}})
	require.Equal(t, map[string]string{"x": "1", "hand": "z"}, last.Labels)
	require.Len(t, last.Spec.Ports, 1)
	require.Equal(t, first.Spec.Ports[0].NodePort, last.Spec.Ports[0].NodePort, "the port that was given stays")
}

func TestPreconditionsHold(t *testing.T) {
	s := newStore()
	obj := service(t, s, ports(map[string]any{"name": "a", "port": int64(1)}), nil)
	k := keyOf(obj)
	_, err := s.merge(k, []byte(`{"metadata":{"uid":"another","labels":{"a":"b"}}}`), false)
	require.True(t, apierrors.IsConflict(err), err)
	_, err = s.apply("Service", "svc", map[string]any{"metadata": map[string]any{"name": "svc", "resourceVersion": "0"}})
	require.True(t, apierrors.IsConflict(err), err)
	_, err = s.apply("Service", "svc", map[string]any{"metadata": map[string]any{"name": "svc", "uid": "another"}})
	require.True(t, apierrors.IsInvalid(err), err)
	_, err = s.apply("Service", "gone", map[string]any{"metadata": map[string]any{"name": "gone", "uid": "another", "resourceVersion": "7"}})
	require.True(t, apierrors.IsConflict(err), err)
	_, err = s.apply("Service", "new", map[string]any{"metadata": map[string]any{"name": "new", "resourceVersion": "7"}})
	require.NoError(t, err, "TestConditionsOfApply in test/envtest has it from a kube-apiserver")
	stale := obj.DeepCopy()
	stale.ResourceVersion = "0"
	_, err = s.replace(stale.DeepCopy(), stale)
	require.True(t, apierrors.IsConflict(err), err)
	require.True(t, apierrors.IsConflict(s.remove(k, &metav1.Preconditions{UID: ptr.To(types.UID("another"))})))
	require.NoError(t, s.remove(k, &metav1.Preconditions{UID: &obj.UID}))
	require.True(t, apierrors.IsNotFound(s.remove(k, nil)))
	_, err = s.merge(k, []byte(`{}`), false)
	require.True(t, apierrors.IsNotFound(err), err)
}

func TestTwoControllersOfOneObjectAreRefused(t *testing.T) {
	s := newStore()
	owner := func(uid string) map[string]any {
		return map[string]any{"apiVersion": "v1", "kind": "K", "name": "o", "uid": uid, "controller": true}
	}
	_, err := s.apply("ConfigMap", "cm", map[string]any{"metadata": map[string]any{"name": "cm", "ownerReferences": []any{owner("1"), owner("2")}}})
	require.True(t, apierrors.IsInvalid(err), err)
}

// TestAClaimStaysWhileItsPodDoes, and a pod goes gracefully.
func TestAClaimStaysWhileItsPodDoes(t *testing.T) {
	w := newWorld()
	_, err := w.create(&corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Name: "data"}})
	require.NoError(t, err)
	_, err = w.create(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "pod"}, Spec: corev1.PodSpec{
		Containers: []corev1.Container{{}},
		Volumes:    []corev1.Volume{{VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"}}}},
	}})
	require.NoError(t, err)
	require.NoError(t, w.remove(key{"PersistentVolumeClaim", "data"}, nil))
	require.NoError(t, w.remove(key{"Pod", "pod"}, nil))
	require.NotNil(t, get[*corev1.PersistentVolumeClaim](w.store, "data").DeletionTimestamp)
	require.NotNil(t, get[*corev1.Pod](w.store, "pod").DeletionTimestamp)
	w.platform.elapse(10 * tick)
	require.Empty(t, w.objs)
}

func TestAnEvictionIsChargedToItsBudget(t *testing.T) {
	w := newWorld()
	of := map[string]string{"app": "x"}
	for _, name := range []string{"a", "b"} {
		_, err := w.create(&appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: of}, Spec: appsv1.StatefulSetSpec{Replicas: ptr.To(int32(1))}})
		require.NoError(t, err)
		_, err = w.create(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name + "-0", Labels: of}, Status: corev1.PodStatus{
			Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
		}})
		require.NoError(t, err)
	}
	_, err := w.create(&policyv1.PodDisruptionBudget{ObjectMeta: metav1.ObjectMeta{Name: "budget"}, Spec: policyv1.PodDisruptionBudgetSpec{
		Selector: &metav1.LabelSelector{MatchLabels: of}, MaxUnavailable: ptr.To(intstr.FromInt32(1)),
	}})
	require.NoError(t, err)
	require.Contains(t, w.evictable(key{"Pod", "a-0"}, nil), "observed")
	w.budgets()
	require.Empty(t, w.evictable(key{"Pod", "a-0"}, nil))
	require.Contains(t, w.evictable(key{"Pod", "b-0"}, nil), "no disruption")
}
