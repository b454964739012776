package server

import (
	"errors"
	"reflect"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Why a connection ended: the values of label reason.
const (
	closedByPeer    = "peer"
	closedIdle      = "idle"
	closedBadInput  = "bad_input"
	closedByHandler = "handler"
	closedNetwork   = "network"
	closedLimit     = "limit"
	closedShutdown  = "shutdown"
)

// metrics are shared by all servers on one registry. All labels are bounded by configuration
// or by the table of APIs.
type metrics struct {
	requests, failures *prometheus.CounterVec
	duration           *prometheus.HistogramVec
	inFlight           *prometheus.GaugeVec
	connections        *prometheus.GaugeVec
	accepted, ended    *prometheus.CounterVec
	received, sent     *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "kraft", Subsystem: "server", Name: name, Help: help}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "kraft", Subsystem: "server", Name: name, Help: help}, labels)
	}
	m := &metrics{
		requests: counter("requests_total", "Requests answered.", "listener", "api"),
		failures: counter("request_errors_total", "Requests answered with a top-level error code.", "listener", "api", "error"),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: "kraft", Subsystem: "server", Name: "request_duration_seconds",
			Help:    "From a request's arrival until its answer was handed to the kernel, waiting included.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5},
		}, []string{"listener", "api"}),
		inFlight:    gauge("requests_in_flight", "Requests not answered yet.", "listener"),
		connections: gauge("connections", "Open connections.", "listener"),
		accepted:    counter("connections_accepted_total", "Connections accepted.", "listener"),
		ended:       counter("connections_closed_total", "Connections closed, by reason.", "listener", "reason"),
		received:    counter("received_bytes_total", "Bytes of requests read.", "listener"),
		sent:        counter("sent_bytes_total", "Bytes of answers written.", "listener"),
	}
	if reg == nil {
		return m, nil
	}
	return m, errors.Join(register(reg, &m.requests), register(reg, &m.failures), register(reg, &m.duration),
		register(reg, &m.inFlight), register(reg, &m.connections), register(reg, &m.accepted),
		register(reg, &m.ended), register(reg, &m.received), register(reg, &m.sent))
}

// register puts c into the registry, or takes the one that another server put there.
func register[C prometheus.Collector](reg prometheus.Registerer, c *C) error {
	err := reg.Register(*c)
	var there prometheus.AlreadyRegisteredError
	if errors.As(err, &there) {
		if existing, ok := there.ExistingCollector.(C); ok {
			*c = existing
			return nil
		}
	}
	return err
}

// listenerMetrics are resolved once, so that a request costs no label look-up.
type listenerMetrics struct {
	name        string
	all         *metrics
	inFlight    prometheus.Gauge
	connections prometheus.Gauge
	accepted    prometheus.Counter
	received    prometheus.Counter
	sent        prometheus.Counter
	apis        [maxKey]atomic.Pointer[apiMetrics]
}

type apiMetrics struct {
	requests prometheus.Counter
	duration prometheus.Observer
}

func (m *metrics) listener(name string) *listenerMetrics {
	return &listenerMetrics{
		name: name, all: m,
		inFlight:    m.inFlight.WithLabelValues(name),
		connections: m.connections.WithLabelValues(name),
		accepted:    m.accepted.WithLabelValues(name),
		received:    m.received.WithLabelValues(name),
		sent:        m.sent.WithLabelValues(name),
	}
}

func (l *listenerMetrics) closed(reason string) {
	l.all.ended.WithLabelValues(l.name, reason).Inc()
}

// answered counts one request that ended, with its error code.
func (l *listenerMetrics) answered(key int16, code int16, took time.Duration) {
	a := l.apis[key].Load()
	if a == nil {
		name := kmsg.NameForKey(key)
		a = &apiMetrics{l.all.requests.WithLabelValues(l.name, name), l.all.duration.WithLabelValues(l.name, name)}
		l.apis[key].Store(a)
	}
	a.requests.Inc()
	a.duration.Observe(took.Seconds())
	if code != 0 {
		l.all.failures.WithLabelValues(l.name, kmsg.NameForKey(key), errorName(code)).Inc()
	}
}

func errorName(code int16) string {
	if err := kerr.TypedErrorForCode(code); err != nil {
		return err.Message
	}
	return strconv.Itoa(int(code))
}

// errorFields are where each response keeps its top-level error code: index+1, or -1.
var errorFields [maxKey]atomic.Int32

// errorCode is a response's top-level error code; 0 where it has none.
func errorCode(resp kmsg.Response) int16 {
	v := reflect.ValueOf(resp).Elem()
	at := &errorFields[resp.Key()]
	i := at.Load()
	if i == 0 {
		i = -1
		if f, ok := v.Type().FieldByName("ErrorCode"); ok && f.Type.Kind() == reflect.Int16 {
			i = int32(f.Index[0]) + 1
		}
		at.Store(i)
	}
	if i < 0 {
		return 0
	}
	return int16(v.Field(int(i - 1)).Int())
}
