package controllers

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
	"github.com/kraft-dev/kraft-operator/controllers/plan"
)

// scope is one pass over one cluster: what was observed, and what the steps made of it.
type scope struct {
	cluster *v1alpha1.KRaftCluster
	written v1alpha1.KRaftClusterStatus // as it stands in the API
	spec    v1alpha1.KRaftClusterSpec   // the accepted one: where a part is held back, the former part
	image   string
	now     time.Time

	operatorNamespace string

	sets   map[string]*appsv1.StatefulSet
	pods   map[string]*corev1.Pod
	claims map[string]*corev1.PersistentVolumeClaim

	nodes    []*node          // every node there shall be, ascending by id
	rolled   bool             // the nodes' templates were compared with the spec: roll says what of it
	asked    bool             // the cluster was asked about itself, whether or not it answered
	quorum   *plan.Quorum     // nil: nobody answers now
	quorumAt time.Time        // when quorum was asked
	silence  int              // see view
	inVain   []plan.Voter     // see view
	topics   *plan.Partitions // likewise
	// shown are for status: as above, or an answer of a moment ago.
	shownQuorum *plan.Quorum
	shownTopics *plan.Partitions

	succeeds       string           // what a cluster without an identity waits for: the former's claims have to go
	lastRevision   int64            // the highest number of an accepted spec under this cluster's name
	changedPaused  bool             // the spec was changed while the cluster is paused
	bootstrapPorts map[string]int32 // node ports that lead to any Ready broker, by listener; nil until this pass has seen the Services

	turn    string // what a roll that the operator's own image asks for waits for; "" nothing
	roll    plan.RollStep
	voters  plan.VoterStep
	brokers plan.BrokerStep
	// settingsWait says what settings that aren't in force yet wait for; "" when all are.
	settingsWait string
	loss         *plan.Loss // the facts of a quorum without a leader; nil with one
	refused      string     // why claims or names aren't taken; everything waits
}

// node is a member of a pool with all that its objects are made from.
type node struct {
	cluster, name, pool string
	id                  int32
	controller, broker  bool
	leaving             bool // it is being taken out: no pod
	storage             v1alpha1.VolumeSpec
	resources           v1alpha1.ResourcesSpec
	template            v1alpha1.PodTemplate

	nodePorts map[string]int32 // by listener
	want      *appsv1.StatefulSet
	refused   bool      // it is new, and the API refuses to make it; want may be nil
	podless   time.Time // since when its pod, which its StatefulSet wants, isn't seen; zero: it is, or nobody has looked
	place     string    // what stands under the name of its pod and isn't its own; "" nothing
}

func (n *node) roles() []string {
	var r []string
	if n.broker {
		r = append(r, string(v1alpha1.RoleBroker))
	}
	if n.controller {
		r = append(r, string(v1alpha1.RoleController))
	}
	return r
}

// observe reads everything a pass needs from reader: the cache for looking, the API itself before taking a node down.
func (s *scope) observe(ctx context.Context, reader client.Reader) error {
	in := client.InNamespace(s.cluster.Namespace)
	ours := client.MatchingLabels{labelCluster: s.cluster.Name}
	var sets appsv1.StatefulSetList
	var pods corev1.PodList
	var claims corev1.PersistentVolumeClaimList
	for _, list := range []client.ObjectList{&sets, &pods, &claims} {
		if err := reader.List(ctx, list, in, ours); err != nil {
			return fmt.Errorf("listing %T: %w", list, err)
		}
	}
	s.sets, s.pods, s.claims = map[string]*appsv1.StatefulSet{}, map[string]*corev1.Pod{}, map[string]*corev1.PersistentVolumeClaim{}
	for i := range sets.Items {
		s.sets[sets.Items[i].Name] = &sets.Items[i]
	}
	for i := range pods.Items {
		s.pods[pods.Items[i].Name] = &pods.Items[i]
	}
	for i := range claims.Items {
		s.claims[claims.Items[i].Name] = &claims.Items[i]
	}
	return nil
}

