package snapshots

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are Kafka's SnapshotEmitter metrics, and what failed.
type metrics struct {
	bytes  prometheus.Gauge
	failed prometheus.Counter
	at     atomic.Int64 // Unix nanoseconds of the latest, 0 for none since the start
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		bytes: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "kraft", Subsystem: "snapshot", Name: "latest_generated_bytes",
			Help: "Size of the latest snapshot of the metadata that this node made since it started, 0 for none."}),
		failed: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "kraft", Subsystem: "snapshot", Name: "failed_total",
			Help: "Snapshots of the metadata that could not be written."}),
	}
	age := prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "kraft", Subsystem: "snapshot", Name: "latest_generated_age_seconds",
		Help: "Age of the latest snapshot that this node made since it started, NaN for none."}, m.age)
	if reg != nil {
		reg.MustRegister(m.bytes, m.failed, age)
	}
	return m
}

func (m *metrics) generated(size int64) {
	m.bytes.Set(float64(size))
	m.at.Store(time.Now().UnixNano())
}

func (m *metrics) age() float64 {
	at := m.at.Load()
	if at == 0 {
		return math.NaN()
	}
	return time.Since(time.Unix(0, at)).Seconds()
}
