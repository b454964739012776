package plan

import (
	"slices"

	"github.com/kraft-dev/kraft-operator/controllers/plan/planted"
)

// minISR can't be without a value: eligible leader replicas are counted by it (KIP-966).
const minISR = "min.insync.replicas"

// SettingsStep is what is to change in the cluster's dynamic defaults.
type SettingsStep struct {
	Set    map[string]string
	Remove []string
	// Others are settings that somebody else has made: they are left alone.
	Others map[string]string
}

// Done tells whether the cluster's dynamic defaults are as they shall be.
func (s SettingsStep) Done() bool { return len(s.Set)+len(s.Remove) == 0 }

// Settings compares the dynamic defaults that the spec asks for with those of the cluster. owned are the settings that
// the operator has made before: what the spec no longer names of them goes back to its default.
func Settings(want, owned, actual map[string]string) SettingsStep {
	step := SettingsStep{Set: map[string]string{}, Others: map[string]string{}}
	for k, v := range want {
		if is, ok := actual[k]; !ok || is != v {
			step.Set[k] = v
		}
	}
	for k, v := range actual {
		_, wanted := want[k]
		_, ours := owned[k]
		switch {
		case wanted:
		case !ours:
			step.Others[k] = v
		case k == minISR && v != "1":
			step.Set[k] = "1"
		case k != minISR && planted.Bug != planted.SettingStays:
			step.Remove = append(step.Remove, k)
		}
	}
	slices.Sort(step.Remove)
	return step
}