// pool returns the status of a pool, made if it isn't there.
func (s *scope) pool(name string) *v1alpha1.PoolStatus {
	st := &s.cluster.Status
	i := slices.IndexFunc(st.Pools, func(p v1alpha1.PoolStatus) bool { return p.Name == name })
	if i < 0 {
		p := v1alpha1.PoolStatus{Name: name, Roles: s.cluster.Spec.Controllers.Roles, FirstID: firstController}
		if name == poolBrokers {
			p.Roles, p.FirstID = []v1alpha1.Role{v1alpha1.RoleBroker}, firstBroker
		}
		st.Pools = append(st.Pools, p)
		i = len(st.Pools) - 1
	}
	return &st.Pools[i]
}

func (s *scope) combined() bool {
	return slices.Contains(s.cluster.Spec.Controllers.Roles, v1alpha1.RoleBroker)
}

// brokerCount is how many nodes have the role broker in a spec.
func brokerCount(spec *v1alpha1.KRaftClusterSpec) int32 {
	if spec.Brokers != nil {
		return spec.Brokers.Replicas
	}
	return spec.Controllers.Replicas
}

// voterCount is how many controllers vote in a spec.
func voterCount(spec *v1alpha1.KRaftClusterSpec) int32 {
	if spec.Quorum.Voters != nil {
		return *spec.Quorum.Voters
	}
	return spec.Controllers.Replicas
}

// makeNodes lists the nodes of the recorded ids.
func (s *scope) makeNodes() {
	s.nodes = nil
	add := func(id int32, pool string, controller, broker bool, st v1alpha1.VolumeSpec, res v1alpha1.ResourcesSpec, t v1alpha1.PodTemplate) {
		s.nodes = append(s.nodes, &node{
			cluster: s.cluster.Name, name: nodeName(s.cluster.Name, controller, id), pool: pool, id: id,
			controller: controller, broker: broker, storage: st, resources: res, template: t,
		})
	}
	c := s.spec.Controllers
	for _, id := range s.pool(poolControllers).NodeIDs {
		add(id, poolControllers, true, s.combined(), c.Storage, c.Resources, c.Template)
	}
	if b := s.spec.Brokers; b != nil {
		for _, id := range s.pool(poolBrokers).NodeIDs {
			add(id, poolBrokers, false, true, b.Storage, b.Resources, b.Template)
			s.nodes[len(s.nodes)-1].leaving = slices.Contains(s.pool(poolBrokers).Leaving, id)
		}
	}
}

// snapshot is what the planners see.
func (s *scope) snapshot() plan.Snapshot {
	snap := plan.Snapshot{Now: s.now, Formed: s.cluster.Status.Formed, Quorum: s.quorum, Partitions: s.topics, InVain: s.inVain, Restarting: -1}
	st := &s.cluster.Status
	snap.Gone, snap.Pending, snap.Paused = goneVoters(st.GoneVoters), pendingChange(st.VoterChange), s.cluster.Spec.Paused
	if d := st.Doing; d != nil && d.Pod != "" && d.Node != nil {
		snap.Restarting = *d.Node
	}
	snap.Lost = lostBrokers(st.LostBrokers)
	snap.Batch, snap.MaxUnavailable = recordedBatch(st.Doing), s.maxUnavailable()
	if q := s.written.Quorum; q != nil {
		snap.LastAnswer = q.ObservedTime.Time
	}
	for _, n := range s.nodes {
		pn := plan.Node{ID: n.id, Name: n.name, Controller: n.controller, Broker: n.broker, Leaving: n.leaving, Refused: n.refused}
		if n.want != nil {
			pn.Want = n.want.Spec.Template.Annotations[annotationTemplateHash]
		}
		pn.Stopped = asleep(s.sets[n.name])
		if set := s.sets[n.name]; set != nil {
			pn.Has = set.Spec.Template.Annotations[annotationTemplateHash]
		}
		pn.Podless = n.podless
		if p := s.pods[podName(n.name)]; p != nil {
			pn.Zone = p.Labels[corev1.LabelTopologyZone]
			since, isReady := podReady(p)
			pn.Pod = &plan.Pod{
				Name: p.Name, UID: p.UID, Hash: p.Annotations[annotationTemplateHash], Ready: isReady, ReadySince: since,
				Terminating: p.DeletionTimestamp != nil, Broken: brokenPod(p, s.now), Created: p.CreationTimestamp.Time,
				Restart: restartAsked(p),
			}
			if p.DeletionTimestamp != nil {
				pn.Pod.StopBy = p.DeletionTimestamp.Time
			}
		}
		snap.Nodes = append(snap.Nodes, pn)
	}
	return snap
}

