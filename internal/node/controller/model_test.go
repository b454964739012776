package controller

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// model drives three controllers and five brokers at random, with failovers that may lose what isn't committed, and
// keeps what was acknowledged.
type model struct {
	t   *testing.T
	q   *fakeQuorum
	rnd *rand.Rand

	brokers map[int32]*modelBroker
	// acknowledged is what clients were told: topics by name with at least so many partitions, settings, gone topics.
	topics  map[string]*ackTopic
	deleted map[uuid.UUID]bool
	blocks  map[int64]bool
	epochs  map[metadata.PartitionRef][2]int32 // leader and partition epoch last seen
	open    []func()                           // requests under way: called after each step, they note what was answered
	step    int
	counts  map[string]int
}

type modelBroker struct {
	id    int32
	life  byte
	epoch int64
	read  int64 // metadata offset
	alive bool
}

type ackTopic struct {
	id         uuid.UUID
	partitions int32
	retention  string
	busy       bool // a request that could change it is under way
}

func TestRandomOperationsAndFailovers(t *testing.T) {
	for seed := range uint64(24) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			m := &model{
				t: t, q: newQuorum(t, seed, 1, 2, 3), rnd: rand.New(rand.NewPCG(seed, 99)),
				brokers: map[int32]*modelBroker{}, topics: map[string]*ackTopic{}, deleted: map[uuid.UUID]bool{},
				blocks: map[int64]bool{}, epochs: map[metadata.PartitionRef][2]int32{}, counts: map[string]int{},
			}
			m.q.start(1)
			for id := int32(101); id <= 105; id++ {
				m.brokers[id] = &modelBroker{id: id}
				m.restart(m.brokers[id])
			}
			for m.step = range 300 {
				m.randomStep()
				m.check()
			}
			m.heal()
			m.check()
			m.q.requireConverged()
			for _, what := range []string{"failover", "create", "delete", "fence", "alter", "elected"} {
				if m.counts[what] == 0 {
					t.Logf("seed %d never saw %s", seed, what)
				}
			}
		})
	}
}

func (m *model) active() *core {
	for _, n := range m.q.nodes {
		if n.core.active() && m.q.leader.LeaderID == n.id {
			return n.core
		}
	}
	return nil
}

// ask sends a request to the active controller, if there is one, and calls then with its answer when it comes.
func (m *model) ask(req kmsg.Request, then func(kmsg.Response)) {
	c := m.active()
	if c == nil {
		return
	}
	if hb, ok := req.(*kmsg.BrokerHeartbeatRequest); ok {
		c.sessions.touch(hb.BrokerID, hb.BrokerEpoch, m.q.now)
	}
	p := m.q.send(c, req)
	done := false
	m.open = append(m.open, func() {
		if !done && p.resp != nil {
			done = true
			then(p.resp)
		}
	})
}

func (m *model) randomStep() {
	m.q.now = m.q.now.Add(time.Duration(m.rnd.IntN(400)) * time.Millisecond)
	switch n := m.rnd.IntN(100); {
	case n < 30:
		m.beat(m.anyBroker())
	case n < 45:
		m.alterISR()
	case n < 52:
		m.createTopic()
	case n < 55:
		m.deleteTopic()
	case n < 59:
		m.addPartitions()
	case n < 63:
		m.setRetention()
	case n < 66:
		m.allocate()
	case n < 69:
		m.restart(m.anyBroker())
	case n < 72:
		b := m.anyBroker()
		b.alive = !b.alive
	case n < 75:
		m.failover()
	case n < 80:
		if c := m.active(); c != nil {
			c.tick(m.q.now)
		}
	case n < 83:
		m.reassign()
	default:
		m.progress()
	}
	m.note()
}

// progress commits some of the log and delivers unevenly.
func (m *model) progress() {
	if left := len(m.q.batches) - m.q.commits; left > 0 {
		m.q.commits += 1 + m.rnd.IntN(left)
	}
	for _, id := range sortedKeys(m.q.nodes) {
		m.q.nodes[id].deliver(m.rnd.IntN(6))
	}
	for _, b := range m.brokers {
		if b.alive {
			b.read = m.q.batches[m.q.commits-1].LastOffset
		}
	}
}

func (m *model) note() {
	for _, f := range m.open {
		f()
	}
	if m.step%50 == 0 && len(m.open) > 500 {
		m.open = m.open[len(m.open)-500:]
	}
}

func (m *model) failover() {
	m.counts["failover"]++
	left := len(m.q.batches) - m.q.commits
	m.q.elect(int32(1+m.rnd.IntN(3)), m.rnd.IntN(left+1))
}

func (m *model) anyBroker() *modelBroker { return m.brokers[int32(101+m.rnd.IntN(5))] }

