package controller

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/node/raft"
	"github.com/kraft-dev/kraft-operator/internal/node/server"
)

const (
	// maxQueuedRequests bounds what waits for the loop; past it the connections' readers wait.
	maxQueuedRequests = 1024
	// maxQueuedCommits bounds what the log has handed over and the loop hasn't taken.
	maxQueuedCommits = 64
	// requestsPerTurn is how many requests the loop takes before it looks at timers again.
	requestsPerTurn = 64
)

// Controller is the controller role of one node: active while its node leads the metadata log, else a standby that
// follows. It implements raft.Listener.
type Controller struct {
	cfg      Config
	core     *core // owned by Run
	sessions *sessions
	active   atomic.Bool
	stable   atomic.Pointer[state] // what is committed, at the end of the last event
	applied  atomic.Int64

	fromLog  chan func(now time.Time) error
	requests chan *server.Request
	done     chan struct{} // closed when Run ends
	// unregistered says that the log lacks this controller.
	unregistered chan struct{}
}

var _ raft.Listener = (*Controller)(nil)

// New checks the configuration. The caller registers the controller with the log and calls Run.
func New(cfg Config) (*Controller, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	c := &Controller{
		cfg:      cfg,
		core:     newCore(cfg, newMetrics(cfg.Registry)),
		fromLog:  make(chan func(time.Time) error, maxQueuedCommits),
		requests: make(chan *server.Request, maxQueuedRequests),
		done:     make(chan struct{}),

		unregistered: make(chan struct{}, 1),
	}
	c.sessions = c.core.sessions
	c.stable.Store(c.core.committed.stable())
	return c, nil
}

// Active says whether this node was the active controller at the end of the last event.
func (c *Controller) Active() bool { return c.active.Load() }

// Applied is the exclusive end of what of the metadata log this controller has taken in. Until it has everything, it can't take over.
func (c *Controller) Applied() int64 { return c.applied.Load() }

// HandleCommit implements raft.Listener.
func (c *Controller) HandleCommit(batches []raft.CommittedBatch) {
	c.post(func(time.Time) error { return c.core.commit(batches) })
}

// HandleLoadSnapshot implements raft.Listener.
func (c *Controller) HandleLoadSnapshot(r raft.SnapshotReader) {
	posted := c.post(func(time.Time) error {
		defer r.Close()
		return c.core.loadSnapshot(r)
	})
	if !posted {
		r.Close()
	}
}

// HandleLeaderChange implements raft.Listener.
func (c *Controller) HandleLeaderChange(l raft.LeaderAndEpoch) {
	c.post(func(now time.Time) error { return c.core.leaderChange(l, now) })
}

func (c *Controller) post(f func(time.Time) error) bool {
	select {
	case c.fromLog <- f:
		return true
	case <-c.done:
		return false
	}
}

// Handle takes one request of the controller listener that isn't the log's; any goroutine may call it. A full queue
// makes it wait, and with it that connection alone.
func (c *Controller) Handle(r *server.Request) {
	if env, ok := r.Body.(*kmsg.EnvelopeRequest); ok {
		who := access{c.cfg.Authorizer, subjectOf(r)}
		if op, _ := clusterOperation(env); !who.cluster(op) {
			r.Reply(errorResponse(env, errClusterAuthorization))
			return
		}
		inner, e := unwrap(r, env)
		if e != nil {
			c.cfg.Logger.Warn("Refusing an envelope", "remote", r.Conn.RemoteAddr, "err", e)
			r.Reply(errorResponse(env, e))
			return
		}
		if r = inner; c.cfg.Raft(r) {
			return
		}
	}
	if hb, ok := r.Body.(*kmsg.BrokerHeartbeatRequest); ok {
		c.contact(r, hb)
	}
	if resp := c.atOnce(r); resp != nil {
		r.Reply(resp)
		return
	}
	select {
	case c.requests <- r:
	case <-c.done:
		r.Reply(errorResponse(r.Body, errNotController))
		return
	}
	select {
	case <-c.done:
		c.refuseQueued() // the loop ended in between
	default:
	}
}

