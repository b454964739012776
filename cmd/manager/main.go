// Command manager is the operator: it reconciles KRaftClusters.
package main

import (
	"context"
	"crypto/rand"
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
	"github.com/kraft-dev/kraft-operator/controllers"
	"github.com/kraft-dev/kraft-operator/internal/admin"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

var version = "dev" // set by the linker

type options struct {
	metricsAddr, probeAddr string
	leaderElect            bool
	watchNamespaces        string
	nodeImage              string
	workers, atOnce        int
	qps                    float64
}

func main() {
	var o options
	flag.StringVar(&o.metricsAddr, "metrics-bind-address", ":8080", "where /metrics is served; 0 turns it off")
	flag.StringVar(&o.probeAddr, "health-probe-bind-address", ":8081", "where /livez and /readyz are served")
	flag.BoolVar(&o.leaderElect, "leader-elect", false, "let one of several managers work at a time")
	flag.StringVar(&o.watchNamespaces, "watch-namespaces", "", "comma-separated namespaces to look after; empty: all")
	flag.StringVar(&o.nodeImage, "node-image", os.Getenv("KRAFT_NODE_IMAGE"), "image of nodes whose spec.image is unset; empty: the manager's own")
	flag.IntVar(&o.workers, "workers", 32, "clusters reconciled at once")
	flag.IntVar(&o.atOnce, "rolls-at-once", controllers.AtOnce, "clusters that a new manager or node image rolls at once")
	flag.Float64Var(&o.qps, "kube-api-qps", 100, "requests a second to the Kubernetes API")
	showVersion := flag.Bool("version", false, "print the version and exit")
	zapOptions := zap.Options{}
	zapOptions.BindFlags(flag.CommandLine)
	flag.Parse()
	if *showVersion {
		fmt.Println(version)
		return
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent) // while the cache is filled the heap grows faster than collections looks at it
	}
	ctrl.SetLogger(zap.New(zap.UseFlagOptions(&zapOptions)))
	if err := run(ctrl.SetupSignalHandler(), o); err != nil {
		ctrl.Log.Error(err, "Stopping")
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			return err
		}
	}
	cfg, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("finding the Kubernetes API: %w", err)
	}
	cfg.QPS, cfg.Burst = float32(o.qps), int(2*o.qps)
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{
		Scheme:                        scheme,
		Cache:                         cacheOptions(o.watchNamespaces),
		Metrics:                       metricsserver.Options{BindAddress: o.metricsAddr},
		HealthProbeBindAddress:        o.probeAddr,
		LivenessEndpointName:          "/livez",
		ReadinessEndpointName:         "/readyz",
		LeaderElection:                o.leaderElect,
		LeaderElectionID:              "kraft-operator.kraft.dev",
		LeaderElectionReleaseOnCancel: true,
	})
	if err != nil {
		return err
	}
	if o.nodeImage == "" {
		if o.nodeImage, err = ownImage(ctx, mgr.GetAPIReader()); err != nil {
			return fmt.Errorf("finding the image for the nodes: %w; set --node-image", err)
		}
	}
	r := &controllers.Reconciler{
		Client: mgr.GetClient(), Live: mgr.GetAPIReader(), Admin: admin.Client{},
		Recorder: mgr.GetEventRecorder("kraft-operator"), Metrics: controllers.NewMetrics(metrics.Registry),
		NodeImage: o.nodeImage, Version: version, AtOnce: o.atOnce, OperatorNamespace: os.Getenv("POD_NAMESPACE"), Workers: o.workers,
		Now: time.Now, NewID: newID,
	}
	if err := r.SetupWithManager(mgr); err != nil {
		return err
	}
	if err := mgr.AddHealthzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	if err := mgr.AddReadyzCheck("ping", healthz.Ping); err != nil {
		return err
	}
	if os.Getenv("GOGC") == "" {
		if err := mgr.Add(collections{}); err != nil {
			return err
		}
	}
	ctrl.Log.Info("Starting", "version", version, "nodeImage", o.nodeImage, "watchNamespaces", o.watchNamespaces)
	return mgr.Start(ctx)
}

func newID() (string, error) {
	id, err := uuid.New(rand.Reader)
	return id.String(), err
}

// cacheOptions keep only what belongs to a KRaftCluster, of the namespaces that are looked after.
func cacheOptions(namespaces string) cache.Options {
	exists, err := labels.Parse("kraft.dev/cluster")
	if err != nil {
		panic(err) // a constant
	}
	ours := cache.ByObject{Label: exists}
	pods := cache.ByObject{Label: exists, Transform: slimPod}
	o := cache.Options{
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Pod{}: pods, &corev1.PersistentVolumeClaim{}: ours, &corev1.Service{}: ours, &corev1.ConfigMap{}: ours,
			&corev1.ServiceAccount{}: ours, &appsv1.StatefulSet{}: ours, &appsv1.ControllerRevision{}: ours,
			&policyv1.PodDisruptionBudget{}: ours, &networkingv1.NetworkPolicy{}: ours,
		},
		DefaultTransform: cache.TransformStripManagedFields(),
	}
	for name := range strings.SplitSeq(namespaces, ",") {
		if name = strings.TrimSpace(name); name != "" {
			if o.DefaultNamespaces == nil {
				o.DefaultNamespaces = map[string]cache.Config{}
			}
			o.DefaultNamespaces[name] = cache.Config{}
		}
	}
	return o
}

// slimPod drops what the operator never asks of a pod: its StatefulSet has the rest. What is decided before a pod is taken
// down is read without the cache.
func slimPod(obj any) (any, error) {
	if pod, ok := obj.(*corev1.Pod); ok {
		pod.ManagedFields = nil
		pod.Spec = corev1.PodSpec{NodeName: pod.Spec.NodeName, Volumes: pod.Spec.Volumes}
	}
	return obj, nil
}

// ownImage reads the image of this very pod: however it was set, nodes follow it.
func ownImage(ctx context.Context, api client.Reader) (string, error) {
	key := types.NamespacedName{Namespace: os.Getenv("POD_NAMESPACE"), Name: os.Getenv("POD_NAME")}
	if key.Name == "" || key.Namespace == "" {
		return "", fmt.Errorf("POD_NAME and POD_NAMESPACE are not set")
	}
	var pod corev1.Pod
	if err := api.Get(ctx, key, &pod); err != nil {
		return "", fmt.Errorf("pod %s: %w", key, err)
	}
	for _, c := range pod.Spec.Containers {
		if c.Name == "manager" {
			return c.Image, nil
		}
	}
	return "", fmt.Errorf("pod %s has no container manager", key)
}
