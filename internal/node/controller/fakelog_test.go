package controller

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/node/auth"
	"github.com/kraft-dev/kraft-operator/internal/node/raft"
	"github.com/kraft-dev/kraft-operator/internal/node/server"
	"github.com/kraft-dev/kraft-operator/internal/node/wire"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

const testCluster = "AAAAAAAAAAAAAAAAAAAAKg"

// fakeQuorum is a metadata log in memory under several controllers. Nothing happens by itself: tests commit, deliver and
// elect. What isn't committed when another leader is elected may be cut off.
type fakeQuorum struct {
	t       testing.TB
	rnd     *rand.Rand
	now     time.Time
	batches []raft.CommittedBatch
	commits int // batches[:commits] are committed
	leader  raft.LeaderAndEpoch
	nodes   map[int32]*fakeNode
	full    bool // PrepareAppend says that the buffer is full
}

// fakeNode is one controller and how far the log was delivered to it.
type fakeNode struct {
	q         *fakeQuorum
	id        int32
	core      *core
	delivered int
	told      raft.LeaderAndEpoch
}

func newQuorum(t testing.TB, seed uint64, ids ...int32) *fakeQuorum {
	q := &fakeQuorum{
		t: t, rnd: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1_000_000, 0),
		leader: raft.LeaderAndEpoch{LeaderID: -1}, nodes: map[int32]*fakeNode{},
	}
	for _, id := range ids {
		q.nodes[id] = q.newNode(id, len(ids))
	}
	return q
}

func (q *fakeQuorum) newNode(id int32, voters int) *fakeNode {
	n := &fakeNode{q: q, id: id, told: raft.LeaderAndEpoch{LeaderID: -1}}
	cfg, err := Config{
		NodeID: id, ClusterID: testCluster, Log: n, BootstrapRecords: metadata.BootstrapRecords(),
		Static: map[string]string{"min.insync.replicas": "2"}, Clock: fakeClock{q},
		Rand:         rand.New(rand.NewPCG(q.rnd.Uint64(), uint64(id))),
		KRaftVersion: func() int16 { return 1 },
		Voters: func() (out []Node) {
			for v := range voters {
				out = append(out, Node{ID: int32(v + 1), Host: "localhost", Port: int32(9090 + v)})
			}
			return out
		},
	}.withDefaults()
	require.NoError(q.t, err)
	n.core = newCore(cfg, newMetrics(nil))
	return n
}

type fakeClock struct{ q *fakeQuorum }

func (c fakeClock) Now() time.Time                       { return c.q.now }
func (c fakeClock) NewTimer(d time.Duration) *time.Timer { return time.NewTimer(d) }

func (n *fakeNode) PrepareAppend(epoch int32, records [][]byte) (int64, error) {
	if n.q.leader != (raft.LeaderAndEpoch{LeaderID: n.id, Epoch: epoch}) {
		return 0, raft.ErrNotLeader
	}
	if n.q.full {
		return 0, raft.ErrBufferFull
	}
	return n.q.append(records), nil
}

func (q *fakeQuorum) append(records [][]byte) int64 {
	base := q.end()
	last := base + int64(max(len(records), 1)) - 1
	q.batches = append(q.batches, raft.CommittedBatch{BaseOffset: base, LastOffset: last, Epoch: q.leader.Epoch, AppendTimestamp: q.now.UnixMilli(), Records: records})
	return last
}

func (q *fakeQuorum) end() int64 {
	if len(q.batches) == 0 {
		return 0
	}
	return q.batches[len(q.batches)-1].LastOffset + 1
}

func (n *fakeNode) SchedulePreparedAppend() {}
func (n *fakeNode) LogEndOffset() int64     { return n.q.end() }
func (n *fakeNode) LeaderAndEpoch() raft.LeaderAndEpoch {
	return n.q.leader
}

func (n *fakeNode) Resign(epoch int32) {
	if n.q.leader == (raft.LeaderAndEpoch{LeaderID: n.id, Epoch: epoch}) {
		n.q.leader.LeaderID = -1
	}
}

// elect makes a node the leader of the next epoch. keep says how many uncommitted batches survive.
func (q *fakeQuorum) elect(id int32, keep int) {
	q.batches = q.batches[:min(len(q.batches), q.commits+keep)]
	q.leader = raft.LeaderAndEpoch{LeaderID: id, Epoch: q.leader.Epoch + 1}
	q.append(nil) // LeaderChange
}

