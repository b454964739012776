package replica

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/node/broker/follow"
	"github.com/kraft-dev/kraft-operator/internal/node/broker/partition"
	"github.com/kraft-dev/kraft-operator/internal/node/rpc"
	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/storage/memfs"
	"github.com/kraft-dev/kraft-operator/internal/storage/record"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// cluster is Managers with disks in memory, a controller that keeps one topic's assignment, and a network of direct calls. Its tests run
// in virtual time.
type cluster struct {
	t     *testing.T
	topic string
	id    uuid.UUID
	cfg   TopicConfig
	lagMs int64

	mu      sync.Mutex
	nodes   map[int32]*node
	current map[int32]partition.Assignment // by partition number
	mute    map[int32]bool                 // brokers whose fetches get no answer
}

type node struct {
	id     int32
	epoch  int64
	fs     *memfs.FS
	m      *Manager
	cancel context.CancelFunc
	wg     sync.WaitGroup
	applyM sync.Mutex
	roles  []RoleChange
	fatal  error
}

const logDir = "/data"

func newCluster(t *testing.T, brokers, partitions int) *cluster {
	c := &cluster{
		t: t, topic: "t", id: uuid.UUID{7}, lagMs: 10_000, nodes: map[int32]*node{}, current: map[int32]partition.Assignment{}, mute: map[int32]bool{},
		cfg: TopicConfig{Log: storage.DefaultLogConfig(), MinISR: 2, FlushMessages: 1 << 62, FlushMs: -1},
	}
	var ids []int32
	for id := int32(1); id <= int32(brokers); id++ {
		ids = append(ids, id)
	}
	for i := range int32(partitions) {
		r := append(slices.Clone(ids[int(i)%brokers:]), ids[:int(i)%brokers]...)
		c.current[i] = partition.Assignment{Replicas: r, ISR: r, Leader: r[0]}
	}
	for _, id := range ids {
		fs := memfs.New()
		require.NoError(t, fs.MkdirAll(logDir))
		c.start(id, fs)
	}
	return c
}

