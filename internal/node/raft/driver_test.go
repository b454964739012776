package raft_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/node/auth"
	"github.com/kraft-dev/kraft-operator/internal/node/raft"
	"github.com/kraft-dev/kraft-operator/internal/node/rpc"
	"github.com/kraft-dev/kraft-operator/internal/node/server"
	"github.com/kraft-dev/kraft-operator/internal/node/wire"
	"github.com/kraft-dev/kraft-operator/internal/quorum"
	"github.com/kraft-dev/kraft-operator/internal/quorum/disk"
	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// replica is one voter: real disk, real sockets, real driver.
type replica struct {
	t        *testing.T
	id       int32
	dir      string
	listener net.Listener
	driver   *raft.Driver
	disk     *disk.Disk
	server   *server.Server
	client   *rpc.Client
	cancel   context.CancelFunc
	done     chan error
	state    *chain

	addr    string
	fs      storage.FS                            // nil: the real disk
	network func(raft.Network) raft.Network       // nil: the client itself
	watch   func(*replica, []raft.CommittedBatch) // nil: nobody sees commits before the state does
}

// chain is a state machine that remembers every record, in order.
type chain struct {
	of      *replica
	mu      sync.Mutex
	records []string
	next    int64
	leader  raft.LeaderAndEpoch
}

func (c *chain) HandleCommit(batches []raft.CommittedBatch) {
	if c.of.watch != nil {
		c.of.watch(c.of, batches)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range batches {
		if b.BaseOffset != c.next {
			panic(fmt.Sprintf("batch at %d, expected %d", b.BaseOffset, c.next))
		}
		c.next = b.LastOffset + 1
		for _, r := range b.Records {
			c.records = append(c.records, string(r))
		}
	}
}
func (c *chain) HandleLoadSnapshot(raft.SnapshotReader) { panic("no snapshots here") }
func (c *chain) HandleLeaderChange(l raft.LeaderAndEpoch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.leader = l
}
func (c *chain) all() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.records...)
}
func (c *chain) leads(id int32) (int32, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leader.Epoch, c.leader.LeaderID == id
}

func voters(t *testing.T, n int) ([]*replica, quorum.VoterSet) {
	t.Helper()
	var out []*replica
	var set []quorum.Voter
	for i := range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		out = append(out, &replica{t: t, id: int32(i), dir: t.TempDir(), listener: l})
		set = append(set, quorum.Voter{
			Key:       quorum.ReplicaKey{ID: quorum.NodeID(i), DirectoryID: directory(i)},
			Endpoints: []quorum.Endpoint{{Listener: "CONTROLLER", Host: "127.0.0.1", Port: uint16(l.Addr().(*net.TCPAddr).Port)}},
			Supported: quorum.VersionRange{Max: 1},
		})
	}
	vs := quorum.NewVoterSet(set...)
	for _, r := range out {
		require.NoError(t, storage.OS().MkdirAll(r.dir+"/"+storage.MetadataPartitionDir))
		require.NoError(t, storage.WriteBootstrapSnapshot(storage.OS(), r.dir+"/"+storage.MetadataPartitionDir, 1, disk.VotersRecord(vs).Voters, 0))
	}
	return out, vs
}

func directory(i int) uuid.UUID { return uuid.UUID{0: 9, 15: byte(i + 1)} }

// logTo takes the nodes' logs; os.Stderr while looking for a fault.
var logTo io.Writer = io.Discard

func (r *replica) start(set quorum.VoterSet) {
	r.t.Helper()
	var err error
	if r.fs == nil {
		r.fs = storage.OS()
	}
	r.disk, err = disk.Open(r.fs, r.dir, storage.MetadataLogConfig(1<<30, 1<<40), time.Now().UnixMilli())
	require.NoError(r.t, err)
	logger := slog.New(slog.NewTextHandler(logTo, &slog.HandlerOptions{Level: slog.LevelDebug})).With("node", r.id)
	r.client = rpc.NewClient(fmt.Sprintf("raft-client-%d", r.id), logger)
	cfg := quorum.DefaultConfig()
	cfg.ClusterID, cfg.NodeID, cfg.DirectoryID, cfg.Controller, cfg.Listener = "c", quorum.NodeID(r.id), directory(int(r.id)), true, "CONTROLLER"
	for _, v := range set.Voters() {
		if v.Key.ID == cfg.NodeID {
			cfg.Endpoints = v.Endpoints
		}
		cfg.BootstrapServers = append(cfg.BootstrapServers, quorum.Node{ID: quorum.None, Host: v.Endpoints[0].Host, Port: v.Endpoints[0].Port})
	}
	var network raft.Network = r.client
	if r.network != nil {
		network = r.network(network)
	}
	r.driver, err = raft.New(raft.Config{
		Quorum: cfg, Disk: r.disk, Network: network, Retention: raft.Retention{MaxBytes: -1, MaxMs: -1},
		Seed: uint64(r.id) + 1, Linger: 25 * time.Millisecond, ShutdownTimeout: 5 * time.Second, Authorizer: auth.AllowAll{}, Logger: logger,
	})
	require.NoError(r.t, err)
	r.state = &chain{leader: raft.LeaderAndEpoch{LeaderID: -1}, of: r}
	r.driver.Register(r.state)
	addr := r.listener.Addr().(*net.TCPAddr)
	if r.server != nil { // a restart: the socket was closed with the server
		r.listener, err = net.Listen("tcp", "127.0.0.1:"+strconv.Itoa(addr.Port))
		require.NoError(r.t, err)
	}
	r.server, err = server.New(server.Config{
		Listeners: []server.Listener{{Name: "CONTROLLER", SecurityProtocol: "PLAINTEXT", Net: r.listener}},
		APIs:      wire.APIsFor(wire.ControllerListener), Handler: r.handle, Logger: logger,
	})
	require.NoError(r.t, err)
	require.NoError(r.t, r.server.Start())
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel, r.done = cancel, make(chan error, 1)
	go func() { r.done <- r.driver.Run(ctx) }()
}

