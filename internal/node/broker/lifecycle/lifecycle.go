// Package lifecycle registers a broker with the active controller, sends its heartbeats and shuts it down in order
// (KIP-631, KIP-841, KIP-1073).
//
// States go one way: Starting (registering, catching up with the metadata log), Recovery (logs are opened, not ready to be
// unfenced), Running (unfenced at least once), ControlledShutdown, Stopped. One request is in flight at a time.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/node/rpc"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// State of the broker as it sees itself. The numbers are Kafka's BrokerState.
type State int8

const (
	NotRunning         State = 0
	Starting           State = 1
	Recovery           State = 2
	Running            State = 3
	ControlledShutdown State = 6
	Stopped            State = 7
)

func (s State) String() string {
	switch s {
	case NotRunning:
		return "NOT_RUNNING"
	case Starting:
		return "STARTING"
	case Recovery:
		return "RECOVERY"
	case Running:
		return "RUNNING"
	case ControlledShutdown:
		return "PENDING_CONTROLLED_SHUTDOWN"
	}
	return "SHUTTING_DOWN"
}

// Listener is an advertised endpoint.
type Listener struct {
	Name             string
	Host             string
	Port             uint16
	SecurityProtocol int16 // 0 PLAINTEXT, 1 SSL, 2 SASL_PLAINTEXT, 3 SASL_SSL
}

// Feature is a supported range of levels.
type Feature struct {
	Name     string
	Min, Max int16
}

// Config is what a broker says of itself when it registers. Zero durations take the defaults beside them.
type Config struct {
	NodeID      int32
	ClusterID   string
	Incarnation uuid.UUID // new for each process
	Listeners   []Listener
	Features    []Feature // every supported one, metadata.version too
	Rack        *string
	LogDirs     []uuid.UUID // directory ids, sorted
	// PreviousEpoch is the broker epoch in the clean shutdown marker, -1 after an unclean stop.
	PreviousEpoch int64

	HeartbeatInterval   time.Duration // broker.heartbeat.interval.ms: 2 s
	RegistrationTimeout time.Duration // initial.broker.registration.timeout.ms: 60 s
	SessionTimeout      time.Duration // broker.session.timeout.ms: 9 s
}

// Controller asks the active controller.
type Controller interface {
	Do(ctx context.Context, req kmsg.Request, opts ...rpc.Option) (kmsg.Response, error)
}

const (
	soon          = 10 * time.Millisecond  // between heartbeats while catching up
	shutdownFirst = 50 * time.Millisecond  // first repetition in controlled shutdown, doubled up to the interval
	registerRetry = 500 * time.Millisecond // after a refused registration
	neverEpoch    = -1
)

// ErrRegistration wraps the reason why this broker could not register in time. The process ends.
var ErrRegistration = errors.New("broker could not register with the controller")

// Manager runs one broker's lifecycle.
type Manager struct {
	cfg        Config
	controller Controller
	offset     func() int64 // last applied metadata offset
	logger     *slog.Logger

	wake     chan struct{} // capacity 1: heartbeat now
	caughtUp chan struct{}
	unfenced chan struct{}
	shutdown chan struct{} // closed: wantShutDown
	done     chan struct{} // closed when Run returns

	mu       sync.Mutex
	state    State
	epoch    int64
	fenced   bool
	ready    bool // ready to be unfenced
	stopping bool
}

// New makes a manager. metadataOffset is the offset of the last record whose image was published (-1: none).
func New(cfg Config, controller Controller, metadataOffset func() int64, logger *slog.Logger) *Manager {
	cfg.HeartbeatInterval = orDefault(cfg.HeartbeatInterval, 2*time.Second)
	cfg.RegistrationTimeout = orDefault(cfg.RegistrationTimeout, time.Minute)
	cfg.SessionTimeout = orDefault(cfg.SessionTimeout, 9*time.Second)
	return &Manager{
		cfg: cfg, controller: controller, offset: metadataOffset, logger: logger,
		wake: make(chan struct{}, 1), caughtUp: make(chan struct{}), unfenced: make(chan struct{}),
		shutdown: make(chan struct{}), done: make(chan struct{}),
		epoch: neverEpoch, fenced: true,
	}
}

func orDefault(d, def time.Duration) time.Duration {
	if d <= 0 {
		return def
	}
	return d
}

// State is where the broker stands.
func (m *Manager) State() State {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.state
}

// Epoch is the broker epoch of this registration, -1 before there is one.
func (m *Manager) Epoch() int64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.epoch
}

// Fenced is what the last heartbeat's answer said; true before the first.
func (m *Manager) Fenced() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.fenced
}

// CaughtUp is closed when the broker has applied the metadata up to its own registration.
func (m *Manager) CaughtUp() <-chan struct{} { return m.caughtUp }

// Unfenced is closed when the controller has unfenced this broker for the first time.
func (m *Manager) Unfenced() <-chan struct{} { return m.unfenced }

// Done is closed when the lifecycle has ended.
func (m *Manager) Done() <-chan struct{} { return m.done }

// SetReadyToUnfence says that logs are recovered and requests can be served.
func (m *Manager) SetReadyToUnfence() {
	m.mu.Lock()
	m.ready = true
	m.mu.Unlock()
	m.Wake()
}

// Wake sends a heartbeat now rather than at the next interval.
func (m *Manager) Wake() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// BeginControlledShutdown asks the controller to move this broker's leaderships away. Done is closed when it has, when it
// refuses, or when Run's context ends.
func (m *Manager) BeginControlledShutdown() {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.stopping {
		m.stopping = true
		close(m.shutdown)
	}
}

