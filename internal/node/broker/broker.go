package broker

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kraft-dev/kraft-operator/internal/config"
	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/node/auth"
	"github.com/kraft-dev/kraft-operator/internal/node/broker/channel"
	"github.com/kraft-dev/kraft-operator/internal/node/broker/follow"
	"github.com/kraft-dev/kraft-operator/internal/node/broker/lifecycle"
	"github.com/kraft-dev/kraft-operator/internal/node/broker/replica"
	"github.com/kraft-dev/kraft-operator/internal/node/raft"
	"github.com/kraft-dev/kraft-operator/internal/node/rpc"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// Broker is one broker. Run starts it; Handle may be called once Running is closed.
type Broker struct {
	cfg         Config
	replicas    *replica.Manager
	life        *lifecycle.Manager
	controllers *rpc.Client      // forward's
	forward     *channel.Channel // clients' requests, ISR changes, producer ids
	beats       *channel.Channel // registration and heartbeats
	clients     []*rpc.Client
	groups      GroupHandler
	create      *autoCreator
	ids         *producerIDs
	dirs        *directories
	metrics     *metrics
	waits       imageWaits

	settings       atomic.Pointer[settings]
	brokersChanged atomic.Bool  // since the last image that was applied whole
	featuresEpoch  atomic.Int64 // metadata offset of the last feature change, for ApiVersions

	ctx     context.Context // ends with Run
	cancel  context.CancelFunc
	asking  sync.WaitGroup // goroutines that ask the controller
	applied chan struct{}  // closed when the first image was applied: logs are open
	once    sync.Once
	running chan struct{} // closed when an image was applied in which this incarnation is unfenced
	serves  sync.Once
	fatal   sync.Once
}

// New opens what the log dir's small files say. Nothing runs yet.
//
// Errors: storage.ErrCorrupt for a damaged checkpoint or folder; the disk's.
func New(cfg Config) (*Broker, error) {
	if cfg.Authorizer == nil {
		cfg.Authorizer = auth.AllowAll{}
	}
	b := &Broker{cfg: cfg, applied: make(chan struct{}), running: make(chan struct{}), metrics: newMetrics(cfg.Registry)}
	b.ctx, b.cancel = context.WithCancel(context.Background())
	b.settings.Store(newSettings(cfg.Static, cfg.NodeID, metadata.Empty()))
	b.controllers = b.client("controller")
	b.forward = channel.New(b.controllers, cfg.Finder, cfg.Logger)
	b.beats = channel.New(b.client("heartbeat"), cfg.Finder, cfg.Logger)
	b.create = newAutoCreator(b)
	b.ids = newProducerIDs(b)
	b.dirs = newDirectories(b)
	var err error
	b.replicas, err = replica.Open(replica.Config{
		Local: cfg.NodeID, FS: cfg.FS, Dir: cfg.LogDir, DirectoryID: cfg.DirectoryID,
		Settings:    func() replica.Settings { return b.settings.Load().replica },
		TopicConfig: func(topic string) replica.TopicConfig { return b.settings.Load().topic(b.cfg.Loader.Current(), topic) },
		Eligible:    b.eligible, BrokerEpoch: b.epoch, Controller: b.forward, Address: b.address,
		NewClient:    func() follow.Client { return cfg.NewClient("fetch") },
		OnRoleChange: b.roleChanged, Fatal: b.fail, Registry: cfg.Registry, Logger: cfg.Logger,
	})
	if err != nil {
		b.cancel()
		return nil, fmt.Errorf("broker: %w", err)
	}
	incarnation, err := uuid.New(rand.Reader)
	if err != nil {
		b.cancel()
		return nil, fmt.Errorf("broker: incarnation id: %w", err)
	}
	b.life = lifecycle.New(lifecycle.Config{
		NodeID: cfg.NodeID, ClusterID: cfg.ClusterID, Incarnation: incarnation, Listeners: cfg.Advertised, Features: supportedFeatures(),
		Rack: cfg.Rack, LogDirs: []uuid.UUID{cfg.DirectoryID}, PreviousEpoch: b.replicas.PreviousEpoch(),
		HeartbeatInterval:   ms(cfg.Static.Int64(config.BrokerHeartbeatIntervalMs)),
		RegistrationTimeout: ms(cfg.Static.Int64(config.InitialRegistrationTimeoutMs)),
		SessionTimeout:      ms(cfg.Static.Int64(config.BrokerSessionTimeoutMs)),
	}, b.beats, cfg.Loader.LastAppliedOffset, cfg.Logger)
	if cfg.Groups != nil {
		b.groups = cfg.Groups(b)
	}
	return b, nil
}

func ms(n int64) time.Duration { return time.Duration(n) * time.Millisecond }

func (b *Broker) client(purpose string) *rpc.Client {
	c := b.cfg.NewClient(purpose)
	b.clients = append(b.clients, c)
	return c
}

func supportedFeatures() []lifecycle.Feature {
	var out []lifecycle.Feature
	for _, f := range metadata.Supported() {
		out = append(out, lifecycle.Feature{Name: f.Name, Min: f.Min, Max: f.Max})
	}
	return out
}

// fail stops the node for a reason that it can't go on with.
func (b *Broker) fail(err error) {
	b.fatal.Do(func() { b.cfg.Fatal(err) })
}

func (b *Broker) epoch() int64 {
	if b.life == nil {
		return -1
	}
	return b.life.Epoch()
}

// LeaderChanged tells that the metadata log has another leader: requests on their way to the old one look for it. Pass it to the
// loader as Config.LeaderChanged.
func (b *Broker) LeaderChanged(raft.LeaderAndEpoch) {
	b.forward.LeaderChanged()
	b.beats.LeaderChanged()
}

