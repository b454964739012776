package plan

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// ask asks for a restart of a node's present pod.
func (f *fleet) ask(i int) {
	pod := *f.nodes[i].Pod
	pod.Restart = true
	f.nodes[i].Pod = &pod
	f.note("asked %s", f.nodes[i].Name)
}

// TestAPodIsRestartedOnceForTheAsking: in the order and behind the gates of a roll, also beside one.
func TestAPodIsRestartedOnceForTheAsking(t *testing.T) {
	for seed := range uint64(200) {
		f := newFleet(seed, 3+int(seed%2), 3, 2) // two brokers: each is the partner of the other
		asked := map[string]bool{}
		for i := range f.nodes {
			if f.rnd.IntN(3) == 0 {
				f.ask(i)
				asked[f.nodes[i].Name] = true
			}
		}
		alsoRolled := seed%3 == 0
		if alsoRolled {
			f.want("v2")
		}
		f.run(t, func(s RollStep) bool {
			return s.Do == RollDone && !slices.ContainsFunc(f.nodes, func(n Node) bool { return !n.Up() })
		})
		var down []string
		for _, line := range f.log {
			if fields := strings.Fields(line); fields[0] == "evict" || fields[0] == "delete" {
				down = append(down, fields[1])
			}
		}
		want := 0
		for _, n := range f.nodes {
			require.False(t, n.Pod.Restart, "%s:\n%s", n.Name, strings.Join(f.log, "\n"))
			if asked[n.Name] || alsoRolled {
				want++
				require.Contains(t, down, n.Name, strings.Join(f.log, "\n"))
			}
		}
		require.Len(t, down, want, "each once:\n%s", strings.Join(f.log, "\n"))
		require.True(t, slices.IsSortedFunc(down, func(a, b string) int { return brokersLast(a) - brokersLast(b) }), "%v", down)
		for i, line := range f.log { // the leader only when no other controller that was asked is left
			if strings.HasPrefix(line, "evict c") && strings.Contains(line, "(leader)") && !alsoRolled {
				for _, later := range f.log[i+1:] {
					require.False(t, strings.HasPrefix(later, "evict c"), "the active controller goes last:\n%s", strings.Join(f.log, "\n"))
				}
			}
		}
	}
}

func brokersLast(name string) int {
	if name[0] == 'b' {
		return 1
	}
	return 0
}

func TestARestartThatIsAskedFor(t *testing.T) {
	f := newFleet(1, 3, 3, 3)
	f.ask(4)
	step := Roll(f.snapshot())
	require.Equal(t, RollEvict, step.Do)
	require.Equal(t, "b1001", step.Node.Name)

	f.behind[1000] = true // its partner can't be without it
	step = Roll(f.snapshot())
	require.Equal(t, RollWait, step.Do)
	require.Contains(t, step.Why, "b1001 can't be spared")

	f = newFleet(1, 3, 3, 3)
	f.nodes[4].Pod.Ready, f.nodes[4].Pod.Broken = false, "CrashLoopBackOff"
	f.ask(4)
	step = Roll(f.snapshot())
	require.Equal(t, RollDelete, step.Do, "a broken pod is restarted too")
	require.False(t, step.Stopped)

	f.nodes[4].Pod.Terminating = true
	require.Equal(t, RollDone, Roll(f.snapshot()).Do, "it stops already")
}
