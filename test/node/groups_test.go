package node_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kraft-dev/kraft-operator/test/cluster"
)

// member is a consumer of a group that counts what it was given.
type member struct {
	cl     *kgo.Client
	cancel context.CancelFunc
	done   chan struct{}

	mu         sync.Mutex
	partitions map[int32]bool
	rebalances int
	values     map[string]int
	errs       []error
}

// join starts a member that reads topic and commits what it has read after each poll.
func join(t *testing.T, c *cluster.Cluster, group, topic string, opts ...kgo.Opt) *member {
	m := &member{done: make(chan struct{}), partitions: map[int32]bool{}, values: map[string]int{}}
	change := func(add bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, got map[string][]int32) {
			m.mu.Lock()
			defer m.mu.Unlock()
			m.rebalances++
			for _, p := range got[topic] {
				delete(m.partitions, p)
				if add {
					m.partitions[p] = true
				}
			}
		}
	}
	m.cl = c.Client(append([]kgo.Opt{
		kgo.ConsumerGroup(group), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(),
		kgo.OnPartitionsAssigned(change(true)), kgo.OnPartitionsRevoked(change(false)), kgo.OnPartitionsLost(change(false)),
	}, opts...)...)
	ctx, cancel := context.WithCancel(t.Context())
	m.cancel = cancel
	go func() {
		defer close(m.done)
		for ctx.Err() == nil {
			fs := m.cl.PollFetches(ctx)
			m.mu.Lock()
			fs.EachRecord(func(r *kgo.Record) { m.values[string(r.Value)]++ })
			m.mu.Unlock()
			if err := m.cl.CommitUncommittedOffsets(ctx); err != nil && ctx.Err() == nil {
				m.mu.Lock()
				m.errs = append(m.errs, err)
				m.mu.Unlock()
			}
		}
	}()
	t.Cleanup(m.leave)
	return m
}

// leave ends the member; a static one stays in the group.
func (m *member) leave() {
	m.cancel()
	<-m.done
	m.cl.Close()
}

func (m *member) owns() []int32 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.partitions))
}

func (m *member) seen() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.values)
}

func (m *member) rounds() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.rebalances
}

// send produces records first..last-1 and waits for each.
func send(t *testing.T, cl *kgo.Client, topic string, first, last int) {
	t.Helper()
	ctx := bounded(t, patience)
	var rs []*kgo.Record
	for i := first; i < last; i++ {
		rs = append(rs, &kgo.Record{Topic: topic, Key: fmt.Append(nil, i), Value: fmt.Append(nil, i)})
	}
	require.NoError(t, cl.ProduceSync(ctx, rs...).FirstErr())
}

// committed sums a group's committed offsets; -1 while nobody answers for the group. The client is a new one, since an old one
// may hold on to a coordinator that has died.
func committed(t *testing.T, c *cluster.Cluster, group string) (sum int64) {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Bootstrap()...))
	require.NoError(t, err)
	defer cl.Close()
	offsets, err := kadm.NewClient(cl).FetchOffsets(bounded(t, 5*time.Second), group)
	if err != nil {
		return -1
	}
	offsets.Each(func(o kadm.OffsetResponse) {
		require.NoError(t, o.Err)
		sum += o.At
	})
	return sum
}

// caughtUp waits until a member has read n records and the group's commits say so.
func caughtUp(t *testing.T, c *cluster.Cluster, m *member, n int, commits int64) {
	t.Helper()
	was := ""
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(was)
		}
	})
	c.Eventually(fmt.Sprintf("%d are read and %d committed", n, commits), patience, func() bool {
		seen, sum := m.seen(), committed(t, c, "g")
		m.mu.Lock()
		was = fmt.Sprintf("%d read, %d committed, errors of commits: %v", seen, sum, m.errs)
		m.mu.Unlock()
		return seen == n && sum == commits
	})
}

func TestGroupRebalancesWithItsMembers(t *testing.T) {
	t.Parallel()
	for name, spec := range layouts {
		t.Run(name, func(t *testing.T) {
			c := cluster.Start(t, spec)
			adm := admin(c)
			create(t, c, "t", 6, replication(spec))
			a := join(t, c, "g", "t")
			c.Eventually("one member owns all", patience, func() bool { return len(a.owns()) == 6 })
			b := join(t, c, "g", "t")
			c.Eventually("two members share", patience, func() bool { return len(a.owns()) == 3 && len(b.owns()) == 3 })
			require.Len(t, slices.Compact(slices.Sorted(slices.Values(append(a.owns(), b.owns()...)))), 6)
			send(t, c.Client(), "t", 0, 600)
			c.Eventually("both read all", patience, func() bool { return a.seen()+b.seen() == 600 })
			c.Eventually("both committed all", patience, func() bool { return committed(t, c, "g") == 600 })
			b.leave()
			c.Eventually("the one that stays owns all", patience, func() bool { return len(a.owns()) == 6 })
			groups, err := adm.DescribeGroups(bounded(t, patience), "g")
			require.NoError(t, err)
			require.NoError(t, groups["g"].Err)
			require.Equal(t, "Stable", groups["g"].State)
			require.Len(t, groups["g"].Members, 1)
			a.leave()
			c.Eventually("the group is empty", patience, func() bool {
				groups, err := adm.DescribeGroups(bounded(t, patience), "g")
				return err == nil && groups["g"].State == "Empty"
			})
			deleted, err := adm.DeleteGroups(bounded(t, patience), "g")
			require.NoError(t, err)
			require.NoError(t, deleted["g"].Err)
		})
	}
}