func (r *replica) handle(req *server.Request) {
	if v, ok := req.Body.(*kmsg.ApiVersionsRequest); ok {
		resp := v.ResponseKind().(*kmsg.ApiVersionsResponse)
		for _, a := range wire.APIsFor(wire.ControllerListener) {
			k := kmsg.NewApiVersionsResponseApiKey()
			k.ApiKey, k.MinVersion, k.MaxVersion = a.Key, a.Min, a.Max
			resp.ApiKeys = append(resp.ApiKeys, k)
		}
		req.Reply(resp)
		return
	}
	if !r.driver.Handle(req) {
		req.Close(fmt.Errorf("key %d", req.Key))
	}
}

// stop ends the replica; graceful hands leadership over first.
func (r *replica) stop(graceful bool) {
	if r.cancel == nil {
		return
	}
	if graceful {
		require.NoError(r.t, r.driver.Shutdown(context.Background()))
	}
	r.cancel()
	require.NoError(r.t, <-r.done)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = r.server.Shutdown(ctx)
	r.client.Close()
	require.NoError(r.t, r.disk.Close())
	r.cancel = nil
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	require.Eventually(t, cond, 20*time.Second, 5*time.Millisecond, what)
}

// leader waits for one replica whose state machine leads.
func leader(t *testing.T, rs []*replica) (*replica, int32) {
	t.Helper()
	var found *replica
	var epoch int32
	eventually(t, "a leader", func() bool {
		for _, r := range rs {
			if r.cancel == nil {
				continue
			}
			if e, ok := r.state.leads(r.id); ok {
				found, epoch = r, e
				return true
			}
		}
		return false
	})
	return found, epoch
}

func appendRecords(t *testing.T, r *replica, epoch int32, n int, prefix string) int64 {
	t.Helper()
	var last int64
	for i := range n {
		off, err := r.driver.PrepareAppend(epoch, [][]byte{fmt.Appendf(nil, "%s-%d", prefix, i)})
		require.NoError(t, err)
		last = off
		r.driver.SchedulePreparedAppend()
	}
	return last
}

func TestThreeVotersReplicateAndHandOver(t *testing.T) {
	rs, set := voters(t, 3)
	for _, r := range rs {
		r.start(set)
	}
	t.Cleanup(func() {
		for _, r := range rs {
			r.stop(false)
		}
	})
	first, epoch := leader(t, rs)
	last := appendRecords(t, first, epoch, 200, "a")
	for _, r := range rs {
		eventually(t, "every replica has every record", func() bool { return len(r.state.all()) == 200 })
		require.Equal(t, first.state.all(), r.state.all())
	}
	require.Equal(t, last+1, first.driver.LogEndOffset())

	_, err := first.driver.PrepareAppend(epoch-1, [][]byte{{1}})
	require.ErrorIs(t, err, raft.ErrNotLeader)

	began := time.Now()
	first.stop(true)
	second, epoch2 := leader(t, rs)
	t.Logf("handed over in %s", time.Since(began))
	require.Greater(t, epoch2, epoch)
	require.NotEqual(t, first.id, second.id)
	appendRecords(t, second, epoch2, 100, "b")

	first.start(set)
	eventually(t, "the old leader catches up", func() bool { return len(first.state.all()) == 300 })
	require.Equal(t, second.state.all(), first.state.all())
}

func TestSingleVoterLeadsAtOnceAndRemembers(t *testing.T) {
	rs, set := voters(t, 1)
	r := rs[0]
	r.start(set)
	_, epoch := leader(t, rs)
	appendRecords(t, r, epoch, 10, "x")
	eventually(t, "committed", func() bool { return len(r.state.all()) == 10 })
	r.stop(false)
	r.start(set)
	_, epoch2 := leader(t, rs)
	require.Greater(t, epoch2, epoch, "a restarted leader leads in a new epoch")
	eventually(t, "replayed", func() bool { return len(r.state.all()) == 10 })
	r.stop(true)
}
