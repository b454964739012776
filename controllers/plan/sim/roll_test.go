package sim

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/controllers/plan"
)

var rewrite = flag.Bool("rewrite", false, "write the golden logs anew")

// TestEverySimulationKeepsItsRules plays the seeds of those that no other test plays.
func TestEverySimulationKeepsItsRules(t *testing.T) {
	counted := []string{"brokers", "wide", "voters", "formation"} // their tests count what happened as well
	for _, s := range All() {
		t.Run(s.Name, func(t *testing.T) {
			for seed := range s.Seeds {
				if slices.Contains(counted, s.Name) {
					break
				}
				if broken := s.Play(seed); broken != nil {
					require.Fail(t, fmt.Sprintf("seed %d", seed), broken.Error())
				}
			}
		})
	}
}

// held plays a seed that has to keep every rule.
func held[W any](t *testing.T, play func(uint64) W, seed uint64) (w W) {
	t.Helper()
	if broken := attempt(func() { w = play(seed) }); broken != nil {
		require.Fail(t, fmt.Sprintf("seed %d", seed), broken.Error())
	}
	return w
}

// TestLogs keeps what happens under a few seeds.
func TestLogs(t *testing.T) {
	for seed := range uint64(3) {
		golden(t, fmt.Sprintf("roll-%d", seed), held(t, playRoll, seed).log)
	}
	for seed := range uint64(2) {
		golden(t, fmt.Sprintf("mended-%d", seed), held(t, playBadTemplate, seed).log)
		golden(t, fmt.Sprintf("hibernate-%d", seed), held(t, playHibernation, seed).log)
		golden(t, fmt.Sprintf("formation-%d", seed), held(t, playFormation, seed).log)
		golden(t, fmt.Sprintf("brokers-%d", seed), held(t, playBrokers, seed).log)
		golden(t, fmt.Sprintf("voters-%d", seed), held(t, playVoters, seed).log)
	}
}

// TestABadMendOfABrokenClusterStops: what is proved bad isn't given to the next, however broken that is.
func TestABadMendOfABrokenClusterStops(t *testing.T) {
	f := newFleet(1, 3, 3, 0)
	for i := range f.nodes {
		pod := *f.nodes[i].Pod
		pod.Ready, pod.Broken = false, "CrashLoopBackOff"
		f.nodes[i].Pod = &pod
	}
	for i := range f.nodes {
		f.nodes[i].Want = "v2"
	}
	f.nodes[0].Has = "v2"
	f.nodes[0].Pod.Hash, f.nodes[0].Pod.Broken = "v2", "ImagePullBackOff"
	step := plan.Roll(f.snapshot())
	require.Equal(t, plan.RollWait, step.Do)
	require.True(t, step.Stopped)
	require.Contains(t, step.Why, "ImagePullBackOff")
}

// TestAPodWithoutAPlaceKeepsItsTemplate while another comes back: it was drained, nothing is wrong with it.
func TestAPodWithoutAPlaceKeepsItsTemplate(t *testing.T) {
	f := newFleet(1, 3, 3, 3)
	f.want("v2")
	f.nodes[0].Has, f.nodes[0].Pod.Hash, f.nodes[0].Pod.Ready = "v2", "v2", false
	f.nodes[4].Pod.Ready, f.nodes[4].Pod.Broken = false, plan.Unschedulable
	step := plan.Roll(f.snapshot())
	require.Equal(t, plan.RollWait, step.Do)
	require.Equal(t, "c0", step.Node.Name)
	f.nodes[0].Pod.Ready = true
	step = plan.Roll(f.snapshot())
	require.Equal(t, plan.RollDelete, step.Do, "its turn: a template may ask for a place that isn't there")
	require.Equal(t, "b1001", step.Node.Name)
}

// golden compares a log with testdata, or writes it anew.
func golden(t *testing.T, name string, log []string) {
	t.Helper()
	path := filepath.Join("testdata", name+".log")
	got := strings.Join(log, "\n") + "\n"
	if *rewrite {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "%s: if this is as intended, run with -rewrite and read the diff", path)
}
