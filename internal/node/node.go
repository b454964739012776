package node

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	mathrand "math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"github.com/kraft-dev/kraft-operator/internal/config"
	"github.com/kraft-dev/kraft-operator/internal/node/auth"
	"github.com/kraft-dev/kraft-operator/internal/node/controller"
	"github.com/kraft-dev/kraft-operator/internal/node/health"
	"github.com/kraft-dev/kraft-operator/internal/node/raft"
	"github.com/kraft-dev/kraft-operator/internal/node/rpc"
	"github.com/kraft-dev/kraft-operator/internal/node/server"
	"github.com/kraft-dev/kraft-operator/internal/node/snapshots"
	"github.com/kraft-dev/kraft-operator/internal/node/wire"
	"github.com/kraft-dev/kraft-operator/internal/quorum"
	"github.com/kraft-dev/kraft-operator/internal/quorum/disk"
	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// raftLeave bounds the graceful leave of the quorum (Kafka: 5 s).
const raftLeave = 5 * time.Second

// lastSnapshotLimit bounds how long a leaving node writes a snapshot for its next start.
const lastSnapshotLimit = 2 * time.Second

// A node that leads the quorum waits so long before it hands over, and stays so long after. What Kubernetes does around a container
// that stops takes the processors that a handover wants, in the first quarter of a second and again when the process has gone; and who
// asks the old leader meanwhile is told who leads.
const (
	beforeHandover = 250 * time.Millisecond
	afterHandover  = 250 * time.Millisecond
)

// serverDrain bounds how long parked requests are waited for when a listener closes.
const serverDrain = time.Second

// Node is one running process.
type Node struct {
	opt       Options
	cfg       *config.Config
	listeners *config.ListenerSet
	identity  Identity
	fs        storage.FS
	registry  *prometheus.Registry
	// liveSettings are as they were when the node started.
	liveSettings config.Live

	locks      []io.Closer
	disk       *disk.Disk
	raft       *raft.Driver
	raftClient *rpc.Client
	snapshots  *snapshots.Generator
	controller *controller.Controller
	server     *server.Server // controller listeners; nil without that role
	broker     *brokerRole    // nil without that role
	readiness  controllerReadiness
	leaving    atomic.Bool

	fatalOnce sync.Once
	fatal     chan error
}

// ErrAbandon, as the cause that ends Run's context, ends the node at once and hands nothing over, as a crash would.
var ErrAbandon = errors.New("the node is abandoned")

// Run runs a node until ctx ends, then leaves in order: broker first, then the quorum (EndQuorumEpoch), then the sockets. An
// error says in one line why the node could not start or had to stop; a node that could not start has changed nothing but
// what formatting an empty disk writes.
func Run(ctx context.Context, opt Options) (err error) {
	n := &Node{opt: opt, cfg: opt.Config, fs: storage.OS(), registry: prometheus.NewRegistry(), fatal: make(chan error, 1)}
	n.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	defer func() { err = errors.Join(err, n.unlock()) }()
	if err := n.open(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, n.disk.Close()) }()
	http, err := health.Listen(n.cfg.String(config.KraftHTTPListener), n.registry, n.live, n.ready)
	if err != nil {
		return fmt.Errorf("property %s: %w", config.KraftHTTPListener, err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		err = errors.Join(err, http.Shutdown(ctx))
	}()
	return n.run(ctx)
}

// open locks and, if need be, formats the disks, opens the metadata log and builds the roles.
func (n *Node) open() (err error) {
	if n.listeners, err = n.cfg.Listeners(); err != nil {
		return err
	}
	for _, dir := range logDirs(n.cfg) {
		if err := n.fs.MkdirAll(dir); err != nil {
			return fmt.Errorf("property %s: %w", config.LogDirs, err)
		}
		lock, err := storage.LockDir(n.fs, dir)
		if err != nil {
			return err
		}
		n.locks = append(n.locks, lock)
	}
	if n.liveSettings, err = readLive(n.cfg); err != nil {
		return err
	}
	now := time.Now().UnixMilli()
	if n.identity, err = EnsureFormatted(n.fs, n.cfg, n.liveSettings, rand.Reader, now); err != nil {
		return err
	}
	n.opt.Logger.Info("Starting", "version", n.opt.Version, "nodeID", n.cfg.NodeID(), "roles", n.cfg.List(config.ProcessRoles),
		"clusterID", n.identity.ClusterID, "directoryID", n.identity.Directories[n.cfg.MetadataLogDir()], "formatted", n.identity.Formatted)
	openDisk := disk.Open
	if !n.cfg.IsController() {
		openDisk = disk.OpenObserver
	}
	n.disk, err = openDisk(n.fs, n.cfg.MetadataLogDir(), storage.MetadataLogConfig(n.cfg.Int64(config.MetadataLogSegmentBytes), n.cfg.Int64(config.MetadataLogSegmentMs)), now)
	if err != nil {
		return err
	}
	n.reportRecovery()
	if err := n.build(); err != nil {
		return errors.Join(err, n.disk.Close())
	}
	return nil
}

