package controllers

import (
	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
)

// Metrics of the operator, beside controller-runtime's own (reconciles, errors, queue).
type Metrics struct {
	restarts *prometheus.CounterVec
	clusters *prometheus.GaugeVec
}

// NewMetrics registers the metrics.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	m := &Metrics{
		restarts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "kraft", Subsystem: "operator", Name: "node_restarts_total",
			Help: "Pods taken down by a roll, by how: evict or delete.",
		}, []string{"how"}),
		clusters: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Namespace: "kraft", Subsystem: "operator", Name: "cluster_condition",
			Help: "1 when the condition of the cluster is True, else 0.",
		}, []string{"namespace", "name", "type"}),
	}
	reg.MustRegister(m.restarts, m.clusters)
	return m
}

func (m *Metrics) restarted(how string) { m.restarts.WithLabelValues(how).Inc() }

// report sets the gauges of a cluster's conditions.
func (m *Metrics) report(c *v1alpha1.KRaftCluster) {
	for _, k := range c.Status.Conditions {
		v := 0.0
		if k.Status == metav1.ConditionTrue {
			v = 1
		}
		m.clusters.WithLabelValues(c.Namespace, c.Name, k.Type).Set(v)
	}
}

// forget drops the gauges of a cluster that is gone.
func (m *Metrics) forget(namespace, name string) {
	m.clusters.DeletePartialMatch(prometheus.Labels{"namespace": namespace, "name": name})
}
