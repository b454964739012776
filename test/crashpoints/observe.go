package crashpoints

import (
	"context"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
	"github.com/kraft-dev/kraft-operator/internal/admin"
)

// What the real ones are is brought into the world's store and fleet here, where script and rules look for it.

// lists are the kinds that a world has.
func lists() []client.ObjectList {
	return []client.ObjectList{
		&v1alpha1.KRaftClusterList{}, &appsv1.StatefulSetList{}, &appsv1.ControllerRevisionList{}, &corev1.PodList{},
		&corev1.PersistentVolumeClaimList{}, &corev1.ServiceList{}, &corev1.ConfigMapList{}, &corev1.ServiceAccountList{},
		&policyv1.PodDisruptionBudgetList{}, &networkingv1.NetworkPolicyList{},
	}
}

// see brings everything up to date.
func (a *actual) see() {
	for _, list := range lists() {
		a.mirrorList(a.t.cache, list, client.UnsafeDisableDeepCopy)
	}
	a.mirrorFleet()
	a.tellRules()
	for _, line := range slices.Concat(a.takeLog(), a.t.cried()) {
		a.w.note("%s", line)
		if strings.Contains(line, "panic: ") && !strings.Contains(line, killed{}.String()) {
			a.w.violate("%s", line)
		}
	}
}

func (a *actual) mirror(from client.Reader, kind string) {
	for _, list := range lists() {
		if kindOf(list) == kind {
			a.mirrorList(from, list)
		}
	}
}

// mirrorList replaces all objects of a kind. Those of the StatefulSet controller's own bookkeeping are left out.
func (a *actual) mirrorList(from client.Reader, list client.ObjectList, opts ...client.ListOption) {
	if err := from.List(a.ctx, list, append(opts, client.InNamespace(a.w.namespace))...); err != nil {
		a.w.note("looking: %v", err)
		return
	}
	kind := kindOf(list)
	maps.DeleteFunc(a.w.objs, func(k key, _ client.Object) bool { return k.kind == kind })
	must(meta.EachListItem(list, func(item runtime.Object) error {
		obj := item.(client.Object)
		owners := obj.GetOwnerReferences()
		if kind == "ControllerRevision" && len(owners) > 0 && owners[0].Kind == "StatefulSet" {
			return nil
		}
		a.w.objs[key{kind, obj.GetName()}] = obj
		return nil
	}))
}

// mirrorFleet takes what runs from the kubelet, disks from themselves, and the rest from the cluster's last answers.
func (a *actual) mirrorFleet() {
	f := a.w.fleet
	f.now = a.w.now
	f.disks, f.run = map[types.UID]*disk{}, map[types.UID]*kraftd{}
	for _, claim := range all[*corev1.PersistentVolumeClaim](a.w.store) {
		if id, ok := a.t.kubelet.Identity(claim.UID); ok {
			f.disks[claim.UID] = &disk{formatted: true, cluster: id.ClusterID, dir: id.DirectoryID.String(), id: id.NodeID}
		}
	}
	for _, p := range a.t.kubelet.Processes(a.w.namespace) {
		d := f.disks[p.Claim]
		if d == nil {
			d = &disk{id: p.NodeID}
		}
		f.run[p.UID] = &kraftd{
			pod: p.Pod, ip: p.IP, id: p.NodeID, controller: p.Controller, broker: p.Broker,
			disk: d, claim: p.Claim, started: p.Started, slow: p.Slow, stopping: p.Stopping, ready: p.Ready,
		}
	}
	f.starts = map[int32]int{}
	for pod, n := range a.t.kubelet.Starts(a.w.namespace) {
		node := strings.TrimSuffix(pod, "-0")
		id, err := strconv.ParseInt(node[strings.LastIndex(node, "-")+1:], 10, 32)
		must(err)
		f.starts[int32(id)] = n
	}
	a.askedMu.Lock()
	defer a.askedMu.Unlock()
	a.asked.into(f)
}

