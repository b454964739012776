package controllers

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
)

// TestAnOlderOperatorsFilesStayWhileNothingElseChanges: live settings stood in them, and moving those restarts nobody.
func TestAnOlderOperatorsFilesStayWhileNothingElseChanges(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(*v1alpha1.KRaftCluster)
		stays  bool
	}{
		{name: "nothing else", stays: true},
		{name: "a live setting's value", stays: true, change: func(c *v1alpha1.KRaftCluster) { c.Spec.Config["min.insync.replicas"] = "1" }},
		{name: "another live setting", stays: true, change: func(c *v1alpha1.KRaftCluster) { c.Spec.Config["log.retention.ms"] = "1" }},
		{name: "the live setting leaves the spec", change: func(c *v1alpha1.KRaftCluster) { c.Spec.Config = nil }},
		{name: "a static setting", change: func(c *v1alpha1.KRaftCluster) { c.Spec.Config["num.partitions"] = "2" }},
		{name: "the template", change: func(c *v1alpha1.KRaftCluster) { c.Spec.Brokers.Template.Labels = map[string]string{"a": "b"} }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := fixture(nil)
			n := before.nodes[3]
			old := before.configMap(n)
			old.Name = n.name + "-older"
			old.Data[configFile] += "min.insync.replicas=2\n"
			s := fixture(tc.change)
			s.sets = map[string]*appsv1.StatefulSet{n.name: before.statefulSet(n, old.Name)}
			r := &Reconciler{Client: knownMaps{cms: map[string]*corev1.ConfigMap{old.Name: old}}}
			got, err := r.settingsFor(t.Context(), s, s.nodes[3])
			require.NoError(t, err)
			if tc.stays {
				require.Equal(t, old.Name, got.Name)
				require.Equal(t, s.sets[n.name].Spec.Template, s.statefulSet(s.nodes[3], got.Name).Spec.Template)
				return
			}
			require.Equal(t, s.configMap(s.nodes[3]).Name, got.Name)
			require.False(t, strings.Contains(got.Data[configFile], "min.insync.replicas"))
		})
	}
}
