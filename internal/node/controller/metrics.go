package controller

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kraft-dev/kraft-operator/internal/node/raft"
)

// metrics are written by the loop and read by scrapes.
type metrics struct {
	activeController  prometheus.Gauge
	currentEpoch      prometheus.Gauge
	lastCommitted     prometheus.Gauge
	lastTimestamp     prometheus.Gauge
	brokers           *prometheus.GaugeVec
	topics            prometheus.Gauge
	partitions        prometheus.Gauge
	offlinePartitions prometheus.Gauge
	imbalanced        prometheus.Gauge
	waiting           prometheus.Gauge
	records           prometheus.Counter
	faults            prometheus.Counter
	timedOut          prometheus.Counter
	queueSeconds      prometheus.Histogram
	eventSeconds      prometheus.Histogram
	commitSeconds     prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) *metrics {
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "kraft", Subsystem: "controller", Name: name, Help: help}
	}
	gauge := func(name, help string) prometheus.Gauge {
		return prometheus.NewGauge(prometheus.GaugeOpts(opts(name, help)))
	}
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts(opts(name, help)))
	}
	histogram := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "kraft", Subsystem: "controller", Name: name, Help: help,
			Buckets: []float64{.0001, .0005, .001, .005, .01, .025, .05, .1, .25, .5, 1, 5}})
	}
	m := &metrics{
		activeController:  gauge("active_controller", "1 on the active controller, 0 on a standby."),
		currentEpoch:      gauge("leader_epoch", "Leader epoch of the metadata log that this controller knows."),
		lastCommitted:     gauge("last_committed_offset", "Offset of the last committed record that this controller applied."),
		lastTimestamp:     gauge("last_committed_timestamp_seconds", "Append time of the batch of the last committed record, as Unix time."),
		brokers:           prometheus.NewGaugeVec(prometheus.GaugeOpts(opts("brokers", "Registered brokers by state: active, fenced or shutting_down.")), []string{"state"}),
		topics:            gauge("topics", "Topics."),
		partitions:        gauge("partitions", "Partitions of all topics."),
		offlinePartitions: gauge("offline_partitions", "Partitions without a leader."),
		imbalanced:        gauge("preferred_replica_imbalance", "Partitions led by another than their first replica."),
		waiting:           gauge("waiting_operations", "Operations that wait for their records to be committed."),
		records:           counter("records_total", "Records appended by this controller while active."),
		faults:            counter("faults_total", "Faults that cost this controller its leadership."),
		timedOut:          counter("timed_out_requests_total", "Requests that waited too long for their turn."),
		queueSeconds:      histogram("queue_seconds", "How long requests waited for their turn."),
		eventSeconds:      histogram("event_seconds", "How long one event was worked on."),
		commitSeconds:     histogram("commit_seconds", "How long it took from a write's turn to its answer."),
	}
	if reg != nil {
		reg.MustRegister(m.activeController, m.currentEpoch, m.lastCommitted, m.lastTimestamp, m.brokers, m.topics, m.partitions,
			m.offlinePartitions, m.imbalanced, m.waiting, m.records, m.faults, m.timedOut, m.queueSeconds, m.eventSeconds, m.commitSeconds)
	}
	return m
}

func (m *metrics) active(on bool) {
	v := 0.0
	if on {
		v = 1
	}
	m.activeController.Set(v)
}

func (m *metrics) leader(l raft.LeaderAndEpoch) { m.currentEpoch.Set(float64(l.Epoch)) }

func (m *metrics) committed(offset, timestampMs int64) {
	m.lastCommitted.Set(float64(offset))
	m.lastTimestamp.Set(float64(timestampMs) / 1000)
}

// state sets what is counted from the committed state.
func (m *metrics) state(s *state, waiting int) {
	counts := map[string]float64{"active": 0, "fenced": 0, "shutting_down": 0}
	for _, b := range s.img.Brokers() {
		switch {
		case b.Fenced:
			counts["fenced"]++
		case b.InControlledShutdown:
			counts["shutting_down"]++
		default:
			counts["active"]++
		}
	}
	for state, n := range counts {
		m.brokers.WithLabelValues(state).Set(n)
	}
	m.topics.Set(float64(s.img.TopicCount()))
	m.partitions.Set(float64(s.img.PartitionCount()))
	m.offlinePartitions.Set(float64(s.img.LeaderlessCount()))
	m.imbalanced.Set(float64(s.imbalanced.Len()))
	m.waiting.Set(float64(waiting))
}
