package controllers

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	"github.com/stretchr/testify/require"
	lua "github.com/yuin/gopher-lua"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
	"github.com/kraft-dev/kraft-operator/controllers/plan"
)

// looked is a pass over a cluster of one controller and one broker that both are Ready, as far as report needs it.
func looked() *scope {
	c := &v1alpha1.KRaftCluster{ObjectMeta: metav1.ObjectMeta{Name: "demo", Namespace: "ns", Generation: 2}}
	c.Spec.Controllers.Roles = []v1alpha1.Role{v1alpha1.RoleController}
	c.Status.Formed = true
	s := &scope{cluster: c, spec: c.Spec, rolled: true, asked: true, now: time.Unix(1_700_000_000, 0), sets: map[string]*appsv1.StatefulSet{}, pods: map[string]*corev1.Pod{}}
	for _, n := range []*node{{cluster: "demo", name: "demo-controller-0", controller: true}, {cluster: "demo", name: "demo-broker-1000", id: 1000, broker: true}} {
		s.nodes = append(s.nodes, n)
		s.sets[n.name] = &appsv1.StatefulSet{Spec: appsv1.StatefulSetSpec{Replicas: ptr.To(int32(1))}}
		s.pods[podName(n.name)] = &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: podName(n.name)}, Status: corev1.PodStatus{
			Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}},
		}}
	}
	s.quorum = &plan.Quorum{Leader: 0, Epoch: 3, HighWatermark: 42, Voters: []plan.Replica{{ID: 0, LogEndOffset: 42}}}
	s.topics = &plan.Partitions{Unfenced: []int32{1000}}
	s.shownQuorum, s.shownTopics = s.quorum, s.topics
	return s
}

// paused is the first pass after that; before it the cluster was Ready or not.
func (s *scope) paused(wasReady bool) {
	s.cluster.Spec.Paused = true
	if wasReady {
		s.written.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue}}
	}
}

// loseHost: the broker's pod should have stopped two minutes ago.
func (s *scope) loseHost() {
	p := s.pods["demo-broker-1000-0"]
	p.Spec.NodeName = "k8s-2"
	p.DeletionTimestamp = &metav1.Time{Time: s.now.Add(-2 * time.Minute)}
}

// stopped takes away what runs.
func (s *scope) stopped() {
	for _, set := range s.sets {
		set.Spec.Replicas = ptr.To(int32(0))
	}
	s.pods = map[string]*corev1.Pod{}
	s.quorum, s.topics, s.shownQuorum, s.shownTopics = nil, nil, nil, nil
}

