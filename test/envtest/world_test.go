package envtest

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"go.uber.org/zap/zapcore"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
	"github.com/kraft-dev/kraft-operator/controllers"
	"github.com/kraft-dev/kraft-operator/internal/admin"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// patience bounds each wait. A roll of six nodes takes 13 s on two idle cores, and was seen to take more than two minutes beside
// other packages' tests; nothing rests on it but how soon a fault is told.
const patience = 5 * time.Minute

const badImage = "no/such:image"

// world is a namespace with an operator of its own, and plays what an apiserver alone lacks: StatefulSet controller,
// kubelet, disruption controller and the kraftds.
type world struct {
	t  *testing.T
	ns string
	// patience is how long is waited for a condition, if not for patience.
	patience time.Duration

	mu      sync.Mutex
	leader  int32
	short   map[int32]int32 // brokers that can't be spared, and whose replica lags
	stuck   map[string]bool // pods that don't become Ready
	nextIP  int
	started []string // pods in the order they were made, name@image
	voters  int
	running int // controllers whose container runs
	downMax int // most pods of this world that were down at once after all had been up
	wasUp   bool

	dead         []types.UID       // clusters that were deleted: what they own goes, also what is made late
	keep         bool              // pods outlive their StatefulSet's replicas, for now
	stopped      []string          // pods that ended with their StatefulSet's replicas, in that order
	dynamic      map[string]string // the cluster's dynamic defaults
	altered      []string          // changes of those, in order
	refuse       string            // a setting that is refused
	unregistered []int32
	zones        int                // brokers' pods are spread over so many; 0: none is known
	partitions   []admin.Partition  // in-sync replicas are those that run
	set          []admin.Replica    // the voters; nil: the initial ones
	disks        map[int32][16]byte // directory ids
	changes      []change
	fates        []fate // of the next changes
	later        []later
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldBy(t, cfg)
}

// newWorldBy is a world whose operator reaches the apiserver its own way.
func newWorldBy(t *testing.T, api *rest.Config) *world {
	t.Helper()
	t.Parallel()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "w-", Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"}}}
	require.NoError(t, kube.Create(t.Context(), ns))
	return startWorld(t, ns.Name, api)
}

// elsewhere is a world of its own in another namespace.
func (w *world) elsewhere(ns string) *world {
	w.t.Helper()
	return startWorld(w.t, ns, cfg)
}

func startWorld(t *testing.T, ns string, api *rest.Config) *world {
	t.Helper()
	w := &world{t: t, ns: ns, leader: 1, short: map[int32]int32{}, stuck: map[string]bool{}, disks: map[int32][16]byte{}, dynamic: map[string]string{}}
	ctx, cancel := context.WithCancel(context.Background())
	var done sync.WaitGroup
	t.Cleanup(func() { cancel(); done.Wait() })
	mgr := w.manager(api)
	done.Add(2)
	go func() {
		defer done.Done()
		if err := mgr.Start(ctx); err != nil {
			t.Errorf("manager: %v", err)
		}
	}()
	go func() {
		defer done.Done()
		_ = wait.PollUntilContextCancel(ctx, 20*time.Millisecond, true, func(ctx context.Context) (bool, error) {
			if err := w.turn(ctx); err != nil && ctx.Err() == nil && !passing(err) {
				t.Errorf("world: %v", err)
			}
			return false, nil
		})
	}()
	return w
}

// passing tells whether an error is of a kind that the next turn doesn't meet again: others write too.
func passing(err error) bool {
	return apierrors.IsConflict(err) || apierrors.IsNotFound(err) || unanswered(err)
}

// unanswered tells whether an error is no word of the API on what was asked: its machine may be busy.
func unanswered(err error) bool {
	switch apierrors.ReasonForError(err) {
	case metav1.StatusReasonUnknown, metav1.StatusReasonTimeout, metav1.StatusReasonServerTimeout, metav1.StatusReasonTooManyRequests, metav1.StatusReasonInternalError:
		return err != nil
	}
	return false
}

// read repeats a question to the API until there is an answer.
func (w *world) read(ask func(context.Context) error) {
	w.t.Helper()
	var err error
	for range 5 {
		if err = ask(w.t.Context()); !unanswered(err) {
			break
		}
	}
	require.NoError(w.t, err)
}

// list lists what is in the world's namespace.
func (w *world) list(list client.ObjectList) {
	w.t.Helper()
	w.read(func(ctx context.Context) error { return kube.List(ctx, list, client.InNamespace(w.ns)) })
}

