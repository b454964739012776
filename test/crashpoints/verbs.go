package crashpoints

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
)

type (
	spec   = v1alpha1.KRaftClusterSpec
	object = v1alpha1.KRaftCluster
)

// verbs are all that are played.
func verbs() []verb {
	var out []verb
	for _, some := range [][]verb{forming(), scaling(), rolling(), repairing(), resting(), leaving()} {
		out = append(out, some...)
	}
	return out
}

func forming() []verb {
	return []verb{
		{name: "form", play: []step{create(cluster(3, 3, 2))}, done: ready},
		{name: "form-combined", play: []step{create(withNodePort(cluster(1, 1, 0)))}, done: ready},
		{name: "form-lost-disk", play: []step{
			create(cluster(3, 3, 1)),
			when("the quorum forms", func(w *world) bool { return w.fleet.q != nil }, loseDisk("controller-2")),
		}, done: allOf(ready, newDisk(2))},
	}
}

func scaling() []verb {
	return []verb{
		{name: "brokers-out", from: formed(1, 1, 2), play: []step{edit("brokers.replicas: 4", func(s *spec) { s.Brokers.Replicas = 4 })}, done: ready},
		{name: "broker-in", from: formed(1, 1, 4), play: []step{edit("brokers.replicas: 3", func(s *spec) { s.Brokers.Replicas = 3 })},
			done: allOf(ready, pods(4), registered(1000, 1001, 1002))},
		{name: "observer-out", from: formed(3, 3, 1), play: []step{edit("controllers.replicas: 4", func(s *spec) { s.Controllers.Replicas = 4 })}, done: ready},
		{name: "observer-in", from: formed(4, 3, 1), play: []step{edit("controllers.replicas: 3", func(s *spec) { s.Controllers.Replicas = 3 })}, done: allOf(ready, pods(4))},
		{name: "voters-1-3", from: formed(1, 1, 1), play: []step{voters(3)}, done: ready},
		{name: "voters-3-5", from: formed(3, 3, 1), play: []step{voters(5)}, done: ready},
		{name: "voters-5-3", from: formed(5, 5, 1), play: []step{voters(3)}, done: allOf(ready, pods(4)), leads: true},
		{name: "voters-5-7", from: formed(5, 5, 1), play: []step{voters(7)}, done: ready},
		{name: "voters-7-5", from: formed(7, 7, 1), play: []step{voters(5)}, done: allOf(ready, pods(6)), leads: true},
		{name: "voters-3-1", from: formed(3, 3, 1), play: []step{voters(1)}, done: allOf(ready, pods(2)), leads: true},
		{name: "voters-there-and-back", from: formed(3, 3, 1), play: []step{
			voters(5), when("a fourth votes", func(w *world) bool { return len(w.fleet.q.voters) == 4 }, voters(3).do),
		}, done: allOf(ready, pods(4))},
		{name: "claims-grow", from: formed(1, 1, 2), play: []step{edit("brokers.storage.size: 3Gi", func(s *spec) { s.Brokers.Storage = size("3Gi") })}, done: allOf(ready, grown("3Gi"))},
	}
}