// phases are the verdicts there are, with what Argo CD and Flux shall make of each.
var phases = []struct {
	name       string
	make       func(*scope)
	err        error
	unseen     bool // the status is about an older generation
	argo, flux string
}{
	{name: "as specified", argo: "Healthy", flux: "Current"},
	{name: "a newer generation", unseen: true, argo: "Progressing", flux: "InProgress"},
	{name: "an error", err: errors.New("the API doesn't answer"), argo: "Progressing", flux: "InProgress"},
	{name: "refused", make: func(s *scope) { s.refused = "claims of another cluster" }, argo: "Degraded", flux: "Failed"},
	{name: "forming", make: func(s *scope) { s.cluster.Status.Formed = false; s.stopped() }, argo: "Progressing", flux: "InProgress"},
	{name: "before templates are compared", make: func(s *scope) { s.rolled = false }, argo: "Progressing", flux: "InProgress"},
	{name: "rolling", make: func(s *scope) { s.roll = plan.RollStep{Do: plan.RollWait, Why: "demo-broker-1000 to start"} }, argo: "Progressing", flux: "InProgress"},
	{name: "a rollout that stopped", make: func(s *scope) {
		s.roll = plan.RollStep{Do: plan.RollWait, Node: plan.Node{Pod: &plan.Pod{Broken: "CrashLoopBackOff"}}, Why: "demo-broker-1000", Stopped: true}
	}, argo: "Degraded", flux: "Failed"},
	{name: "a rollout that a lost machine stopped", make: func(s *scope) {
		s.loseHost()
		s.roll = plan.RollStep{Do: plan.RollWait, Node: s.snapshot().Nodes[1], Why: "demo-broker-1000", Stopped: true}
	}, argo: "Degraded", flux: "Failed"},
	{name: "a rollout whose node has no place", make: func(s *scope) {
		s.roll = plan.RollStep{Do: plan.RollWait, Node: plan.Node{Pod: &plan.Pod{Broken: plan.Unschedulable}}, Why: "demo-broker-1000", Stopped: true}
	}, argo: "Degraded", flux: "Failed"},
	{name: "a rollout whose node has no pod", make: func(s *scope) { s.roll = plan.RollStep{Do: plan.RollWait, Why: "demo-broker-1000", Stopped: true} }, argo: "Degraded", flux: "Failed"},
	{name: "changing voters", make: func(s *scope) { s.voters = plan.VoterStep{Do: plan.VotersWait, Why: "an observer"} }, argo: "Progressing", flux: "InProgress"},
	{name: "a node that isn't Ready", make: func(s *scope) { delete(s.pods, "demo-broker-1000-0") }, argo: "Progressing", flux: "InProgress"},
	{name: "a node whose machine is lost", make: (*scope).loseHost, argo: "Progressing", flux: "InProgress"},
	{name: "a node that can't run", make: func(s *scope) {
		s.pods["demo-broker-1000-0"].Status = corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}}}}}
	}, argo: "Degraded", flux: "Failed"},
	{name: "no leader", make: func(s *scope) { s.shownQuorum = nil; s.loss = &plan.Loss{} }, argo: "Progressing", flux: "InProgress"},
	{name: "a lost quorum", make: func(s *scope) { s.shownQuorum = nil; s.loss = &plan.Loss{Lost: true, Voters: 3} }, argo: "Degraded", flux: "Failed"},
	{name: "no broker answers", make: func(s *scope) { s.topics, s.shownTopics = nil, nil }, argo: "Progressing", flux: "InProgress"},
	{name: "held back", make: func(s *scope) { s.hold("spec.brokers.replicas", "BrokersHoldReplicas", "put back 3") }, argo: "Degraded", flux: "Failed"},
	{name: "hibernating", make: func(s *scope) { s.spec.Hibernated = true }, argo: "Progressing", flux: "InProgress"},
	{name: "hibernated", make: func(s *scope) { s.spec.Hibernated = true; s.stopped() }, argo: "Healthy", flux: "Current"},
	{name: "waking", make: func(s *scope) {
		s.stopped()
		s.cluster.Status.Hibernation = &v1alpha1.HibernationStatus{Phase: v1alpha1.HibernationWaking}
	}, argo: "Progressing", flux: "InProgress"},
	{name: "paused as it is", make: func(s *scope) { s.paused(true) }, argo: "Healthy", flux: "Current"},
	{name: "paused in the middle of a roll", make: func(s *scope) { s.paused(false) }, argo: "Suspended", flux: "InProgress"},
	{name: "changed while it is paused", make: func(s *scope) { s.paused(true); s.changedPaused = true }, argo: "Suspended", flux: "InProgress"},
	{name: "paused before it was", make: func(s *scope) { s.cluster.Spec.Paused = true; delete(s.pods, "demo-broker-1000-0") }, argo: "Suspended", flux: "InProgress"},
}