// Run registers and sends heartbeats until ctx ends or a controlled shutdown is granted.
//
// Errors: ErrRegistration with the last refusal; nil after a shutdown or when ctx ends.
func (m *Manager) Run(ctx context.Context) error {
	defer close(m.done)
	defer m.setState(Stopped)
	m.setState(Starting)
	if err := m.register(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	m.beat(ctx)
	return nil
}

func (m *Manager) setState(s State) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.state != s {
		m.logger.Info("Broker state", "from", m.state.String(), "to", s.String())
		m.state = s
	}
}

// register asks until it is accepted, at most RegistrationTimeout. A live session of this broker's previous process
// (DUPLICATE_BROKER_REGISTRATION) ends by itself within broker.session.timeout.ms.
func (m *Manager) register(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.RegistrationTimeout)
	defer cancel()
	shutdown := m.shutdown
	var last error
	for {
		epoch, err := m.registerOnce(ctx)
		if err == nil {
			m.mu.Lock()
			m.epoch = epoch
			m.mu.Unlock()
			m.logger.Info("Registered", "brokerEpoch", epoch, "incarnation", m.cfg.Incarnation.String())
			return nil
		}
		if ctx.Err() == nil || last == nil {
			last = err
		}
		m.logger.Info("Registration was refused", "cause", err)
		timer := time.NewTimer(min(registerRetry, m.cfg.HeartbeatInterval))
		select {
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("%w within %v: %w", ErrRegistration, m.cfg.RegistrationTimeout, last)
		case <-shutdown:
			timer.Stop()
			return fmt.Errorf("%w: shutting down: %w", ErrRegistration, last)
		case <-timer.C:
		}
	}
}

func (m *Manager) registerOnce(ctx context.Context) (epoch int64, err error) {
	req := kmsg.NewPtrBrokerRegistrationRequest()
	req.BrokerID, req.ClusterID, req.IncarnationID = m.cfg.NodeID, m.cfg.ClusterID, m.cfg.Incarnation
	req.Rack, req.PreviousBrokerEpoch = m.cfg.Rack, m.cfg.PreviousEpoch
	for _, l := range m.cfg.Listeners {
		req.Listeners = append(req.Listeners, kmsg.BrokerRegistrationRequestListener{
			Name: l.Name, Host: l.Host, Port: l.Port, SecurityProtocol: l.SecurityProtocol,
		})
	}
	for _, f := range m.cfg.Features {
		req.Features = append(req.Features, kmsg.BrokerRegistrationRequestFeature{
			Name: f.Name, MinSupportedVersion: f.Min, MaxSupportedVersion: f.Max,
		})
	}
	for _, d := range m.cfg.LogDirs {
		req.LogDirs = append(req.LogDirs, d)
	}
	resp, err := m.controller.Do(ctx, req)
	if err != nil {
		return 0, err
	}
	r, ok := resp.(*kmsg.BrokerRegistrationResponse)
	if !ok {
		return 0, fmt.Errorf("registration answered with %T", resp)
	}
	return r.BrokerEpoch, kerr.ErrorForCode(r.ErrorCode)
}

// beat sends heartbeats until the controller grants a shutdown or ctx ends.
func (m *Manager) beat(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	shutdown, repeat := m.shutdown, shutdownFirst
	for {
		select {
		case <-ctx.Done():
			return
		case <-shutdown:
			shutdown = nil
			m.setState(ControlledShutdown)
		case <-m.wake:
		case <-timer.C:
		}
		next, over := m.heartbeat(ctx, shutdown == nil)
		if over {
			return
		}
		if shutdown == nil {
			next = min(repeat, m.cfg.HeartbeatInterval)
			repeat *= 2
		}
		timer.Reset(next)
	}
}

// heartbeat sends one heartbeat and applies its answer. It returns the time to the next one, and whether the controller
// granted the shutdown.
func (m *Manager) heartbeat(ctx context.Context, wantShutdown bool) (next time.Duration, over bool) {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.SessionTimeout/2)
	defer cancel()
	m.mu.Lock()
	req := kmsg.NewPtrBrokerHeartbeatRequest()
	req.BrokerID, req.BrokerEpoch = m.cfg.NodeID, m.epoch
	req.WantFence, req.WantShutdown = !m.ready, wantShutdown
	m.mu.Unlock()
	req.CurrentMetadataOffset = m.offset()
	resp, err := m.controller.Do(ctx, req)
	if err == nil {
		if r, ok := resp.(*kmsg.BrokerHeartbeatResponse); !ok {
			err = fmt.Errorf("heartbeat answered with %T", resp)
		} else if err = kerr.ErrorForCode(r.ErrorCode); err == nil {
			return m.answered(r), r.ShouldShutdown && wantShutdown
		}
	}
	m.logger.Warn("Heartbeat failed", "cause", err)
	return m.cfg.HeartbeatInterval, false
}

// answered moves the state on by a heartbeat's answer.
func (m *Manager) answered(r *kmsg.BrokerHeartbeatResponse) (next time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fenced != r.IsFenced {
		m.logger.Info("Fencing changed", "fenced", r.IsFenced)
	}
	m.fenced = r.IsFenced
	next = m.cfg.HeartbeatInterval
	if m.state == Starting {
		if !r.IsCaughtUp {
			return min(soon, next)
		}
		m.state = Recovery
		close(m.caughtUp)
	}
	if m.state == Recovery {
		if m.ready && !r.IsFenced {
			m.state = Running
			close(m.unfenced)
		} else if m.ready {
			return min(soon, next)
		}
	}
	return next
}
