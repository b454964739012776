//go:build e2e && linux

package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// rig is the program under test, built, with two clusters' names.
type rig struct {
	t    *testing.T
	self string
	bin  string
}

func (r *rig) localkube(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	return run(ctx, "", r.self, args...)
}

func (r *rig) must(args ...string) string {
	r.t.Helper()
	start := time.Now()
	out, err := r.localkube(args...)
	require.NoError(r.t, err, "%s", out)
	r.t.Logf("%-28s %5.1f s  %s", strings.Join(args, " "), time.Since(start).Seconds(), strings.ReplaceAll(strings.TrimSpace(out), "\n", " | "))
	return out
}

func (r *rig) kubectl(stdin string, args ...string) string {
	r.t.Helper()
	out, err := run(r.t.Context(), stdin, filepath.Join(r.bin, "kubectl"), append([]string{"--kubeconfig", filepath.Join(stateRoot, "trial-a", "kubeconfig")}, args...)...)
	require.NoError(r.t, err)
	return strings.TrimSpace(out)
}

// until waits for a condition of the cluster.
func (r *rig) until(what string, limit time.Duration, done func() bool) {
	r.t.Helper()
	start := time.Now()
	require.NoError(r.t, waitFor(r.t.Context(), limit, what, func() (bool, error) { return done(), nil }))
	r.t.Logf("%-28s %5.1f s", what, time.Since(start).Seconds())
}

// get asks a pod of the test, or a node port.
func (r *rig) get(host, path string) (string, error) {
	client := &http.Client{Timeout: 8 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + host + path)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("status %d: %s", resp.StatusCode, data)
	}
	return string(data), err
}

func (r *rig) podIP(pod string) string {
	return r.kubectl("", "-n", "trial", "get", "pod", pod, "-o", "jsonpath={.status.podIP}") + ":8080"
}

func (r *rig) podReady(pod string) bool {
	return r.kubectl("", "-n", "trial", "get", "pod", pod, "--ignore-not-found", "-o",
		`jsonpath={.status.conditions[?(@.type=="Ready")].status}`) == "True"
}

func (r *rig) nodeReady(node string) bool {
	return r.kubectl("", "get", "node", node, "-o", `jsonpath={.status.conditions[?(@.type=="Ready")].status}`) == "True"
}

// TestWholeLife brings two clusters up side by side, uses one as a person and a fault would, and checks that nothing of
// them is left on the host.
func TestWholeLife(t *testing.T) {
	require.NoError(t, checkHost())
	require.NoError(t, ensurePackages(t.Context(), os.Stderr))
	bin, err := ensureBinaries(t.Context(), len(binaries), os.Stderr)
	require.NoError(t, err)
	r := &rig{t: t, self: filepath.Join(t.TempDir(), "localkube"), bin: bin}
	build := exec.Command("go", "build", "-o", r.self, ".")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)

	r.must("down", "--name", "trial-a")
	r.must("down", "--name", "trial-b")
	before := hostSnapshot(t)
	t.Cleanup(func() {
		_, _ = r.localkube("down", "--name", "trial-a")
		_, _ = r.localkube("down", "--name", "trial-b")
	})
	second := make(chan error, 1)
	go func() {
		_, err := r.localkube("up", "--name", "trial-b", "--nodes", "1")
		second <- err
	}()
	r.must("up", "--name", "trial-a")
	require.NoError(t, <-second)
	require.Contains(t, r.must("up", "--name", "trial-a"), "is up already")
	r.must("status", "--name", "trial-a")
	image := filepath.Join(t.TempDir(), "web.tar")
	r.makeWebImage(image)
	r.must("load", image, "--name", "trial-a")

	t.Run("closed to strangers", func(t *testing.T) { (&rig{t, r.self, bin}).closed() })
	t.Run("workload", func(t *testing.T) { (&rig{t, r.self, bin}).workload() })
	t.Run("movable volumes", func(t *testing.T) { (&rig{t, r.self, bin}).movable() })
	t.Run("faults", func(t *testing.T) { (&rig{t, r.self, bin}).faults() })
	t.Run("domain", func(t *testing.T) { (&rig{t, r.self, bin}).domain() })
	t.Run("audit", func(t *testing.T) { (&rig{t, r.self, bin}).audit() })
	t.Run("a run that died", func(t *testing.T) { (&rig{t, r.self, bin}).died() })

	r.must("down", "--name", "trial-a")
	r.must("down", "--name", "trial-b")
	require.Contains(t, r.must("down", "--name", "trial-b"), "isn't there")
	require.Equal(t, before, hostSnapshot(t), "the host is as it was")
}

