//go:build e2e && linux

package main

import (
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// hostSnapshot is what of the host a cluster could leave behind or change, by kind.
func hostSnapshot(t *testing.T) map[string][]string {
	t.Helper()
	text := func(name string, args ...string) []string {
		out, err := run(t.Context(), "", name, args...)
		require.NoError(t, err)
		return lines(out)
	}
	file := func(path string) []string {
		data, err := os.ReadFile(path)
		require.NoError(t, err)
		return lines(string(data))
	}
	snapshot := map[string][]string{
		"links":     text("ip", "-br", "link"),
		"addresses": text("ip", "-br", "addr"),
		"routes":    text("ip", "route", "show", "table", "all"),
		"rules":     text("nft", "list", "ruleset"),
		"netns":     text("ip", "netns", "list"),
		"mounts":    file("/proc/self/mounts"),
		"listening": listening(t),
	}
	for key := range hostTunables {
		snapshot["sysctl "+key] = file("/proc/sys/" + key)
	}
	for _, key := range []string{"net/ipv4/ip_forward", "net/ipv4/conf/all/rp_filter", "net/ipv4/conf/all/route_localnet"} {
		snapshot["sysctl "+key] = file("/proc/sys/" + key)
	}
	for _, pattern := range []string{"/opt/cni/bin/*", "/etc/cni/net.d/*", "/var/lib/kubelet", "/var/lib/cni", "/var/log/pods", "/var/log/containers",
		"/run/containerd/*", "/run/netns/*", "/usr/libexec/kubernetes", stateRoot + "/trial-*", stateRoot + "/.trial-*"} {
		found, err := filepath.Glob(pattern)
		require.NoError(t, err)
		snapshot[pattern] = found
	}
	hierarchies, err := hostHierarchies()
	require.NoError(t, err)
	for _, h := range hierarchies {
		found, err := filepath.Glob(filepath.Join(h, cgroupRootName, "trial-*"))
		require.NoError(t, err)
		snapshot["cgroups "+h] = found
	}
	snapshot["processes"] = processesOf(t, "trial-")
	return snapshot
}

// lines without those that differ from one moment to the next, or belong to another cluster.
func lines(text string) []string {
	var kept []string
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if line != "" {
			kept = append(kept, line)
		}
	}
	sort.Strings(kept)
	return kept
}

// listening is the host's listening TCP ports that aren't for passing programs.
func listening(t *testing.T) []string {
	t.Helper()
	data, err := os.ReadFile("/proc/net/tcp")
	require.NoError(t, err)
	var found []string
	for line := range strings.Lines(string(data)) {
		f := strings.Fields(line)
		if len(f) > 3 && f[3] == "0A" {
			for _, port := range []string{":1A0B", ":2829", ":280A", ":094B", ":2810"} { // 6443 10281 10250 2379 10256
				if strings.HasSuffix(f[1], port) {
					found = append(found, f[1])
				}
			}
		}
	}
	return found
}

// processesOf lists processes whose command line or working files are of clusters with this prefix.
func processesOf(t *testing.T, prefix string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	var found []string
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err == nil && strings.Contains(string(data), stateRoot+"/"+prefix) {
			found = append(found, strings.ReplaceAll(string(data), "\x00", " "))
		}
	}
	return found
}
