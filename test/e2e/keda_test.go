//go:build e2e

package e2e_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kraft-dev/kraft-operator/test/e2e/load"
)

// TestKEDA gives the brokers to KEDA, deployed from its own manifests: its Kafka trigger, whose client is sarama, reads a group's backlog
// from the very brokers; the autoscaler that it makes, and KEDA itself when it is paused, move them by the scale subresource.
func TestKEDA(t *testing.T) {
	kubectl(t, "apply", "--server-side", "--force-conflicts", "-k", env(t, "KEDA_CONFIG"))
	for _, name := range []string{"keda-operator", "keda-metrics-apiserver"} {
		kubectl(t, "-n", "keda", "rollout", "status", "deployment/"+name, "--timeout=180s")
	}
	kustomizeInstall(t)
	applySample(t)
	before := pods(t)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, load.EnsureTopic(ctx, "orders", 3, 3, kgo.SeedBrokers(external(t)...)))
	require.Contains(t, inPod(t, "backlog", "produce", "--topic", "orders", "--records", "5000", "--bootstrap-server", cluster+"-bootstrap:9092"), "acked=5000")

	yaml := strings.NewReplacer("demo-bootstrap.default.svc", "demo-bootstrap."+namespace+".svc", `"100000"`, `"1000"`, "maxReplicaCount: 9", "maxReplicaCount: 5").
		Replace(sample(t, "scaledobject.yaml"))
	apply(t, yaml, "-n", namespace)
	asked := eventually(t, "the backlog asks for five brokers", 3*time.Minute, func() bool { return field(t, "{.spec.brokers.replicas}") == "5" })
	require.Contains(t, kubectl(t, "-n", namespace, "get", "hpa", "keda-hpa-demo-brokers", "-o", "jsonpath={.status.currentMetrics[*].external.metric.name}"), "kafka-orders")
	joined := eventually(t, "five brokers and Ready", 2*time.Minute, func() bool { return len(pods(t)) == 8 && ready(t, cluster) })
	for id, p := range before {
		require.Equal(t, p.UID, pods(t)[id].UID, "node %s was restarted", id)
	}

	k(t, "annotate", "scaledobject", "demo-brokers", "autoscaling.keda.sh/paused-replicas=3")
	left := eventually(t, "paused at three brokers, and Ready", 3*time.Minute, func() bool {
		return field(t, "{.spec.brokers.replicas}") == "3" && len(pods(t)) == 6 && ready(t, cluster)
	})
	for id, p := range before {
		require.Equal(t, p.UID, pods(t)[id].UID, "node %s was restarted", id)
	}
	t.Logf("asked for after %s, joined after %s, left after %s", asked.Round(time.Second), joined.Round(time.Second), left.Round(time.Second))
}