func rolling() []verb {
	image := func(name string) step { return edit("image: "+name, func(s *spec) { s.Image = name }) }
	return []verb{
		{name: "roll-config", from: formed(3, 3, 2), play: []step{edit("config: auto.create.topics.enable", func(s *spec) {
			s.Config = v1alpha1.NodeConfig{"auto.create.topics.enable": "false"}
		})}, done: ready},
		{name: "settings", from: formed(1, 1, 2, func(c *object) {
			c.Spec.Config = v1alpha1.NodeConfig{"num.io.threads": "4", "log.retention.ms": "1000"}
		}),
			play: []step{edit("config: num.io.threads and no log.retention.ms", func(s *spec) { s.Config = v1alpha1.NodeConfig{"num.io.threads": "5"} })},
			done: allOf(ready, holds(func(w *world) bool { // with ELR a real cluster has min.insync.replicas of its own
				_, stays := w.fleet.configs["log.retention.ms"]
				return w.fleet.configs["num.io.threads"] == "5" && !stays
			}, "other settings"))},
		{name: "roll-image-twice", from: formed(3, 3, 1), play: []step{
			image("kraft:2"), when("two nodes have it", started(2), image("kraft:3").do),
		}, done: ready},
		{name: "roll-stopped", from: formed(3, 3, 1), play: []step{
			image(badImage), when("the roll has stopped", because(v1alpha1.ConditionStalled, "RolloutStopped"), image("kraft:2").do),
		}, done: ready},
		{name: "roll-paused", from: formed(3, 3, 1), play: []step{
			image("kraft:2"),
			when("two nodes have it", started(2), func(w *world) { w.edit(func(s *spec) { s.Paused = true }) }),
			when("it is paused", because(v1alpha1.ConditionReconciling, "PausedMidway"), image("kraft:3").do),
			when("that waits", because(v1alpha1.ConditionReconciling, "PausedMidway"), func(w *world) { w.edit(func(s *spec) { s.Paused = false }) }),
		}, done: ready, varies: true},
		{name: "roll-drained", from: formed(3, 3, 2), play: []step{
			image("kraft:2"),
			when("a node has it", started(1), func(w *world) {
				w.deleteObject(&corev1.Pod{}, clusterName+"-controller-0-0")
				w.deleteObject(&corev1.Pod{}, clusterName+"-broker-1001-0")
			}),
		}, done: ready, varies: true},
		{name: "roll-wide", from: formed(1, 1, 6, func(c *object) { c.Spec.Rolling.MaxUnavailable = intstr.FromString("100%") }),
			play: []step{edit("brokers.template", func(s *spec) { s.Brokers.Template.Annotations = map[string]string{"example.com/a": "b"} })}, done: ready},
		{name: "roll-lagging", from: formed(3, 3, 1, func(c *object) {
			c.Spec.Config = v1alpha1.NodeConfig{"controller.quorum.fetch.max.bytes": "1"}
			c.Spec.Quorum.ReplaceAfter = "1h"
		}), play: []step{
			now("a voter falls behind for good", func(w *world) { w.platform.slow(w.fleet.follower(), true) }),
			when("that is known", because(v1alpha1.ConditionQuorumHealthy, "VotersLag"), image("kraft:2").do),
			when("it has the new template, out of its turn", started(1), func(w *world) {
				for id := range w.fleet.starts {
					w.platform.slow(id, false)
				}
			}),
		}, done: ready, leads: true},
		{name: "restart-one", from: formed(3, 3, 1), play: []step{now("annotate a pod", func(w *world) {
			pod := get[*corev1.Pod](w.store, clusterName+"-controller-2-0").DeepCopy()
			pod.Annotations["kraft.dev/restart"] = "true"
			w.must(w.platform.update(pod))
		})}, done: allOf(ready, holds(started(1), "not restarted"))},
		{name: "restart-all", from: formed(1, 1, 3), play: []step{now("annotate the cluster", func(w *world) {
			c := w.cluster().DeepCopy()
			c.Annotations = map[string]string{"kraft.dev/restartedAt": "2026-01-01T00:00:00Z"}
			w.must(w.platform.update(c))
		})}, done: allOf(ready, holds(started(4), "not restarted"))},
	}
}

