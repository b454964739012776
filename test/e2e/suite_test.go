//go:build e2e

// Package e2e_test runs the operator and its clusters on a real Kubernetes, with clients that keep books. hack/e2e.sh makes
// the Kubernetes and sets the environment; nothing here is skipped.
package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	operatorNamespace = "kraft-system"
	operatorPods      = "app.kubernetes.io/name=kraft-operator" // their label
	cluster           = "demo"
)

// namespace is where the cluster is; move changes it.
var namespace = "kraft-e2e"

func env(t testing.TB, name string) string {
	t.Helper()
	v := os.Getenv(name)
	require.NotEmpty(t, v, "%s is not set: run hack/e2e.sh", name)
	return v
}

// run runs a command and returns what it printed.
func run(t testing.TB, stdin, name string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, out.String())
	}
	return strings.TrimSpace(out.String()), err
}

func kubectl(t testing.TB, args ...string) string {
	t.Helper()
	out, err := run(t, "", env(t, "KUBECTL"), args...)
	require.NoError(t, err)
	return out
}

// k is kubectl in the test's namespace.
func k(t testing.TB, args ...string) string {
	t.Helper()
	return kubectl(t, append([]string{"-n", namespace}, args...)...)
}

func localkube(t testing.TB, args ...string) string {
	t.Helper()
	out, err := run(t, "", env(t, "LOCALKUBE"), append([]string{"--name", env(t, "CLUSTER")}, args...)...)
	require.NoError(t, err)
	return out
}

// field reads one field of the cluster by jsonpath.
func field(t testing.TB, path string) string {
	t.Helper()
	return fieldOf(t, clusters()+cluster, path)
}

func condition(t testing.TB, name, kind string) string {
	t.Helper()
	return fieldOf(t, clusters()+name, `{.status.conditions[?(@.type=="`+kind+`")].status}`)
}

// ready: what the operator says is about the newest spec, and it is True.
func ready(t testing.TB, name string) bool {
	t.Helper()
	s := strings.Fields(fieldOf(t, clusters()+name, `{.metadata.generation} {.status.observedGeneration} {.status.conditions[?(@.type=="Ready")].status}`))
	return len(s) == 3 && s[0] == s[1] && s[2] == "True"
}

// eventually waits for a condition on the cluster and shows it on failure. It is more patient than it is asked to be: machines
// differ, and what has to be quick is held to a bar of its own.
func eventually(t testing.TB, what string, within time.Duration, cond func() bool) time.Duration {
	t.Helper()
	within *= 2
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			pods, _ := run(t, "", env(t, "KUBECTL"), "-n", namespace, "get", "kraftcluster,pods,pvc", "-o", "wide")
			status, _ := run(t, "", env(t, "KUBECTL"), "-n", namespace, "get", "kraftcluster", "-o", "jsonpath={.items[*].status}")
			events, _ := run(t, "", env(t, "KUBECTL"), "-n", namespace, "get", "events", "--sort-by=.lastTimestamp")
			t.Fatalf("not within %s: %s\n%s\n%s\n%s", within, what, pods, status, tail(events, 40))
		}
	}
	return time.Since(began)
}

// awaitEvent waits for an event that says so: events are written beside what they tell of.
func awaitEvent(t testing.TB, text string) {
	t.Helper()
	eventually(t, "an event: "+text, 30*time.Second, func() bool { return strings.Contains(k(t, "get", "events"), text) })
}

func tail(s string, n int) string {
	lines := strings.Split(s, "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// pod is what the tests look at.
type pod struct {
	Name, UID, Node string
	NodeID          string
	Pool            string
	Ready           bool
}

func pods(t testing.TB) map[string]pod {
	t.Helper()
	var list struct {
		Items []struct {
			Metadata struct {
				Name, UID string
				Labels    map[string]string
			}
			Spec   struct{ NodeName string }
			Status struct {
				Conditions []struct{ Type, Status string }
			}
		}
	}
	require.NoError(t, json.Unmarshal(get(t, "/api/v1/namespaces/"+namespace+"/pods?labelSelector=kraft.dev/cluster="+cluster), &list))
	out := map[string]pod{}
	for _, p := range list.Items {
		e := pod{Name: p.Metadata.Name, UID: p.Metadata.UID, Node: p.Spec.NodeName, NodeID: p.Metadata.Labels["kraft.dev/node-id"], Pool: p.Metadata.Labels["kraft.dev/pool"]}
		for _, c := range p.Status.Conditions {
			e.Ready = e.Ready || c.Type == "Ready" && c.Status == "True"
		}
		out[e.NodeID] = e
	}
	return out
}

// external is where clients on the host connect.
func external(t testing.TB) []string {
	t.Helper()
	return strings.Split(field(t, `{.status.listeners[?(@.name=="external")].bootstrapServers}`), ",")
}

// bench prints a figure in the form that all benchmarks of this project have.
func bench(t testing.TB, name string, ours, goal float64, unit string) {
	t.Helper()
	verdict := "PASS"
	if ours > goal {
		verdict = "FAIL"
	}
	fmt.Printf("BENCH %s ours=%.0f%s goal=%.0f%s %s\n", name, ours, unit, goal, unit, verdict)
}