func (w *world) manager(api *rest.Config) ctrl.Manager {
	skip := true
	mgr, err := ctrl.NewManager(api, ctrl.Options{
		Scheme: scheme, Metrics: metricsserver.Options{BindAddress: "0"}, Logger: zap.New(zap.WriteTo(w.t.Output()), zap.StacktraceLevel(zapcore.PanicLevel), zap.Level(zapcore.ErrorLevel)),
		Cache:      cache.Options{DefaultNamespaces: map[string]cache.Config{w.ns: {}}},
		Controller: config.Controller{SkipNameValidation: &skip},
	})
	require.NoError(w.t, err)
	r := &controllers.Reconciler{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Admin: w, Recorder: mgr.GetEventRecorder("kraft-operator"),
		Metrics: controllers.NewMetrics(prometheus.NewRegistry()), NodeImage: "kraft:1", Workers: 2, Now: time.Now,
		NewID: func() (string, error) { id, err := uuid.New(rand.Reader); return id.String(), err },
	}
	require.NoError(w.t, r.SetupWithManager(mgr))
	return mgr
}

// turn lets every controller of the world look once.
func (w *world) turn(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.collectGarbage(ctx); err != nil {
		return err
	}
	var sets appsv1.StatefulSetList
	if err := kube.List(ctx, &sets, client.InNamespace(w.ns)); err != nil {
		return err
	}
	var pods corev1.PodList
	if err := kube.List(ctx, &pods, client.InNamespace(w.ns)); err != nil {
		return err
	}
	byName := map[string]*corev1.Pod{}
	for i := range pods.Items {
		byName[pods.Items[i].Name] = &pods.Items[i]
	}
	w.running, w.voters = 0, 0
	for name, pod := range byName {
		if strings.Contains(name, "-controller-") && pod.Spec.Containers[0].Image != badImage {
			w.running++
		}
	}
	for i := range sets.Items {
		if strings.Contains(sets.Items[i].Name, "-controller-") {
			w.voters++
		}
	}
	down := 0
	for i := range sets.Items {
		up, err := w.runPod(ctx, &sets.Items[i], byName[sets.Items[i].Name+"-0"])
		if err != nil {
			return err
		}
		if !up {
			down++
		}
	}
	if len(sets.Items) > 0 && down == 0 {
		w.wasUp = true
	}
	if w.wasUp {
		w.downMax = max(w.downMax, down)
	}
	return w.disruptions(ctx, sets.Items, pods.Items)
}

// runPod is the StatefulSet controller and the kubelet of one node.
func (w *world) runPod(ctx context.Context, set *appsv1.StatefulSet, pod *corev1.Pod) (up bool, err error) {
	if set.Status.ObservedGeneration < set.Generation {
		set.Status.ObservedGeneration = set.Generation
		return false, kube.Status().Update(ctx, set)
	}
	if let, err := w.letGo(ctx, set, pod); let || err != nil {
		return false, err
	}
	if *set.Spec.Replicas == 0 && pod != nil && w.keep {
		return true, nil
	}
	if *set.Spec.Replicas == 0 {
		return false, w.stopPod(ctx, pod)
	}
	if pod == nil {
		t := set.Spec.Template
		pod = &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: set.Name + "-0", Namespace: w.ns, Labels: t.Labels, Annotations: t.Annotations}, Spec: t.Spec}
		if id, err := strconv.Atoi(t.Labels["kraft.dev/node-id"]); err == nil && w.zones > 0 && strings.Contains(set.Name, "-broker-") {
			pod.Labels = maps.Clone(t.Labels)
			pod.Labels[corev1.LabelTopologyZone] = fmt.Sprintf("zone-%d", id%w.zones)
		}
		pod.OwnerReferences = owners(set)
		w.started = append(w.started, set.Name+"@"+t.Spec.Containers[0].Image)
		return false, kube.Create(ctx, pod)
	}
	status := w.podStatus(pod)
	if pod.Status.PodIP == "" || ready(pod) != ready(&corev1.Pod{Status: status}) {
		w.nextIP++
		status.PodIP = fmt.Sprintf("10.1.%d.%d", w.nextIP/250, w.nextIP%250+1)
		status.PodIPs = []corev1.PodIP{{IP: status.PodIP}}
		pod.Status = status
		if err := kube.Status().Update(ctx, pod); err != nil {
			return false, err
		}
	}
	return ready(pod), nil
}

