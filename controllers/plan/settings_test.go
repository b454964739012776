package plan

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestSettingsFollowTheSpecAndLeaveOthersAlone(t *testing.T) {
	type m = map[string]string
	for _, tc := range []struct {
		name                string
		want, owned, actual m
		set                 m
		remove              []string
		others              m
	}{
		{name: "nothing asked for, nothing there"},
		{name: "a new one", want: m{"a": "1"}, set: m{"a": "1"}},
		{name: "in force", want: m{"a": "1"}, owned: m{"a": "1"}, actual: m{"a": "1"}},
		{name: "changed in the spec", want: m{"a": "2"}, owned: m{"a": "1"}, actual: m{"a": "1"}, set: m{"a": "2"}},
		{name: "changed by another hand", want: m{"a": "2"}, owned: m{"a": "2"}, actual: m{"a": "3"}, set: m{"a": "2"}},
		{name: "gone from the spec", owned: m{"a": "1", "b": "2"}, actual: m{"a": "1", "b": "2"}, remove: []string{"a", "b"}},
		{name: "gone from the spec and from the cluster", owned: m{"a": "1"}},
		{name: "another's", actual: m{"x": "9"}, others: m{"x": "9"}},
		{name: "another's, and the spec's now", want: m{"x": "1"}, actual: m{"x": "9"}, set: m{"x": "1"}},
		{name: "the minimum of replicas goes back to 1, never away", owned: m{minISR: "2"}, actual: m{minISR: "2"}, set: m{minISR: "1"}},
		{name: "and is left at that", owned: m{minISR: "2"}, actual: m{minISR: "1"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := Settings(tc.want, tc.owned, tc.actual)
			require.Equal(t, len(tc.set) == 0, len(got.Set) == 0)
			for k, v := range tc.set {
				require.Equal(t, v, got.Set[k])
			}
			require.Len(t, got.Set, len(tc.set))
			require.Equal(t, tc.remove, got.Remove)
			require.Len(t, got.Others, len(tc.others))
			require.Equal(t, len(tc.set)+len(tc.remove) == 0, got.Done())
		})
	}
}