// reportRecovery logs what opening the metadata log has mended.
func (n *Node) reportRecovery() {
	if r := n.disk.Report; r.CutBytes > 0 || r.DroppedSegments > 0 {
		n.opt.Logger.Warn("Cut a torn tail off the metadata log", "offset", r.CutOffset, "bytes", r.CutBytes, "segments", r.DroppedSegments, "cause", r.CutReason)
	}
	if id := n.disk.Replaced; id != nil {
		n.opt.Logger.Warn("The metadata log gave way to a snapshot that is ahead of it", "endOffset", id.EndOffset, "epoch", id.Epoch)
	}
}

func (n *Node) build() (err error) {
	q, err := quorumConfig(n.cfg, n.listeners, n.identity, n.liveSettings)
	if err != nil {
		return err
	}
	n.raftClient = n.newClient(fmt.Sprintf("raft-client-%d", n.cfg.NodeID()), quorumBackoffMax)
	n.raft, err = raft.New(raft.Config{
		Quorum: q, Disk: n.disk, Network: n.raftClient,
		Retention: raft.Retention{MaxBytes: n.cfg.Int64(config.MetadataMaxRetentionBytes), MaxMs: n.cfg.Int64(config.MetadataMaxRetentionMs)},
		Seed:      randomSeed(), Linger: q.AppendLinger, ShutdownTimeout: raftLeave, ReplaceDirectory: n.replaceDirectory,
		Authorizer: auth.AllowAll{}, Logger: n.opt.Logger.With("component", "raft"), Registry: n.registry,
	})
	if err != nil {
		return err
	}
	n.snapshots = n.newSnapshots()
	if n.cfg.IsController() {
		if err := n.buildController(); err != nil {
			return err
		}
	}
	if n.cfg.IsBroker() {
		n.broker, err = newBrokerRole(n)
	}
	return err
}

func (n *Node) buildController() (err error) {
	bootstrap, err := bootstrapRecords(n.fs, n.cfg)
	if err != nil {
		return err
	}
	idle := ms(n.cfg.Int64(config.MetadataMaxIdleIntervalMs))
	if idle == 0 {
		idle = -1
	}
	rebalance := time.Duration(n.cfg.Int64(config.LeaderImbalanceCheckSeconds)) * time.Second
	if !n.cfg.Bool(config.AutoLeaderRebalance) {
		rebalance = -1
	}
	registration, err := n.controllerRegistration()
	if err != nil {
		return err
	}
	n.controller, err = controller.New(controller.Config{
		NodeID: n.cfg.NodeID(), ClusterID: n.identity.ClusterID, Log: n.raft, BootstrapRecords: bootstrap, Static: n.cfg.Raw(),
		NumPartitions: int32(n.cfg.Int64(config.NumPartitions)), DefaultReplicationFactor: int16(n.cfg.Int64(config.DefaultReplicationFactor)),
		SessionTimeout: ms(n.cfg.Int64(config.BrokerSessionTimeoutMs)), HeartbeatInterval: ms(n.cfg.Int64(config.BrokerHeartbeatIntervalMs)),
		MaxIdleInterval: idle, LeaderImbalanceInterval: rebalance, UncleanElectionInterval: ms(n.cfg.Int64(config.UncleanElectionIntervalMs)),
		DisableTopicDeletion: !n.cfg.Bool(config.DeleteTopicEnable),
		Voters:               n.voters, KRaftVersion: n.raft.KRaftVersion, UpgradeKRaftVersion: n.raft.UpgradeKRaftVersion, Raft: n.raft.Handle,
		Registration: registration, SendToActive: n.sendToActiveController, Snapshots: n.snapshots,
		Authorizer: auth.AllowAll{}, Rand: mathrand.New(mathrand.NewPCG(randomSeed(), randomSeed())),
		Registry: n.registry, Logger: n.opt.Logger.With("component", "controller"),
	})
	if err != nil {
		return err
	}
	n.raft.Register(n.controller)
	var listeners []server.Listener
	for _, l := range n.listeners.Bind {
		if n.listeners.IsController(l.Name) {
			listeners = append(listeners, server.Listener{Name: l.Name, SecurityProtocol: l.Protocol, Addr: bindAddr(l)})
		}
	}
	n.server, err = n.newServer(listeners, wire.APIsFor(wire.ControllerListener), func(r *server.Request) {
		if !n.raft.Handle(r) {
			n.controller.Handle(r)
		}
	})
	return err
}

