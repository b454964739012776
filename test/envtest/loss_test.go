package envtest

import (
	"context"
	"encoding/json"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
	"github.com/kraft-dev/kraft-operator/internal/admin"
	"github.com/kraft-dev/kraft-operator/internal/cli"
)

// LogEnds is the log end of every pod that runs.
func (w *world) LogEnds(ctx context.Context, addrs []string) map[string]admin.LogEnd {
	out := map[string]admin.LogEnd{}
	for _, a := range addrs {
		if ids, err := w.answering(ctx, []string{a}); err == nil && strings.HasSuffix(a, ":8080") {
			out[a] = admin.LogEnd{Epoch: 3, Offset: 42 + int64(ids[0])}
		}
	}
	return out
}

// loseClaims destroys controllers' disks all at once: their claims are made anew, and the nodes come back empty.
func (w *world) loseClaims(ids ...string) {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, id := range ids {
		w.disks[int32(id[0]-'0')] = [16]byte{0: 8, 1: id[0], 15: 1}
		claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "data-demo-controller-" + id}}
		require.NoError(w.t, kube.Delete(w.t.Context(), claim))
		w.unprotect(claim)
	}
}

// unprotect takes off the finalizer that keeps a claim while pods use it.
func (w *world) unprotect(claim *corev1.PersistentVolumeClaim) {
	w.t.Helper()
	err := kube.Patch(w.t.Context(), claim, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`)))
	require.NoError(w.t, client.IgnoreNotFound(err))
}

// TestALostQuorumIsAConditionWithTheWayOut: who survives and where its log ends; the commands are right, and nothing is
// done by itself.
func TestALostQuorumIsAConditionWithTheWayOut(t *testing.T) {
	w := newWorld(t)
	w.apply(base)
	c := w.await("demo", "Ready", is("Ready", "True"))
	directory := map[int32]string{}
	for _, v := range c.Status.InitialVoters {
		directory[v.ID] = v.DirectoryID
	}
	w.loseClaims("0", "2")
	lost := func(c *v1alpha1.KRaftCluster) bool { return condition(c, "QuorumHealthy").Reason == "QuorumLost" }
	c = w.await("demo", "known to be lost, with what was and what is", func(c *v1alpha1.KRaftCluster) bool {
		message := condition(c, "QuorumHealthy").Message
		return lost(c) && is("Stalled", "True")(c) && // the claims are made anew a while after they are missed
			strings.Contains(message, "voter 0, directory "+directory[0]+" (claim data-demo-controller-0 was made anew)") &&
			strings.Contains(message, "survives: voter 1, directory "+directory[1]+" (epoch 3, offset 43)")
	})
	require.Equal(t, "QuorumLost", condition(c, "Ready").Reason)
	require.Equal(t, metav1.ConditionFalse, condition(c, "Available").Status)
	require.Contains(t, condition(c, "QuorumHealthy").Message, "1 of 3 voters are left, a majority is 2")
	w.awaitEvent("QuorumLost", "1 of 3 voters are left")
	require.Empty(t, w.whatChanged(), "nothing is done by itself")
	require.Contains(t, c.Status.NextCommand, `{"spec":{"hibernated":true}}`)

	w.hibernate(true)
	c = w.await("demo", "Hibernated, and its quorum still lost", func(c *v1alpha1.KRaftCluster) bool { return hibernated(c) && lost(c) })
	call := regexp.MustCompile("in the same shell `(.*)`").FindStringSubmatch(condition(c, "QuorumHealthy").Message)
	require.Len(t, call, 2)
	require.Equal(t, "recover_1 --quarantined 0@"+directory[0]+" --quarantined 2@"+directory[2]+" --accept-data-loss", call[1])
	looks := w.requireRecoverPod(c.Status.NextCommand, "data-demo-controller-1")
	requireFlags(t, looks)
	recovers := w.requireRecoverPod(c.Status.NextCommand+" >&2; "+call[1], "data-demo-controller-1")
	requireFlags(t, recovers)
	require.Equal(t, strings.Fields(call[1])[1:], recovers[len(looks):])

	// Had it been a passing thing, nothing of this is left.
	w.mu.Lock()
	for _, v := range w.set {
		w.disks[v.ID] = v.DirectoryID
	}
	w.mu.Unlock()
	w.hibernate(false)
	c = w.await("demo", "Ready again", is("Ready", "True"))
	require.Equal(t, "Healthy", condition(c, "QuorumHealthy").Reason)
}

// requireRecoverPod runs a command with a shell whose kubectl only tells the arguments of `kubectl run` and that the
// container ended with code 3, makes the pod that kubectl would (as the API judges it) and returns what is run in it.
func (w *world) requireRecoverPod(command, claim string) []string {
	t := w.t
	t.Helper()
	const tells = `kubectl() { case "$3" in run) printf '%s\n' "$@";; get) echo 3;; *) echo "$*" >&2;; esac; }; `
	cmd := exec.Command("sh", "-c", tells+command)
	out, err := cmd.Output()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, "%s", out)
	require.Equal(t, 3, exit.ExitCode(), "the code of the container\n%s", exit.Stderr)
	require.Regexp(t, "(?s)delete pod demo-recover-1 --ignore-not-found.*wait pod/demo-recover-1 .*delete pod demo-recover-1\n", string(exit.Stderr))
	lines := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	require.Equal(t, []string{"-n", w.ns, "run", "demo-recover-1"}, lines[:4])
	pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: lines[3]}}
	pod.Spec.Containers = []corev1.Container{{Name: lines[3]}}
	overrides, dashes := "", 0
	for i, l := range lines {
		if v, ok := strings.CutPrefix(l, "--image="); ok {
			pod.Spec.Containers[0].Image = v
		}
		if v, ok := strings.CutPrefix(l, "--overrides="); ok {
			overrides = v
		}
		if l == "--" {
			dashes = i
			break
		}
	}
	require.Contains(t, lines, "--override-type=strategic")
	require.Contains(t, lines, "--restart=Never")
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	pod.Spec.Containers[0].Args = lines[dashes+1:]
	before, err := json.Marshal(pod)
	require.NoError(t, err)
	merged, err := strategicpatch.StrategicMergePatch(before, []byte(overrides), corev1.Pod{})
	require.NoError(t, err)
	var got corev1.Pod
	require.NoError(t, json.Unmarshal(merged, &got))
	require.NoError(t, kube.Create(t.Context(), got.DeepCopy(), client.DryRunAll), "the API takes it, also at the level restricted")
	require.Equal(t, corev1.RestartPolicyNever, got.Spec.RestartPolicy)
	require.Len(t, got.Spec.Containers, 1)
	require.Equal(t, []string{"/kraftd"}, got.Spec.Containers[0].Command)
	require.Equal(t, lines[dashes+1:], got.Spec.Containers[0].Args)
	require.Equal(t, claim, got.Spec.Volumes[0].PersistentVolumeClaim.ClaimName)
	var cm corev1.ConfigMap
	require.NoError(t, kube.Get(t.Context(), client.ObjectKey{Namespace: w.ns, Name: got.Spec.Volumes[1].ConfigMap.Name}, &cm))
	return got.Spec.Containers[0].Args
}

// requireFlags lets kraftd's own command line judge what is to be run.
func requireFlags(t *testing.T, args []string) {
	t.Helper()
	for _, cmd := range cli.Commands() {
		if cmd.Name() != args[0] {
			continue
		}
		found, rest, err := cmd.Find(args[1:])
		require.NoError(t, err)
		require.Equal(t, "recover", found.Name())
		require.NoError(t, found.ParseFlags(rest))
		require.Empty(t, found.Flags().Args())
		require.Equal(t, "/etc/kraft/kraftd.properties", found.Flag("config").Value.String())
		return
	}
	require.Fail(t, "kraftd has no command "+args[0])
}

// TestAQuorumThatMayComeBackIsWaitedFor: nothing is called lost while the disks are there.
func TestAQuorumThatMayComeBackIsWaitedFor(t *testing.T) {
	w := newWorld(t)
	w.apply(base)
	w.await("demo", "Ready", is("Ready", "True"))
	for _, id := range []int32{0, 1} {
		w.stick(id, true)
		require.NoError(t, kube.Delete(t.Context(), w.pod("demo-controller-"+string('0'+id)+"-0"), client.GracePeriodSeconds(0)))
	}
	c := w.await("demo", "without a leader, and the pods that were made again are asked in vain", func(c *v1alpha1.KRaftCluster) bool {
		return condition(c, "QuorumHealthy").Reason == "NoLeader" &&
			strings.Contains(condition(c, "Ready").Message, "the disks of 3 of 3 voters are there, a majority is 2; waits for voter 0 (its pod runs and doesn't answer), voter 1 (its pod runs and doesn't answer)")
	})
	require.Equal(t, metav1.ConditionFalse, condition(c, "Stalled").Status)
	w.stick(0, false)
	w.stick(1, false)
	w.await("demo", "Ready again", is("Ready", "True"))
}