// letGo tells whether a pod isn't the StatefulSet's for want of its labels: it is let go of, and taken again with them.
func (w *world) letGo(ctx context.Context, set *appsv1.StatefulSet, pod *corev1.Pod) (bool, error) {
	if pod == nil {
		return false, nil
	}
	in, err := metav1.LabelSelectorAsSelector(set.Spec.Selector)
	if err != nil {
		return false, err
	}
	patch := client.MergeFrom(pod.DeepCopy())
	switch let := !in.Matches(labels.Set(pod.Labels)); {
	case let && metav1.IsControlledBy(pod, set):
		pod.OwnerReferences = nil
		return let, kube.Patch(ctx, pod, patch)
	case !let && metav1.GetControllerOf(pod) == nil:
		pod.OwnerReferences = owners(set)
		return let, kube.Patch(ctx, pod, patch)
	default:
		return let, nil
	}
}

func owners(set *appsv1.StatefulSet) []metav1.OwnerReference {
	return []metav1.OwnerReference{*metav1.NewControllerRef(set, appsv1.SchemeGroupVersion.WithKind("StatefulSet"))}
}

func (w *world) podStatus(pod *corev1.Pod) corev1.PodStatus {
	st := corev1.PodStatus{Phase: corev1.PodRunning, HostIP: "192.0.2.10", HostIPs: []corev1.HostIP{{IP: "192.0.2.10"}}}
	is := corev1.ConditionTrue
	switch {
	case pod.Spec.Containers[0].Image == badImage:
		is = corev1.ConditionFalse
		st.Phase = corev1.PodPending
		st.ContainerStatuses = []corev1.ContainerStatus{{Name: "kraftd", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}}}}
	case w.stuck[pod.Name] || w.alone():
		is = corev1.ConditionFalse
	}
	st.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: is}}
	return st
}

// alone tells whether too few controllers run for a quorum: then none is Ready, and no broker either. Once there was
// one, brokers stay Ready, and so does a controller through a restart of others.
func (w *world) alone() bool {
	return !w.wasUp && w.running < w.voters/2+1
}

func ready(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}

