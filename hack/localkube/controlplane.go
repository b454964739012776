//go:build linux

package main

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	controlPlane      = "control-plane" // the machine's name in the record
	kubeletClientUser = "kube-apiserver-kubelet-client"
	frontProxyUser    = "front-proxy-client"
	pauseImage        = "kraft.local/localkube/pause:1"
	corednsImage      = "kraft.local/localkube/coredns:1"

	// nodeGrace is how long a node may be silent before it is NotReady; kubelets report every 2 s.
	nodeGrace = 8 * time.Second
)

//go:embed manifests/cluster.yaml
var clusterManifest string

//go:embed manifests/audit.yaml
var auditPolicy string

// fill puts a cluster's values into a manifest.
func (c *Cluster) fill(manifest string) string {
	return strings.NewReplacer(
		"@KUBELET_CLIENT@", kubeletClientUser, "@PROVISIONER_USER@", provisionerUser, "@PROVISIONER@", provisionerName,
		"@DOMAIN@", c.Domain, "@DNS@", c.serviceDNS(), "@COREDNS_IMAGE@", corednsImage,
	).Replace(manifest)
}

// controlPlaneMachine describes the machine that runs etcd, the API server and the controllers. Its address is on the
// cluster's own bridge, and its loopback is its own, so that nothing of it listens on the host.
func (c *Cluster) controlPlaneMachine() MachineSpec {
	const etcd = "http://127.0.0.1:2379"
	pki := func(name string) string { return c.path("pki", name) }
	apiReady := []string{c.apiURL() + "/readyz"}
	process := func(name string, after []string, args ...string) ProcessSpec {
		return ProcessSpec{
			Name: name, Args: append([]string{c.bin(name)}, args...), After: after, CA: pki("ca.crt"),
			Log: c.path("log", name+".log"),
		}
	}
	provision := process(provisionerCommand, apiReady)
	provision.Args = []string{c.self(), provisionerCommand, c.Name}
	return MachineSpec{
		Hostname: c.Name + "-" + controlPlane,
		Mounts:   []Mount{{Type: "proc", Source: "proc", Target: "/proc"}},
		Sysctls:  map[string]string{"net/ipv4/ip_forward": "1"},
		Processes: []ProcessSpec{
			// No fsync: the cluster is thrown away when its machine dies.
			process("etcd", nil, "--name=etcd", "--data-dir="+c.path("etcd"), "--unsafe-no-fsync",
				"--listen-client-urls="+etcd, "--advertise-client-urls="+etcd, "--listen-peer-urls=http://127.0.0.1:2380",
				"--initial-advertise-peer-urls=http://127.0.0.1:2380", "--initial-cluster=etcd=http://127.0.0.1:2380", "--log-level=warn"),
			// A refused connection to etcd would make it wait a second.
			process("kube-apiserver", []string{etcd + "/health"},
				"--etcd-servers="+etcd, "--bind-address="+c.apiAddr(), "--advertise-address="+c.apiAddr(), "--secure-port=6443",
				"--tls-cert-file="+pki("apiserver.crt"), "--tls-private-key-file="+pki("apiserver.key"), "--client-ca-file="+pki("ca.crt"),
				"--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction", "--allow-privileged=true",
				"--service-cluster-ip-range="+c.serviceCIDR(),
				"--service-account-issuer=https://kubernetes.default.svc",
				"--service-account-key-file="+pki("service-accounts.key"), "--service-account-signing-key-file="+pki("service-accounts.key"),
				"--kubelet-client-certificate="+pki("apiserver-kubelet-client.crt"), "--kubelet-client-key="+pki("apiserver-kubelet-client.key"),
				"--kubelet-certificate-authority="+pki("ca.crt"), "--kubelet-preferred-address-types=InternalIP",
				"--requestheader-client-ca-file="+pki("front-proxy-ca.crt"), "--requestheader-allowed-names="+frontProxyUser,
				"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
				"--requestheader-extra-headers-prefix=X-Remote-Extra-",
				"--proxy-client-cert-file="+pki("front-proxy-client.crt"), "--proxy-client-key-file="+pki("front-proxy-client.key"),
				// No kube-proxy runs beside the API server: it reaches webhooks by their pods, not by the Service's address.
				"--enable-aggregator-routing=true",
				"--audit-policy-file="+c.path("audit-policy.yaml"), "--audit-log-path="+c.auditLog(),
				"--audit-log-maxsize=200", "--audit-log-maxbackup=2"),
			process("kube-controller-manager", apiReady,
				"--kubeconfig="+pki("controller-manager.kubeconfig"), "--authentication-kubeconfig="+pki("controller-manager.kubeconfig"),
				"--authorization-kubeconfig="+pki("controller-manager.kubeconfig"), "--bind-address=127.0.0.1",
				"--service-account-private-key-file="+pki("service-accounts.key"), "--root-ca-file="+pki("ca.crt"),
				"--cluster-signing-cert-file="+pki("ca.crt"), "--cluster-signing-key-file="+pki("ca.key"),
				"--use-service-account-credentials=true", "--kube-api-qps=200", "--kube-api-burst=400", "--leader-elect=false", "--allocate-node-cidrs=false",
				"--node-monitor-period=1s", "--node-monitor-grace-period="+nodeGrace.String(),
				"--flex-volume-plugin-dir="+c.path("volumeplugins")),
			process("kube-scheduler", apiReady,
				"--kubeconfig="+pki("scheduler.kubeconfig"), "--authentication-kubeconfig="+pki("scheduler.kubeconfig"),
				"--authorization-kubeconfig="+pki("scheduler.kubeconfig"), "--bind-address=127.0.0.1", "--kube-api-qps=200", "--kube-api-burst=400", "--leader-elect=false"),
			provision,
		},
	}
}

