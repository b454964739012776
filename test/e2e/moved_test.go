//go:build e2e

package e2e_test

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// move takes the claims to another namespace, by binding their volumes to new ones, and makes the cluster there, with every pod's name changed at
// once. What follows plays there.
func move(t *testing.T) {
	settled(t)
	b := startLoad(t, "moved")
	b.flow()
	b.finish("before the cluster is moved")
	id, spec := field(t, "{.status.clusterID}"), map[string]any{}
	require.NoError(t, json.Unmarshal([]byte(k(t, "get", "kraftcluster", cluster, "-o", `jsonpath={.spec}`)), &spec))
	began := time.Now()
	k(t, "delete", "kraftcluster", cluster, "--wait")
	eventually(t, "the pods are gone", time.Minute, func() bool { return len(pods(t)) == 0 })
	var claims corev1.PersistentVolumeClaimList
	require.NoError(t, json.Unmarshal([]byte(k(t, "get", "pvc", "-o", "json")), &claims))
	require.NotEmpty(t, claims.Items)
	from := namespace
	namespace += "-moved"
	createNamespace(t)
	for _, c := range claims.Items {
		kubectl(t, "patch", "pv", c.Spec.VolumeName, "-p", `{"spec":{"persistentVolumeReclaimPolicy":"Retain"}}`)
		kubectl(t, "-n", from, "delete", "pvc", c.Name, "--wait")
		kubectl(t, "patch", "pv", c.Spec.VolumeName, "-p", `{"spec":{"claimRef":null}}`)
		apply(t, string(rebound(t, c)), "-n", namespace)
	}
	create := func() {
		yaml, err := json.Marshal(spec)
		require.NoError(t, err)
		applySpec(t, string(yaml))
	}
	create()
	eventually(t, "claims of another namespace are refused", time.Minute, func() bool {
		return strings.Contains(field(t, `{.status.conditions[?(@.type=="Ready")].message}`), from+"/"+cluster)
	})
	require.Empty(t, pods(t))
	spec["adopt"] = map[string]any{"clusterID": id}
	create()
	settled(t)
	require.Equal(t, id, field(t, "{.status.clusterID}"), "it is the same cluster")
	b.readAgain("moved to another namespace over its claims", time.Since(began))
	patch(t, `{"spec":{"adopt":null}}`)
	settled(t)
}

// rebound is a claim of the same name, labels and kraft.dev annotations that asks for the same volume.
func rebound(t *testing.T, c corev1.PersistentVolumeClaim) []byte {
	maps.DeleteFunc(c.Annotations, func(key, _ string) bool { return !strings.HasPrefix(key, "kraft.dev/") })
	out, err := json.Marshal(corev1.PersistentVolumeClaim{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolumeClaim"},
		ObjectMeta: metav1.ObjectMeta{Name: c.Name, Labels: c.Labels, Annotations: c.Annotations},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: c.Spec.AccessModes, Resources: c.Spec.Resources, VolumeName: c.Spec.VolumeName,
			StorageClassName: c.Spec.StorageClassName, VolumeMode: c.Spec.VolumeMode,
		},
	})
	require.NoError(t, err)
	return out
}
