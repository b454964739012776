//go:build e2e

package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// demo runs hack/demo.sh against the cluster of these tests as the current context.
type demo struct {
	t   *testing.T
	env []string
}

func (d demo) run(what string, more ...string) (string, error) {
	d.t.Helper()
	cmd := exec.Command(filepath.Join("..", "..", "hack", "demo.sh"), what)
	cmd.Env = append(append(os.Environ(), d.env...), more...)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

func (d demo) must(what string, more ...string) string {
	d.t.Helper()
	out, err := d.run(what, more...)
	require.NoError(d.t, err, out)
	return out
}

func (d demo) refused(because string, more ...string) {
	d.t.Helper()
	out, err := d.run("up", more...)
	require.Error(d.t, err, out)
	require.Contains(d.t, out, because)
}

// TestDemoOnTheCurrentContext: the image goes through a registry, and demo-down takes away what the demo made and no more.
func TestDemoOnTheCurrentContext(t *testing.T) {
	d := demo{t, []string{
		"DEMO_KUBECONFIG=current", "DEMO_RECORDS=4000", "CACHE=" + t.TempDir(),
		"IMAGE_REPO=" + startRegistry(t) + "/kraft-operator",
		"PATH=" + filepath.Dir(env(t, "KUBECTL")) + ":" + os.Getenv("PATH"),
	}}
	operator := manifest(t, "default")
	_, err := run(t, operator, env(t, "KUBECTL"), "delete", "--ignore-not-found", "--wait", "-f", "-")
	require.NoError(t, err)
	before := standing(t)

	t.Run("it needs a repository", func(t *testing.T) { demo{t, d.env}.refused("set IMAGE_REPO to a repository", "IMAGE_REPO=") })
	t.Run("it leaves others' things alone", func(t *testing.T) { leavesOthersAlone(demo{t, d.env}) })
	require.Equal(t, before, standing(t))

	if t.Failed() {
		t.FailNow()
	}
	t.Run("no definition before, none after, unless somebody uses it", func(t *testing.T) {
		d := demo{t, d.env}
		out := d.must("up")
		require.Contains(t, out, "acked=4000 lost=0 duplicated=0")
		require.Contains(t, kubectl(t, "-n", "kraft-demo", "get", "pods", "-o", "jsonpath={.items[*].status.containerStatuses[*].imageID}"), "localhost:", "pulled")
		theirs(t)
		require.Contains(t, d.must("down"), "the definition of KRaftCluster stays: others use it (theirs/theirs)")
		require.Equal(t, "theirs", kubectl(t, "-n", "theirs", "get", "kraftcluster", "-o", "jsonpath={.items[*].metadata.name}"))
		kubectl(t, "delete", "namespace", "theirs", "--wait")
		d.must("down")
		gone(t, before)
	})
	if t.Failed() {
		t.FailNow()
	}
	t.Run("a definition that stood stays", func(t *testing.T) {
		d := demo{t, append(d.env, "DEMO_RECORDS=0")}
		kubectl(t, "apply", "-k", filepath.Join("..", "..", "config", "crd"))
		before := standing(t)
		require.Contains(t, before, "kraftclusters.kraft.dev")
		d.must("up")
		d.must("down")
		gone(t, before)
		kubectl(t, "delete", "-k", filepath.Join("..", "..", "config", "crd"))
	})
}

// leavesOthersAlone: an operator, a namespace of the demo's name, clusters.
func leavesOthersAlone(d demo) {
	t := d.t
	for _, name := range []string{"kraft-demo", operatorNamespace} {
		kubectl(t, "create", "namespace", name)
		d.refused("namespace " + name + " stands in context")
		d.must("down")
		require.Contains(t, kubectl(t, "get", "namespaces", "-o", "name"), "namespace/"+name)
		kubectl(t, "delete", "namespace", name, "--wait")
	}
	kubectl(t, "create", "clusterrole", "kraft-operator", "--verb=get", "--resource=pods")
	d.refused("these stand in context")
	d.must("down")
	kubectl(t, "delete", "clusterrole", "kraft-operator")
	kubectl(t, "apply", "-k", filepath.Join("..", "..", "config", "crd"))
	theirs(t)
	d.refused("(theirs/theirs)")
	d.must("down")
	kubectl(t, "delete", "namespace", "theirs", "--wait")
	kubectl(t, "delete", "-k", filepath.Join("..", "..", "config", "crd"))
}

// theirs makes a cluster that isn't the demo's. It is paused: nobody does anything about it.
func theirs(t *testing.T) {
	t.Helper()
	kubectl(t, "create", "namespace", "theirs")
	yaml := strings.Replace(sample(t, "kraftcluster-single.yaml"), "\nspec:\n", "\nspec:\n  paused: true\n", 1)
	apply(t, strings.Replace(yaml, "name: single", "name: theirs", 1), "-n", "theirs")
}

// standing lists what a cluster holds outside of namespaces.
func standing(t *testing.T) string {
	t.Helper()
	return kubectl(t, "get", "namespaces,crd,clusterroles,clusterrolebindings,pv,storageclasses,priorityclasses", "-o", "name")
}

func gone(t *testing.T, before string) {
	t.Helper()
	eventually(t, "as before", time.Minute, func() bool { return standing(t) == before })
}