// TestArgoAndFluxReadTheStatus: by the script and the library that they run, over the status of every phase.
func TestArgoAndFluxReadTheStatus(t *testing.T) {
	script, err := os.ReadFile(filepath.Join("..", "config", "argocd", "kraftcluster-health.lua"))
	require.NoError(t, err)
	var log strings.Builder
	for _, tc := range phases {
		t.Run(tc.name, func(t *testing.T) {
			s := looked()
			if tc.make != nil {
				tc.make(s)
			}
			s.report(tc.err)
			if tc.unseen {
				s.cluster.Generation++
			}
			obj := asJSON(t, s.cluster)
			health, message := argo(t, string(script), obj)
			require.Equal(t, tc.argo, health, message)
			result, err := status.Compute(&unstructured.Unstructured{Object: obj})
			require.NoError(t, err)
			require.Equal(t, tc.flux, string(result.Status), result.Message)
			require.NotContains(t, message, "\n")
			fmt.Fprintf(&log, "%s: Argo CD %s, Flux %s\n  %s\n", tc.name, health, result.Status, message)
		})
	}
	golden := filepath.Join("testdata", "health.txt")
	if *rewrite {
		require.NoError(t, os.WriteFile(golden, []byte(log.String()), 0o644))
	}
	want, err := os.ReadFile(golden)
	require.NoError(t, err)
	require.Equal(t, string(want), log.String(), "if this is as intended, run with -rewrite and read the diff")
}

// TestAPassThatLooksAtNothingSaysNothingNew: whether the cluster serves is as it was seen last.
func TestAPassThatLooksAtNothingSaysNothingNew(t *testing.T) {
	for name, blind := range map[string]func(*scope){
		"before the nodes are known":  func(s *scope) { s.nodes = nil },
		"before the cluster is asked": func(*scope) {},
	} {
		t.Run(name, func(t *testing.T) {
			s := looked()
			s.report(nil)
			before := s.cluster.Status.DeepCopy()
			require.True(t, meta.IsStatusConditionTrue(before.Conditions, v1alpha1.ConditionAvailable))
			for _, status := range []*v1alpha1.KRaftClusterStatus{before, {Formed: true}} {
				next := looked()
				next.asked, next.cluster.Status = false, *status.DeepCopy()
				next.quorum, next.topics, next.shownQuorum, next.shownTopics = nil, nil, nil, nil
				blind(next)
				next.report(errors.New("the API doesn't answer"))
				after := next.cluster.Status
				require.False(t, meta.IsStatusConditionTrue(after.Conditions, v1alpha1.ConditionReady))
				for _, kind := range []string{v1alpha1.ConditionAvailable, v1alpha1.ConditionQuorumHealthy} {
					if was := meta.FindStatusCondition(status.Conditions, kind); was != nil {
						require.Equal(t, was, meta.FindStatusCondition(after.Conditions, kind))
					} else {
						require.Equal(t, "NotLooked", meta.FindStatusCondition(after.Conditions, kind).Reason, "never seen")
					}
				}
				require.Equal(t, status.Quorum, after.Quorum)
			}
		})
	}
}

// TestAvailableIsWhatIsKnown: Ready pods alone don't serve.
func TestAvailableIsWhatIsKnown(t *testing.T) {
	for _, tc := range []struct {
		name   string
		make   func(*scope)
		is     metav1.ConditionStatus
		reason string
	}{
		{"it serves", func(*scope) {}, metav1.ConditionTrue, "Serving"},
		{"no leader", func(s *scope) { s.shownQuorum = nil }, metav1.ConditionFalse, "NoLeader"},
		{"no broker", func(s *scope) { delete(s.pods, "demo-broker-1000-0") }, metav1.ConditionFalse, "NoBroker"},
		{"no broker answers", func(s *scope) { s.shownTopics = nil }, metav1.ConditionUnknown, "NoBrokerAnswers"},
		{"a partition without a leader", func(s *scope) { s.shownTopics.Offline = 1 }, metav1.ConditionFalse, "PartitionsOffline"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			s := looked()
			tc.make(s)
			s.report(nil)
			c := meta.FindStatusCondition(s.cluster.Status.Conditions, v1alpha1.ConditionAvailable)
			require.Equal(t, tc.is, c.Status)
			require.Equal(t, tc.reason, c.Reason)
		})
	}
}

