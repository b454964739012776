//go:build linux

package main

import (
	"fmt"
	"path/filepath"
)

// nodePath is where the host finds a path of a node: a node's /var is a folder of its own.
func (c *Cluster) nodePath(n int, elem ...string) string {
	return c.path(append([]string{"nodes", nodeName(n)}, elem...)...)
}

// Places in a node, as the node sees them.
const (
	nodeConfig     = "/var/lib/localkube" // certificates, configuration, and the mounts of what the host shares
	nodeSelf       = nodeConfig + "/bin/localkube"
	nodePrograms   = nodeConfig + "/programs"
	nodePlugins    = nodeConfig + "/volumeplugins"
	runtimeSocket  = "/run/containerd/containerd.sock"
	cgroupRootName = "localkube"
)

// cgroup is the parent of all cgroups of a node's pods.
func (c *Cluster) cgroup(n int) string {
	return filepath.Join("/", cgroupRootName, c.Name, nodeName(n))
}

// hostTunables are settings of the whole host that a kubelet would change (k8s.io/kubernetes
// pkg/kubelet/cm, setupKernelTunables). In a node, files with the wanted values stand in front of them.
var hostTunables = map[string]string{
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/keys/root_maxbytes": "25000000",
}

// nodeMachine describes a node: containerd, kubelet and kube-proxy over folders that only it sees. What a power cut
// loses on a real node (/run, /tmp, mounts, links) is lost here too when it stops; /var stays.
func (c *Cluster) nodeMachine(n int, snapshotter string) MachineSpec {
	v := func(path string) string { return c.nodePath(n, path) }
	mounts := []Mount{
		{Type: "bind", Source: c.path("movable"), Target: v(movableFolder)},
		{Type: "bind", Source: c.path("bin"), Target: v(filepath.Dir(nodeSelf))},
		{Type: "bind", Source: c.BinDir, Target: v(nodePrograms)},
		{Type: "bind", Source: v("var"), Target: "/var"},
		{Type: "tmpfs", Source: "tmpfs", Target: "/run", Data: "mode=0755"},
		{Type: "tmpfs", Source: "tmpfs", Target: "/tmp", Data: "mode=1777"},
		{Type: "proc", Source: "proc", Target: "/proc"},
	}
	for key, value := range hostTunables {
		mounts = append(mounts, Mount{Type: "mask", Source: value + "\n", Target: "/proc/sys/" + key})
	}
	process := func(name string, after []string, args ...string) ProcessSpec {
		return ProcessSpec{Name: name, Args: args, After: after, CA: nodeConfig + "/ca.crt", Log: c.path("log", nodeName(n)+"-"+name+".log")}
	}
	apiReady := c.apiURL() + "/readyz"
	return MachineSpec{
		Hostname: nodeName(n),
		Mounts:   mounts,
		Sysctls:  map[string]string{"net/ipv4/ip_forward": "1"},
		Files: map[string]string{
			nodeConfig + "/containerd.toml":        c.containerdConfig(n, snapshotter),
			nodeConfig + "/kubelet.yaml":           c.kubeletConfig(n),
			nodeConfig + "/kube-proxy.yaml":        c.proxyConfig(n),
			nodeConfig + "/cni/10-bridge.conflist": c.cniConfig(n),
			// For CoreDNS and pods on the host's network; the host's own servers can't be reached from here.
			nodeConfig + "/resolv.conf": "nameserver " + c.serviceDNS() + "\n",
		},
		Processes: []ProcessSpec{
			process("containerd", nil, "/usr/bin/containerd", "--config", nodeConfig+"/containerd.toml"),
			process("kubelet", []string{runtimeSocket, apiReady}, nodePrograms+"/kubelet",
				"--config="+nodeConfig+"/kubelet.yaml", "--kubeconfig="+nodeConfig+"/kubelet.kubeconfig",
				"--hostname-override="+nodeName(n), "--node-ip="+c.nodeAddr(n),
				"--node-labels=topology.kubernetes.io/region=local,topology.kubernetes.io/zone="+nodeZone(n)),
			process("kube-proxy", []string{apiReady}, nodePrograms+"/kube-proxy", "--config="+nodeConfig+"/kube-proxy.yaml"),
		},
	}
}

func (c *Cluster) containerdConfig(n int, snapshotter string) string {
	return fmt.Sprintf(`version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]

[grpc]
  address = %[1]q

[plugins."io.containerd.grpc.v1.cri"]
  # Where CAP_SYS_RESOURCE is missing, lowering a score makes runc fail.
  restrict_oom_score_adj = true
  sandbox_image = %[2]q
  disable_tcp_service = true
  stream_server_address = %[3]q

[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = %[4]q

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = %[5]q
`, runtimeSocket, pauseImage, c.nodeAddr(n), snapshotter, nodeConfig+"/cni")
}

func (c *Cluster) cniConfig(n int) string {
	return fmt.Sprintf(`{"cniVersion": "0.4.0", "name": "localkube", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "ranges": [[{"subnet": %q}]], "routes": [{"dst": "0.0.0.0/0"}]}}
]}
`, c.nodePods(n))
}

// kubeletConfig: the kubelet answers only the API server and whom RBAC allows, and reports often, so that a lost node
// is seen after nodeGrace.
func (c *Cluster) kubeletConfig(n int) string {
	return fmt.Sprintf(`apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: %[1]s
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true, cacheTTL: 2s}
  x509: {clientCAFile: %[2]s/ca.crt}
authorization: {mode: Webhook}
tlsCertFile: %[2]s/kubelet.crt
tlsPrivateKeyFile: %[2]s/kubelet.key
failSwapOn: false
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: %[3]s
cgroupsPerQOS: true
enforceNodeAllocatable: []
containerRuntimeEndpoint: unix://%[4]s
volumePluginDir: %[5]s
clusterDNS: [%[6]s]
clusterDomain: %[7]s
resolvConf: %[2]s/resolv.conf
nodeStatusUpdateFrequency: 2s
nodeStatusReportFrequency: 10s
nodeLeaseDurationSeconds: 8
syncFrequency: 10s
registryPullQPS: 0
kubeAPIQPS: 100
kubeAPIBurst: 200
serializeImagePulls: false
evictionHard: {nodefs.available: "1%%", imagefs.available: "1%%", nodefs.inodesFree: "1%%", imagefs.inodesFree: "1%%", memory.available: 50Mi}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
`, c.nodeAddr(n), nodeConfig, c.cgroup(n), runtimeSocket, nodePlugins, c.serviceDNS(), c.Domain)
}

func (c *Cluster) proxyConfig(n int) string {
	return fmt.Sprintf(`apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: nftables
clusterCIDR: %[1]s
hostnameOverride: %[2]s
# 0: the table's size is a setting of the whole host, which stays as it is.
conntrack: {maxPerCore: 0, min: 0}
healthzBindAddress: %[3]s:10256
metricsBindAddress: 127.0.0.1:10249
clientConnection: {kubeconfig: %[4]s/kube-proxy.kubeconfig}
`, c.podCIDR(), nodeName(n), c.nodeAddr(n), nodeConfig)
}