// atOnce answers what must not wait for the loop, which may be replaying a long log after a start; nil for anything else. Every connection
// begins with ApiVersions, those on which voters ask each other for votes too. And whoever looks for the active controller is to
// hear at once that it is elsewhere.
func (c *Controller) atOnce(r *server.Request) kmsg.Response {
	if req, ok := r.Body.(*kmsg.ApiVersionsRequest); ok {
		return apiVersions(c.stable.Load(), &c.cfg, req)
	}
	if c.active.Load() || c.cfg.Log.LeaderAndEpoch().LeaderID == c.cfg.NodeID || isRead(r.Body) || unsupported(r.Body) != nil {
		return nil
	}
	if op, needed := clusterOperation(r.Body); needed && !(access{c.cfg.Authorizer, subjectOf(r)}).cluster(op) {
		return nil
	}
	return errorResponse(r.Body, errNotController)
}

// contact counts a heartbeat from its arrival: a busy loop must not fence healthy brokers.
func (c *Controller) contact(r *server.Request, hb *kmsg.BrokerHeartbeatRequest) {
	op, _ := clusterOperation(hb)
	if c.active.Load() && (access{c.cfg.Authorizer, subjectOf(r)}).cluster(op) {
		c.sessions.touch(hb.BrokerID, hb.BrokerEpoch, c.cfg.Clock.Now())
	}
}

// Run owns the controller's state until ctx ends. Errors: a fault after which the node must not go on.
func (c *Controller) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	registered := make(chan struct{})
	defer func() {
		cancel()
		<-registered
		c.shutDown()
	}()
	go func() {
		defer close(registered)
		c.register(ctx, c.unregistered)
	}()
	for {
		timer := c.timer()
		err := c.turn(ctx, timer)
		if timer != nil {
			timer.Stop()
		}
		c.active.Store(c.core.active())
		c.stable.Store(c.core.committed.stable())
		c.applied.Store(c.core.applied)
		c.core.metrics.waiting.Set(float64(c.core.waiting.len()))
		if err == nil {
			err = c.core.fault
		}
		if err != nil {
			c.cfg.Logger.Error("Controller stops", "err", err)
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
	}
}

// timer fires when a task is due, nil if none is.
func (c *Controller) timer() *time.Timer {
	at := c.core.deadline()
	if at.IsZero() {
		return nil
	}
	return c.cfg.Clock.NewTimer(max(0, at.Sub(c.cfg.Clock.Now())))
}

// turn waits for one event and takes it. What the log says goes first: it answers those who wait longest, and ends a
// leadership before more is asked of it.
func (c *Controller) turn(ctx context.Context, timer *time.Timer) error {
	select {
	case f := <-c.fromLog:
		return c.fromLogEvent(f)
	default:
	}
	var due <-chan time.Time
	if timer != nil {
		due = timer.C
	}
	select {
	case <-ctx.Done():
		return nil
	case f := <-c.fromLog:
		return c.fromLogEvent(f)
	case <-due:
		c.core.tick(c.cfg.Clock.Now())
		c.core.metrics.state(c.core.committed.stable(), c.core.waiting.len())
		return nil
	case r := <-c.requests:
		c.request(r)
		for range requestsPerTurn {
			select {
			case r := <-c.requests:
				c.request(r)
			default:
				return nil
			}
			if len(c.fromLog) > 0 || c.core.fault != nil {
				return nil //nolint:nilerr // the fault is returned by Run
			}
		}
		return nil
	}
}

func (c *Controller) fromLogEvent(f func(time.Time) error) error {
	now := c.cfg.Clock.Now()
	err := f(now)
	if c.core.needsRegistration() {
		select {
		case c.unregistered <- struct{}{}:
		default:
		}
	}
	c.core.metrics.eventSeconds.Observe(c.cfg.Clock.Now().Sub(now).Seconds())
	return err
}

func (c *Controller) request(r *server.Request) {
	now := c.cfg.Clock.Now()
	c.core.metrics.queueSeconds.Observe(now.Sub(r.Received).Seconds())
	c.core.handle(r, now)
	c.core.metrics.eventSeconds.Observe(c.cfg.Clock.Now().Sub(now).Seconds())
}

// shutDown answers everyone who still waits; requests that arrive later are answered by Handle.
func (c *Controller) shutDown() {
	c.active.Store(false)
	if c.core.active() {
		c.core.stepDown()
	}
	close(c.done)
	c.refuseQueued()
}

func (c *Controller) refuseQueued() {
	for {
		select {
		case r := <-c.requests:
			r.Reply(errorResponse(r.Body, errNotController))
		default:
			return
		}
	}
}