// commit commits all and delivers all to everyone.
func (q *fakeQuorum) commit() {
	q.commits = len(q.batches)
	for _, id := range sortedKeys(q.nodes) {
		q.nodes[id].deliver(len(q.batches))
	}
}

// deliver brings one node up to date, at most batches of them.
func (n *fakeNode) deliver(batches int) {
	q := n.q
	if n.told != q.leader && q.leader.LeaderID != n.id {
		n.tell()
	}
	for ; batches > 0 && n.delivered < q.commits; batches-- {
		require.NoError(q.t, n.core.commit(q.batches[n.delivered:n.delivered+1]))
		n.delivered++
	}
	if n.told != q.leader && n.delivered == q.commits && q.commits == len(q.batches) {
		n.tell()
	}
	require.NoError(q.t, n.core.fault)
}

func (n *fakeNode) tell() {
	n.told = n.q.leader
	require.NoError(n.q.t, n.core.leaderChange(n.q.leader, n.q.now))
}

// start elects a node and commits its bootstrap records.
func (q *fakeQuorum) start(id int32) *core {
	q.elect(id, 0)
	q.commit()
	q.commit()
	require.True(q.t, q.nodes[id].core.active())
	return q.nodes[id].core
}

// pending is a request under way.
type pending struct{ resp kmsg.Response }

func (q *fakeQuorum) send(c *core, req kmsg.Request) *pending {
	p := &pending{}
	c.handle(q.request(req, func(a server.Answer) { p.resp = a.Response }), q.now)
	require.NoError(q.t, c.fault)
	return p
}

func (q *fakeQuorum) request(req kmsg.Request, done func(server.Answer)) *server.Request {
	if req.GetVersion() == 0 {
		if api, ok := wire.Lookup(req.Key()); ok {
			req.SetVersion(api.Max)
		}
	}
	setTimeouts(req)
	h := wire.RequestHeader{Key: req.Key(), Version: req.GetVersion()}
	return server.Detached(h, req, server.ConnInfo{Principal: auth.Anonymous, Listener: "CONTROLLER"}, nil, q.now, done)
}

func setTimeouts(req kmsg.Request) {
	if r, ok := req.(interface{ SetTimeout(int32) }); ok {
		r.SetTimeout(60_000)
	}
}

// do sends, commits, and returns the answer.
func do[R kmsg.Response](q *fakeQuorum, c *core, req kmsg.Request) R {
	q.t.Helper()
	p := q.send(c, req)
	q.commit()
	require.NotNil(q.t, p.resp, "no answer to %s", kmsg.NameForKey(req.Key()))
	return p.resp.(R)
}

func incarnation(broker int32, n byte) uuid.UUID { return uuid.UUID{1, n, 3: byte(broker), 15: 9} }
func directory(broker int32, n byte) uuid.UUID   { return uuid.UUID{2, n, 3: byte(broker), 15: 9} }

func registration(broker int32, life byte) *kmsg.BrokerRegistrationRequest {
	req := kmsg.NewPtrBrokerRegistrationRequest()
	req.BrokerID, req.ClusterID, req.IncarnationID = broker, testCluster, incarnation(broker, life)
	req.PreviousBrokerEpoch = -1
	req.LogDirs = [][16]byte{directory(broker, 0)}
	req.Listeners = []kmsg.BrokerRegistrationRequestListener{{Name: "INTERNAL", Host: fmt.Sprintf("broker-%d", broker), Port: 9092}}
	for _, f := range metadata.Supported() {
		req.Features = append(req.Features, kmsg.BrokerRegistrationRequestFeature{Name: f.Name, MinSupportedVersion: f.Min, MaxSupportedVersion: f.Max})
	}
	return req
}

// register registers a broker and returns its epoch.
func (q *fakeQuorum) register(c *core, broker int32, life byte) int64 {
	q.t.Helper()
	resp := do[*kmsg.BrokerRegistrationResponse](q, c, registration(broker, life))
	require.Zero(q.t, resp.ErrorCode)
	return resp.BrokerEpoch
}

func heartbeat(broker int32, epoch, offset int64) *kmsg.BrokerHeartbeatRequest {
	req := kmsg.NewPtrBrokerHeartbeatRequest()
	req.BrokerID, req.BrokerEpoch, req.CurrentMetadataOffset = broker, epoch, offset
	return req
}