func (m *model) restart(b *modelBroker) {
	previous := b.epoch
	if m.rnd.IntN(2) == 0 {
		previous = -1 // not a clean shutdown
	}
	b.alive = true
	b.life++
	b.epoch = -1
	req := registration(b.id, b.life)
	req.PreviousBrokerEpoch = previous
	life := b.life
	m.ask(req, func(r kmsg.Response) {
		if resp := r.(*kmsg.BrokerRegistrationResponse); resp.ErrorCode == 0 && b.life == life {
			b.epoch = resp.BrokerEpoch
		}
	})
}

func (m *model) beat(b *modelBroker) {
	if !b.alive {
		return
	}
	if b.epoch < 0 {
		b.life-- // try again with the same incarnation
		m.restart(b)
		return
	}
	req := heartbeat(b.id, b.epoch, b.read)
	req.WantFence = m.rnd.IntN(30) == 0
	req.WantShutdown = m.rnd.IntN(30) == 0
	m.ask(req, func(r kmsg.Response) {
		if resp := r.(*kmsg.BrokerHeartbeatResponse); resp.ErrorCode == 0 && resp.IsFenced {
			m.counts["fence"]++
		}
	})
}

func (m *model) createTopic() {
	name := fmt.Sprintf("t%d", m.rnd.IntN(12))
	req := newTopic(name, int32(1+m.rnd.IntN(4)), int16(1+m.rnd.IntN(4)))
	if m.rnd.IntN(3) == 0 {
		req.Topics[0].Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "unclean.leader.election.enable", Value: ptr("true")}}
	}
	req.TimeoutMillis = 60_000
	m.ask(req, func(r kmsg.Response) {
		if rt := r.(*kmsg.CreateTopicsResponse).Topics[0]; rt.ErrorCode == 0 {
			m.counts["create"]++
			m.topics[name] = &ackTopic{id: rt.TopicID, partitions: rt.NumPartitions}
		}
	})
}

func (m *model) anyTopic() (string, *ackTopic) {
	names := sortedKeys(m.topics)
	if len(names) == 0 {
		return "", nil
	}
	name := names[m.rnd.IntN(len(names))]
	if m.topics[name].busy {
		return "", nil
	}
	return name, m.topics[name]
}

func (m *model) deleteTopic() {
	name, a := m.anyTopic()
	if a == nil {
		return
	}
	req := kmsg.NewPtrDeleteTopicsRequest()
	req.Topics = []kmsg.DeleteTopicsRequestTopic{{TopicID: a.id}}
	req.TimeoutMillis = 60_000
	delete(m.topics, name) // until it is answered, nobody knows
	m.ask(req, func(r kmsg.Response) {
		if r.(*kmsg.DeleteTopicsResponse).Topics[0].ErrorCode == 0 {
			m.counts["delete"]++
			m.deleted[a.id] = true
		}
	})
}

func (m *model) addPartitions() {
	name, a := m.anyTopic()
	if a == nil || a.partitions > 8 {
		return
	}
	req := kmsg.NewPtrCreatePartitionsRequest()
	want := a.partitions + 1
	req.Topics = []kmsg.CreatePartitionsRequestTopic{{Topic: name, Count: want}}
	req.TimeoutMillis = 60_000
	a.busy = true
	m.ask(req, func(r kmsg.Response) {
		if r.(*kmsg.CreatePartitionsResponse).Topics[0].ErrorCode == 0 {
			a.partitions = want
		}
		a.busy = false
	})
}

func (m *model) setRetention() {
	name, a := m.anyTopic()
	if a == nil {
		return
	}
	value := fmt.Sprint(1000 + m.rnd.IntN(1000))
	a.retention, a.busy = "", true
	m.ask(incremental(opOf{kmsg.ConfigResourceTypeTopic, name, "retention.ms", 0, &value}), func(r kmsg.Response) {
		if r.(*kmsg.IncrementalAlterConfigsResponse).Resources[0].ErrorCode == 0 {
			a.retention = value
		}
		a.busy = false
	})
}

func (m *model) allocate() {
	b := m.anyBroker()
	req := kmsg.NewPtrAllocateProducerIDsRequest()
	req.BrokerID, req.BrokerEpoch = b.id, b.epoch
	m.ask(req, func(r kmsg.Response) {
		if resp := r.(*kmsg.AllocateProducerIDsResponse); resp.ErrorCode == 0 {
			require.False(m.t, m.blocks[resp.ProducerIDStart], "producer ids %d are given twice", resp.ProducerIDStart)
			m.blocks[resp.ProducerIDStart] = true
		}
	})
}