// start runs a broker on a disk and applies the current assignment.
func (c *cluster) start(id int32, fs *memfs.FS) *node {
	n := &node{id: id, fs: fs, epoch: time.Now().UnixNano()}
	m, err := Open(Config{
		Local: id, FS: fs, Dir: logDir, Settings: func() Settings { return Settings{LagMaxMs: c.lagMs} },
		TopicConfig: func(string) TopicConfig { return c.cfg }, Eligible: c.eligible, BrokerEpoch: func() int64 { return n.epoch },
		Controller: c, Address: func(b int32) (string, bool) { return fmt.Sprint(b), true },
		NewClient:    func() follow.Client { return &direct{c: c, from: id} },
		OnRoleChange: func(r RoleChange) { n.roles = append(n.roles, r) }, Fatal: func(err error) { n.fatal = err },
		Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(c.t, err)
	n.m = m
	var ctx context.Context
	ctx, n.cancel = context.WithCancel(context.Background())
	n.wg.Go(func() { m.Run(ctx) })
	c.mu.Lock()
	c.nodes[id] = n
	c.mu.Unlock()
	c.publishTo(n)
	return n
}

// publishTo applies the controller's assignment at one broker.
func (c *cluster) publishTo(n *node) {
	n.applyM.Lock()
	defer n.applyM.Unlock()
	c.mu.Lock()
	var targets []Target
	for i, a := range c.current {
		if slices.Contains(a.Replicas, n.id) {
			targets = append(targets, Target{Topic: c.topic, TopicID: c.id, Index: i, Assignment: a})
		}
	}
	c.mu.Unlock()
	require.NoError(c.t, n.m.Apply(targets, nil))
}

func (c *cluster) publish() {
	c.mu.Lock()
	var all []*node
	for _, n := range c.nodes {
		all = append(all, n)
	}
	c.mu.Unlock()
	for _, n := range all {
		c.publishTo(n)
	}
}

func (c *cluster) eligible(id int32) (int64, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := c.nodes[id]
	if n == nil {
		return -1, false
	}
	return n.epoch, true
}

// kill ends a broker as kill -9 does and returns its disk as the next process finds it: what was written stays, synced or not.
func (c *cluster) kill(id int32) *memfs.FS {
	c.mu.Lock()
	n := c.nodes[id]
	delete(c.nodes, id)
	c.mu.Unlock()
	fs := n.fs.KillClone()
	n.cancel()
	n.m.StopFollowing()
	n.wg.Wait()
	for _, p := range n.m.all() {
		p.retire()
	}
	return fs
}

// stop ends a broker in order.
func (c *cluster) stop(id int32) *memfs.FS {
	c.mu.Lock()
	n := c.nodes[id]
	delete(c.nodes, id)
	c.mu.Unlock()
	n.cancel()
	n.m.StopFollowing()
	n.wg.Wait()
	require.NoError(c.t, n.m.Close())
	return n.fs
}

// fence takes a broker out of every ISR and moves its leaderships, as the controller does when its session ends.
func (c *cluster) fence(id int32) {
	c.mu.Lock()
	for i, a := range c.current {
		isr := slices.DeleteFunc(slices.Clone(a.ISR), func(b int32) bool { return b == id })
		if len(isr) == len(a.ISR) && a.Leader != id {
			continue
		}
		if len(isr) == 0 {
			isr = a.ISR // the last member stays
		}
		if a.Leader == id {
			a.Leader, a.LeaderEpoch = -1, a.LeaderEpoch+1
			for _, b := range a.Replicas {
				if b != id && slices.Contains(isr, b) && c.nodes[b] != nil {
					a.Leader = b
					break
				}
			}
		}
		a.ISR, a.PartitionEpoch = isr, a.PartitionEpoch+1
		c.current[i] = a
	}
	c.mu.Unlock()
	c.publish()
}

// unfence gives leaderless partitions to their last ISR member when it is back.
func (c *cluster) unfence() {
	c.mu.Lock()
	for i, a := range c.current {
		if a.Leader >= 0 {
			continue
		}
		for _, b := range a.ISR {
			if c.nodes[b] != nil {
				a.Leader, a.LeaderEpoch, a.PartitionEpoch = b, a.LeaderEpoch+1, a.PartitionEpoch+1
				c.current[i] = a
				break
			}
		}
	}
	c.mu.Unlock()
	c.publish()
}

// Do is the controller's AlterPartition.
func (c *cluster) Do(_ context.Context, req kmsg.Request, _ ...rpc.Option) (kmsg.Response, error) {
	r, ok := req.(*kmsg.AlterPartitionRequest)
	if !ok {
		return nil, errors.New("not expected")
	}
	resp := kmsg.NewPtrAlterPartitionResponse()
	c.mu.Lock()
	for _, t := range r.Topics {
		rt := kmsg.AlterPartitionResponseTopic{TopidID: t.TopicID}
		for _, p := range t.Partitions {
			rt.Partitions = append(rt.Partitions, c.alterLocked(r.BrokerID, p))
		}
		resp.Topics = append(resp.Topics, rt)
	}
	c.mu.Unlock()
	c.publish()
	return resp, nil
}

func (c *cluster) alterLocked(from int32, p kmsg.AlterPartitionRequestTopicPartition) kmsg.AlterPartitionResponseTopicPartition {
	out := kmsg.AlterPartitionResponseTopicPartition{Partition: p.Partition}
	a := c.current[p.Partition]
	isr := []int32{}
	switch {
	case p.LeaderEpoch != a.LeaderEpoch || a.Leader != from:
		out.ErrorCode = kerr.FencedLeaderEpoch.Code
	case p.PartitionEpoch != a.PartitionEpoch:
		out.ErrorCode = kerr.InvalidUpdateVersion.Code
	default:
		for _, m := range p.NewEpochISR {
			n := c.nodes[m.BrokerID]
			if n == nil || m.BrokerEpoch != -1 && n.epoch != m.BrokerEpoch {
				out.ErrorCode = kerr.IneligibleReplica.Code
				return out
			}
			isr = append(isr, m.BrokerID)
		}
		a.ISR, a.PartitionEpoch = isr, a.PartitionEpoch+1
		c.current[p.Partition] = a
		out.LeaderID, out.LeaderEpoch, out.PartitionEpoch, out.ISR = a.Leader, a.LeaderEpoch, a.PartitionEpoch, a.ISR
	}
	return out
}

// direct is a follower's client: it calls the leader's partitions.
type direct struct {
	c    *cluster
	from int32
}

func (d *direct) Drop(string) {}
func (d *direct) Close()      {}

func (d *direct) Do(ctx context.Context, addr string, req kmsg.Request, _ ...rpc.Option) (kmsg.Response, error) {
	var id int32
	if _, err := fmt.Sscan(addr, &id); err != nil {
		return nil, err
	}
	d.c.mu.Lock()
	leader, muted := d.c.nodes[id], d.c.mute[d.from]
	d.c.mu.Unlock()
	if leader == nil {
		return nil, &rpc.Error{Addr: addr, Kind: rpc.ErrRefused}
	}
	if muted {
		<-ctx.Done()
		return nil, &rpc.Error{Addr: addr, Kind: rpc.ErrTimeout}
	}
	switch r := req.(type) {
	case *kmsg.FetchRequest:
		return d.fetch(ctx, leader, r)
	case *kmsg.ListOffsetsRequest:
		p := r.Topics[0].Partitions[0]
		resp := kmsg.NewPtrListOffsetsResponse()
		out := kmsg.NewListOffsetsResponseTopicPartition()
		if part, ok := leader.m.Partition(d.c.id, p.Partition); ok {
			at, err := part.ListOffset(p.Timestamp, p.CurrentLeaderEpoch, true)
			out.ErrorCode = codeOf(err)
			out.Offset = at.Offset
		}
		resp.Topics = []kmsg.ListOffsetsResponseTopic{{Partitions: []kmsg.ListOffsetsResponseTopicPartition{out}}}
		return resp, nil
	}
	return nil, errors.New("not expected")
}

func (d *direct) fetch(ctx context.Context, leader *node, r *kmsg.FetchRequest) (kmsg.Response, error) {
	read := func(parked bool) (resp *kmsg.FetchResponse, parts []*Partition, seen []Seen, something bool) {
		resp = kmsg.NewPtrFetchResponse()
		resp.Version = 17
		for _, t := range r.Topics {
			rt := kmsg.FetchResponseTopic{TopicID: t.TopicID}
			for _, p := range t.Partitions {
				out := kmsg.NewFetchResponseTopicPartition()
				out.Partition = p.Partition
				part, ok := leader.m.Partition(t.TopicID, p.Partition)
				if !ok {
					out.ErrorCode, something = kerr.UnknownTopicID.Code, true
					rt.Partitions = append(rt.Partitions, out)
					continue
				}
				res := part.Read(ReadRequest{
					LeaderEpoch: p.CurrentLeaderEpoch, Offset: p.FetchOffset, LastFetchedEpoch: p.LastFetchedEpoch, MaxBytes: 1 << 20,
					MinOneBatch: true, Parked: parked, Follower: &FollowerFetch{Broker: d.from, BrokerEpoch: r.ReplicaState.Epoch, LogStart: p.LogStartOffset},
				})
				parts, seen = append(parts, part), append(seen, res.Seen)
				out.HighWatermark, out.LogStartOffset = res.HighWatermark, res.LogStart
				out.ErrorCode = codeOf(res.Err)
				if res.Diverging != nil {
					out.DivergingEpoch.Epoch, out.DivergingEpoch.EndOffset = res.Diverging.Epoch, res.Diverging.EndOffset
				}
				out.RecordBatches, _ = res.Records.AppendTo(nil)
				something = something || res.Err != nil || res.Diverging != nil || len(out.RecordBatches) > 0
				rt.Partitions = append(rt.Partitions, out)
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp, parts, seen, something
	}
	resp, parts, seen, something := read(false)
	if something {
		return resp, nil
	}
	answer := make(chan *kmsg.FetchResponse, 1)
	w := NewFetchWait(1, true, func() {
		resp, _, _, _ := read(true)
		answer <- resp
	})
	w.Start(parts, seen, time.Duration(r.MaxWaitMillis)*time.Millisecond)
	select {
	case resp := <-answer:
		return resp, nil
	case <-ctx.Done():
		w.Cancel()
		return nil, &rpc.Error{Kind: rpc.ErrTimeout}
	}
}

func codeOf(err error) int16 {
	var ke *kerr.Error
	if errors.As(err, &ke) {
		return ke.Code
	}
	return 0
}

// batch is one batch with one record.
func batch(t *testing.T, value string) []byte {
	b := record.NewBuilder(record.BuilderConfig{})
	b.Append(time.Now().UnixMilli(), nil, []byte(value))
	out, err := b.Build()
	require.NoError(t, err)
	return out
}

func (c *cluster) part(broker, index int32) *Partition {
	c.mu.Lock()
	n := c.nodes[broker]
	c.mu.Unlock()
	if n == nil {
		return nil
	}
	p, _ := n.m.Partition(c.id, index)
	return p
}

// leader is the partition at its leader, nil while there is none.
func (c *cluster) leader(index int32) *Partition {
	c.mu.Lock()
	id := c.current[index].Leader
	c.mu.Unlock()
	return c.part(id, index)
}

// append appends one record at a broker and returns where its result comes.
func (c *cluster) append(p *Partition, acks int16, value string, timeout time.Duration) chan AppendResult {
	done := make(chan AppendResult, 1)
	op := NewAppendOp(1, func(r []AppendResult) { done <- r[0] })
	p.Append(op, 0, batch(c.t, value), acks, storage.OriginClient)
	op.Appended(timeout)
	return done
}

// values reads everything below the high watermark at a partition, by offset.
func values(t *testing.T, p *Partition, end int64) map[int64]string {
	out := map[int64]string{}
	for offset := p.Status().LogStartOffset; offset < end; {
		s, _, err := p.Log().Read(offset, end, 1<<20, true)
		require.NoError(t, err)
		data, err := s.AppendTo(nil)
		require.NoError(t, err)
		require.NotEmpty(t, data)
		for len(data) > 0 {
			b, rest, err := record.Split(data)
			require.NoError(t, err)
			for r, err := range b.Records(0) {
				require.NoError(t, err)
				out[r.Offset] = string(r.Value)
			}
			data, offset = rest, b.NextOffset()
		}
	}
	return out
}

// converged says whether all replicas of a partition have the leader's log and the ISR is whole.
func (c *cluster) converged(index int32) bool {
	l := c.leader(index)
	if l == nil {
		return false
	}
	want := l.Status()
	if len(want.ISR) != len(want.Replicas) {
		return false
	}
	for _, id := range want.Replicas {
		p := c.part(id, index)
		if p == nil {
			return false
		}
		s := p.Status()
		if s.LogEndOffset != want.LogEndOffset || s.HighWatermark != want.LogEndOffset || s.LeaderEpoch != want.LeaderEpoch {
			return false
		}
	}
	return true
}

// eventually waits in virtual time.
func (c *cluster) eventually(what string, f func() bool) {
	c.t.Helper()
	for range 3000 {
		if f() {
			return
		}
		<-time.After(10 * time.Millisecond)
	}
	for id := range c.nodes {
		for i := range c.current {
			if p := c.part(id, i); p != nil {
				c.t.Logf("broker %d partition %d: %+v", id, i, p.Status())
			}
		}
	}
	require.Fail(c.t, "not within 30 s: "+what)
}

func (c *cluster) shutdown() {
	for id := range c.nodes {
		c.stop(id)
	}
}

// chaos is used by the seeded tests.
func chaos(seed uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, 3)) }