// Running is closed when the controller has unfenced this broker and this broker's own image says so: the leaderships that came with it
// are taken, so that the first client that asks is told leaders. Its listeners may be opened.
func (b *Broker) Running() <-chan struct{} { return b.running }

// Ready says whether this broker is registered, unfenced and caught up with the metadata; if not, why.
func (b *Broker) Ready() (bool, string) {
	switch s := b.life.State(); {
	case s != lifecycle.Running:
		return false, "broker is " + s.String()
	case b.life.Fenced():
		return false, "broker is fenced"
	case !b.unfencedIn(b.cfg.Loader.Current()):
		return false, "broker is fenced in the newest metadata that it has"
	}
	return true, ""
}

// State is the lifecycle state, for status and metrics.
func (b *Broker) State() lifecycle.State { return b.life.State() }

// Run registers, opens the logs, serves and replicates until ctx ends. It returns after all of its goroutines have ended, with the logs
// closed. Call Shutdown before ctx ends, or other brokers notice only when this one's session expires.
//
// Errors: lifecycle.ErrRegistration; an error of the disk on closing.
func (b *Broker) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, b.cancel)
	defer stop()
	b.cfg.Loader.OnApplied(b.appliedImage)
	b.cfg.Loader.Subscribe(b.publish)
	var wg sync.WaitGroup
	var failed error
	wg.Go(func() {
		if failed = b.life.Run(b.ctx); failed != nil {
			b.fail(failed)
			b.cancel()
		}
	})
	wg.Go(func() { b.replicas.Run(b.ctx) })
	wg.Go(func() { b.dirs.run(b.ctx) })
	if b.cfg.Controllers != nil {
		wg.Go(func() { b.controllers.KeepConnected(b.ctx, b.cfg.Controllers) })
	}
	wg.Go(func() { b.becomeReady(b.ctx) })
	if b.groups != nil {
		wg.Go(func() {
			if err := b.groups.Run(b.ctx); err != nil {
				b.fail(fmt.Errorf("group coordinator: %w", err))
			}
		})
	}
	<-b.ctx.Done()
	b.replicas.StopFollowing()
	b.asking.Wait()
	for _, c := range b.clients {
		c.Close()
	}
	wg.Wait()
	return errors.Join(failed, b.replicas.Close())
}

// becomeReady lets the controller unfence this broker once it has caught up and its logs are open.
func (b *Broker) becomeReady(ctx context.Context) {
	for _, ch := range []<-chan struct{}{b.life.CaughtUp(), b.applied} {
		select {
		case <-ctx.Done():
			return
		case <-ch:
		}
	}
	b.life.SetReadyToUnfence()
}

// unfencedIn says whether an image has this incarnation unfenced.
func (b *Broker) unfencedIn(img *metadata.Image) bool {
	r, ok := img.Broker(b.cfg.NodeID)
	return ok && !r.Fenced && r.Epoch == b.life.Epoch()
}

// Shutdown moves this broker's leaderships to others, as far as the controller can until ctx ends (controlled.shutdown.enable). Parked
// requests are answered with the new leader as it becomes known. Requests may still come; end Run afterwards.
func (b *Broker) Shutdown(ctx context.Context) {
	if !b.cfg.Static.Bool(config.ControlledShutdownEnable) || b.life.Epoch() < 0 {
		return
	}
	b.life.BeginControlledShutdown()
	select {
	case <-ctx.Done():
		b.cfg.Logger.Warn("Controlled shutdown was cut short", "cause", context.Cause(ctx))
	case <-b.life.Done():
	}
}

// eligible says whether a broker may be in an ISR, by the newest image.
func (b *Broker) eligible(id int32) (int64, bool) {
	r, ok := b.cfg.Loader.Current().Broker(id)
	if !ok || !r.Active() {
		return -1, false
	}
	return r.Epoch, true
}

// address is where followers on this node reach a leader.
func (b *Broker) address(id int32) (string, bool) {
	r, ok := b.cfg.Loader.Current().Broker(id)
	if !ok {
		return "", false
	}
	e, ok := r.Listener(b.cfg.InterBroker)
	if !ok {
		return "", false
	}
	return config.JoinHostPort(e.Host, int32(e.Port)), true
}

// alive yields the unfenced brokers of an image that have the listener.
func alive(img *metadata.Image, listener string) []endpoint {
	var out []endpoint
	for id, r := range img.Brokers() {
		if r.Fenced {
			continue
		}
		if e, ok := r.Listener(listener); ok {
			out = append(out, endpoint{ID: id, Host: e.Host, Port: int32(e.Port), Rack: r.Rack})
		}
	}
	return out
}

// endpoint is a broker as clients of one listener reach it.
type endpoint struct {
	ID   int32
	Host string
	Port int32
	Rack *string
}

// endpointOf finds an unfenced broker's endpoint on a listener.
func endpointOf(img *metadata.Image, id int32, listener string) (endpoint, bool) {
	r, ok := img.Broker(id)
	if !ok || r.Fenced {
		return endpoint{}, false
	}
	e, ok := r.Listener(listener)
	return endpoint{ID: id, Host: e.Host, Port: int32(e.Port), Rack: r.Rack}, ok
}

// internalTopics are the topics that brokers write and clients don't.
var internalTopics = []string{OffsetsTopic, TransactionTopic, ShareStateTopic}

// Names of the internal topics.
const (
	OffsetsTopic     = "__consumer_offsets"
	TransactionTopic = "__transaction_state"
	ShareStateTopic  = "__share_group_state"
)

func isInternal(topic string) bool { return slices.Contains(internalTopics, topic) }
