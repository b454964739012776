package controllers

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
	"github.com/kraft-dev/kraft-operator/controllers/plan"
	"github.com/kraft-dev/kraft-operator/internal/admin"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// Admin asks a running cluster. Addresses are host:port of pods.
type Admin interface {
	DescribeQuorum(ctx context.Context, controllers []string) (*admin.Quorum, error)
	DescribeTopics(ctx context.Context, brokers []string) (*admin.Topics, error) // brokers that are current, best first
	AddVoter(ctx context.Context, controllers []string, voter admin.ReplicaKey, endpoints []admin.Endpoint) error
	RemoveVoter(ctx context.Context, controllers []string, voter admin.ReplicaKey) error
	DynamicDefaults(ctx context.Context, leader string) (map[string]string, error)
	AlterDynamicDefaults(ctx context.Context, leader string, set map[string]string, remove []string) error
	UnregisterBroker(ctx context.Context, leader string, id int32) error
}

// How old an answer may be. Before a node is taken down it is asked again.
const (
	freshWhileBusy = 250 * time.Millisecond
	freshWhenIdle  = 3 * time.Second // less than steadily: each idle pass asks
	// movesWithin: a high watermark that stood for longer, below the end of the log, doesn't move.
	movesWithin = 5 * time.Second
	// shownFor is how long the last good answer is shown in status when a later question isn't answered, or by nobody
	// who leads: an election or a slow answer doesn't flip conditions. Decisions never rest on it.
	shownFor = 10 * time.Second
	// slowAnswer is one for which some of the controllers were waited for.
	slowAnswer = time.Second
)

// views keeps the last answers of each cluster, so that a burst of passes doesn't ask as often.
type views struct {
	mu sync.Mutex
	of map[types.NamespacedName]*view // guarded by mu
}

type view struct {
	quorum   *plan.Quorum
	topics   *plan.Partitions
	quorumAt time.Time
	topicsAt time.Time
	silence  int // questions in a row, up to the last, that no controller answered, or none that leads and slowly

	inVain []inVain // the last one last

	settingsAt time.Time // when the dynamic defaults were compared with the spec

	// set is the voters as seen last and by which leader epoch, end the leader's log end offset when they were first
	// seen; highWatermark moved last at movedAt.
	set           string
	end           int64
	highWatermark int64
	movedAt       time.Time

	missing map[string]missing // by pod

	refusedSizes map[string]refusedSize // by claim

	goodQuorum   *plan.Quorum
	goodTopics   *plan.Partitions
	goodQuorumAt time.Time
	goodTopicsAt time.Time
}

// inVain is a change of the voters that was refused, or wasn't made; it is asked for again at notBefore.
type inVain struct {
	plan.VoterStep
	notBefore time.Time
}

// vainFor is how long it is remembered: another observer is asked for first.
const vainFor = 10 * time.Minute

// wasInVain notes a change that was refused, or wasn't made, and why.
func (v *view) wasInVain(step plan.VoterStep, why string, notBefore time.Time) {
	step.Why = why
	v.inVain = slices.DeleteFunc(v.inVain, func(o inVain) bool {
		return o.Do == step.Do && o.Voter == step.Voter || notBefore.Sub(o.notBefore) > vainFor
	})
	v.inVain = append(v.inVain, inVain{step, notBefore})
}

// tooSoon finds what is to be waited for, rather than for a step that was in vain a moment ago.
func (v *view) tooSoon(step plan.VoterStep, now time.Time) (why string) {
	for _, o := range v.inVain {
		if o.Do == step.Do && o.Voter == step.Voter && now.Before(o.notBefore) {
			return o.Why
		}
	}
	return ""
}

// addedInVain are the observers that couldn't be made voters of late.
func (v *view) addedInVain(now time.Time) (out []plan.Voter) {
	for _, o := range v.inVain {
		if o.Do == plan.VotersAdd && now.Sub(o.notBefore) <= vainFor {
			out = append(out, o.Voter)
		}
	}
	return out
}

func (v *views) get(key types.NamespacedName) *view {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.of == nil {
		v.of = map[types.NamespacedName]*view{}
	}
	if v.of[key] == nil {
		v.of[key] = &view{}
	}
	return v.of[key] // one worker a cluster: the view itself needs no lock
}

