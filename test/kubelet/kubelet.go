// Package kubelet is a small kubelet, scheduler and volume binder for tests. It runs the kraftd of every pod of an API server
// in this very process, each with its own disks, settings, addresses and registry:
//
//   - A pod is bound to one of three Nodes, one a zone, when its claim is there. A claim is bound at once; its disk is a folder
//     by the claim's UID, so that a new claim is an empty disk.
//   - ConfigMaps and claims are mounted as the pod's template says: paths in a node's settings are those of its container. A
//     changed ConfigMap is seen at once.
//   - Every pod has a loopback address of its own (127.a.b.c), and ports are those of production: what binds every address in
//     a container binds the pod's. Nodes reach each other by the names of Services, which are looked up as DNS and kube-proxy
//     would: by selector, readiness and publishNotReadyAddresses.
//   - A pod is Ready as its /readyz says. One that is deleted ends as after SIGTERM, and its object goes with its process.
//   - A pod can be slow: every read of what others answer it takes so long more.
//   - A pod can be cut off: its process is abandoned, and nothing of it is heard until it is put back.
//
// What it leaves out: images (one name can't be pulled), liveness and startup probes, resources, security contexts.
package kubelet

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kraft-dev/kraft-operator/internal/storage"
)

// look is how often the kubelet looks at its pods.
const look = 25 * time.Millisecond

// Config of a Kubelet.
type Config struct {
	Client client.Client // straight to the API
	Cache  client.Reader // of pods, claims, ConfigMaps and Services; what it hands out isn't changed
	Dir    string        // for disks and mounts
	// Settings are put over those of every node.
	Settings map[string]string
	// BadImage can't be pulled.
	BadImage string
}

// Kubelet runs pods. Its methods may be called at any time.
type Kubelet struct {
	cfg   Config
	wg    sync.WaitGroup
	block int          // second number of its pods' addresses
	held  net.Listener // that nobody else has them

	mu       sync.Mutex
	pods     map[types.UID]*pod
	cut      map[types.NamespacedName]bool
	slow     map[types.NamespacedName]slowness
	gone     map[string]bool // namespaces
	addr     int
	starts   map[types.NamespacedName]int
	complain func(error)
}

// New makes a kubelet; complain is told of what it can't do.
func New(cfg Config, complain func(error)) *Kubelet {
	return &Kubelet{
		cfg: cfg, pods: map[types.UID]*pod{}, cut: map[types.NamespacedName]bool{}, slow: map[types.NamespacedName]slowness{},
		gone: map[string]bool{}, starts: map[types.NamespacedName]int{}, complain: complain,
	}
}

// Prepare reserves addresses, and makes the Nodes, and the StorageClass that claims without one get.
func (k *Kubelet) Prepare(ctx context.Context) error {
	if err := k.reserve(); err != nil {
		return err
	}
	for i := range zones {
		n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: nodeName(i), Labels: map[string]string{
			corev1.LabelHostname: nodeName(i), corev1.LabelTopologyZone: fmt.Sprintf("zone-%d", i),
		}}}
		if err := k.cfg.Client.Create(ctx, n); err != nil {
			return fmt.Errorf("node %s: %w", n.Name, err)
		}
	}
	yes := true
	class := &storagev1.StorageClass{
		ObjectMeta:  metav1.ObjectMeta{Name: "standard", Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}},
		Provisioner: "kraft.dev/test", AllowVolumeExpansion: &yes,
	}
	return k.cfg.Client.Create(ctx, class)
}

// zones is how many Nodes there are, each in a zone of its own.
const zones = 3

func nodeName(i int) string { return fmt.Sprintf("node-%d", i) }

