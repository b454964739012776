package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/hashicorp/raft"
)

// Stores are where hashicorp/raft keeps a replica's log and votes. Close may be nil.
type Stores struct {
	Log    raft.LogStore
	Stable raft.StableStore
	Close  func() error
}

// MemoryStores lose everything with the process.
func MemoryStores() Stores {
	m := raft.NewInmemStore()
	return Stores{Log: m, Stable: m}
}

// push is a replica of hashicorp/raft.
type push struct {
	raft      *raft.Raft
	transport *raft.NetworkTransport
	stores    Stores
}

const (
	// maxAppendEntries is the largest hashicorp/raft takes; its default is 64.
	maxAppendEntries = 1024
	// logCache spares it reading back what was just appended, as its users have it.
	logCache = 4096
)

// StartPush starts a replica of hashicorp/raft. A voter with empty stores is bootstrapped with voters and nonvoters, an observer hears of
// them from the leader. It makes no snapshots, as StartPull doesn't.
func StartPush(cfg Config, stores Stores, nonvoters []Member) (Replica, error) {
	c := raft.DefaultConfig()
	c.LocalID = serverID(cfg.Self)
	c.LogOutput, c.LogLevel = io.Discard, "OFF"
	c.MaxAppendEntries, c.BatchApplyCh = maxAppendEntries, true
	c.SnapshotThreshold, c.TrailingLogs, c.SnapshotInterval = 1<<62, 1<<62, time.Hour
	c.NoLegacyTelemetry = true
	if cfg.Timeouts != (Timeouts{}) {
		c.HeartbeatTimeout, c.ElectionTimeout = cfg.Timeouts.Fetch, max(cfg.Timeouts.Election, cfg.Timeouts.Fetch) // not below the other
		c.LeaderLeaseTimeout = cfg.Timeouts.Fetch                                                                  // the longest it takes: a busy machine is not to cost it the leadership
		c.CommitTimeout = min(c.CommitTimeout, cfg.Timeouts.Fetch/4)
	}
	addr, err := net.ResolveTCPAddr("tcp", cfg.Self.Addr)
	if err != nil {
		return nil, err
	}
	transport, err := raft.NewTCPTransport(cfg.Self.Addr, addr, 3, 10*time.Second, io.Discard)
	if err != nil {
		return nil, err
	}
	cached, err := raft.NewLogCache(logCache, stores.Log)
	if err != nil {
		return nil, errors.Join(err, transport.Close())
	}
	snapshots := raft.NewDiscardSnapshotStore()
	if err := bootstrapPush(cfg, c, stores, snapshots, transport, nonvoters); err != nil {
		return nil, errors.Join(err, transport.Close())
	}
	r, err := raft.NewRaft(c, fsm{cfg.Machine}, cached, stores.Stable, snapshots, transport)
	if err != nil {
		return nil, errors.Join(err, transport.Close())
	}
	return &push{raft: r, transport: transport, stores: stores}, nil
}

func serverID(m Member) raft.ServerID { return raft.ServerID(fmt.Sprint(m.ID)) }

func bootstrapPush(cfg Config, c *raft.Config, stores Stores, snapshots raft.SnapshotStore, transport raft.Transport, nonvoters []Member) error {
	if !cfg.Self.Voter {
		return nil
	}
	exists, err := raft.HasExistingState(stores.Log, stores.Stable, snapshots)
	if err != nil || exists {
		return err
	}
	var all raft.Configuration
	for _, m := range append(append([]Member(nil), cfg.Voters...), nonvoters...) {
		suffrage := raft.Nonvoter
		if m.Voter {
			suffrage = raft.Voter
		}
		all.Servers = append(all.Servers, raft.Server{Suffrage: suffrage, ID: serverID(m), Address: raft.ServerAddress(m.Addr)})
	}
	return raft.BootstrapCluster(c, stores.Log, stores.Stable, snapshots, transport, all)
}

// Apply implements Replica.
func (p *push) Apply(_ context.Context, record []byte) ([]byte, error) {
	f := p.raft.Apply(record, 0)
	switch err := f.Error(); {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return nil, ErrNotLeader
	case errors.Is(err, raft.ErrLeadershipLost), errors.Is(err, raft.ErrRaftShutdown), errors.Is(err, raft.ErrAbortedByRestore):
		return nil, ErrLost
	case err != nil:
		return nil, err
	}
	answer, _ := f.Response().([]byte)
	return answer, nil
}

// Leads implements Replica.
func (p *push) Leads() bool { return p.raft.State() == raft.Leader }

// stopWithin bounds the wait for a replica to stop. hashicorp/raft 1.8.0 may wait for ever: a leader that steps down while its
// pipeline to a follower is full sends on to a decoder that has ended.
const stopWithin = 10 * time.Second

func (p *push) shutdown() error {
	done := make(chan error, 1)
	go func() { done <- p.raft.Shutdown().Error() }() // not waited for: it may never end
	select {
	case err := <-done:
		return err
	case <-time.After(stopWithin):
		return fmt.Errorf("hashicorp/raft hasn't ended %s after it was told to", stopWithin)
	}
}

// Stop implements Replica.
func (p *push) Stop(graceful bool) error {
	var err error
	if graceful && p.Leads() {
		err = p.raft.LeadershipTransfer().Error()
	}
	err = errors.Join(err, p.shutdown(), p.transport.Close())
	if p.stores.Close != nil {
		err = errors.Join(err, p.stores.Close())
	}
	return err
}

// fsm applies whole batches at once.
type fsm struct{ machine Machine }

func (f fsm) Apply(l *raft.Log) any { return f.machine.Apply(l.Data) }

func (f fsm) ApplyBatch(logs []*raft.Log) []any {
	out := make([]any, len(logs))
	for i, l := range logs {
		if l.Type == raft.LogCommand {
			out[i] = f.machine.Apply(l.Data)
		}
	}
	return out
}

var errNoSnapshots = errors.New("no snapshots are made here")

func (fsm) Snapshot() (raft.FSMSnapshot, error) { return nil, errNoSnapshots }
func (fsm) Restore(io.ReadCloser) error         { return errNoSnapshots }