// tellRules tells the rules what the model's Kubernetes tells them itself.
func (a *actual) tellRules() {
	w := a.w
	for _, pod := range all[*corev1.Pod](w.store) {
		uid := string(pod.UID)
		if now := isReady(&pod.Status); now != a.ready[uid] {
			a.ready[uid] = now
			w.note("%s is Ready: %t", pod.Name, now)
			w.rules.readiness(pod, now)
		}
		if k := w.fleet.run[pod.UID]; k != nil && k.disk.formatted && !a.counted[uid] {
			a.counted[uid] = true
			w.note("%s runs: node %d, directory %s", pod.Name, k.id, k.disk.dir)
			w.rules.starts(pod, k)
		}
	}
	for _, claim := range all[*corev1.PersistentVolumeClaim](w.store) {
		if claim.DeletionTimestamp != nil && w.rules.retains && !a.byHand[claim.Name] {
			w.violate("claim %s goes, and shall be retained", claim.Name)
		}
	}
	w.rules.tick()
}

// answers are what a cluster last said of itself.
type answers struct {
	quorum   *admin.Quorum
	topics   *admin.Topics
	settings map[string]string
}

func (n answers) into(f *fleet) {
	if q := n.quorum; q != nil && (q.Leader >= 0 || f.q != nil) {
		if f.q == nil {
			f.q = &quorum{committed: true}
		}
		if f.q.leader = q.Leader; q.Leader >= 0 {
			f.q.epoch, f.q.voters = q.LeaderEpoch, nil
			for _, v := range q.Voters {
				f.q.voters = append(f.q.voters, voterOf(admin.ReplicaKey{ID: v.ID, DirectoryID: v.DirectoryID}))
			}
			slices.SortFunc(f.q.voters, func(a, b voter) int { return int(a.id - b.id) })
		}
		for _, d := range f.disks {
			f.q.cluster = d.cluster
		}
	}
	if n.topics != nil {
		f.partitions, f.registered = nil, map[int32]bool{}
		for _, id := range n.topics.Unfenced {
			f.registered[id] = true
		}
		for _, p := range n.topics.Partitions {
			slices.Sort(p.ISR)
			f.partitions = append(f.partitions, partition{topic: p.Topic, leader: p.Leader, replicas: p.Replicas, isr: p.ISR, minISR: p.MinISR})
		}
	}
	if n.settings != nil {
		f.configs = n.settings
	}
}

// ask asks the cluster of a world over and over.
func (a *actual) ask() {
	for a.ctx.Err() == nil {
		a.put(a.question(a.ctx))
		select {
		case <-a.ctx.Done():
		case <-time.After(askEvery):
		}
	}
}

func (a *actual) put(n answers) {
	a.askedMu.Lock()
	defer a.askedMu.Unlock()
	if n.quorum != nil {
		a.asked.quorum = n.quorum
	}
	if n.topics != nil {
		a.asked.topics = n.topics
	}
	if n.settings != nil {
		a.asked.settings = n.settings
	}
}

// question asks those that run. What isn't answered is as it was.
func (a *actual) question(ctx context.Context) (n answers) {
	var controllers, brokers []string
	leads := map[int32]string{}
	for _, p := range a.t.kubelet.Processes(a.w.namespace) {
		if p.Controller {
			leads[p.NodeID] = net.JoinHostPort(p.IP, "9093")
			controllers = append(controllers, leads[p.NodeID])
		}
		if p.Broker && p.Ready {
			brokers = append(brokers, net.JoinHostPort(p.IP, "9092"))
		}
	}
	var cluster admin.Client
	if len(controllers) > 0 {
		n.quorum, _ = cluster.DescribeQuorum(ctx, controllers) // nil: nobody answered
	}
	if len(brokers) > 0 {
		n.topics, _ = cluster.DescribeTopics(ctx, brokers)
	}
	if n.quorum != nil && leads[n.quorum.Leader] != "" {
		n.settings, _ = cluster.DynamicDefaults(ctx, leads[n.quorum.Leader])
	}
	return n
}