// podReady tells whether a pod is Ready, or isn't, and since when.
func podReady(p *corev1.Pod) (since time.Time, isReady bool) {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.LastTransitionTime.Time, c.Status == corev1.ConditionTrue
		}
	}
	return time.Time{}, false
}

// brokenReasons are states of a container that no waiting ends.
var brokenReasons = []string{
	"ImagePullBackOff", "ErrImagePull", "ErrImageNeverPull", "InvalidImageName", "CrashLoopBackOff",
	"CreateContainerConfigError", "CreateContainerError", "RunContainerError",
}

// unschedulableAfter is how long a pod may wait for its first place: claims are bound in that time.
const unschedulableAfter = 15 * time.Second

// brokenPod says why a pod's container doesn't run and won't by itself; "" when it runs or may yet.
func brokenPod(p *corev1.Pod, now time.Time) string {
	if p.Status.Phase == corev1.PodFailed {
		return strings.TrimSpace("Failed " + p.Status.Reason)
	}
	for _, c := range p.Status.ContainerStatuses {
		if w := c.State.Waiting; w != nil && slices.Contains(brokenReasons, w.Reason) {
			return w.Reason
		}
	}
	if p.Status.Phase == corev1.PodPending && now.Sub(p.CreationTimestamp.Time) > unschedulableAfter && unschedulable(p) {
		return plan.Unschedulable
	}
	return ""
}

// unschedulable reports whether the scheduler has tried a pod and found no place.
func unschedulable(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable
	})
}

// home is how claims name this cluster.
func (s *scope) home() string { return s.cluster.Namespace + "/" + s.cluster.Name }

// planClaims is what the claims' annotations say.
func (s *scope) planClaims() []plan.Claim {
	var out []plan.Claim
	for _, c := range s.claims {
		id, err := strconv.ParseInt(c.Annotations[annotationNodeID], 10, 32)
		if err != nil {
			id = -1
		}
		elsewhere := c.Annotations[annotationHome]
		if elsewhere == s.home() {
			elsewhere = ""
		}
		out = append(out, plan.Claim{
			Name: c.Name, Going: c.DeletionTimestamp != nil || s.formerOwns(c), Elsewhere: elsewhere, NodeID: int32(id), Directory: c.Annotations[annotationDirectoryID], Left: c.Annotations[annotationLeft] == "true",
			Roles: plan.Roles{Controller: c.Labels[labelController] == "true", Broker: c.Labels[labelBroker] == "true"},
			Identity: plan.Identity{
				ClusterID: c.Annotations[annotationClusterID], Voters: parseVoters(c.Annotations[annotationInitialVoters]),
				Formed: c.Annotations[annotationFormed] == "true",
			},
		})
	}
	slices.SortFunc(out, func(a, b plan.Claim) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// formerOwns tells whether a claim is owned by a deleted cluster of this name: Kubernetes will delete it.
func (s *scope) formerOwns(c *corev1.PersistentVolumeClaim) bool {
	return slices.ContainsFunc(c.OwnerReferences, func(ref metav1.OwnerReference) bool {
		return ref.Kind == "KRaftCluster" && ref.Name == s.cluster.Name && ref.UID != s.cluster.UID
	})
}

func formatVoters(voters []v1alpha1.InitialVoter) string {
	var out []string
	for _, v := range voters {
		out = append(out, fmt.Sprintf("%d@%s", v.ID, v.DirectoryID))
	}
	return strings.Join(out, ",")
}

// parseVoters returns nil for text that formatVoters didn't write.
func parseVoters(text string) (out []plan.Voter) {
	for part := range strings.SplitSeq(text, ",") {
		id, dir, ok := strings.Cut(part, "@")
		n, err := strconv.ParseInt(id, 10, 32)
		if !ok || err != nil || len(dir) != 22 {
			return nil
		}
		out = append(out, plan.Voter{ID: int32(n), DirectoryID: dir})
	}
	return out
}

// statusChanged tells whether the status differs from what the API has.
func (s *scope) statusChanged() bool {
	return !equality.Semantic.DeepEqual(s.cluster.Status, s.written)
}