func (v *views) count() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.of)
}

// rest forgets the answers of a cluster that rests. Of its claims there is still something to know.
func (v *views) rest(key types.NamespacedName) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if old := v.of[key]; old != nil && len(old.refusedSizes) > 0 {
		v.of[key] = &view{refusedSizes: old.refusedSizes}
		return
	}
	delete(v.of, key)
}

func (v *views) forget(key types.NamespacedName) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.of, key)
}

// lookAgain reads everything from the API itself and asks the cluster anew: what is decided before an act must be decided once more by this.
func (r *Reconciler) lookAgain(ctx context.Context, s *scope) error {
	if err := s.observe(ctx, r.Live); err != nil {
		return err
	}
	if err := r.seeStopped(ctx, s); err != nil {
		return err
	}
	r.ask(ctx, s, 0)
	return nil
}

// ask fills in what the cluster says of itself. A cluster that doesn't answer makes the planners careful: nil.
//
// Topics are asked with the quorum, and only of brokers that it says are current: one that is cut off from the controllers
// stays Ready, and tells of in-sync replicas that no longer are. While the quorum has no leader, or a new leader hasn't
// heard of the brokers yet, nobody is known to be.
func (r *Reconciler) ask(ctx context.Context, s *scope, maxAge time.Duration) {
	v := r.views.get(types.NamespacedName{Namespace: s.cluster.Namespace, Name: s.cluster.Name})
	if now := r.Now(); now.Sub(v.quorumAt) >= maxAge {
		v.quorum, v.quorumAt = nil, now
		silence := v.silence + 1
		v.silence = 0
		if addrs := s.addresses(labelController, controllerPort); len(addrs) > 0 {
			if q, err := r.Admin.DescribeQuorum(ctx, addrs); err == nil {
				v.quorum = planQuorum(q)
				v.follow(v.quorum, now)
				if v.quorum.Leader < 0 && r.Now().Sub(now) > slowAnswer {
					v.silence = silence // some of them hang
				}
			} else {
				v.silence = silence
			}
		}
		v.topics, v.topicsAt = nil, r.Now()
		if addrs := s.currentBrokers(v.quorum); len(addrs) > 0 {
			if t, err := r.Admin.DescribeTopics(ctx, addrs); err == nil {
				v.topics = planPartitions(t)
			}
		}
	}
	s.asked, s.quorum, s.quorumAt, s.silence, s.topics = true, v.quorum, v.quorumAt, v.silence, v.topics
	s.inVain = v.addedInVain(r.Now())
	v.show(s, r.Now())
}

// follow compares an answer with those before: whether its set of voters is committed, and the high watermark moves.
func (v *view) follow(q *plan.Quorum, now time.Time) {
	if q.Leader < 0 {
		return
	}
	end, leads := int64(-1), false
	set := fmt.Sprint(q.Epoch)
	for _, r := range q.Voters {
		set += fmt.Sprintf(",%d@%s", r.ID, r.DirectoryID)
		if r.ID == q.Leader {
			end, leads = r.LogEndOffset, true
		}
	}
	if set != v.set {
		v.set, v.end = set, end
	}
	if q.HighWatermark > v.highWatermark {
		v.movedAt = now
	}
	v.highWatermark = q.HighWatermark
	q.Settled = leads && q.HighWatermark >= v.end
	q.Moves = leads && (q.HighWatermark >= end || now.Sub(v.movedAt) < movesWithin)
}

// show gives status the last good answers, while they are fresh enough.
func (v *view) show(s *scope, now time.Time) {
	if v.quorum != nil && v.quorum.Leader >= 0 {
		v.goodQuorum, v.goodQuorumAt = v.quorum, v.quorumAt
	}
	if v.topics != nil {
		v.goodTopics, v.goodTopicsAt = v.topics, v.topicsAt
	}
	s.shownQuorum, s.shownTopics = s.quorum, s.topics
	if now.Sub(v.goodQuorumAt) < shownFor {
		s.shownQuorum = v.goodQuorum
	}
	if now.Sub(v.goodTopicsAt) < shownFor {
		s.shownTopics = v.goodTopics
	}
}

