package broker

import "github.com/prometheus/client_golang/prometheus"

// metrics of the requests that a broker serves.
type metrics struct {
	requests         *prometheus.CounterVec
	bytesOut         *prometheus.CounterVec
	produce, fetched prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) *metrics {
	buckets := []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5, 30}
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "kraft", Subsystem: "broker", Name: "requests_total", Help: "Requests on broker listeners, by API.",
		}, []string{"api"}),
		bytesOut: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "kraft", Subsystem: "broker", Name: "fetched_bytes_total", Help: "Bytes of records in fetch answers, by reader (consumer or follower).",
		}, []string{"reader"}),
		produce: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "kraft", Subsystem: "broker", Name: "produce_seconds", Help: "Time from a produce request's arrival to its answer.", Buckets: buckets,
		}),
		fetched: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "kraft", Subsystem: "broker", Name: "consumer_fetch_seconds", Help: "Time from a consumer's fetch to its answer, waiting included.", Buckets: buckets,
		}),
	}
	if reg != nil {
		reg.MustRegister(m.requests, m.bytesOut, m.produce, m.fetched)
	}
	return m
}
