package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

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

const (
	clusterID    = "engine-under-test-0000"
	listenerName = "CONTROLLER"
)

// pull is a replica of this project's engine, as a node runs it: driver, server, client and disk are the product's.
type pull struct {
	id     int32
	driver *raft.Driver
	disk   *disk.Disk
	server *server.Server // nil on observers
	client *rpc.Client
	cancel context.CancelFunc
	done   chan error
	books  *books
}

// StartPull starts a replica of this project's engine on the real disk; an empty Dir is formatted.
func StartPull(cfg Config) (Replica, error) {
	p, err := newPull(cfg)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	go func() { p.done <- p.driver.Run(ctx) }()
	if p.server != nil {
		if err := p.server.Start(); err != nil {
			return nil, errors.Join(err, p.Stop(false))
		}
	}
	return p, nil
}

func newPull(cfg Config) (*pull, error) {
	set, err := voterSet(cfg.Voters)
	if err != nil {
		return nil, err
	}
	if err := formatPull(cfg, set); err != nil {
		return nil, err
	}
	p := &pull{id: int32(cfg.Self.ID), done: make(chan error, 1), books: &books{machine: cfg.Machine, self: int32(cfg.Self.ID)}}
	p.disk, err = disk.Open(storage.OS(), cfg.Dir, storage.MetadataLogConfig(1<<30, 7*24*3600_000), time.Now().UnixMilli())
	if err != nil {
		return nil, err
	}
	logger := slog.New(slog.DiscardHandler)
	p.client = rpc.NewClient(fmt.Sprintf("engine-%d", cfg.Self.ID), logger)
	q := quorumConfig(cfg, set)
	p.driver, err = raft.New(raft.Config{
		Quorum: q, Disk: p.disk, Network: p.client, Seed: cfg.Seed, Retention: raft.Retention{MaxBytes: -1, MaxMs: -1},
		Linger: q.AppendLinger, ShutdownTimeout: 5 * time.Second, Authorizer: auth.AllowAll{}, Logger: logger,
	})
	if err != nil {
		return nil, errors.Join(err, p.disk.Close())
	}
	p.driver.Register(p.books)
	if cfg.Self.Voter {
		p.server, err = server.New(server.Config{
			Listeners: []server.Listener{{Name: listenerName, SecurityProtocol: "PLAINTEXT", Addr: cfg.Self.Addr}},
			APIs:      wire.APIsFor(wire.ControllerListener), Handler: p.handle, Logger: logger,
		})
	}
	return p, err
}

func directoryOf(id int) uuid.UUID { return uuid.UUID{0: 9, 14: byte(id >> 8), 15: byte(id)} }

func voterSet(voters []Member) (quorum.VoterSet, error) {
	var out []quorum.Voter
	for _, m := range voters {
		host, port, err := net.SplitHostPort(m.Addr)
		if err != nil {
			return quorum.VoterSet{}, err
		}
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil {
			return quorum.VoterSet{}, fmt.Errorf("%s: %w", m.Addr, err)
		}
		out = append(out, quorum.Voter{
			Key:       quorum.ReplicaKey{ID: quorum.NodeID(m.ID), DirectoryID: directoryOf(m.ID)},
			Endpoints: []quorum.Endpoint{{Listener: listenerName, Host: host, Port: uint16(n)}},
			Supported: quorum.VersionRange{Max: 1},
		})
	}
	return quorum.NewVoterSet(out...), nil
}

// formatPull writes the 0-0 checkpoint, which names the voters, where there is none. Observers hear of them from the log.
func formatPull(cfg Config, set quorum.VoterSet) error {
	fsys, dir := storage.OS(), cfg.Dir+"/"+storage.MetadataPartitionDir
	if _, err := fsys.Stat(dir); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := fsys.MkdirAll(dir); err != nil {
		return err
	}
	if !cfg.Self.Voter {
		return nil
	}
	return storage.WriteBootstrapSnapshot(fsys, dir, 1, disk.VotersRecord(set).Voters, time.Now().UnixMilli())
}