// disruptions is the disruption controller.
func (w *world) disruptions(ctx context.Context, sets []appsv1.StatefulSet, pods []corev1.Pod) error {
	var budgets policyv1.PodDisruptionBudgetList
	if err := kube.List(ctx, &budgets, client.InNamespace(w.ns)); err != nil {
		return err
	}
	for i := range budgets.Items {
		b := &budgets.Items[i]
		in, err := metav1.LabelSelectorAsSelector(b.Spec.Selector)
		if err != nil {
			return err
		}
		healthy, expected := int32(0), int32(0)
		for j := range pods {
			if in.Matches(labels.Set(pods[j].Labels)) && ready(&pods[j]) {
				healthy++
			}
		}
		for j := range sets {
			if in.Matches(labels.Set(sets[j].Labels)) {
				expected++
			}
		}
		desired := max(0, expected-b.Spec.MaxUnavailable.IntVal)
		allowed := max(0, healthy-desired)
		s := policyv1.PodDisruptionBudgetStatus{
			ObservedGeneration: b.Generation, CurrentHealthy: healthy, DesiredHealthy: desired, ExpectedPods: expected, DisruptionsAllowed: allowed,
		}
		if b.Status.ObservedGeneration == s.ObservedGeneration && b.Status.CurrentHealthy == healthy && b.Status.DesiredHealthy == desired {
			continue
		}
		b.Status = s
		if err := kube.Status().Update(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

// answering are the ids of the nodes behind the addresses that run.
func (w *world) answering(ctx context.Context, addrs []string) ([]int32, error) {
	var pods corev1.PodList
	if err := kube.List(ctx, &pods, client.InNamespace(w.ns)); err != nil {
		return nil, err
	}
	var ids []int32
	for i := range pods.Items {
		p := &pods.Items[i]
		if ready(p) && slices.ContainsFunc(addrs, func(a string) bool { return strings.HasPrefix(a, p.Status.PodIP+":") }) {
			id, err := strconv.ParseInt(p.Labels["kraft.dev/node-id"], 10, 32)
			if err != nil {
				return nil, err
			}
			ids = append(ids, int32(id))
		}
	}
	if len(ids) == 0 {
		return nil, admin.ErrNobody
	}
	slices.Sort(ids)
	return ids, nil
}

// DescribeQuorum is the quorum of the controllers that run: it leads while a majority does.
func (w *world) DescribeQuorum(ctx context.Context, addrs []string) (*admin.Quorum, error) {
	up, err := w.answering(ctx, addrs)
	if err != nil {
		return nil, err
	}
	brokers, err := w.brokers(ctx)
	if err != nil {
		return nil, err
	}
	var clusters v1alpha1.KRaftClusterList
	if err := kube.List(ctx, &clusters, client.InNamespace(w.ns)); err != nil {
		return nil, err
	}
	if len(clusters.Items) != 1 {
		return nil, errors.New("one cluster a world")
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.settle(clusters.Items[0].Status.InitialVoters); err != nil {
		return nil, err
	}
	live := 0
	leads := false
	for _, v := range w.set {
		if slices.Contains(up, v.ID) && w.disk(v.ID) == v.DirectoryID {
			live++
			leads = leads || v.ID == w.leader
		}
	}
	if live <= len(w.set)/2 {
		return &admin.Quorum{Leader: -1, LeaderEpoch: -1, HighWatermark: -1}, nil
	}
	if !leads {
		w.leader = w.set[slices.IndexFunc(w.set, func(v admin.Replica) bool { return slices.Contains(up, v.ID) && w.disk(v.ID) == v.DirectoryID })].ID
	}
	q := &admin.Quorum{Leader: w.leader, LeaderEpoch: 3, HighWatermark: 42}
	for _, v := range w.set {
		v.LogEndOffset = 42
		if !slices.Contains(up, v.ID) || w.disk(v.ID) != v.DirectoryID {
			v.SinceFetch, v.SinceCaughtUp = time.Minute, time.Minute
		}
		q.Voters = append(q.Voters, v)
	}
	for _, id := range up {
		if !slices.ContainsFunc(w.set, func(v admin.Replica) bool { return v.ID == id && v.DirectoryID == w.disk(id) }) {
			q.Observers = append(q.Observers, admin.Replica{ID: id, DirectoryID: w.disk(id), LogEndOffset: 42})
		}
	}
	for _, id := range brokers {
		if !slices.Contains(up, id) { // a combined node is there already
			q.Observers = append(q.Observers, admin.Replica{ID: id, DirectoryID: w.disk(id), LogEndOffset: 42})
		}
	}
	return q, nil
}

// brokers are the ids of the brokers that run: they fetch from whoever leads.
func (w *world) brokers(ctx context.Context) ([]int32, error) {
	var pods corev1.PodList
	if err := kube.List(ctx, &pods, client.InNamespace(w.ns), client.MatchingLabels{"kraft.dev/broker": "true"}); err != nil {
		return nil, err
	}
	var addrs []string
	for i := range pods.Items {
		addrs = append(addrs, pods.Items[i].Status.PodIP+":")
	}
	ids, err := w.answering(ctx, addrs)
	if errors.Is(err, admin.ErrNobody) {
		return nil, nil
	}
	return ids, err
}

// settle forms the set of voters, and makes the changes whose time has come.
func (w *world) settle(initial []v1alpha1.InitialVoter) error {
	if w.set == nil {
		for _, v := range initial {
			dir, err := uuid.Parse(v.DirectoryID)
			if err != nil {
				return err
			}
			w.disks[v.ID] = dir
			w.set = append(w.set, admin.Replica{ID: v.ID, DirectoryID: dir})
		}
	}
	w.later = slices.DeleteFunc(w.later, func(l later) bool {
		due := time.Now().After(l.at)
		if due {
			l.do()
		}
		return due
	})
	return nil
}

// DescribeTopics has one partition that holds each broker of w.short back.
func (w *world) DescribeTopics(ctx context.Context, addrs []string) (*admin.Topics, error) {
	up, err := w.answering(ctx, addrs)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	t := &admin.Topics{Unfenced: up}
	for id, lags := range w.short {
		t.Partitions = append(t.Partitions, admin.Partition{Topic: "orders", Leader: id, Replicas: []int32{id, lags}, ISR: []int32{id}, MinISR: 1})
	}
	for _, p := range w.partitions {
		p.ISR = slices.DeleteFunc(slices.Clone(p.Replicas), func(id int32) bool { return !slices.Contains(up, id) })
		p.Leader = -1
		if len(p.ISR) > 0 {
			p.Leader = p.ISR[0]
		}
		t.Partitions = append(t.Partitions, p)
	}
	return t, nil
}

func (w *world) lead(id int32) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.leader = id
}

// hold keeps a broker from being spared, for the sake of one that is no node of this cluster.
func (w *world) hold(id int32, held bool) {
	w.lag(1999, id, held)
}

// lag keeps a broker from being spared, as another's replica lags.
func (w *world) lag(id, behind int32, lags bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if lags {
		w.short[behind] = id
	} else {
		delete(w.short, behind)
	}
}

// takeStarted returns the pods made since the last call.
func (w *world) takeStarted() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.started
	w.started = nil
	return s
}

func (w *world) mostDown() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.downMax
}

func (w *world) apply(text string) *v1alpha1.KRaftCluster {
	w.t.Helper()
	u := object(w.t, text)
	u.SetNamespace(w.ns)
	require.NoError(w.t, kube.Create(w.t.Context(), u))
	return w.get(u.GetName())
}

func (w *world) get(name string) *v1alpha1.KRaftCluster {
	w.t.Helper()
	c := &v1alpha1.KRaftCluster{}
	w.read(func(ctx context.Context) error {
		return kube.Get(ctx, client.ObjectKey{Namespace: w.ns, Name: name}, c)
	})
	return c
}

func (w *world) edit(name string, change func(*v1alpha1.KRaftCluster)) {
	w.t.Helper()
	c := w.get(name)
	base := c.DeepCopy()
	change(c)
	require.NoError(w.t, kube.Patch(w.t.Context(), c, client.MergeFrom(base)))
}

// await waits until the cluster's status satisfies a condition, and fails with that status if it doesn't.
func (w *world) await(name, what string, ok func(*v1alpha1.KRaftCluster) bool) *v1alpha1.KRaftCluster {
	w.t.Helper()
	var c *v1alpha1.KRaftCluster
	err := w.poll(func() bool {
		c = w.get(name)
		return ok(c)
	})
	if err != nil {
		require.FailNow(w.t, "waited in vain until "+what, "%+v", c.Status)
	}
	return c
}

// statuses follows the cluster from now on. What it returns lists every version so far: what stands for a moment only is
// in it too, however slow the test is.
func (w *world) statuses(name string) func() []v1alpha1.KRaftCluster {
	w.t.Helper()
	watcher, err := client.NewWithWatch(cfg, client.Options{Scheme: scheme})
	require.NoError(w.t, err)
	events, err := watcher.Watch(w.t.Context(), &v1alpha1.KRaftClusterList{}, client.InNamespace(w.ns),
		&client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: w.get(name).ResourceVersion}})
	require.NoError(w.t, err)
	var mu sync.Mutex
	var seen []v1alpha1.KRaftCluster // guarded by mu
	var done sync.WaitGroup
	done.Go(func() {
		for e := range events.ResultChan() {
			if c, ok := e.Object.(*v1alpha1.KRaftCluster); ok && c.Name == name {
				mu.Lock()
				seen = append(seen, *c)
				mu.Unlock()
			}
		}
	})
	w.t.Cleanup(func() { events.Stop(); done.Wait() })
	return func() []v1alpha1.KRaftCluster {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(seen)
	}
}

