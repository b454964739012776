package envtest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
	"github.com/kraft-dev/kraft-operator/internal/admin"
)

func (w *world) DynamicDefaults(_ context.Context, leader string) (map[string]string, error) {
	if !strings.HasSuffix(leader, ":9093") {
		return nil, fmt.Errorf("leader %s: %w", leader, kerr.InvalidRequest)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return maps.Clone(w.dynamic), nil
}

func (w *world) AlterDynamicDefaults(_ context.Context, _ string, set map[string]string, remove []string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, ok := set[w.refuse]; ok {
		return fmt.Errorf("asking: %w", &admin.VoterError{Code: kerr.InvalidConfig, Text: "no such luck"})
	}
	for _, k := range slices.Sorted(maps.Keys(set)) {
		w.dynamic[k] = set[k]
		w.altered = append(w.altered, k+"="+set[k])
	}
	for _, k := range remove {
		delete(w.dynamic, k)
		w.altered = append(w.altered, "-"+k)
	}
	return nil
}

func (w *world) UnregisterBroker(_ context.Context, _ string, id int32) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.unregistered = append(w.unregistered, id)
	return nil
}

func (w *world) takeAltered() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.altered
	w.altered = nil
	return out
}

// TestSettingsThatNodesTakeNeedNoRestart: they are set in the running cluster, reset when they leave the spec, and
// others' are left alone.
func TestSettingsThatNodesTakeNeedNoRestart(t *testing.T) {
	w := newWorld(t)
	w.dynamic["message.max.bytes"] = "77777"
	w.apply(strings.Replace(base, "spec:", "spec:\n  config: {min.insync.replicas: '2', log.retention.ms: '60000'}", 1))
	c := w.await("demo", "Ready", is("Ready", "True"))
	require.Equal(t, []string{"log.retention.ms=60000", "min.insync.replicas=2"}, w.takeAltered(), "once")
	require.Equal(t, map[string]string{"log.retention.ms": "60000", "min.insync.replicas": "2"}, c.Status.DynamicConfig.Applied)
	require.Equal(t, map[string]string{"message.max.bytes": "77777"}, c.Status.DynamicConfig.Others)
	w.awaitEvent("SettingsApplied", "log.retention.ms=60000, min.insync.replicas=2")
	before := w.podUIDs()

	w.edit("demo", func(c *v1alpha1.KRaftCluster) {
		c.Spec.Config = map[string]string{"log.retention.ms": "120000", "num.io.threads": "4"}
	})
	w.await("demo", "applied", func(c *v1alpha1.KRaftCluster) bool {
		return is("Ready", "True")(c) && c.Status.DynamicConfig.Applied["num.io.threads"] == "4"
	})
	require.Equal(t, []string{"log.retention.ms=120000", "min.insync.replicas=1", "num.io.threads=4"}, w.takeAltered())
	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Config = nil })
	c = w.await("demo", "reset", func(c *v1alpha1.KRaftCluster) bool {
		return is("Ready", "True")(c) && len(c.Status.DynamicConfig.Applied) == 0
	})
	require.Equal(t, []string{"-log.retention.ms", "-num.io.threads"}, w.takeAltered())
	require.Equal(t, map[string]string{"message.max.bytes": "77777", "min.insync.replicas": "1"}, c.Status.DynamicConfig.Others)
	require.Equal(t, before, w.podUIDs(), "nobody was restarted")
}

// TestSettingsThatTheClusterRefusesAreHeldBack, and the rest of the spec is carried out.
func TestSettingsThatTheClusterRefusesAreHeldBack(t *testing.T) {
	w := newWorld(t)
	w.apply(base)
	w.await("demo", "Ready", is("Ready", "True"))
	w.mu.Lock()
	w.refuse = "log.retention.ms"
	w.mu.Unlock()
	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Config = map[string]string{"log.retention.ms": "5"} })
	c := w.await("demo", "held back", is("Stalled", "True"))
	require.Equal(t, "SettingsRefused", c.Status.HeldBack[0].Reason)
	require.Contains(t, c.Status.HeldBack[0].Message, "no such luck")
	require.Less(t, c.Status.AcceptedGeneration, c.Generation)
	w.edit("demo", func(c *v1alpha1.KRaftCluster) { c.Spec.Config = map[string]string{"log.retention.bytes": "5"} })
	c = w.await("demo", "mended", is("Ready", "True"))
	require.Equal(t, c.Generation, c.Status.AcceptedGeneration)
	require.Equal(t, map[string]string{"log.retention.bytes": "5"}, c.Status.DynamicConfig.Applied)
}
