package crashpoints

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kraft-dev/kraft-operator/internal/cli"
)

// actual is the platform of the real ones. One at a time acts, as in the model: the world, or one call of the operator.
type actual struct {
	w      *world
	t      *theatre
	ctx    context.Context // of the play
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu      sync.Mutex      // held by whoever acts; guards the world and all below but asked
	ready   map[string]bool // by UID: pods that were Ready when last seen
	counted map[string]bool // by UID: pods whose kraftd the rules know
	byHand  map[string]bool // claims that a hand deleted

	askedMu sync.Mutex
	asked   answers
	logged  []string
}

const (
	glance   = 40 * time.Millisecond  // between two looks at the world
	askEvery = 150 * time.Millisecond // the cluster itself
)

func (a *actual) pace() pace {
	return pace{restart: 100 * time.Millisecond, lease: 1500 * time.Millisecond, rest: time.Second, long: 12 * time.Second, before: time.Second, miss: 3 * time.Second}
}

func (a *actual) outside(wait func()) {
	a.mu.Unlock()
	defer a.mu.Lock()
	wait()
}

func (a *actual) elapse(d time.Duration) {
	a.outside(func() { time.Sleep(d) })
	a.w.now = time.Now()
}

func (a *actual) moment() {
	a.elapse(glance)
	a.see()
}

// look asks the API and the cluster themselves before something is taken down or voters are changed, and what nodes may do and which pods
// there are before a status says how things stand: while a frozen process finishes its pass nobody else looks, and the operator may have
// heard of a pod's end before the cache here has.
func (a *actual) look(p point) {
	kind, _, _ := strings.Cut(p.Object, " ")
	if !p.admin && kind == "KRaftCluster" {
		a.mirror(a.t.kube, "ConfigMap")
		a.mirror(a.t.kube, "Pod")
		return
	}
	if !p.admin && kind != "Pod" && kind != "StatefulSet" {
		return
	}
	for _, kind := range []string{"Pod", "StatefulSet", "KRaftCluster"} {
		a.mirror(a.t.kube, kind)
	}
	a.put(a.question(a.ctx))
	a.mirrorFleet()
}