func (c *Cluster) auditLog() string { return c.path("log", "audit.log") }

// self is this program's copy in the cluster's folder: it must be there as long as the cluster, and a binary that
// `go run` made isn't.
func (c *Cluster) self() string { return c.path("bin", "localkube") }

// driverScript is the FlexVolume driver that the controller manager and the kubelets call.
func driverScript(self, folder, node string) string {
	return fmt.Sprintf("#!/bin/sh\nexec %s %s %s '%s' \"$@\"\n", self, movableCommand, folder, node)
}

// installDriver puts the driver under a plugin folder, by the name that the kubelet looks for.
func installDriver(pluginDir, script string) error {
	dir := filepath.Join(pluginDir, strings.Replace(movableDriver, "/", "~", 1))
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making the volume driver's folder: %w", err)
	}
	file := filepath.Join(dir, filepath.Base(movableDriver))
	if err := os.WriteFile(file, []byte(script), 0o755); err != nil {
		return fmt.Errorf("writing the volume driver: %w", err)
	}
	return nil
}

// launch writes a machine's description, starts its first process and records it at once, so that a run that dies
// later leaves nothing unknown. connect runs before the machine's programs do.
func (c *Cluster) launch(name string, spec MachineSpec, connect func(Process) error) error {
	data, err := json.MarshalIndent(spec, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the description of %s: %w", name, err)
	}
	w := &fileWriter{}
	file := c.path("machines", name+".json")
	w.write(file, data)
	if w.err != nil {
		return w.err
	}
	p, release, err := startMachine(name, c.self(), file, c.path("log", name+".log"))
	if err != nil {
		return err
	}
	if err := c.record(p); err != nil {
		return err
	}
	if err := connect(p); err != nil {
		return err
	}
	return release()
}

// kubectl runs the cluster's own kubectl as its administrator.
func (c *Cluster) kubectl(ctx context.Context, stdin string, args ...string) (string, error) {
	return run(ctx, stdin, c.bin("kubectl"), append([]string{"--kubeconfig", c.kubeconfig()}, args...)...)
}