func (r *rig) makeWebImage(file string) {
	r.t.Helper()
	web := filepath.Join(r.t.TempDir(), "web")
	build := exec.Command("go", "build", "-o", web, "./testdata/web")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := build.CombinedOutput()
	require.NoError(r.t, err, "%s", out)
	require.NoError(r.t, writeImage(file, "kraft.local/localkube/web:1", web))
}

// closed: neither the kubelet nor the API server serves one without credentials, and secrets are root's alone.
func (r *rig) closed() {
	c, err := loadCluster("trial-a")
	require.NoError(r.t, err)
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}} //nolint:gosec // as a stranger would
	for url, want := range map[string]int{
		"https://" + c.nodeAddr(1) + ":10250/pods": http.StatusUnauthorized,
		c.apiURL() + "/api/v1/secrets":             http.StatusForbidden,
	} {
		resp, err := client.Get(url)
		require.NoError(r.t, err)
		resp.Body.Close()
		require.Equal(r.t, want, resp.StatusCode, url)
	}
	require.NoError(r.t, filepath.WalkDir(c.path("pki"), func(path string, d os.DirEntry, err error) error {
		require.NoError(r.t, err)
		info, err := d.Info()
		require.NoError(r.t, err)
		require.Zero(r.t, info.Mode().Perm()&0o077, "%s is open to others", path)
		return nil
	}))
}

func (r *rig) workload() {
	manifest, err := os.ReadFile("testdata/web.yaml")
	require.NoError(r.t, err)
	r.kubectl(string(manifest), "apply", "-f", "-")
	r.until("three pods are Ready", time.Minute, func() bool { return r.podReady("web-0") && r.podReady("web-1") && r.podReady("web-2") })
	nodes := r.kubectl("", "-n", "trial", "get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].spec.nodeName}")
	for _, n := range []string{"node-1", "node-2", "node-3"} {
		require.Contains(r.t, nodes, n)
	}
	first, err := r.get(r.podIP("web-1"), "/first")
	require.NoError(r.t, err, "the host reaches pods, and a pod that isn't root wrote to its volume")
	require.Equal(r.t, "web-1", first)
	for _, name := range []string{"web-2.web", "web-2.web.trial.svc", "web-2.web.trial.svc.cluster.local", "kubernetes.default"} {
		addr, err := r.get(r.podIP("web-0"), "/lookup?name="+name)
		require.NoError(r.t, err, name)
		require.NotEmpty(r.t, addr)
	}
	_, err = r.get(r.podIP("web-0"), "/lookup?name=nothing.example")
	require.ErrorContains(r.t, err, "no such host")
	for _, target := range []string{"http://web-2.web:8080/name", "http://web-all/name", "http://" + r.podIP("web-1") + "/name"} {
		name, err := r.get(r.podIP("web-0"), "/get?url="+url.QueryEscape(target))
		require.NoError(r.t, err, target)
		require.Contains(r.t, name, "web-")
	}
	c, err := loadCluster("trial-a")
	require.NoError(r.t, err)
	for n := 1; n <= 3; n++ {
		name, err := r.get(c.nodeAddr(n)+":30080", "/name")
		require.NoError(r.t, err, "NodePort of node-%d from the host", n)
		require.Contains(r.t, name, "web-")
	}
	require.Contains(r.t, r.kubectl("", "-n", "trial", "get", "--raw", "/api/v1/namespaces/trial/pods/web-0/log"), "", "logs go through the kubelet")
	r.kubectl("", "-n", "trial", "patch", "pvc", "data-web-0", "-p", `{"spec":{"resources":{"requests":{"storage":"2Gi"}}}}`)
	r.until("a claim has grown", 20*time.Second, func() bool {
		return r.kubectl("", "-n", "trial", "get", "pvc", "data-web-0", "-o", "jsonpath={.status.capacity.storage}") == "2Gi"
	})
}