// later makes the change when its answer has long been given up.
func (a *actual) later(d time.Duration, do func() effect) effect {
	at := time.Now().Add(d)
	a.w.fleet.pending = append(a.w.fleet.pending, lateChange{at: at})
	a.wg.Go(func() {
		select {
		case <-time.After(d):
		case <-a.ctx.Done():
			return
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		a.w.fleet.pending = slices.DeleteFunc(a.w.fleet.pending, func(c lateChange) bool { return c.at.Equal(at) })
		a.w.note("a change whose answer was lost is made: %v", do().err)
	})
	return effect{}
}

func (a *actual) create(obj client.Object) error {
	obj.SetNamespace(a.w.namespace)
	return a.t.kube.Create(a.ctx, obj)
}

// update changes what obj changes, whatever else was written since it was seen.
func (a *actual) update(obj client.Object) error {
	return a.t.kube.Patch(a.ctx, obj, client.MergeFrom(a.w.objs[keyOf(obj)]))
}

func (a *actual) remove(k key) error {
	if k.kind == "PersistentVolumeClaim" {
		a.byHand[k.name] = true
	}
	obj := newObject(k.kind)
	obj.SetNamespace(a.w.namespace)
	obj.SetName(k.name)
	return a.t.kube.Delete(a.ctx, obj)
}

func (a *actual) cut(pod string, cut bool) {
	a.t.kubelet.Cut(types.NamespacedName{Namespace: a.w.namespace, Name: pod}, cut)
}

// recover is what a person types: every other voter's disk is lost.
func (a *actual) recover(controller int32) {
	claim := get[*corev1.PersistentVolumeClaim](a.w.store, fmt.Sprintf("data-%s-controller-%d", clusterName, controller))
	file := filepath.Join(a.t.dir, a.w.namespace+".properties")
	a.w.must(os.WriteFile(file, fmt.Appendf(nil, "process.roles=controller\nnode.id=%d\nlisteners=CONTROLLER://:9093\ncontroller.listener.names=CONTROLLER\n"+
		"controller.quorum.bootstrap.servers=localhost:9093\nlog.dirs=%s\n", controller, a.t.kubelet.LogDir(claim.UID)), 0o644))
	args := []string{"recover", "--config", file, "--accept-data-loss"}
	for _, v := range a.w.fleet.q.voters {
		if v.id != controller {
			args = append(args, "--quarantined", fmt.Sprintf("%d@%s", v.id, v.dir))
		}
	}
	var said strings.Builder
	commands := cli.Commands()
	quorum := commands[slices.IndexFunc(commands, func(c *cobra.Command) bool { return c.Name() == "quorum" })]
	quorum.SetArgs(args)
	quorum.SetOut(&said)
	quorum.SetErr(&said)
	err := quorum.ExecuteContext(a.ctx)
	a.w.note("recovered: %s", said.String())
	a.w.must(err)
}

// makeTopics makes the topics that the model has.
func (a *actual) makeTopics(ids ...int32) {
	a.w.must(a.createTopics(topicsOver(ids...)))
}

// slow delays what a controller reads, and writes farBehind records that it is to read: quotas, which nobody else looks at.
func (a *actual) slow(controller int32, slow bool) {
	pod := types.NamespacedName{Namespace: a.w.namespace, Name: fmt.Sprintf("%s-controller-%d-0", clusterName, controller)}
	if !slow {
		a.t.kubelet.Slow(pod, 0)
		return
	}
	a.t.kubelet.Slow(pod, slowBy)
	a.w.must(a.write(farBehind))
	a.w.note("node %d is slow", controller)
}

// slowBy is the delay of a node that is slow: an answer takes two reads, and is to come before the node asks for another leader.
const slowBy = 250 * time.Millisecond

// write has the active controller write so many metadata records, in 100 batches.
func (a *actual) write(records int64) error {
	cl, err := a.dial(func(k *kraftd) bool { return k.id == a.w.fleet.q.leader }, "9093")
	if err != nil {
		return err
	}
	defer cl.Close()
	ctx, cancel := context.WithTimeout(a.ctx, 30*time.Second)
	defer cancel()
	for n := range 100 {
		req := kmsg.NewPtrAlterClientQuotasRequest()
		for i := range records / 100 {
			entity := kmsg.NewAlterClientQuotasRequestEntryEntity()
			user := strconv.FormatInt(i, 10)
			entity.Type, entity.Name = "user", &user
			op := kmsg.NewAlterClientQuotasRequestEntryOp()
			op.Key, op.Value = "producer_byte_rate", float64(1<<30+n)
			entry := kmsg.NewAlterClientQuotasRequestEntry()
			entry.Entity, entry.Ops = append(entry.Entity, entity), append(entry.Ops, op)
			req.Entries = append(req.Entries, entry)
		}
		resp, err := req.RequestWith(ctx, cl.SeedBrokers()[0])
		if err != nil {
			return fmt.Errorf("writing records: %w", err)
		}
		for _, entry := range resp.Entries {
			if err := kerr.ErrorForCode(entry.ErrorCode); err != nil {
				return fmt.Errorf("writing records: %w", err)
			}
		}
	}
	return nil
}

// dial is a client of those of who runs.
func (a *actual) dial(who func(*kraftd) bool, port string) (*kgo.Client, error) {
	var seeds []string
	for _, k := range a.w.fleet.sorted() {
		if who(k) {
			seeds = append(seeds, net.JoinHostPort(k.ip, port))
		}
	}
	return kgo.NewClient(kgo.SeedBrokers(seeds...), kgo.Dialer(a.t.kubelet.Dial))
}

func (a *actual) createTopics(topics []partition) error {
	cl, err := a.dial(func(k *kraftd) bool { return k.broker }, "9092")
	if err != nil {
		return err
	}
	defer cl.Close()
	req := kmsg.NewPtrCreateTopicsRequest()
	for _, p := range topics {
		t := kmsg.NewCreateTopicsRequestTopic()
		t.Topic, t.NumPartitions, t.ReplicationFactor = p.topic, -1, -1
		minISR := strconv.Itoa(p.minISR)
		t.Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "min.insync.replicas", Value: &minISR}}
		t.ReplicaAssignment = []kmsg.CreateTopicsRequestTopicReplicaAssignment{{Replicas: p.replicas}}
		req.Topics = append(req.Topics, t)
	}
	ctx, cancel := context.WithTimeout(a.ctx, 30*time.Second)
	defer cancel()
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return fmt.Errorf("creating topics: %w", err)
	}
	for _, t := range resp.Topics {
		if err := kerr.ErrorForCode(t.ErrorCode); err != nil {
			return fmt.Errorf("creating %s: %w", t.Topic, err)
		}
	}
	return nil
}