// addresses of the running pods of a role, Ready ones first.
func (s *scope) addresses(role string, port int32) []string {
	return addressesOf(s.running(role), port)
}

// currentBrokers are the addresses of the running brokers that are current, who knows most first; none without an answer
// of the quorum.
func (s *scope) currentBrokers(q *plan.Quorum) []string {
	if q == nil {
		return nil
	}
	current := q.Current()
	place := func(p *corev1.Pod) int {
		return slices.IndexFunc(current, func(id int32) bool { return p.Labels[labelNodeID] == strconv.Itoa(int(id)) })
	}
	pods := slices.DeleteFunc(s.running(labelBroker), func(p *corev1.Pod) bool { return place(p) < 0 })
	slices.SortFunc(pods, func(a, b *corev1.Pod) int { return place(a) - place(b) })
	return addressesOf(pods, s.internalPort())
}

// running are the running pods of a role, Ready ones first.
func (s *scope) running(role string) (pods []*corev1.Pod) {
	for _, p := range s.pods {
		if p.Labels[role] == "true" && p.Status.PodIP != "" && p.Status.Phase == corev1.PodRunning {
			pods = append(pods, p)
		}
	}
	slices.SortFunc(pods, func(a, b *corev1.Pod) int {
		_, ra := podReady(a)
		_, rb := podReady(b)
		if ra != rb {
			if ra {
				return -1
			}
			return 1
		}
		if a.Name < b.Name {
			return -1
		}
		return 1
	})
	return pods
}

func addressesOf(pods []*corev1.Pod, port int32) (out []string) {
	for _, p := range pods {
		out = append(out, net.JoinHostPort(p.Status.PodIP, strconv.Itoa(int(port))))
	}
	return out
}

func (s *scope) internalPort() int32 {
	for _, l := range s.spec.Listeners {
		if l.Type == v1alpha1.ListenerInternal {
			return l.Port
		}
	}
	return 0
}

func planQuorum(q *admin.Quorum) *plan.Quorum {
	out := &plan.Quorum{Leader: q.Leader, Epoch: q.LeaderEpoch, HighWatermark: q.HighWatermark}
	convert := func(in []admin.Replica) (rs []plan.Replica) {
		for _, r := range in {
			dir := ""
			if id := uuid.UUID(r.DirectoryID); !id.IsZero() {
				dir = id.String()
			}
			rs = append(rs, plan.Replica{ID: r.ID, DirectoryID: dir, LogEndOffset: r.LogEndOffset, SinceFetch: r.SinceFetch, SinceCaughtUp: r.SinceCaughtUp})
		}
		slices.SortFunc(rs, func(a, b plan.Replica) int { return int(a.ID) - int(b.ID) })
		return rs
	}
	out.Voters, out.Observers = convert(q.Voters), convert(q.Observers)
	return out
}

// lastInSync: a partition with no more replicas than its minimum, which no order of restarts keeps at that, has one in-sync replica left, and
// another that may catch up: until it has, that one keeps the partition online.
func lastInSync(p admin.Partition, unfenced []int32) bool {
	return len(p.ISR) == 1 && slices.ContainsFunc(p.Replicas, func(id int32) bool { return id != p.ISR[0] && slices.Contains(unfenced, id) })
}

func planPartitions(t *admin.Topics) *plan.Partitions {
	out := &plan.Partitions{Unfenced: t.Unfenced, Short: map[int32]int{}, Example: map[int32]string{}}
	sets := replicaSets{}
	for _, p := range t.Partitions {
		if p.Leader < 0 {
			out.Offline++
		}
		sets.add(p)
		if len(p.ISR) > p.MinISR || len(p.Replicas) <= p.MinISR && !lastInSync(p, t.Unfenced) {
			continue
		}
		for _, id := range p.ISR {
			out.Short[id]++
			if out.Example[id] == "" {
				out.Example[id] = fmt.Sprintf("%s-%d", p.Topic, p.Partition)
			}
		}
	}
	out.Sets = sets.list
	return out
}