// alterISR lets a leader, by what it may know, propose an ISR of replicas that are alive.
func (m *model) alterISR() {
	c := m.active()
	if c == nil {
		return
	}
	img := c.committed.stable().img
	b := m.anyBroker()
	for ref, p := range img.PartitionsOf(b.id, metadata.RoleLeader) {
		if m.rnd.IntN(3) > 0 {
			continue
		}
		epochs := map[int32]int64{}
		isr := []int32{b.id}
		for _, r := range p.Replicas {
			if reg, ok := img.Broker(r); ok {
				epochs[r] = reg.Epoch
			}
			if r != b.id && m.rnd.IntN(3) > 0 {
				isr = append(isr, r)
			}
		}
		if p.LeaderRecoveryState == metadata.LeaderRecovering && m.rnd.IntN(2) == 0 {
			isr = isr[:1]
		}
		req := alterISR(p, ref.TopicID, epochs, isr...)
		req.Topics[0].Partitions[0].Partition = ref.Partition
		req.Topics[0].Partitions[0].LeaderRecoveryState = 0
		m.ask(req, func(r kmsg.Response) {
			if resp := r.(*kmsg.AlterPartitionResponse); resp.ErrorCode == 0 && resp.Topics[0].Partitions[0].ErrorCode == 0 {
				m.counts["alter"]++
			}
		})
	}
}

func (m *model) reassign() {
	name, a := m.anyTopic()
	if a == nil {
		return
	}
	var target []int32
	for _, id := range m.rnd.Perm(5)[:1+m.rnd.IntN(3)] {
		target = append(target, int32(101+id))
	}
	if m.rnd.IntN(4) == 0 {
		target = nil
	}
	req := kmsg.NewPtrAlterPartitionAssignmentsRequest()
	req.AllowReplicationFactorChange, req.TimeoutMillis = true, 60_000
	req.Topics = []kmsg.AlterPartitionAssignmentsRequestTopic{{Topic: name, Partitions: []kmsg.AlterPartitionAssignmentsRequestTopicPartition{{Replicas: target}}}}
	m.ask(req, func(kmsg.Response) {})
}

// heal commits everything under a live leader and brings all brokers back.
func (m *model) heal() {
	m.q.start(1)
	m.note()
	for _, b := range m.brokers {
		b.alive = true
		m.q.now = m.q.now.Add(10 * time.Second)
		m.restart(b)
		m.q.commit()
		m.note()
		for b.epoch < 0 {
			m.q.now = m.q.now.Add(10 * time.Second)
			m.beat(b)
			m.q.commit()
			m.note()
		}
	}
	for _, b := range m.brokers {
		m.q.beat(m.active(), heartbeat(b.id, b.epoch, m.q.end()))
		m.note()
	}
}

// check holds the invariants against the committed state, and the active controller's working state.
func (m *model) check() {
	newest := m.q.nodes[1].core
	for _, n := range m.q.nodes {
		if n.core.lastCommitted > newest.lastCommitted {
			newest = n.core
		}
		requireImage(m.t, n.core.committed.stable())
		requireImage(m.t, n.core.working.state)
	}
	img := newest.committed.stable().img
	for name, a := range m.topics {
		t, ok := img.TopicByName(name)
		require.True(m.t, ok, "topic %s was acknowledged", name)
		require.Equal(m.t, a.id, t.ID)
		require.GreaterOrEqual(m.t, int32(t.PartitionCount()), a.partitions)
		if a.retention != "" {
			v, _ := img.ConfigValue(metadata.ResourceTopic, name, "retention.ms")
			require.Equal(m.t, a.retention, v)
		}
	}
	for id := range m.deleted {
		_, ok := img.TopicByID(id)
		require.False(m.t, ok, "topic %s was acknowledged as deleted", id)
	}
	for _, t := range img.Topics() {
		for i, p := range t.Partitions() {
			ref := metadata.PartitionRef{TopicID: t.ID, Partition: i}
			old := m.epochs[ref]
			require.GreaterOrEqual(m.t, p.LeaderEpoch, old[0], "leader epoch of %s-%d", t.Name, i)
			require.GreaterOrEqual(m.t, p.PartitionEpoch, old[1], "partition epoch of %s-%d", t.Name, i)
			m.epochs[ref] = [2]int32{p.LeaderEpoch, p.PartitionEpoch}
			if p.LeaderEpoch > old[0] {
				m.counts["elected"]++
			}
		}
	}
}

func requireImage(t *testing.T, s *state) {
	reassigning, unbalanced := 0, 0
	for _, topic := range s.img.Topics() {
		for _, p := range topic.Partitions() {
			requirePartitionInvariants(t, p)
			if p.Leader != noLeader {
				b, ok := s.img.Broker(p.Leader)
				require.True(t, ok && b.Active(), "leader %d is active", p.Leader)
			}
			for _, r := range p.ISR {
				b, ok := s.img.Broker(r)
				require.True(t, ok && !b.Fenced, "ISR member %d is unfenced", r)
			}
			require.Len(t, slices.Compact(slices.Sorted(slices.Values(p.Replicas))), len(p.Replicas))
			if len(p.Adding)+len(p.Removing) > 0 {
				reassigning++
			}
			if imbalanced(p) {
				unbalanced++
			}
		}
	}
	require.Equal(t, reassigning, s.reassigning.Len())
	require.Equal(t, unbalanced, s.imbalanced.Len())
}
