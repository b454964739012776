package controllers

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
	"github.com/kraft-dev/kraft-operator/controllers/plan"
	"github.com/kraft-dev/kraft-operator/internal/admin"
)

// frozen is a cluster in which broker 1002 has stopped, and 1000 is cut off from the controllers since before.
type frozen struct {
	Admin
	quorum *admin.Quorum // nil: nobody answers
	asked  []string
}

func (f *frozen) DescribeQuorum(context.Context, []string) (*admin.Quorum, error) {
	if f.quorum == nil {
		return nil, admin.ErrNobody
	}
	return f.quorum, nil
}

func (f *frozen) DescribeTopics(_ context.Context, brokers []string) (*admin.Topics, error) {
	f.asked = brokers
	if len(brokers) == 0 {
		return nil, errors.New("asked of nobody")
	}
	p := admin.Partition{Topic: "orders", Leader: 1001, Replicas: []int32{1000, 1001, 1002}, ISR: []int32{1001, 1002}, MinISR: 2}
	if strings.HasPrefix(brokers[0], "10.0.0.0:") {
		p.ISR = []int32{1000, 1001, 1002}
	}
	return &admin.Topics{Unfenced: p.ISR, Partitions: []admin.Partition{p}}, nil
}

// fleetOf is a pass over a cluster whose nodes run and are Ready: node n is 10.0.0.(n modulo 1000).
func fleetOf(brokers ...int32) *scope {
	s := &scope{cluster: &v1alpha1.KRaftCluster{ObjectMeta: metav1.ObjectMeta{Name: "demo", Namespace: "ns"}}, pods: map[string]*corev1.Pod{}}
	s.spec.Listeners = []v1alpha1.ListenerSpec{{Name: "INTERNAL", Type: v1alpha1.ListenerInternal, Port: 9092}}
	pod := func(id int32, roles ...string) {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("demo-%d-0", id), Labels: map[string]string{labelNodeID: strconv.Itoa(int(id))}}}
		for _, role := range roles {
			p.Labels[role] = "true"
		}
		p.Status = corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: fmt.Sprintf("10.0.0.%d", id%1000),
			Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
		}
		s.pods[p.Name] = p
	}
	pod(7, labelController, labelBroker)
	for _, id := range brokers {
		pod(id, labelBroker)
	}
	return s
}

// TestTopicsAreAskedOfBrokersThatAreCurrent: what one says that is cut off from the quorum may cost a partition its
// min.insync.replicas.
func TestTopicsAreAskedOfBrokersThatAreCurrent(t *testing.T) {
	const at = 5000
	seen := func(id int32, end int64, ago time.Duration) admin.Replica {
		return admin.Replica{ID: id, DirectoryID: [16]byte{byte(id)}, LogEndOffset: end, SinceFetch: ago, SinceCaughtUp: ago}
	}
	leads := func(observers ...admin.Replica) *admin.Quorum {
		return &admin.Quorum{Leader: 3, LeaderEpoch: 2, HighWatermark: at, Voters: []admin.Replica{seen(3, at, 0), seen(7, at-9, time.Minute)}, Observers: observers}
	}
	behind := seen(1000, at-2000, 9*time.Second) // it fetches, and never gets an answer
	behind.SinceFetch = 0
	other := seen(1001, at, 0) // the same id on another disk
	other.DirectoryID[1] = 1
	combined := leads()
	combined.Voters[1] = seen(7, at, 300*time.Millisecond)
	for _, c := range []struct {
		name   string
		quorum *admin.Quorum
		asked  []string
	}{
		{"one is cut off", leads(seen(1000, at-20, time.Minute), seen(1001, at, 0), seen(1002, at, 0)), []string{"10.0.0.1:9092", "10.0.0.2:9092"}},
		{"one fetches, and isn't caught up", leads(behind, seen(1001, at, 0)), []string{"10.0.0.1:9092"}},
		{"one was cut off just now", leads(seen(1000, at-2, time.Second), seen(1001, at, 400*time.Millisecond), seen(1002, at, 100*time.Millisecond)), []string{"10.0.0.2:9092", "10.0.0.1:9092", "10.0.0.0:9092"}},
		{"a disk before this one", leads(seen(1001, at-900, time.Hour), other), []string{"10.0.0.1:9092"}},
		{"a combined node", combined, []string{"10.0.0.7:9092"}},
		{"the leader is new", leads(seen(1001, -1, -1)), nil},
		{"the leader knows no observer", leads(), nil},
		{"no leader", &admin.Quorum{Leader: -1, LeaderEpoch: -1, HighWatermark: -1}, nil},
		{"nobody answers for the quorum", nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &frozen{quorum: c.quorum}
			now := time.Unix(1_700_000_000, 0)
			r := &Reconciler{Admin: f, Now: func() time.Time { return now }}
			s := fleetOf(1000, 1001, 1002)
			r.ask(t.Context(), s, freshWhileBusy)
			require.Equal(t, c.asked, f.asked)
			if c.asked == nil {
				require.Nil(t, s.topics, "unknown")
				require.NotEmpty(t, s.snapshot().CantSpare(plan.Node{ID: 1001, Broker: true}))
				f.quorum = leads(seen(1001, at, 0))
				now = now.Add(freshWhileBusy)
				r.ask(t.Context(), s, freshWhileBusy)
			}
			require.NotNil(t, s.topics)
			require.Contains(t, s.snapshot().CantSpare(plan.Node{ID: 1001, Broker: true}), "orders-0")
		})
	}
}

// TestTheLastInSyncReplicaWaitsForAnother, also of a partition that no order of restarts keeps at its minimum.
func TestTheLastInSyncReplicaWaitsForAnother(t *testing.T) {
	for _, tc := range []struct {
		name     string
		p        admin.Partition
		unfenced []int32
		short    map[int32]int
	}{
		{"two of two in sync", admin.Partition{Replicas: []int32{1, 2}, ISR: []int32{1, 2}, MinISR: 2}, []int32{1, 2}, map[int32]int{}},
		{"one catches up", admin.Partition{Replicas: []int32{1, 2}, ISR: []int32{1}, MinISR: 2}, []int32{1, 2}, map[int32]int{1: 1}},
		{"the other is away", admin.Partition{Replicas: []int32{1, 2}, ISR: []int32{1}, MinISR: 2}, []int32{1}, map[int32]int{}},
		{"one replica", admin.Partition{Replicas: []int32{1}, ISR: []int32{1}, MinISR: 1}, []int32{1, 2}, map[int32]int{}},
		{"at its minimum", admin.Partition{Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2}, MinISR: 2}, []int32{1, 2}, map[int32]int{1: 1, 2: 1}},
		{"above it", admin.Partition{Replicas: []int32{1, 2, 3}, ISR: []int32{1, 2, 3}, MinISR: 2}, []int32{1, 2, 3}, map[int32]int{}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			require.Equal(t, tc.short, planPartitions(&admin.Topics{Unfenced: tc.unfenced, Partitions: []admin.Partition{tc.p}}).Short)
		})
	}
}