// Run runs pods until ctx ends; then it abandons those that run.
func (k *Kubelet) Run(ctx context.Context) {
	defer k.held.Close()
	defer k.wg.Wait()
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		if err := k.turn(ctx); err != nil && ctx.Err() == nil {
			k.complain(err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// turn takes up new pods and binds new claims.
func (k *Kubelet) turn(ctx context.Context) error {
	var pods corev1.PodList
	if err := k.cfg.Cache.List(ctx, &pods, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	for i := range pods.Items {
		k.take(ctx, &pods.Items[i])
	}
	var claims corev1.PersistentVolumeClaimList
	if err := k.cfg.Cache.List(ctx, &claims, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	for i := range claims.Items {
		if err := k.bindClaim(ctx, &claims.Items[i]); err != nil {
			return err
		}
	}
	return nil
}

func (k *Kubelet) take(ctx context.Context, obj *corev1.Pod) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pods[obj.UID] != nil {
		return
	}
	p := &pod{k: k, key: client.ObjectKeyFromObject(obj), uid: obj.UID}
	k.pods[obj.UID] = p
	k.wg.Go(func() {
		if err := p.live(ctx); err != nil && ctx.Err() == nil && !k.isGone(p.key.Namespace) {
			k.complain(fmt.Errorf("pod %s: %w", p.key, err))
		}
	})
}

// bindClaim binds a claim, and grows one that asks for more.
func (k *Kubelet) bindClaim(ctx context.Context, claim *corev1.PersistentVolumeClaim) error {
	asked := claim.Spec.Resources.Requests[corev1.ResourceStorage]
	has := claim.Status.Capacity[corev1.ResourceStorage]
	if claim.Status.Phase == corev1.ClaimBound && has.Cmp(asked) == 0 {
		return nil
	}
	next := claim.DeepCopy()
	next.Status.Phase = corev1.ClaimBound
	next.Status.AccessModes = claim.Spec.AccessModes
	next.Status.Capacity = corev1.ResourceList{corev1.ResourceStorage: asked}
	err := k.cfg.Client.Status().Update(ctx, next)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil // the next look sees why
	}
	return err
}

// Discard ends a namespace: its processes are abandoned and its disks removed. No pod of it is run any more.
func (k *Kubelet) Discard(namespace string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.gone[namespace] = true
}

func (k *Kubelet) isGone(namespace string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.gone[namespace]
}

// Cut takes a pod off the network, or puts it back.
func (k *Kubelet) Cut(pod types.NamespacedName, cut bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cut[pod] = cut
}

func (k *Kubelet) isCut(pod types.NamespacedName) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.cut[pod]
}

type slowness struct {
	by    time.Duration
	since time.Time
}

// Slow delays what a pod reads of others' answers; 0: no more.
func (k *Kubelet) Slow(pod types.NamespacedName, by time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if by == 0 {
		delete(k.slow, pod)
		return
	}
	k.slow[pod] = slowness{by: by, since: time.Now()}
}

func (k *Kubelet) delay(pod types.NamespacedName) time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.slow[pod].by
}

// Processes are the kraftds that run in a namespace, by name.
func (k *Kubelet) Processes(namespace string) []Process {
	k.mu.Lock()
	defer k.mu.Unlock()
	var out []Process
	for _, p := range k.pods {
		if p.key.Namespace == namespace && p.process != nil {
			process := *p.process
			process.Slow = k.slow[p.key].since
			out = append(out, process)
		}
	}
	slices.SortFunc(out, func(a, b Process) int {
		if a.Pod < b.Pod {
			return -1
		}
		return 1
	})
	return out
}

// Starts is how often the kraftd of each pod name of a namespace was started since the last call of ForgetStarts.
func (k *Kubelet) Starts(namespace string) map[string]int {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := map[string]int{}
	for pod, n := range k.starts {
		if pod.Namespace == namespace {
			out[pod.Name] = n
		}
	}
	return out
}

// ForgetStarts begins to count anew.
func (k *Kubelet) ForgetStarts(namespace string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	maps.DeleteFunc(k.starts, func(pod types.NamespacedName, _ int) bool { return pod.Namespace == namespace })
}

// Identity is what stands on a claim's disk; false while it isn't formatted.
func (k *Kubelet) Identity(claim types.UID) (storage.MetaProperties, bool) {
	m, err := storage.ReadMetaProperties(storage.OS(), k.LogDir(claim))
	return m, err == nil
}

// LogDir is where the kraftd of a claim keeps its logs.
func (k *Kubelet) LogDir(claim types.UID) string { return filepath.Join(k.disk(claim), "data") }

func (k *Kubelet) disk(claim types.UID) string {
	return filepath.Join(k.cfg.Dir, "disks", string(claim))
}

func (k *Kubelet) mounts(pod types.UID) string {
	return filepath.Join(k.cfg.Dir, "mounts", string(pod))
}

// remove takes a folder away whose process has ended.
func (k *Kubelet) remove(dir string) {
	if err := os.RemoveAll(dir); err != nil {
		k.complain(err)
	}
}