// until waits for what no status tells: an object that a pass after the one that wrote the status puts right.
func (w *world) until(what string, ok func() bool) {
	w.t.Helper()
	require.NoError(w.t, w.poll(ok), "waited in vain until %s", what)
}

// poll looks again and again, for as long as this world's patience lasts.
func (w *world) poll(ok func() bool) error {
	return wait.PollUntilContextTimeout(w.t.Context(), 20*time.Millisecond, cmp.Or(w.patience, patience), true, func(context.Context) (bool, error) {
		return ok(), nil
	})
}

func is(kind, status string) func(*v1alpha1.KRaftCluster) bool {
	return func(c *v1alpha1.KRaftCluster) bool {
		if c.Status.ObservedGeneration != c.Generation {
			return false
		}
		return slices.ContainsFunc(c.Status.Conditions, func(k metav1.Condition) bool {
			return k.Type == kind && string(k.Status) == status && k.ObservedGeneration == c.Generation
		})
	}
}

func condition(c *v1alpha1.KRaftCluster, kind string) metav1.Condition {
	for _, k := range c.Status.Conditions {
		if k.Type == kind {
			return k
		}
	}
	return metav1.Condition{}
}

func (w *world) sets() map[string]appsv1.StatefulSet {
	w.t.Helper()
	var list appsv1.StatefulSetList
	w.list(&list)
	out := map[string]appsv1.StatefulSet{}
	for _, s := range list.Items {
		out[s.Name] = s
	}
	return out
}

func (w *world) podUIDs() map[string]string {
	w.t.Helper()
	var list corev1.PodList
	w.list(&list)
	out := map[string]string{}
	for _, p := range list.Items {
		out[p.Name] = string(p.UID)
	}
	return out
}

func (w *world) claims() []corev1.PersistentVolumeClaim {
	w.t.Helper()
	var list corev1.PersistentVolumeClaimList
	w.list(&list)
	return list.Items
}
