// Command operatorbench measures the operator with 100 clusters of 6 nodes: the memory of its process, and the time from an
// edit to its first write, also while a fifth of the clusters doesn't answer. The apiserver and etcd are real (KUBEBUILDER_ASSETS), the nodes are modelled: make bench-operator.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/wait"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
)

// The load, and what it may cost.
const (
	clusters  = 100
	brokers   = 3  // and 3 controllers, a cluster
	silent    = 20 // of the clusters, in the end
	namespace = "bench"

	goalRSS   = 80.0   // MiB
	goalReact = 2000.0 // ms
)

func main() {
	binary := flag.String("manager", "bin/manager", "the operator")
	crds := flag.String("crds", "config/crd/bases", "folder of the CRDs")
	settle := flag.Duration("settle", 30*time.Second, "how long all has to be quiet before memory is read")
	flag.Parse()
	ctrl.SetLogger(logr.Discard())
	if err := bench(context.Background(), *binary, *crds, *settle); err != nil { // a goal that is missed is said, and is no failure
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func bench(ctx context.Context, binary, crds string, settle time.Duration) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	k, kubeconfig, stop, err := kubernetesAt(crds)
	if err != nil {
		return err
	}
	defer stop()
	if err := k.nodes.listen(ctx); err != nil {
		return err
	}
	played := make(chan error, 1)
	go func() { played <- k.run(ctx) }()
	log, err := os.Create(filepath.Join(filepath.Dir(kubeconfig), "manager.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	m, err := startManager(ctx, binary, kubeconfig, log)
	if err != nil {
		return err
	}
	defer func() { cancel(); _ = m.cmd.Wait() }() // it was told to stop
	for i := range clusters {
		if err := k.Create(ctx, cluster(i)); err != nil {
			return err
		}
	}
	start := time.Now()
	if err := k.allReady(ctx, played); err != nil {
		return fmt.Errorf("%w; the operator's log is %s", err, log.Name())
	}
	fmt.Printf("%d clusters of %d nodes are Ready after %s\n", clusters, 3+brokers, time.Since(start).Round(time.Second))
	if err := wait.PollUntilContextTimeout(ctx, settle, 2*settle, false, func(context.Context) (bool, error) { return true, nil }); err != nil {
		return err
	}
	took, err := k.reactions(ctx, 0, 2)
	if err != nil {
		return err
	}
	now, _, err := m.memory()
	if err != nil {
		return err
	}
	k.nodes.silence(ctx, silent)
	if err := k.unready(ctx, silent); err != nil {
		return err
	}
	beside, err := k.reactions(ctx, silent, 3)
	if err != nil {
		return err
	}
	end, most, err := m.memory()
	if err != nil {
		return err
	}
	fmt.Printf("operator: %.0f MiB in the end, %.0f at most; %d edits one by one: median %s\n", end, most, len(took), took[len(took)/2].Round(time.Millisecond))
	line("operator_rss_mib", now, goalRSS)
	line("react_max_ms", float64(took[len(took)-1].Milliseconds()), goalReact)
	line("react_max_beside_silent_ms", float64(beside[len(beside)-1].Milliseconds()), goalReact)
	return nil
}

func line(what string, ours, goal float64) {
	verdict := "PASS"
	if ours > goal {
		verdict = "FAIL"
	}
	fmt.Printf("BENCH %s ours=%.0f goal=%.0f %s\n", what, ours, goal, verdict)
}

// kubernetesAt starts an apiserver and etcd, and gives a client and a kubeconfig for them.
func kubernetesAt(crds string) (*kubernetes, string, func(), error) {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		return nil, "", nil, err
	}
	env := &envtest.Environment{CRDDirectoryPaths: []string{crds}, ErrorIfCRDPathMissing: true}
	env.ControlPlane.GetAPIServer().Configure().Set("service-cluster-ip-range", "10.0.0.0/16")
	cfg, err := env.Start()
	if err != nil {
		return nil, "", nil, errors.Join(err, env.Stop())
	}
	dir, err := os.MkdirTemp("", "operatorbench")
	if err != nil {
		return nil, "", nil, errors.Join(err, env.Stop())
	}
	stop := func() {
		if err := env.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stopping the apiserver:", err)
		}
		_ = os.RemoveAll(dir)
	}
	path := filepath.Join(dir, "kubeconfig")
	cfg.QPS = -1
	c, err := client.NewWithWatch(cfg, client.Options{Scheme: scheme})
	if err == nil {
		err = c.Create(context.Background(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
	}
	if err == nil {
		err = os.WriteFile(path, env.KubeConfig, 0o600)
	}
	if err != nil {
		stop()
		return nil, "", nil, err
	}
	return &kubernetes{WithWatch: c, nodes: &nodes{}}, path, stop, nil
}

// allReady waits until every cluster is Ready, or whoever plays Kubernetes has failed.
func (k *kubernetes) allReady(ctx context.Context, played <-chan error) error {
	ready, example := 0, ""
	err := wait.PollUntilContextTimeout(ctx, 2*time.Second, 15*time.Minute, false, func(ctx context.Context) (bool, error) {
		select {
		case err := <-played:
			return false, err
		default:
		}
		var list v1alpha1.KRaftClusterList
		if err := k.List(ctx, &list, client.InNamespace(namespace)); err != nil {
			return false, err
		}
		ready = 0
		for _, c := range list.Items {
			if meta.IsStatusConditionTrue(c.Status.Conditions, v1alpha1.ConditionReady) {
				ready++
			} else if is := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionReady); is != nil {
				example = c.Name + ": " + is.Message
			}
		}
		return ready == clusters, nil
	})
	if err != nil {
		return fmt.Errorf("%d of %d clusters are Ready (%s): %w", ready, clusters, example, err)
	}
	return nil
}

// unready waits until the first n clusters aren't Ready any more: the operator asks them in vain.
func (k *kubernetes) unready(ctx context.Context, n int) error {
	return wait.PollUntilContextTimeout(ctx, time.Second, 2*time.Minute, false, func(ctx context.Context) (bool, error) {
		for i := range n {
			c := cluster(i)
			if err := k.Get(ctx, client.ObjectKeyFromObject(c), c); err != nil || meta.IsStatusConditionTrue(c.Status.Conditions, v1alpha1.ConditionReady) {
				return false, err
			}
		}
		return true, nil
	})
}

// reactions edits one cluster after the other, but for the first ones, and returns how long it took until the operator had written its
// status for it, ascending.
func (k *kubernetes) reactions(ctx context.Context, first int, maxUnavailable int32) (took []time.Duration, err error) {
	w, err := k.Watch(ctx, &v1alpha1.KRaftClusterList{}, client.InNamespace(namespace))
	if err != nil {
		return nil, err
	}
	defer w.Stop()
	for i := first; i < clusters; i++ {
		c := cluster(i)
		patch := client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"spec":{"rolling":{"maxUnavailable":%d}}}`, maxUnavailable))
		start := time.Now()
		if err := k.Patch(ctx, c, patch); err != nil {
			return nil, err
		}
		if c.Spec.Rolling.MaxUnavailable != intstr.FromInt32(maxUnavailable) {
			return nil, fmt.Errorf("%s wasn't edited", c.Name)
		}
		deadline := time.After(time.Minute)
		for seen := false; !seen; {
			select {
			case e := <-w.ResultChan():
				is, ok := e.Object.(*v1alpha1.KRaftCluster)
				seen = ok && is.Name == c.Name && is.Status.ObservedGeneration >= c.Generation
			case <-deadline:
				return nil, fmt.Errorf("%s: no write within a minute of an edit", c.Name)
			}
		}
		took = append(took, time.Since(start))
	}
	slices.Sort(took)
	return took, nil
}