// coordinatorOf is the node that coordinates the group now.
func coordinatorOf(t *testing.T, c *cluster.Cluster, adm *kadm.Client, group string) (found *cluster.Node) {
	t.Helper()
	c.Eventually("a coordinator of "+group, patience, func() bool {
		r := adm.FindGroupCoordinators(bounded(t, patience), group)
		for _, n := range c.Brokers {
			if r[group].Err == nil && n.ID == r[group].NodeID {
				found = n
			}
		}
		return found != nil
	})
	return found
}

// TestGroupOutlivesItsCoordinator kills the coordinator, and then stops its successor: members go on and nothing that was committed is
// forgotten or read again by a member that comes later.
func TestGroupOutlivesItsCoordinator(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Spec{Controllers: 3, Brokers: 3, Processes: true, Config: map[string]string{
		"broker.session.timeout.ms": "3000", "broker.heartbeat.interval.ms": "500",
	}})
	adm := admin(c)
	create(t, c, "t", 6, 3)
	a := join(t, c, "g", "t")
	producer := c.Client()
	send(t, producer, "t", 0, 300)
	caughtUp(t, c, a, 300, 300)

	first := coordinatorOf(t, c, adm, "g")
	first.Kill()
	send(t, producer, "t", 300, 600)
	caughtUp(t, c, a, 600, 600)
	require.NotEqual(t, first.ID, coordinatorOf(t, c, adm, "g").ID)
	first.Start()
	first.WaitReady()
	waitISR(t, c, "__consumer_offsets")

	second := coordinatorOf(t, c, adm, "g")
	require.NoError(t, second.Stop())
	send(t, producer, "t", 600, 900)
	caughtUp(t, c, a, 900, 900)
	second.Start()
	second.WaitReady()
	a.leave()

	b := join(t, c, "g", "t")
	c.Eventually("another member owns all", patience, func() bool { return len(b.owns()) == 6 })
	send(t, producer, "t", 900, 1000)
	caughtUp(t, c, b, 100, 1000)
}

func TestOffsetsOfALoneNodeOutliveKill(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Spec{Controllers: 1, Processes: true})
	create(t, c, "t", 3, 1)
	a := join(t, c, "g", "t")
	send(t, c.Client(), "t", 0, 300)
	caughtUp(t, c, a, 300, 300)
	n := c.Brokers[0]
	n.Kill()
	n.Start()
	n.WaitReady()
	var kept int64
	c.Eventually("offsets are there", patience, func() bool { kept = committed(t, c, "g"); return kept >= 0 })
	require.EqualValues(t, 300, kept)
	send(t, c.Client(), "t", 300, 400)
	caughtUp(t, c, a, 400, 400)
}

// TestStaticMemberRestartsWithoutRebalance: a member with an instance id leaves and comes back; the other doesn't notice.
func TestStaticMemberRestartsWithoutRebalance(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Spec{Controllers: 1})
	create(t, c, "t", 4, 1)
	a := join(t, c, "g", "t", kgo.InstanceID("a"), kgo.Balancers(kgo.RangeBalancer()))
	c.Eventually("the first owns all", patience, func() bool { return len(a.owns()) == 4 })
	b := join(t, c, "g", "t", kgo.InstanceID("b"), kgo.Balancers(kgo.RangeBalancer()))
	c.Eventually("both share", patience, func() bool { return len(a.owns()) == 2 && len(b.owns()) == 2 })
	rounds, had := a.rounds(), b.owns()
	b.leave()
	again := join(t, c, "g", "t", kgo.InstanceID("b"), kgo.Balancers(kgo.RangeBalancer()))
	c.Eventually("it has what it had", patience, func() bool { return slices.Equal(again.owns(), had) })
	send(t, c.Client(), "t", 0, 400)
	c.Eventually("both read", patience, func() bool { return a.seen()+again.seen() == 400 && again.seen() > 0 })
	require.Equal(t, rounds, a.rounds(), "the other member was rebalanced")
}
