// Package envtest runs the API and the operator against a real kube-apiserver and etcd (KUBEBUILDER_ASSETS).
// There is no kubelet and no controller manager: a test plays them.
package envtest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
)

var (
	scheme  = runtime.NewScheme()
	cfg     *rest.Config
	kube    client.Client // straight to the apiserver, no cache
	crdPath = filepath.Join("..", "..", "config", "crd", "bases")
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		fmt.Fprintln(os.Stderr, "KUBEBUILDER_ASSETS is not set: it names a directory with kube-apiserver and etcd; `make test` builds them and sets it")
		return 1
	}
	ctrl.SetLogger(logr.Discard()) // each world logs to its own test
	must(clientgoscheme.AddToScheme(scheme))
	must(v1alpha1.AddToScheme(scheme))
	env := &envtest.Environment{
		CRDDirectoryPaths:     []string{crdPath},
		ErrorIfCRDPathMissing: true,
	}
	env.ControlPlane.GetAPIServer().Configure().Set("service-cluster-ip-range", "10.0.0.0/16") // a /24 is full before the end
	var err error
	if cfg, err = env.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "starting the apiserver:", err)
		stop(env)
		return 1
	}
	defer stop(env)
	cfg.QPS = -1 // no limit: several worlds share the client
	kube, err = client.New(cfg, client.Options{Scheme: scheme})
	must(err)
	return m.Run()
}

// stop ends what Start started, also where it started but half of it.
func stop(env *envtest.Environment) {
	if err := env.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stopping the apiserver:", err)
	}
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}