// newSnapshots makes the generator of this node's snapshots. It follows the controller's committed image, or the broker's loader
// where there is no controller.
func (n *Node) newSnapshots() *snapshots.Generator {
	return snapshots.New(snapshots.Config{
		MaxBytes: n.cfg.Int64(config.MetadataSnapshotBytes), Interval: ms(n.cfg.Int64(config.MetadataSnapshotIntervalMs)),
		HighWatermark: n.raft.HighWatermark, Newest: n.raft.NewestSnapshot, Registry: n.registry, Logger: n.opt.Logger.With("component", "snapshots"),
		Create: func(at snapshots.Point) (snapshots.Writer, error) {
			w, err := n.raft.CreateSnapshot(at.EndOffset, at.Epoch, at.Timestamp)
			if w == nil {
				return nil, err // not a Writer that holds nil
			}
			return w, err
		},
	})
}

// voters are where controllers reach each other, from the newest voter set.
func (n *Node) voters() []controller.Node {
	var out []controller.Node
	for _, v := range n.raft.Voters().Voters() {
		if host, port, ok := n.raft.VoterEndpoint(int32(v.Key.ID)); ok {
			out = append(out, controller.Node{ID: int32(v.Key.ID), Host: host, Port: int32(port)})
		}
	}
	return out
}

func (n *Node) newServer(listeners []server.Listener, apis []wire.API, handle server.Handler) (*server.Server, error) {
	return server.New(n.serverConfig(listeners, apis, handle))
}

// serverConfig takes the settings of sockets over. -1, as in Kafka, leaves memory unlimited and buffers to the system.
func (n *Node) serverConfig(listeners []server.Listener, apis []wire.API, handle server.Handler) server.Config {
	return server.Config{
		Listeners: listeners, APIs: apis, Handler: handle,
		MaxProduceBytes: n.cfg.Int(config.SocketRequestMaxBytes), MaxConnections: boundedConnections(n.cfg.Int64(config.MaxConnections)),
		MaxConnectionsPerIP: boundedConnections(n.cfg.Int64(config.MaxConnectionsPerIP)), MaxIdle: ms(n.cfg.Int64(config.ConnectionsMaxIdleMs)),
		MaxRequestMemory: max(0, n.cfg.Int64(config.QueuedMaxRequestBytes)),
		SocketSendBuffer: max(0, n.cfg.Int(config.SocketSendBufferBytes)), SocketReceiveBuffer: max(0, n.cfg.Int(config.SocketReceiveBufferBytes)),
		Registry: n.registry, Logger: n.opt.Logger.With("component", "server"),
	}
}

// boundedConnections: Kafka's default is the largest integer, ours is 0 for no limit.
func boundedConnections(n int64) int {
	if n >= 1<<31-1 {
		return 0
	}
	return int(n)
}

// quorumBackoffMax is how long the quorum's client leaves alone who refused it, at most: a voter that has just come back may be the one whose
// vote is needed.
const quorumBackoffMax = 100 * time.Millisecond

// newClient makes a client that leaves who refuses alone for backoffMax at most; 0: as rpc does.
func (n *Node) newClient(id string, backoffMax time.Duration) *rpc.Client {
	return rpc.New(rpc.Config{
		ClientID: id, SoftwareName: "kraftd", SoftwareVersion: softwareVersion(n.opt.Version), BackoffMax: backoffMax,
		Dial: n.opt.Dial, Logger: n.opt.Logger.With("component", "rpc"),
	})
}

// run starts everything in order, waits, and stops it in order.
func (n *Node) run(ctx context.Context) error {
	// The parts outlive ctx: they serve while the node leaves.
	parts, stop := context.WithCancel(context.Background())
	defer stop()
	group, _ := errgroup.WithContext(parts)
	part := func(name string, run func(context.Context) error) {
		group.Go(func() error {
			err := run(parts)
			if err != nil {
				err = fmt.Errorf("%s: %w", name, err)
				n.fail(err)
			} else if parts.Err() == nil {
				n.fail(fmt.Errorf("%s ended by itself", name))
			}
			return err
		})
	}
	part("raft", n.raft.Run)
	if n.cfg.IsController() {
		part("connections", func(ctx context.Context) error {
			n.raftClient.KeepConnected(ctx, n.otherVoters)
			return nil
		})
	}
	part("live settings", n.followLive)
	part("snapshots", n.snapshots.Run)
	if n.controller != nil {
		part("controller", n.controller.Run)
		if err := n.server.Start(); err != nil {
			n.fail(fmt.Errorf("property %s: %w", config.Listeners, err))
		} else {
			n.opt.Logger.Info("Listening for the quorum", "listeners", n.cfg.String(config.Listeners))
		}
	}
	if n.broker != nil {
		part("broker", n.broker.run)
	}
	var failed error
	select {
	case <-ctx.Done():
		if !errors.Is(context.Cause(ctx), ErrAbandon) {
			n.opt.Logger.Info("Leaving")
			n.leave()
		}
	case failed = <-n.fatal:
		n.opt.Logger.Error("Stopping", "err", failed)
	}
	n.closeServers()
	stop()
	if err := group.Wait(); failed == nil {
		failed = err
	}
	n.raftClient.Close()
	if failed == nil {
		n.opt.Logger.Info("Left")
	}
	return failed
}