// TestAnUnobservedClusterIsInProgress: as the API makes it, before the operator has seen it.
func TestAnUnobservedClusterIsInProgress(t *testing.T) {
	script, err := os.ReadFile(filepath.Join("..", "config", "argocd", "kraftcluster-health.lua"))
	require.NoError(t, err)
	obj := asJSON(t, &v1alpha1.KRaftCluster{ObjectMeta: metav1.ObjectMeta{Name: "demo", Generation: 1}, Status: v1alpha1.KRaftClusterStatus{ObservedGeneration: -1}})
	health, _ := argo(t, string(script), obj)
	require.Equal(t, "Progressing", health)
	result, err := status.Compute(&unstructured.Unstructured{Object: obj})
	require.NoError(t, err)
	require.Equal(t, status.InProgressStatus, result.Status)
	delete(obj, "status")
	health, _ = argo(t, string(script), obj)
	require.Equal(t, "Progressing", health)
}

// TestTheExamplesAreWhole: argocd-cm has the script, and Flux's example waits for what it applies.
func TestTheExamplesAreWhole(t *testing.T) {
	script, err := os.ReadFile(filepath.Join("..", "config", "argocd", "kraftcluster-health.lua"))
	require.NoError(t, err)
	b, err := os.ReadFile(filepath.Join("..", "config", "argocd", "argocd-cm.yaml"))
	require.NoError(t, err)
	var cm corev1.ConfigMap
	require.NoError(t, yaml.UnmarshalStrict(b, &cm))
	require.Equal(t, string(script), cm.Data["resource.customizations.health.kraft.dev_KRaftCluster"])

	b, err = os.ReadFile(filepath.Join("..", "config", "flux", "kafka.yaml"))
	require.NoError(t, err)
	docs := strings.Split(string(b), "\n---\n")
	require.Len(t, docs, 2)
	for _, doc := range docs {
		var k struct {
			Kind string
			Spec struct {
				Path string
				Wait bool
			}
		}
		require.NoError(t, yaml.Unmarshal([]byte(doc), &k))
		require.Equal(t, "Kustomization", k.Kind)
		require.True(t, k.Spec.Wait)
		require.FileExists(t, filepath.Join("..", k.Spec.Path, "kustomization.yaml"))
	}
}

func asJSON(t *testing.T, c *v1alpha1.KRaftCluster) map[string]any {
	t.Helper()
	c.APIVersion, c.Kind = v1alpha1.GroupVersion.String(), "KRaftCluster"
	b, err := json.Marshal(c)
	require.NoError(t, err)
	obj := &unstructured.Unstructured{} // numbers as a client has them
	require.NoError(t, obj.UnmarshalJSON(b))
	return obj.Object
}

// argo runs a health script as Argo CD does: a Lua without the libraries that reach outside, the object as global obj,
// and a table with status and message as the answer.
func argo(t *testing.T, script string, obj map[string]any) (health, message string) {
	t.Helper()
	l := lua.NewState(lua.Options{SkipOpenLibs: true})
	defer l.Close()
	for name, open := range map[string]lua.LGFunction{lua.LoadLibName: lua.OpenPackage, lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable} {
		require.NoError(t, l.CallByParam(lua.P{Fn: l.NewFunction(open), Protect: true}, lua.LString(name)))
	}
	l.SetGlobal("obj", toLua(t, l, obj))
	require.NoError(t, l.DoString(script))
	answer, ok := l.Get(-1).(*lua.LTable)
	require.True(t, ok, "a table")
	health, message = answer.RawGetString("status").String(), answer.RawGetString("message").String()
	require.True(t, slices.Contains([]string{"Healthy", "Progressing", "Degraded", "Suspended", "Missing", "Unknown"}, health), health)
	return health, message
}

func toLua(t *testing.T, l *lua.LState, v any) lua.LValue {
	t.Helper()
	switch v := v.(type) {
	case nil:
		return lua.LNil
	case bool:
		return lua.LBool(v)
	case int64:
		return lua.LNumber(v)
	case float64:
		return lua.LNumber(v)
	case string:
		return lua.LString(v)
	case []any:
		table := l.CreateTable(len(v), 0)
		for _, item := range v {
			table.Append(toLua(t, l, item))
		}
		return table
	case map[string]any:
		table := l.CreateTable(0, len(v))
		for key, item := range v {
			table.RawSetString(key, toLua(t, l, item))
		}
		return table
	}
	require.Fail(t, "not JSON", "%T", v)
	return nil
}