func repairing() []verb {
	return []verb{
		{name: "lost-disk", from: formed(3, 3, 1), play: []step{now("lose the disk of controller 2", loseDisk("controller-2"))}, done: allOf(ready, newDisk(2))},
		{name: "lost-disk-of-leader", from: formed(3, 3, 1), play: []step{now("lose the disk of the active controller", func(w *world) {
			loseDisk(fmt.Sprintf("controller-%d", w.fleet.q.leader))(w)
		})}, done: allOf(ready, settled(3)), leads: true},
		{name: "gone-with-standby", from: formed(4, 3, 1), play: []step{
			now("cut off controller 2", cutOff("controller-2", true)),
			when("its place is taken", func(w *world) bool { return w.votes(0, 1, 3) }, cutOff("controller-2", false)),
		}, done: ready},
		{name: "gone-without-standby", from: formed(3, 3, 1), play: []step{
			now("cut off controller 2", cutOff("controller-2", true)),
			when("it is gone for long enough", goneFor(11*time.Second), func(w *world) { w.edit(func(s *spec) { s.Controllers.Replicas = 4 }) }),
			when("its place is taken", func(w *world) bool { return w.votes(0, 1, 3) }, cutOff("controller-2", false)),
		}, done: ready},
		{name: "voter-lags", from: formed(4, 3, 1, func(c *object) {
			c.Spec.Config = v1alpha1.NodeConfig{"controller.quorum.fetch.max.bytes": "1"} // a batch an answer: one that is slow stays behind
		}), play: []step{
			now("a voter falls behind for good", func(w *world) { w.platform.slow(w.fleet.follower(), true) }),
			when("its place is taken", func(w *world) bool { return w.fleet.left() >= 0 && len(w.fleet.q.voters) == 3 }, func(w *world) {
				w.platform.slow(w.fleet.left(), false)
			}),
		}, done: allOf(ready, settled(3)), leads: true},
		{name: "machine-lost", from: formed(4, 3, 4, func(c *object) { c.Spec.Brokers.ReplaceAfter = "10s" }), play: []step{
			now("cut off a machine, and tell its pods to go", func(w *world) {
				for _, node := range []string{"controller-2", "broker-1003"} {
					cutOff(node, true)(w)
					w.deleteObject(&corev1.Pod{}, clusterName+"-"+node+"-0")
				}
			}),
			when("others are in their places", func(w *world) bool { return w.votes(0, 1, 3) && w.fleet.up(1004) != nil }, func(w *world) {
				cutOff("controller-2", false)(w)
				cutOff("broker-1003", false)(w)
			}),
		}, done: allOf(ready, pods(8), registered(1000, 1001, 1002, 1004)), varies: true},
		{name: "lost-broker", from: formed(1, 1, 4, func(c *object) { c.Spec.Brokers.ReplaceAfter = "10s" }), play: []step{
			now("cut off broker 1003", cutOff("broker-1003", true)),
			when("another id serves in its place", func(w *world) bool { return w.fleet.up(1004) != nil }, cutOff("broker-1003", false)),
		}, done: allOf(ready, pods(5), registered(1000, 1001, 1002, 1004))},
		{name: "quorum-lost", from: formed(3, 3, 1), play: []step{
			now("lose the disks of two of three voters", func(w *world) { loseDisk("controller-0")(w); loseDisk("controller-2")(w) }),
			when("that is known", because(v1alpha1.ConditionQuorumHealthy, "QuorumLost"), func(w *world) { w.edit(func(s *spec) { s.Hibernated = true }) }),
			when("nothing runs", func(w *world) bool { return stopped(w) == "" }, func(w *world) {
				w.platform.recover(1)
				w.edit(func(s *spec) { s.Hibernated = false })
			}),
		}, done: allOf(ready, newDisk(0), newDisk(2))},
		{name: "by-hand", from: formed(3, 3, 1), play: []step{now("delete and change what the operator made", func(w *world) {
			w.deleteObject(&corev1.Service{}, clusterName+"-bootstrap")
			w.deleteObject(&appsv1.StatefulSet{}, clusterName+"-controller-2")
			set := get[*appsv1.StatefulSet](w.store, clusterName+"-broker-1000").DeepCopy()
			set.Spec.Replicas = ptr.To(int32(0))
			w.must(w.platform.update(set))
		})}, done: allOf(ready, pods(4), func(w *world) string {
			if get[*corev1.Service](w.store, clusterName+"-bootstrap") == nil {
				return "the Service is missing"
			}
			return ""
		}), varies: true},
		{name: "unlabelled", from: formed(3, 3, 2), play: []step{now("take the labels off two pods", unlabel("broker-1000", "controller-2"))},
			done: allOf(ready, pods(5), owned, holds(func(w *world) bool { return !started(1)(w) }, "a node was restarted"))},
	}
}