// otherVoters are the addresses at which a voter asks for votes, and fetches from whoever was elected: while it does, nothing is committed.
// A node that doesn't vote gets none.
func (n *Node) otherVoters() (addrs []string) {
	all := n.voterAddresses()
	if _, votes := all[n.cfg.NodeID()]; !votes {
		return nil
	}
	delete(all, n.cfg.NodeID())
	return slices.Sorted(maps.Values(all))
}

func (n *Node) voterAddresses() map[int32]string {
	addrs := map[int32]string{}
	for _, id := range n.raft.Voters().IDs() {
		if addr, ok := n.raft.VoterAddress(int32(id)); ok {
			addrs[int32(id)] = addr
		}
	}
	return addrs
}

// leave hands over what this node leads: partitions first, then the metadata log. In between a broker lingers, if it is
// told to, and a snapshot is written, while this node serves yet. From the first moment on the node says that it is not ready.
func (n *Node) leave() {
	n.leaving.Store(true)
	if n.broker != nil {
		end := time.Now().Add(ms(n.cfg.Int64(config.KraftShutdownLingerMs)))
		n.broker.leave()
		if !n.stay(time.Until(end)) {
			return
		}
	}
	n.lastSnapshot()
	st := n.raft.Status()
	leads := st.Role == quorum.Leader && st.Voters.Len() > 1
	if leads && !n.stay(beforeHandover) {
		return
	}
	if err := n.raft.Shutdown(context.Background()); err != nil {
		n.opt.Logger.Warn("Left the quorum without a successor at the log's end", "err", err)
	}
	if leads {
		n.stay(afterHandover)
	}
}

// stay serves on for d. False: the node has failed meanwhile.
func (n *Node) stay(d time.Duration) bool {
	over := time.NewTimer(d)
	defer over.Stop()
	select {
	case <-over.C:
		return true
	case err := <-n.fatal:
		n.opt.Logger.Error("Failed while leaving", "err", err)
		return false
	}
}

// lastSnapshot spares the next start the log, if that is worth it.
func (n *Node) lastSnapshot() {
	ctx, cancel := context.WithTimeout(context.Background(), lastSnapshotLimit)
	defer cancel()
	n.snapshots.Leave(ctx)
}

func (n *Node) closeServers() {
	ctx, cancel := context.WithTimeout(context.Background(), serverDrain)
	defer cancel()
	if n.broker != nil {
		n.broker.close(ctx)
	}
	if n.server != nil {
		_ = n.server.Shutdown(ctx) // answers that are lost are asked for again, elsewhere
	}
}

// fail stops the node; the first reason counts.
func (n *Node) fail(err error) {
	n.fatalOnce.Do(func() { n.fatal <- err })
}

func (n *Node) unlock() (err error) {
	for _, l := range n.locks {
		err = errors.Join(err, l.Close())
	}
	return err
}

// live: the loop of the quorum turns. It bears a long fsync, which runs beside it.
func (n *Node) live() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return n.raft.Ping(ctx)
}

// ready: every role of the node serves.
func (n *Node) ready() error {
	if n.leaving.Load() {
		return errors.New("the node is leaving")
	}
	if n.controller != nil {
		if err := n.readiness.check(n.raft.Now(), n.raft.Status(), n.controller.Applied(), ms(n.cfg.Int64(config.QuorumFetchTimeoutMs))); err != nil {
			return fmt.Errorf("controller: %w", err)
		}
	}
	if n.broker != nil {
		return n.broker.ready()
	}
	return nil
}

// replaceDirectory gives the metadata directory a fresh id: its old one was a voter's that has lost its memory.
func (n *Node) replaceDirectory() (uuid.UUID, error) {
	id, err := uuid.New(rand.Reader)
	if err != nil {
		return id, err
	}
	dir := n.cfg.MetadataLogDir()
	return id, storage.WriteMetaProperties(n.fs, dir, storage.MetaProperties{ClusterID: n.identity.ClusterID, NodeID: n.identity.NodeID, DirectoryID: id})
}

func randomSeed() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.LittleEndian.Uint64(b[:])
}

// softwareVersion is what ApiVersions may carry: Kafka takes letters, digits, dots and dashes.
func softwareVersion(v string) string {
	out := []byte(v)
	for i, c := range out {
		if !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '.' || c == '-') {
			out[i] = '-'
		}
	}
	return string(out)
}
