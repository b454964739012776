package sim

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/controllers/plan"
)

func TestARestartThatIsAskedFor(t *testing.T) {
	f := newFleet(1, 3, 3, 3)
	f.ask(4)
	step := plan.Roll(f.snapshot())
	require.Equal(t, plan.RollEvict, step.Do)
	require.Equal(t, "b1001", step.Node.Name)

	f.behind[1000] = true // its partner can't be without it
	step = plan.Roll(f.snapshot())
	require.Equal(t, plan.RollWait, step.Do)
	require.Contains(t, step.Why, "b1001 can't be spared")

	f = newFleet(1, 3, 3, 3)
	f.nodes[4].Pod.Ready, f.nodes[4].Pod.Broken = false, "CrashLoopBackOff"
	f.ask(4)
	step = plan.Roll(f.snapshot())
	require.Equal(t, plan.RollDelete, step.Do, "a broken pod is restarted too")
	require.False(t, step.Stopped)

	f.nodes[4].Pod.Terminating = true
	require.Equal(t, plan.RollDone, plan.Roll(f.snapshot()).Do, "it stops already")
}
