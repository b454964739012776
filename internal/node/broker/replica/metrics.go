package replica

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/kraft-dev/kraft-operator/internal/node/broker/partition"
)

// metrics of a broker's partitions. The gauges are counted when they are asked for.
type metrics struct {
	bytesIn, replicated                  prometheus.Counter
	isrExpands, isrShrinks, isrFailed    prometheus.Counter
	failedFetches                        prometheus.Counter
	partitions, leaders, under, underMin *prometheus.Desc
	atMin                                *prometheus.Desc
	m                                    *Manager
}

func newMetrics(m *Manager, reg prometheus.Registerer) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "kraft", Subsystem: "broker", Name: name, Help: help})
	}
	gauge := func(name, help string) *prometheus.Desc {
		return prometheus.NewDesc("kraft_broker_"+name, help, nil, nil)
	}
	x := &metrics{
		bytesIn:       counter("log_appended_bytes_total", "Bytes that this broker appended as a leader."),
		replicated:    counter("log_replicated_bytes_total", "Bytes that this broker appended as a follower."),
		isrExpands:    counter("isr_expands_total", "ISR expansions of partitions that this broker leads."),
		isrShrinks:    counter("isr_shrinks_total", "ISR shrinks of partitions that this broker leads."),
		isrFailed:     counter("isr_updates_failed_total", "ISR changes that the controller refused."),
		failedFetches: counter("follower_failures_total", "Failures of followers for reasons of this broker's own."),
		partitions:    gauge("partitions_count", "Replicas on this broker."),
		leaders:       gauge("leaders_count", "Partitions that this broker leads."),
		under:         gauge("under_replicated_partitions_count", "Led partitions whose ISR is smaller than their replica set."),
		underMin:      gauge("under_min_isr_partitions_count", "Led partitions whose ISR is smaller than min.insync.replicas."),
		atMin:         gauge("at_min_isr_partitions_count", "Led partitions whose ISR has exactly min.insync.replicas members."),
		m:             m,
	}
	if reg != nil {
		reg.MustRegister(x.bytesIn, x.replicated, x.isrExpands, x.isrShrinks, x.isrFailed, x.failedFetches, x)
	}
	return x
}

// Describe names the gauges.
func (x *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{x.partitions, x.leaders, x.under, x.underMin, x.atMin} {
		ch <- d
	}
}

// Collect counts the partitions.
func (x *metrics) Collect(ch chan<- prometheus.Metric) {
	var all, leaders, under, underMin, atMin float64
	for _, p := range x.m.all() {
		all++
		p.mu.Lock()
		if p.state.Role() == partition.Leader {
			leaders++
			isr, need := len(p.state.ISR()), p.state.EffectiveMinISR(p.config.MinISR)
			if isr < len(p.state.Replicas()) {
				under++
			}
			if isr < need {
				underMin++
			} else if isr == need && need < len(p.state.Replicas()) {
				atMin++
			}
		}
		p.mu.Unlock()
	}
	for d, v := range map[*prometheus.Desc]float64{x.partitions: all, x.leaders: leaders, x.under: under, x.underMin: underMin, x.atMin: atMin} {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v)
	}
}
