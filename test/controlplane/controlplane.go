// Package controlplane runs a kube-apiserver and etcd that know this project's kinds, and a kube-controller-manager where it
// is asked for. The programs are those of the folder that KUBEBUILDER_ASSETS names.
package controlplane

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	kruntime "k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
)

const assetsVariable = "KUBEBUILDER_ASSETS"

// patience is how long is waited for etcd or the API server to start or to stop, and for the kinds to be served.
const patience = 3 * time.Minute

// controllers are those of the kube-controller-manager that a KRaftCluster rests on. Claims are bound and endpoints followed
// by whoever plays the kubelet: real endpoint controllers refuse loopback addresses.
var controllers = []string{
	"garbage-collector-controller", "statefulset-controller", "disruption-controller", "namespace-controller",
	"persistentvolumeclaim-protection-controller", "persistentvolume-protection-controller",
}

// ControlPlane is a control plane that runs.
type ControlPlane struct {
	Config *rest.Config // of an administrator, without a limit of requests
	Scheme *kruntime.Scheme

	env     *envtest.Environment
	manager *exec.Cmd
}

// Start starts the API server and etcd. Stop must be called also after an error.
func Start() (*ControlPlane, error) {
	p := &ControlPlane{Scheme: kruntime.NewScheme()}
	if os.Getenv(assetsVariable) == "" {
		return p, fmt.Errorf("%s is not set: it names a folder with kube-apiserver and etcd; `make test` builds them and sets it", assetsVariable)
	}
	if err := errors.Join(clientgoscheme.AddToScheme(p.Scheme), v1alpha1.AddToScheme(p.Scheme)); err != nil {
		return p, err
	}
	p.env = &envtest.Environment{
		CRDDirectoryPaths: []string{CRDs()}, ErrorIfCRDPathMissing: true,
		ControlPlaneStartTimeout: patience, ControlPlaneStopTimeout: patience, // 20 s are too few beside other packages' tests
	}
	p.env.CRDInstallOptions.MaxTime = patience
	p.env.ControlPlane.GetAPIServer().Configure().Set("service-cluster-ip-range", "10.0.0.0/16") // a /24 is full before the end
	var err error
	if p.Config, err = p.env.Start(); err != nil {
		return p, fmt.Errorf("starting the API server: %w", err)
	}
	p.Config.QPS = -1 // several worlds share it
	return p, nil
}

// CRDs is the folder of the kinds' definitions, wherever the test runs.
func CRDs() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..", "config", "crd", "bases")
}

// StartControllerManager starts a kube-controller-manager with the controllers above. It writes its log into the folder.
func (p *ControlPlane) StartControllerManager(dir string) error {
	user, err := p.env.AddUser(envtest.User{Name: "kube-controller-manager", Groups: []string{"system:masters"}}, p.Config)
	if err != nil {
		return fmt.Errorf("kube-controller-manager's user: %w", err)
	}
	kubeconfig, err := user.KubeConfig()
	if err != nil {
		return fmt.Errorf("kube-controller-manager's kubeconfig: %w", err)
	}
	file := filepath.Join(dir, "kube-controller-manager.kubeconfig")
	if err := os.WriteFile(file, kubeconfig, 0o600); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(dir, "kube-controller-manager.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	p.manager = exec.Command(filepath.Join(os.Getenv(assetsVariable), "kube-controller-manager"),
		"--kubeconfig="+file, "--controllers="+strings.Join(controllers, ","), "--leader-elect=false", "--secure-port=0",
		"--kube-api-qps=1000", "--kube-api-burst=2000", "--concurrent-statefulset-syncs=20")
	p.manager.Stdout, p.manager.Stderr = log, log
	p.manager.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.manager.Start(); err != nil {
		p.manager = nil
		return fmt.Errorf("starting kube-controller-manager: %w", err)
	}
	return nil
}

// Stop ends what was started, also where it started but half of it.
func (p *ControlPlane) Stop() error {
	if p.manager != nil {
		_ = p.manager.Process.Kill()
		_ = p.manager.Wait() // it was killed
	}
	if p.env == nil {
		return nil
	}
	return p.env.Stop()
}