// join registers and unfences brokers and returns their epochs.
func (q *fakeQuorum) join(c *core, brokers ...int32) map[int32]int64 {
	q.t.Helper()
	epochs := map[int32]int64{}
	for _, b := range brokers {
		epochs[b] = q.register(c, b, 1)
		resp := q.beat(c, heartbeat(b, epochs[b], q.end()))
		require.False(q.t, resp.IsFenced)
	}
	return epochs
}

// beat sends a heartbeat as Controller.Handle does: contact counts from arrival.
func (q *fakeQuorum) beat(c *core, req *kmsg.BrokerHeartbeatRequest) *kmsg.BrokerHeartbeatResponse {
	q.t.Helper()
	c.sessions.touch(req.BrokerID, req.BrokerEpoch, q.now)
	return do[*kmsg.BrokerHeartbeatResponse](q, c, req)
}

func newTopic(name string, partitions int32, factor int16, configs ...string) *kmsg.CreateTopicsRequest {
	req := kmsg.NewPtrCreateTopicsRequest()
	t := kmsg.NewCreateTopicsRequestTopic()
	t.Topic, t.NumPartitions, t.ReplicationFactor = name, partitions, factor
	for i := 0; i+1 < len(configs); i += 2 {
		t.Configs = append(t.Configs, kmsg.CreateTopicsRequestTopicConfig{Name: configs[i], Value: &configs[i+1]})
	}
	req.Topics = append(req.Topics, t)
	return req
}

// assigned is a topic with replicas put by hand, a list a partition.
func assigned(name string, replicas ...[]int32) *kmsg.CreateTopicsRequest {
	req := newTopic(name, -1, -1)
	for i, r := range replicas {
		req.Topics[0].ReplicaAssignment = append(req.Topics[0].ReplicaAssignment, kmsg.CreateTopicsRequestTopicReplicaAssignment{Partition: int32(i), Replicas: r})
	}
	return req
}

func (q *fakeQuorum) create(c *core, req *kmsg.CreateTopicsRequest) uuid.UUID {
	q.t.Helper()
	resp := do[*kmsg.CreateTopicsResponse](q, c, req)
	require.Zero(q.t, resp.Topics[0].ErrorCode, "%v", strOf(resp.Topics[0].ErrorMessage))
	return resp.Topics[0].TopicID
}

func strOf(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func (q *fakeQuorum) partition(c *core, topic uuid.UUID, i int32) *metadata.Partition {
	q.t.Helper()
	p, ok := c.committed.stable().img.Partition(topic, i)
	require.True(q.t, ok)
	return p
}

// requireConverged checks that every controller's committed image is the same, and the active one's working root too.
func (q *fakeQuorum) requireConverged() {
	q.t.Helper()
	q.commit()
	var first []string
	for i, id := range sortedKeys(q.nodes) {
		c := q.nodes[id].core
		recs := contents(c.committed.stable().img)
		if i == 0 {
			first = recs
		}
		require.Equal(q.t, first, recs, "controller %d", id)
		require.Equal(q.t, recs, contents(c.working.state.img), "working root of controller %d", id)
	}
}

// contents is an image as encoded snapshot records, with a name to read differences by.
func contents(img *metadata.Image) (out []string) {
	for rec := range img.Records() {
		out = append(out, fmt.Sprintf("%T %x", rec, metadata.Encode(rec, img.MetadataVersion().RecordVersion(rec))))
	}
	return out
}

// fakeSnapshot reads an image as a snapshot.
type fakeSnapshot struct {
	img    *metadata.Image
	closed bool
}

func (s *fakeSnapshot) EndOffset() int64                 { return s.img.Offset + 1 }
func (s *fakeSnapshot) Epoch() int32                     { return s.img.Epoch }
func (s *fakeSnapshot) LastContainedLogTimestamp() int64 { return 0 }
func (s *fakeSnapshot) Close() error                     { s.closed = true; return nil }
func (s *fakeSnapshot) Batches() iter.Seq2[raft.CommittedBatch, error] {
	return func(yield func(raft.CommittedBatch, error) bool) {
		var b raft.CommittedBatch
		for rec := range s.img.Records() {
			b.Records = append(b.Records, metadata.Encode(rec, s.img.MetadataVersion().RecordVersion(rec)))
		}
		yield(b, nil)
	}
}

func ids(s []int32) string {
	return strings.Trim(strings.Join(strings.Fields(fmt.Sprint(s)), ","), "[]")
}
