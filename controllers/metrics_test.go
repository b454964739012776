package controllers

import (
	"context"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
)

// nothing is an API in which no cluster stands.
type nothing struct{ client.Reader }

func (nothing) Get(_ context.Context, key client.ObjectKey, _ client.Object, _ ...client.GetOption) error {
	return apierrors.NewNotFound(schema.GroupResource{Group: "kraft.dev", Resource: "kraftclusters"}, key.Name)
}

// conditionGauges reads kraft_operator_cluster_condition as cluster and type to value.
func conditionGauges(t *testing.T, reg prometheus.Gatherer) map[string]float64 {
	families, err := reg.Gather()
	require.NoError(t, err)
	out := map[string]float64{}
	for _, f := range families {
		if f.GetName() != "kraft_operator_cluster_condition" {
			continue
		}
		for _, m := range f.GetMetric() {
			labels := map[string]string{}
			for _, l := range m.GetLabel() {
				labels[l.GetName()] = l.GetValue()
			}
			out[labels["namespace"]+"/"+labels["name"]+" "+labels["type"]] = m.GetGauge().GetValue()
		}
	}
	return out
}

func TestConditionsAreAMetricUntilTheClusterIsGone(t *testing.T) {
	reg := prometheus.NewRegistry()
	r := &Reconciler{Live: nothing{}, Metrics: NewMetrics(reg)}
	report := func(name string, ready bool) {
		s := &scope{cluster: &v1alpha1.KRaftCluster{}}
		s.cluster.Namespace, s.cluster.Name = "ns", name
		s.setCondition(v1alpha1.ConditionReady, ready, "Test", "")
		s.setCondition(v1alpha1.ConditionStalled, !ready, "Test", "")
		r.Metrics.report(s.cluster)
	}
	require.Empty(t, conditionGauges(t, reg))
	report("a", false)
	report("b", true)
	require.Equal(t, map[string]float64{"ns/a Ready": 0, "ns/a Stalled": 1, "ns/b Ready": 1, "ns/b Stalled": 0}, conditionGauges(t, reg))
	report("a", true)
	require.Equal(t, map[string]float64{"ns/a Ready": 1, "ns/a Stalled": 0, "ns/b Ready": 1, "ns/b Stalled": 0}, conditionGauges(t, reg))

	_, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "ns", Name: "a"}})
	require.NoError(t, err)
	require.Equal(t, map[string]float64{"ns/b Ready": 1, "ns/b Stalled": 0}, conditionGauges(t, reg))
}