func quorumConfig(cfg Config, set quorum.VoterSet) quorum.Config {
	q := quorum.DefaultConfig()
	q.ClusterID, q.NodeID, q.DirectoryID = clusterID, quorum.NodeID(cfg.Self.ID), directoryOf(cfg.Self.ID)
	q.Controller, q.Listener = cfg.Self.Voter, listenerName
	if cfg.Timeouts != (Timeouts{}) {
		q.ElectionTimeout, q.FetchTimeout = cfg.Timeouts.Election, cfg.Timeouts.Fetch
		q.ElectionBackoffMax = min(q.ElectionBackoffMax, cfg.Timeouts.Election)
	}
	for _, v := range set.Voters() {
		if v.Key.ID == q.NodeID {
			q.Endpoints = v.Endpoints
		}
		q.BootstrapServers = append(q.BootstrapServers, quorum.Node{ID: quorum.None, Host: v.Endpoints[0].Host, Port: v.Endpoints[0].Port})
	}
	return q
}

func (p *pull) handle(req *server.Request) {
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
	if !p.driver.Handle(req) {
		req.Close(fmt.Errorf("API key %d is not the quorum's", req.Key))
	}
}

// Apply implements Replica.
func (p *pull) Apply(ctx context.Context, record []byte) ([]byte, error) {
	w, err := p.books.propose(p.driver, record)
	if err != nil {
		return nil, err
	}
	p.driver.SchedulePreparedAppend()
	select {
	case r := <-w:
		return r.answer, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Leads implements Replica.
func (p *pull) Leads() bool { return p.books.leads() }

// Stop implements Replica.
func (p *pull) Stop(graceful bool) error {
	var err error
	if graceful {
		err = p.driver.Shutdown(context.Background())
	}
	p.cancel()
	err = errors.Join(err, <-p.done)
	if p.server != nil {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = p.server.Shutdown(ctx) // answers that are lost are asked for again, elsewhere
	}
	p.client.Close()
	p.books.lost()
	return errors.Join(err, p.disk.Close())
}

// books are the listener between the log and the machine: they remember who waits for which offset, in order.
type books struct {
	machine Machine
	self    int32

	mu      sync.Mutex
	epoch   int32
	leading bool
	waiting []waiter // ascending
}

type waiter struct {
	offset int64
	result chan result // capacity 1
}

type result struct {
	answer []byte
	err    error
}

// propose prepares a record and notes who waits for it, so that it can't be committed unnoticed.
func (b *books) propose(d *raft.Driver, record []byte) (chan result, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.leading {
		return nil, ErrNotLeader
	}
	offset, err := d.PrepareAppend(b.epoch, [][]byte{record})
	if errors.Is(err, raft.ErrNotLeader) {
		return nil, ErrNotLeader
	}
	if err != nil {
		return nil, err
	}
	w := make(chan result, 1)
	b.waiting = append(b.waiting, waiter{offset: offset, result: w})
	return w, nil
}

// HandleCommit implements raft.Listener.
func (b *books) HandleCommit(batches []raft.CommittedBatch) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, batch := range batches {
		for i, r := range batch.Records {
			answer := b.machine.Apply(r)
			if len(b.waiting) > 0 && b.waiting[0].offset == batch.BaseOffset+int64(i) {
				b.waiting[0].result <- result{answer: answer}
				b.waiting = b.waiting[1:]
			}
		}
	}
}

// HandleLoadSnapshot implements raft.Listener; nobody makes snapshots here.
func (b *books) HandleLoadSnapshot(r raft.SnapshotReader) { _ = r.Close() }

// HandleLeaderChange implements raft.Listener.
func (b *books) HandleLeaderChange(l raft.LeaderAndEpoch) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.epoch, b.leading = l.Epoch, l.LeaderID == b.self
	for _, w := range b.waiting {
		w.result <- result{err: ErrLost}
	}
	b.waiting = nil
}

func (b *books) lost() { b.HandleLeaderChange(raft.LeaderAndEpoch{LeaderID: -1}) }

func (b *books) leads() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.leading
}
