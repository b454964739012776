// Package envtest runs the API and the operator against a real kube-apiserver and etcd (KUBEBUILDER_ASSETS).
// There is no kubelet and no controller manager: a test plays them.
package envtest

import (
	"fmt"
	"os"
	"testing"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kraft-dev/kraft-operator/test/controlplane"
)

var (
	scheme *runtime.Scheme
	cfg    *rest.Config
	kube   client.Client // straight to the apiserver, no cache
)

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctrl.SetLogger(logr.Discard()) // each world logs to its own test
	plane, err := controlplane.Start()
	defer func() {
		if err := plane.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stopping the apiserver:", err)
		}
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	scheme, cfg = plane.Scheme, plane.Config
	if kube, err = client.New(cfg, client.Options{Scheme: scheme}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}