func resting() []verb {
	rest := edit("hibernated: true", func(s *spec) { s.Hibernated = true })
	wake := edit("hibernated: false", func(s *spec) { s.Hibernated = false })
	return []verb{
		{name: "hibernate", from: formed(4, 3, 2), play: []step{rest}, done: asleep},
		{name: "hibernate-unlabelled", from: formed(3, 3, 2), play: []step{now("take the labels off two pods", unlabel("broker-1000", "controller-2")), rest}, done: asleep},
		{name: "wake", from: after(formed(3, 3, 2), asleep, rest), play: []step{wake}, done: ready},
		{name: "hibernate-and-wake", from: formed(3, 3, 1), play: []step{rest, when("the brokers stop", func(w *world) bool { return w.fleet.up(1000) == nil }, wake.do)}, done: ready},
	}
}

func leaving() []verb {
	remove := func(w *world) { w.deleteObject(&object{}, clusterName) }
	deletes := func(c *object) *object { c.Spec.Storage.DeletionPolicy = v1alpha1.DeletionDelete; return c }
	image := edit("image: kraft:2", func(s *spec) { s.Image = "kraft:2" })
	policy := func(p v1alpha1.DeletionPolicy) step {
		return edit("storage.deletionPolicy: "+string(p), func(s *spec) { s.Storage.DeletionPolicy = p })
	}
	isSo := func(p v1alpha1.DeletionPolicy) func(*world) bool { // also seen by those who look: what is known of the real API may be older than the edit
		return func(w *world) bool { return w.cluster().Spec.Storage.DeletionPolicy == p && ready(w) == "" }
	}
	return []verb{
		{name: "delete", from: formed(3, 3, 1), play: []step{image, when("two nodes have it", started(2), remove)}, done: gone(4)},
		{name: "delete-all", from: formed(1, 1, 2, func(c *object) { deletes(c) }), play: []step{image, when("a node has it", started(1), remove)}, done: gone(0)},
		{name: "delete-all-after-all", from: formed(1, 1, 2), play: []step{policy(v1alpha1.DeletionDelete), when("it is so", isSo(v1alpha1.DeletionDelete), remove)}, done: gone(0)},
		{name: "retain-after-all", from: formed(1, 1, 2, func(c *object) { deletes(c) }),
			play: []step{policy(v1alpha1.DeletionRetain), when("it is so", isSo(v1alpha1.DeletionRetain), remove)}, done: gone(3)},
		{name: "delete-while-forming", play: []step{
			create(cluster(3, 3, 1)),
			when("every node is made", func(w *world) bool { return len(all[*appsv1.StatefulSet](w.store)) == 4 }, remove),
			when("its StatefulSets are gone", noSets, create(cluster(3, 3, 1)).do),
		}, done: ready, varies: true},
		{name: "re-create-at-once", from: formed(1, 1, 2), play: []step{now("delete the cluster", remove), create(cluster(1, 1, 2))}, done: ready, varies: true},
		{name: "re-create-anew", from: formed(1, 1, 2, func(c *object) { deletes(c) }),
			play: []step{now("delete the cluster", remove), create(deletes(cluster(1, 1, 2)))}, done: allOf(ready, anotherCluster), varies: true},
		{name: "outlived", play: []step{ // a frozen operator's cluster goes, and another comes under its name before it wakes
			create(deletes(cluster(3, 3, 1))),
			when("the operator is frozen, or it formed", func(w *world) bool {
				return w.frozen != nil || w.cluster() != nil && w.cluster().Status.Formed && w.now.Sub(w.began) > 20*time.Second
			}, remove),
			when("all is gone", func(w *world) bool { return gone(0)(w) == "" }, create(deletes(cluster(3, 3, 1))).do),
		}, done: ready, varies: true},
		{name: "re-create", from: formed(3, 3, 1), play: []step{now("delete the cluster", remove), when("its StatefulSets are gone", noSets, create(cluster(3, 3, 1)).do)}, done: ready},
		{name: "adopt", from: after(after(formed(3, 3, 1), gone(4), now("delete the cluster", remove)), allOf(gone(4), claimsOf(elsewhere)),
			now("the claims say that they are another namespace's", rehome)), play: []step{
			create(cluster(3, 3, 1)),
			when("it is refused", refusedAsMoved, func(w *world) {
				id := all[*corev1.PersistentVolumeClaim](w.store)[0].Annotations["kraft.dev/cluster-id"] // as the condition says, too
				w.edit(func(s *spec) { s.Adopt = &v1alpha1.AdoptSpec{ClusterID: id} })
			}),
		}, done: allOf(ready, pods(4), sameAsAdopted, func(w *world) string { return claimsOf(w.namespace + "/" + clusterName)(w) })},
	}
}

