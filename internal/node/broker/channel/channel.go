// Package channel asks the active controller: registration, heartbeats, AlterPartition, producer ids and what clients' requests
// are forwarded in (Envelope, KIP-590).
//
// The active controller is the raft leader, reached at that id's endpoint in the voter set. A lookup, and a retry after
// NOT_CONTROLLER or a broken connection, come every 100 ms, or at once when a new leader becomes known, and every 5 ms in the
// second after that: until the first record of its epoch is committed, a new leader answers NOT_CONTROLLER.
package channel

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
)

// RetryInterval is the time between lookups of the active controller; settlingRetry is it for settling after a leader became known.
const (
	RetryInterval = 100 * time.Millisecond
	settlingRetry = 5 * time.Millisecond
	settling      = time.Second
)

// abandonAfter is how long an answer of a controller that no longer leads is waited for: one that stepped down in an
// orderly way answers by itself, one that was cut off never does.
const abandonAfter = 200 * time.Millisecond

// Node is the active controller as its voter entry names it.
type Node struct {
	ID   int32
	Addr string // host:port of the first controller.listener.names entry
}

// ControllerFinder knows the active controller: the raft leader id and that voter's endpoint.
type ControllerFinder interface {
	// ActiveController returns false while no leader, or no endpoint of it, is known.
	ActiveController() (Node, bool)
}

// Client is the part of rpc.Client that a Channel uses.
type Client interface {
	Do(ctx context.Context, addr string, req kmsg.Request, opts ...rpc.Option) (kmsg.Response, error)
	Drop(addr string)
}

// ErrNoController wraps the last failure when the caller's context ended before an active controller answered.
var ErrNoController = errors.New("no active controller answered")

// Channel asks the active controller. It is safe for concurrent use; each call takes its own goroutine, the caller's.
type Channel struct {
	client Client
	finder ControllerFinder
	logger *slog.Logger

	mu      sync.Mutex
	changed chan struct{} // closed and replaced when the leader changes
	at      time.Time     // when it last did
}

// New makes a channel over a client of its own.
func New(client Client, finder ControllerFinder, logger *slog.Logger) *Channel {
	return &Channel{client: client, finder: finder, logger: logger, changed: make(chan struct{})}
}

// LeaderChanged tells waiting calls to look again now. It is cheap and never blocks.
func (c *Channel) LeaderChanged() {
	c.mu.Lock()
	close(c.changed)
	c.changed, c.at = make(chan struct{}), time.Now()
	c.mu.Unlock()
}

// pause is how long to wait before asking again.
func (c *Channel) pause() time.Duration {
	c.mu.Lock()
	at := c.at
	c.mu.Unlock()
	if _, known := c.finder.ActiveController(); known && time.Since(at) < settling {
		return settlingRetry
	}
	return RetryInterval
}

func (c *Channel) changes() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// Do sends req to the active controller until it answers something else than NOT_CONTROLLER, or ctx ends.
//
// Like Apache Kafka's, a request whose connection broke is sent again: it may be carried out twice.
// Errors: ErrNoController with the last cause; an error of kind rpc.ErrVersion at once.
func (c *Channel) Do(ctx context.Context, req kmsg.Request, opts ...rpc.Option) (kmsg.Response, error) {
	last := errors.New("no leader is known")
	for {
		changed := c.changes()
		if node, ok := c.finder.ActiveController(); ok {
			resp, err := c.attempt(ctx, node, req, changed, opts)
			switch {
			case err == nil && !notController(resp):
				return resp, nil
			case err == nil:
				last = fmt.Errorf("node %d at %s: %w", node.ID, node.Addr, kerr.NotController)
			case errors.Is(err, rpc.ErrVersion), errors.Is(err, rpc.ErrClosed):
				return nil, err
			default:
				last = fmt.Errorf("node %d: %w", node.ID, err)
			}
			c.logger.Debug("Asking the controller again", "api", kmsg.NameForKey(req.Key()), "cause", last)
		}
		timer := time.NewTimer(c.pause())
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, fmt.Errorf("%w: %w: %w", ErrNoController, context.Cause(ctx), last)
		case <-changed:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// attempt asks node once. If another node becomes leader meanwhile, the answer is waited for only a little longer.
func (c *Channel) attempt(ctx context.Context, node Node, req kmsg.Request, changed <-chan struct{}, opts []rpc.Option) (kmsg.Response, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() { c.watch(node, changed, stop, cancel) })
	resp, err := c.client.Do(ctx, node.Addr, req, append(opts, rpc.Redial())...)
	close(stop)
	watching.Wait()
	return resp, err
}

// watch cancels an attempt at node when somebody else leads.
func (c *Channel) watch(node Node, changed <-chan struct{}, stop <-chan struct{}, cancel func()) {
	for {
		select {
		case <-stop:
			return
		case <-changed:
		}
		changed = c.changes()
		if now, ok := c.finder.ActiveController(); !ok || now == node {
			continue
		}
		timer := time.NewTimer(abandonAfter)
		defer timer.Stop()
		select {
		case <-stop:
		case <-timer.C:
			cancel()
			c.client.Drop(node.Addr)
		}
		return
	}
}

// notController reports whether the one asked does not lead any more.
func notController(resp kmsg.Response) bool {
	code := int16(0)
	switch r := resp.(type) {
	case *kmsg.BrokerRegistrationResponse:
		code = r.ErrorCode
	case *kmsg.BrokerHeartbeatResponse:
		code = r.ErrorCode
	case *kmsg.AlterPartitionResponse:
		code = r.ErrorCode
	case *kmsg.AllocateProducerIDsResponse:
		code = r.ErrorCode
	case *kmsg.AssignReplicasToDirsResponse:
		code = r.ErrorCode
	case *kmsg.EnvelopeResponse:
		code = r.ErrorCode
	case *kmsg.CreateTopicsResponse:
		for i := range r.Topics {
			if r.Topics[i].ErrorCode == kerr.NotController.Code {
				return true
			}
		}
	}
	return code == kerr.NotController.Code
}
