package controllers

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"k8s.io/apimachinery/pkg/util/intstr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
	"github.com/kraft-dev/kraft-operator/internal/admin"
)

// TestManyIdleClustersAreLookedAtLessOften, so that two hundred of them cost no more than fifty.
func TestManyIdleClustersAreLookedAtLessOften(t *testing.T) {
	for clusters, want := range map[int]time.Duration{1: 5 * time.Second, 50: 5 * time.Second, 51: 5100 * time.Millisecond, 100: 10 * time.Second, 1000: 20 * time.Second} {
		require.Equal(t, want, steadilyAmong(clusters), clusters)
	}
}

// TestASilentClusterIsLookedAtLessAndLessOften: each look holds a worker until the questions are given up. The first answer ends that.
func TestASilentClusterIsLookedAtLessAndLessOften(t *testing.T) {
	f := &frozen{}
	now := time.Unix(1_700_000_000, 0)
	r := &Reconciler{Admin: f, Now: func() time.Time { return now }}
	s := fleetOf()
	look := func() time.Duration {
		now = now.Add(time.Second)
		r.ask(t.Context(), s, freshWhileBusy)
		return s.pace(ctrl.Result{RequeueAfter: shortly}, 1).RequeueAfter // whatever step ended the pass
	}
	var waits []time.Duration
	for range 12 {
		waits = append(waits, look())
	}
	require.Equal(t, []time.Duration{shortly, shortly, shortly, shortly, 600 * time.Millisecond, 1200 * time.Millisecond, 2400 * time.Millisecond, 4800 * time.Millisecond, 9600 * time.Millisecond, silently, silently, silently}, waits)
	r.ask(t.Context(), s, freshWhileBusy)
	require.Equal(t, 12, s.silence, "not asked again so soon")
	f.quorum = &admin.Quorum{Leader: -1}
	require.Equal(t, shortly, look(), "that nobody leads is an answer, too")
	f.quorum = nil
	require.Equal(t, shortly, look())
	s.silence = 1_000_000
	require.Equal(t, silently, s.pace(ctrl.Result{}, 1).RequeueAfter, "nor if every step was done")
	clear(s.pods)
	look()
	require.Zero(t, s.silence, "nobody is there to be asked")
}

// TestAnAddressStaysWhereAPassEndsBeforeIt: what clients are told to call at isn't taken from status by a pass that never came to the Services.
func TestAnAddressStaysWhereAPassEndsBeforeIt(t *testing.T) {
	s := fleetOf(1000)
	s.spec.Listeners = []v1alpha1.ListenerSpec{{Name: "external", Type: v1alpha1.ListenerNodePort, Port: 9094, AdvertisedHost: "kafka.example"}}
	s.written.Listeners = []v1alpha1.ListenerStatus{{Name: "external", Type: v1alpha1.ListenerNodePort, BootstrapServers: "kafka.example:31000"}}
	servers := func() string {
		s.reportListeners()
		return s.cluster.Status.Listeners[0].BootstrapServers
	}
	require.Equal(t, "kafka.example:31000", servers())
	s.bootstrapPorts = map[string]int32{"external": 32000}
	require.Equal(t, "kafka.example:32000", servers())
	s.bootstrapPorts = map[string]int32{}
	require.Empty(t, servers(), "it has none")
}

// TestAPercentageOfBrokersIsRoundedDownAndNeverNone.
func TestAPercentageOfBrokersIsRoundedDownAndNeverNone(t *testing.T) {
	for _, tc := range []struct {
		max     string
		brokers int32
		want    int
	}{{"1", 6, 1}, {"4", 6, 4}, {"25%", 6, 1}, {"50%", 7, 3}, {"10%", 3, 1}, {"100%", 6, 6}} {
		s := &scope{spec: v1alpha1.KRaftClusterSpec{Brokers: &v1alpha1.BrokersSpec{Replicas: tc.brokers}, Rolling: v1alpha1.RollingSpec{MaxUnavailable: intstr.Parse(tc.max)}}}
		require.Equal(t, tc.want, s.maxUnavailable(), "%s of %d", tc.max, tc.brokers)
	}
}