// elsewhere is a KRaftCluster of another namespace.
const elsewhere = "other/" + clusterName

const home = "kraft.dev/home"

// rehome leaves the claims as one does who has moved them here from another namespace, with their annotations.
func rehome(w *world) {
	for _, claim := range all[*corev1.PersistentVolumeClaim](w.store) {
		moved := claim.DeepCopy()
		moved.Annotations[home] = elsewhere
		w.must(w.platform.update(moved))
	}
}

// claimsOf: every claim says that it is of that KRaftCluster.
func claimsOf(cluster string) func(*world) string {
	return holds(func(w *world) bool {
		return !slices.ContainsFunc(all[*corev1.PersistentVolumeClaim](w.store), func(c *corev1.PersistentVolumeClaim) bool { return c.Annotations[home] != cluster })
	}, "a claim isn't of "+cluster)
}

// refusedAsMoved: the claims aren't touched, nothing is made of them, and the condition names their home.
func refusedAsMoved(w *world) bool {
	c := w.cluster()
	if c == nil {
		return false
	}
	k := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionReady)
	return k != nil && k.Reason == "Refused" && strings.Contains(k.Message, "KRaftCluster "+elsewhere) && c.Status.ClusterID == "" && noSets(w) && claimsOf(elsewhere)(w) == ""
}

// sameAsAdopted: it is the cluster that the spec names, and so are the disks.
func sameAsAdopted(w *world) string {
	id := w.cluster().Status.ClusterID
	if adopt := w.cluster().Spec.Adopt; adopt == nil || adopt.ClusterID != id {
		return "it is another cluster than the spec names"
	}
	for _, d := range w.fleet.disks {
		if d.formatted && d.cluster != id {
			return "a disk is of another cluster"
		}
	}
	return ""
}

// anotherCluster: the KRaftClusters there were had an id each.
func anotherCluster(w *world) string {
	ids := map[string]bool{}
	for _, id := range w.rules.ids {
		ids[id] = true
	}
	if len(ids) != len(w.rules.ids) || len(ids) < 2 {
		return "it is the same cluster again, whose disks are gone"
	}
	return ""
}

func noSets(w *world) bool { return len(all[*appsv1.StatefulSet](w.store)) == 0 }

func create(c *object) step { return now("create the cluster", func(w *world) { w.make(c) }) }

func withNodePort(c *object) *object {
	c.Spec.Listeners = append(c.Spec.Listeners, v1alpha1.ListenerSpec{Name: "external", Port: 9094, Type: v1alpha1.ListenerNodePort, Protocol: "PLAINTEXT"})
	return c
}

func edit(what string, change func(*spec)) step {
	return now("set "+what, func(w *world) { w.edit(change) })
}

func voters(n int32) step {
	return edit("as many controllers and voters", func(s *spec) { s.Controllers.Replicas, s.Quorum.Voters = n, ptr.To(n) })
}

// loseDisk deletes a node's claim and pod: it comes back with an empty disk.
func loseDisk(node string) func(*world) {
	return func(w *world) {
		w.deleteObject(&corev1.PersistentVolumeClaim{}, "data-"+clusterName+"-"+node)
		w.deleteObject(&corev1.Pod{}, clusterName+"-"+node+"-0")
	}
}

