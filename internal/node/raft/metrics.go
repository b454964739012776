package raft

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
)

// metrics of the quorum, by the names of Kafka's raft-metrics.
type metrics struct {
	append, commit prometheus.Histogram
	requests       *prometheus.CounterVec
	fetches        prometheus.Counter // of requests: the others are rare
}

func (m *metrics) request(key int16) {
	if key == fetchKey {
		m.fetches.Inc()
		return
	}
	m.requests.WithLabelValues(kmsg.NameForKey(key)).Inc()
}

func newMetrics(reg prometheus.Registerer, d *Driver) *metrics {
	buckets := prometheus.ExponentialBuckets(0.0001, 2, 16)
	histogram := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(prometheus.HistogramOpts{Namespace: "kraft", Subsystem: "raft", Name: name, Help: help, Buckets: buckets})
	}
	m := &metrics{
		append:   histogram("append_seconds", "Time to write records to the metadata log, without fsync."),
		commit:   histogram("commit_seconds", "Time from preparing records to their commit, on the leader."),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "kraft", Subsystem: "raft", Name: "requests_total", Help: "Requests of the quorum's RPCs, by API."}, []string{"api"}),
	}
	m.fetches = m.requests.WithLabelValues(kmsg.NameForKey(fetchKey))
	if reg == nil {
		return m
	}
	gauge := func(name, help string, value func(quorum.Status) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "kraft", Subsystem: "raft", Name: name, Help: help}, func() float64 { return value(d.Status()) })
	}
	offset := func(name, help string, value func() int64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "kraft", Subsystem: "raft", Name: name, Help: help}, func() float64 { return float64(value()) })
	}
	reg.MustRegister(m.append, m.commit, m.requests,
		gauge("current_state", "0 unattached, 1 prospective, 2 candidate, 3 leader, 4 follower, 5 resigned.", func(s quorum.Status) float64 { return float64(s.Role) }),
		gauge("current_epoch", "Leader epoch.", func(s quorum.Status) float64 { return float64(s.Epoch) }),
		gauge("current_leader", "Node id of the leader, -1 if none is known.", func(s quorum.Status) float64 { return float64(s.LeaderID) }),
		gauge("voter", "1 if this replica is in the newest voter set.", func(s quorum.Status) float64 { return oneIf(s.Voter) }),
		gauge("voters", "Size of the newest voter set.", func(s quorum.Status) float64 { return float64(s.Voters.Len()) }),
		gauge("high_watermark", "Exclusive end of what is known to be committed, -1 if not known.", func(s quorum.Status) float64 { return float64(s.HighWatermark) }),
		gauge("log_end_offset", "Exclusive end of the metadata log.", func(s quorum.Status) float64 { return float64(s.LogEndOffset) }),
		offset("log_start_offset", "Where the metadata log begins: what lay below is in a snapshot.", d.disk.StartOffset),
		offset("latest_snapshot_end_offset", "Exclusive end of the newest snapshot on this disk, 0 if there is none.", d.deliver.newestEnd),
		gauge("damaged_snapshots", "How often in a row the leader's snapshot has arrived damaged; above 2 the leader's copy is: hand over and replace that replica.",
			func(s quorum.Status) float64 { return float64(s.DamagedSnapshots) }),
		gauge("uncommitted_offsets", "Log end offset minus high watermark.", func(s quorum.Status) float64 { return float64(s.LogEndOffset - max(s.HighWatermark, 0)) }),
	)
	return m
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
