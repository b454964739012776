package envtest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
	"github.com/kraft-dev/kraft-operator/internal/admin"
)

// TestBrokersOfAZoneRestartTogether: the first of a new template alone, then one zone after the other, with no
// partition under its minimum and the intent naming every pod.
func TestBrokersOfAZoneRestartTogether(t *testing.T) {
	w := newWorld(t)
	w.zones = 3
	for i := range int32(6) {
		w.partitions = append(w.partitions, admin.Partition{Topic: "t", Partition: i, Replicas: []int32{1000 + i, 1000 + (i+1)%6, 1000 + (i+2)%6}, MinISR: 2})
	}
	w.apply(strings.Replace(strings.Replace(base, "brokers: {replicas: 3", "brokers: {replicas: 6", 1), "spec:", "spec:\n  rolling: {maxUnavailable: 100%}", 1))
	w.await("demo", "Ready", is("Ready", "True"))
	w.takeStarted()
	w.edit("demo", func(c *v1alpha1.KRaftCluster) {
		c.Spec.Brokers.Template.Annotations = map[string]string{"example.com/restart": "1"}
	})
	seen := map[string]bool{}
	w.await("demo", "Ready after the roll", func(c *v1alpha1.KRaftCluster) bool {
		if d := c.Status.Doing; d != nil && len(d.Batch) > 0 {
			seen[d.What] = true
			for _, p := range d.Batch {
				require.NotEmpty(t, p.PodUID)
				require.Contains(t, d.Reason, "metadata.annotations.example.com/restart")
			}
		}
		return is("Ready", "True")(c) && c.Status.Pools[1].Updated == 6
	})
	order := w.takeStarted()
	require.Equal(t, "demo-broker-1000@kraft:1", order[0])
	require.Len(t, order, 6, "each once")
	require.Equal(t, 2, w.mostDown(), "a zone has two")
	require.True(t, seen["restart brokers 1001, 1004"] && seen["restart brokers 1002, 1005"], "%v", seen)
	w.awaitEvent("Restarting", "example.com/restart")

	var budget policyv1.PodDisruptionBudget
	require.NoError(t, kube.Get(t.Context(), client.ObjectKey{Namespace: w.ns, Name: "demo-brokers"}, &budget))
	require.Equal(t, intstr.FromInt32(1), *budget.Spec.MaxUnavailable, "open again")
}