// unlabel takes the labels off nodes' pods.
func unlabel(nodes ...string) func(*world) {
	return func(w *world) {
		for _, node := range nodes {
			pod := get[*corev1.Pod](w.store, clusterName+"-"+node+"-0").DeepCopy()
			pod.Labels = nil
			w.must(w.platform.update(pod))
		}
	}
}

// owned: every pod is its StatefulSet's.
func owned(w *world) string {
	for _, set := range all[*appsv1.StatefulSet](w.store) {
		if pod := get[*corev1.Pod](w.store, set.Name+"-0"); pod != nil && !metav1.IsControlledBy(pod, set) {
			return pod.Name + " is nobody's"
		}
	}
	return ""
}

func cutOff(node string, cut bool) func(*world) {
	return func(w *world) { w.platform.cut(clusterName+"-"+node+"-0", cut) }
}

// started tells whether so many processes were started since the verb began.
func started(n int) func(*world) bool {
	return func(w *world) bool {
		sum := 0
		for _, times := range w.fleet.starts {
			sum += times
		}
		return sum >= n
	}
}

func because(condition, reason string) func(*world) bool {
	return func(w *world) bool {
		c := w.cluster()
		k := meta.FindStatusCondition(c.Status.Conditions, condition)
		return k != nil && k.Reason == reason && k.ObservedGeneration == c.Generation
	}
}

func goneFor(d time.Duration) func(*world) bool {
	return func(w *world) bool {
		gone := w.cluster().Status.GoneVoters
		return len(gone) > 0 && w.now.Sub(gone[0].Since.Time) > d
	}
}

func holds(cond func(*world) bool, missing string) func(*world) string {
	return func(w *world) string {
		if !cond(w) {
			return missing
		}
		return ""
	}
}

// registered are the brokers that the quorum knows.
func registered(ids ...int32) func(*world) string {
	return holds(func(w *world) bool { return slices.Equal(slices.Sorted(maps.Keys(w.fleet.registered)), ids) }, "other brokers are registered")
}

// pods counts what runs.
func pods(n int) func(*world) string {
	return holds(func(w *world) bool { return len(all[*corev1.Pod](w.store)) == n }, "more or fewer pods")
}

// newDisk: a node votes under another directory id than it was made with.
func newDisk(id int32) func(*world) string {
	return holds(func(w *world) bool {
		first := ""
		for _, v := range w.cluster().Status.InitialVoters {
			if v.ID == id {
				first = v.DirectoryID
			}
		}
		k := w.fleet.up(id)
		return k != nil && k.disk.dir != first && w.fleet.isVoter(k)
	}, "the lost disk isn't replaced")
}

// settled: so many voters, all of them on the disks they have.
func settled(n int) func(*world) string {
	return holds(func(w *world) bool { return len(w.fleet.q.voters) == n && w.fleet.liveOf(w.fleet.q.voters) == n }, "a voter is on another disk")
}

func grown(size string) func(*world) string {
	return holds(func(w *world) bool {
		for _, c := range all[*corev1.PersistentVolumeClaim](w.store) {
			if q := c.Spec.Resources.Requests[corev1.ResourceStorage]; c.Labels["kraft.dev/pool"] == "brokers" && q.String() != size {
				return false
			}
		}
		return true
	}, "a claim hasn't grown")
}

// asleep: nothing runs, and the cluster is Ready for that.
func asleep(w *world) string {
	c := w.cluster()
	if k := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionReady); k == nil || k.Status != "True" || k.ObservedGeneration != c.Generation {
		return "not Ready"
	}
	return stopped(w)
}

// stopped: nothing runs, and the status says so.
func stopped(w *world) string {
	switch h := w.cluster().Status.Hibernation; {
	case len(all[*corev1.Pod](w.store)) > 0:
		return "pods run"
	case h == nil || h.Phase != v1alpha1.Hibernated:
		return "not hibernated"
	}
	return ""
}