// movable: a volume goes where its pod goes, and never to two nodes.
func (r *rig) movable() {
	text, err := os.ReadFile("testdata/mover.yaml")
	require.NoError(r.t, err)
	mover := func(name, node string) string {
		return strings.NewReplacer("@NAME@", name, "@NODE@", node).Replace(string(text))
	}
	// The first goes through the scheduler, which is what binds the claim.
	first := strings.Replace(mover("mover-a", "node-1"), "nodeName: node-1", "nodeSelector: {kubernetes.io/hostname: node-1}", 1)
	r.kubectl(first, "apply", "-f", "-")
	r.until("mover-a is Ready", 40*time.Second, func() bool { return r.podReady("mover-a") })
	r.kubectl(mover("mover-b", "node-2"), "apply", "-f", "-")
	r.until("mover-b is refused", 40*time.Second, func() bool {
		return strings.Contains(r.kubectl("", "-n", "trial", "get", "events", "--field-selector=involvedObject.name=mover-b"), "Multi-Attach error")
	})
	require.False(r.t, r.podReady("mover-b"))
	r.kubectl("", "-n", "trial", "delete", "pod", "mover-a")
	r.until("mover-b is Ready", 2*time.Minute, func() bool { return r.podReady("mover-b") })
	kept, err := r.get(r.podIP("mover-b"), "/first")
	require.NoError(r.t, err)
	require.Equal(r.t, "mover-a", kept, "the data moved")
	r.kubectl("", "-n", "trial", "delete", "pod", "mover-b")
	r.kubectl("", "-n", "trial", "delete", "pvc", "moving")
	r.until("the volume is gone", time.Minute, func() bool {
		left, err := filepath.Glob(filepath.Join(stateRoot, "trial-a", "movable", "*"))
		return err == nil && len(left) == 0
	})
}

func (r *rig) faults() {
	node := r.kubectl("", "-n", "trial", "get", "pod", "web-1", "-o", "jsonpath={.spec.nodeName}")
	r.must("node", "cut", node, "--name", "trial-a")
	r.until(node+" is NotReady", 30*time.Second, func() bool { return !r.nodeReady(node) })
	r.must("node", "heal", node, "--name", "trial-a")
	r.until(node+" is Ready", 30*time.Second, func() bool { return r.nodeReady(node) })
	r.until("its pod answers", 30*time.Second, func() bool {
		_, err := r.get(r.podIP("web-1"), "/name")
		return err == nil
	})
	r.must("node", "stop", node, "--name", "trial-a")
	r.until(node+" is NotReady", 30*time.Second, func() bool { return !r.nodeReady(node) })
	r.must("node", "start", node, "--name", "trial-a")
	r.until("its pod runs again", 90*time.Second, func() bool {
		first, err := r.get(r.podIP("web-1"), "/first")
		return err == nil && first == "web-1"
	})
	_, err := r.localkube("node", "cut", "node-9", "--name", "trial-a")
	require.ErrorContains(r.t, err, "trial-a has node-1 to node-3")
}

func (r *rig) domain() {
	r.must("domain", "cluster.example", "--name", "trial-a")
	r.kubectl("", "-n", "trial", "delete", "pod", "web-0")
	r.until("web-0 is Ready again", time.Minute, func() bool { return r.podReady("web-0") })
	for _, name := range []string{"web-1.web", "web-1.web.trial.svc", "web-1.web.trial.svc.cluster.example"} {
		r.until(name+" resolves", 30*time.Second, func() bool {
			_, err := r.get(r.podIP("web-0"), "/lookup?name="+name)
			return err == nil
		})
	}
	_, err := r.get(r.podIP("web-0"), "/lookup?name=web-1.web.trial.svc.cluster.local.")
	require.Error(r.t, err, "the old suffix is gone")
}

// audit: the log tells who did what.
func (r *rig) audit() {
	data, err := os.ReadFile(strings.TrimSpace(r.must("audit", "--name", "trial-a")))
	require.NoError(r.t, err)
	for line := range strings.Lines(string(data)) {
		var event struct {
			Verb      string
			User      struct{ Username string }
			ObjectRef struct{ Resource, Namespace string }
		}
		require.NoError(r.t, json.Unmarshal([]byte(line), &event))
		require.NotEqual(r.t, "system:kube-scheduler", event.User.Username)
		if event.Verb == "create" || event.Verb == "patch" {
			if event.ObjectRef.Resource == "statefulsets" && event.User.Username == "localkube-admin" {
				return
			}
		}
	}
	r.t.Fatal("the audit log doesn't say that the administrator made a StatefulSet")
}

// died: the control plane of the other cluster is killed; up clears what is left, nodes included, and starts anew.
func (r *rig) died() {
	c, err := loadCluster("trial-b")
	require.NoError(r.t, err)
	p, ok := c.process(controlPlane)
	require.True(r.t, ok)
	require.NoError(r.t, syscall.Kill(p.PID, syscall.SIGKILL))
	r.until("it is dead", 10*time.Second, func() bool { return !p.alive() })
	_, err = r.localkube("status", "--name", "trial-b")
	require.ErrorContains(r.t, err, "control-plane has died")
	require.Contains(r.t, r.must("up", "--name", "trial-b", "--nodes", "1"), "clearing what an earlier run")
	r.must("status", "--name", "trial-a")
}
