//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	yamlutil "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

func sample() *Cluster {
	return &Cluster{Name: "demo", Block: 114, Domain: "cluster.example", Nodes: 3, BinDir: "/cache/abc"}
}

func TestManifestsAreWhole(t *testing.T) {
	c := sample()
	for _, text := range []string{c.fill(clusterManifest), c.fill(auditPolicy)} {
		require.NotRegexp(t, "@[A-Z_]+@", text, "a value is missing")
		docs := yamlutil.NewYAMLOrJSONDecoder(strings.NewReader(text), 4096)
		for {
			var doc map[string]any
			err := docs.Decode(&doc)
			if errors.Is(err, io.EOF) {
				break
			}
			require.NoError(t, err)
			require.NotEmpty(t, doc["kind"])
		}
	}
	require.Contains(t, c.fill(clusterManifest), "kubernetes cluster.example in-addr.arpa")
}

func TestKubeletServesNobodyWithoutCredentials(t *testing.T) {
	var config struct {
		Address        string
		CgroupRoot     string
		ClusterDomain  string
		ClusterDNS     []string
		Authentication struct{ Anonymous, Webhook struct{ Enabled bool } }
		Authorization  struct{ Mode string }
		EvictionHard   map[string]string
	}
	require.NoError(t, yaml.Unmarshal([]byte(sample().kubeletConfig(2)), &config))
	require.Equal(t, "10.114.0.12", config.Address)
	require.Equal(t, "/localkube/demo/node-2", config.CgroupRoot)
	require.Equal(t, "cluster.example", config.ClusterDomain)
	require.Equal(t, []string{"10.114.128.10"}, config.ClusterDNS)
	require.False(t, config.Authentication.Anonymous.Enabled)
	require.True(t, config.Authentication.Webhook.Enabled)
	require.Equal(t, "Webhook", config.Authorization.Mode)
	require.Equal(t, "1%", config.EvictionHard["nodefs.available"])
}

func TestNodeMachine(t *testing.T) {
	c := sample()
	m := c.nodeMachine(2, "overlayfs")
	require.True(t, json.Valid([]byte(m.Files[nodeConfig+"/cni/10-bridge.conflist"])))
	require.Contains(t, m.Files[nodeConfig+"/cni/10-bridge.conflist"], "10.114.66.0/24")
	var proxy map[string]any
	require.NoError(t, yaml.Unmarshal([]byte(m.Files[nodeConfig+"/kube-proxy.yaml"]), &proxy))
	require.Equal(t, "10.114.64.0/18", proxy["clusterCIDR"])
	masked := map[string]bool{}
	for _, mt := range m.Mounts {
		if mt.Type == "mask" {
			masked[mt.Target] = true
		}
	}
	require.Len(t, masked, len(hostTunables))
	require.True(t, masked["/proc/sys/vm/overcommit_memory"])
	for key := range m.Sysctls {
		require.True(t, strings.HasPrefix(key, "net/"), "%s is the host's", key)
	}
	args := strings.Join(m.Processes[1].Args, " ")
	require.Contains(t, args, "topology.kubernetes.io/zone=z2")
	require.Contains(t, args, "--node-ip=10.114.0.12")
}

func TestControlPlaneListensOnTheClustersOwnAddressesOnly(t *testing.T) {
	for _, p := range sample().controlPlaneMachine().Processes {
		args := strings.Join(p.Args, " ")
		require.NotContains(t, args, "0.0.0.0", p.Name)
		require.NotContains(t, args, "token-auth", p.Name)
		if p.Name == "kube-apiserver" {
			require.Contains(t, args, "--bind-address=10.114.0.1")
			require.Contains(t, args, "--authorization-mode=Node,RBAC")
			require.Contains(t, args, "--audit-log-path=")
		}
	}
}

func TestBinaries(t *testing.T) {
	for _, b := range binaries {
		gomod, err := os.ReadFile(filepath.Join("modules", b.module, "go.mod"))
		require.NoError(t, err)
		flags, err := expandLDFlags(b, string(gomod))
		require.NoError(t, err)
		require.NotContains(t, flags, "%")
		if b.module == "kubernetes" {
			require.Regexp(t, `component-base/version\.gitVersion=v1\.\d+\.\d+ `, flags)
		}
	}
	_, err := requiredVersion("module x\n", kubernetesModule)
	require.ErrorContains(t, err, "requires no k8s.io/kubernetes")
	require.Equal(t, "etcd kube-apiserver kubectl", binaries[0].name+" "+binaries[1].name+" "+binaries[assetBinaries-1].name)

	// Another version is another folder; the same is the same.
	dir := t.TempDir()
	write := func(text string) string {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte(text), 0o600))
		h, err := versionsHash(dir)
		require.NoError(t, err)
		return h
	}
	one := write("v1")
	require.NotEqual(t, one, write("v2"))
	require.Equal(t, one, write("v1"))
}

func TestPackages(t *testing.T) {
	all := func(string) bool { return true }
	none := func(string) bool { return false }
	require.Empty(t, missingPackages(all))
	require.Equal(t, []string{"containerd", "runc", "containernetworking-plugins", "nftables", "iproute2", "util-linux", "mount"}, missingPackages(none))
	engine := func(path string) bool {
		return path != "/usr/sbin/runc" && path != "/usr/sbin/nft" && path != "/sbin/nft"
	}
	require.Equal(t, []string{"nftables"}, missingPackages(engine), "a Docker engine's own containerd and runc serve")
}

func TestImageNamesAPlatformAndAnEntrypoint(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "pause")
	require.NoError(t, os.WriteFile(program, []byte("program"), 0o600))
	var archives [2][]byte
	for i := range archives {
		require.NoError(t, writeImage(filepath.Join(dir, "image.tar"), pauseImage, program))
		data, err := os.ReadFile(filepath.Join(dir, "image.tar"))
		require.NoError(t, err)
		archives[i] = data
	}
	require.True(t, bytes.Equal(archives[0], archives[1]))
	require.Contains(t, string(archives[0]), `"os":"linux"`)
	require.Contains(t, string(archives[0]), `"Entrypoint":["/pause"]`)
}
