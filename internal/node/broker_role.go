package node

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kraft-dev/kraft-operator/internal/config"
	"github.com/kraft-dev/kraft-operator/internal/node/auth"
	"github.com/kraft-dev/kraft-operator/internal/node/broker"
	"github.com/kraft-dev/kraft-operator/internal/node/broker/channel"
	"github.com/kraft-dev/kraft-operator/internal/node/broker/lifecycle"
	"github.com/kraft-dev/kraft-operator/internal/node/loader"
	"github.com/kraft-dev/kraft-operator/internal/node/raft"
	"github.com/kraft-dev/kraft-operator/internal/node/rpc"
	"github.com/kraft-dev/kraft-operator/internal/node/server"
)

// controlledShutdown bounds moving leaderships away. A pod has terminationGracePeriodSeconds, which is longer.
const controlledShutdown = 20 * time.Second

// noControllerPatience is how long a broker that leaves waits while no active controller is known, or the one that is known
// doesn't answer: where a whole cluster is stopped, there is nobody left to move leaderships to.
const noControllerPatience = 3 * time.Second

// brokerRole is the broker with its loader and its listeners.
type brokerRole struct {
	n       *Node
	loader  *loader.Loader
	broker  *broker.Broker
	server  *server.Server
	started chan struct{} // closed when the listeners are open
}

func newBrokerRole(n *Node) (*brokerRole, error) {
	r := &brokerRole{n: n, started: make(chan struct{})}
	logger := n.opt.Logger.With("component", "broker")
	dir, directory, err := brokerDir(n.cfg, n.identity)
	if err != nil {
		return nil, err
	}
	generator := n.snapshots
	if n.cfg.IsController() {
		generator = nil // the controller feeds it
	}
	r.loader = loader.New(loader.Config{
		Snapshots:     generator,
		HighWatermark: n.raft.HighWatermark, Logger: logger,
		LeaderChanged: func(l raft.LeaderAndEpoch) { r.broker.LeaderChanged(l) },
		Fault:         func(err error) { n.fail(fmt.Errorf("metadata log: %w", err)) },
	})
	var rack *string
	if v := n.cfg.String(config.BrokerRack); v != "" {
		rack = &v
	}
	r.broker, err = broker.New(broker.Config{
		NodeID: n.cfg.NodeID(), ClusterID: n.identity.ClusterID, Static: n.cfg,
		Advertised: advertised(n.listeners), InterBroker: n.listeners.InterBroker, Rack: rack,
		FS: n.fs, LogDir: dir, DirectoryID: directory, Loader: r.loader, Finder: controllerFinder{n.raft},
		Controllers: func() []string { return slices.Sorted(maps.Values(n.voterAddresses())) },
		NewClient: func(purpose string) *rpc.Client {
			return n.newClient(fmt.Sprintf("broker-%d-%s", n.cfg.NodeID(), purpose), 0)
		},
		Groups:     newGroups(n.cfg, n.opt.Logger),
		Authorizer: auth.AllowAll{}, KRaftVersion: n.raft.KRaftVersion,
		Fatal: n.fail, Registry: n.registry, Logger: logger,
	})
	if err != nil {
		return nil, err
	}
	n.raft.Register(r.loader)
	var listeners []server.Listener
	for _, l := range n.listeners.Bind {
		if !n.listeners.IsController(l.Name) {
			listeners = append(listeners, server.Listener{Name: l.Name, SecurityProtocol: l.Protocol, Addr: bindAddr(l)})
		}
	}
	r.server, err = n.newServer(listeners, r.broker.APIs(), r.broker.Handle)
	return r, err
}

func advertised(set *config.ListenerSet) []lifecycle.Listener {
	var out []lifecycle.Listener
	for _, l := range set.BrokerAdvertised() {
		out = append(out, lifecycle.Listener{Name: l.Name, Host: advertisedHost(l.Host), Port: uint16(l.Port), SecurityProtocol: l.ProtocolCode()})
	}
	return out
}

// controllerFinder finds the active controller: the leader of the metadata log, at its endpoint in the voter set.
type controllerFinder struct{ raft *raft.Driver }

func (f controllerFinder) ActiveController() (channel.Node, bool) {
	l := f.raft.LeaderAndEpoch()
	if l.LeaderID < 0 {
		return channel.Node{}, false
	}
	addr, ok := f.raft.VoterAddress(l.LeaderID)
	return channel.Node{ID: l.LeaderID, Addr: addr}, ok
}

// run runs loader and broker, and opens the listeners when the controller has unfenced the broker.
func (r *brokerRole) run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return r.loader.Run(ctx) })
	group.Go(func() error { return r.broker.Run(ctx) })
	group.Go(func() error {
		select {
		case <-r.broker.Running():
		case <-ctx.Done():
			return nil
		}
		if err := r.server.Start(); err != nil {
			return fmt.Errorf("property %s: %w", config.Listeners, err)
		}
		r.n.opt.Logger.Info("Serving clients", "advertised", r.n.cfg.String(config.AdvertisedListeners))
		close(r.started)
		return nil
	})
	return group.Wait()
}

// leave moves leaderships to other brokers.
func (r *brokerRole) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), controlledShutdown)
	defer cancel()
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		r.giveUpWithoutController(ctx, cancel)
	}()
	r.broker.Shutdown(ctx)
	cancel()
	<-stopped
}

// giveUpWithoutController ends the wait for a controller that isn't there.
func (r *brokerRole) giveUpWithoutController(ctx context.Context, giveUp func()) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	last := r.n.raft.Now()
	for lost := time.Duration(0); lost < noControllerPatience; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := r.n.raft.Now()
		lost += min(now-last, 500*time.Millisecond) // a process that stood still itself knows nothing of the controller
		last = now
		if inTouch(now, r.n.raft.Status(), ms(r.n.cfg.Int64(config.QuorumFetchTimeoutMs))/2) == nil {
			lost = 0
		}
	}
	r.n.opt.Logger.Warn("No active controller to hand leaderships to: leaving without")
	giveUp()
}

// close ends the listeners; requests that are parked have until ctx ends.
func (r *brokerRole) close(ctx context.Context) {
	select {
	case <-r.started:
		_ = r.server.Shutdown(ctx) // answers that are lost are asked for again, elsewhere
	default:
	}
}

// ready: registered, unfenced, caught up with the metadata, and listening.
func (r *brokerRole) ready() error {
	if ok, why := r.broker.Ready(); !ok {
		return errors.New(why)
	}
	select {
	case <-r.started:
		return nil
	default:
		return errors.New("the broker's listeners are not open yet")
	}
}
