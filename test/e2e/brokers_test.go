//go:build e2e

package e2e_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kraft-dev/kraft-operator/test/e2e/load"
)

// onEachBroker is one setting in force at every broker, as each says itself: value and source, by node id.
func onEachBroker(t testing.TB, key string) map[string]string {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(external(t)...))
	require.NoError(t, err)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var ids []int32
	for id, p := range pods(t) {
		if n, err := strconv.Atoi(id); err == nil && p.Pool == "brokers" {
			ids = append(ids, int32(n))
		}
	}
	all, err := kadm.NewClient(cl).DescribeBrokerConfigs(ctx, ids...)
	require.NoError(t, err)
	out := map[string]string{}
	for _, r := range all {
		require.NoError(t, r.Err)
		for _, c := range r.Configs {
			if c.Key == key {
				out[r.Name] = c.MaybeValue() + " " + c.Source.String()
			}
		}
	}
	return out
}

// settings are applied to running brokers and taken back again: no pod is restarted, nothing waits.
func settings(t *testing.T) {
	b := startLoad(t, "settings")
	before := pods(t)
	everywhere := func(want string) bool {
		values := slices.Collect(maps.Values(onEachBroker(t, "log.retention.ms")))
		return len(values) == 3 && !slices.ContainsFunc(values, func(v string) bool { return v != want })
	}
	began := time.Now()
	patch(t, `{"spec":{"config":{"log.retention.ms":"123456789"}}}`)
	eventually(t, "every broker has it", time.Minute, func() bool { return everywhere("123456789 DYNAMIC_DEFAULT_BROKER_CONFIG") })
	bench(t, "setting_applied_ms", float64(time.Since(began).Milliseconds()), 5000, "")
	eventually(t, "Ready", time.Minute, func() bool { return ready(t, cluster) })
	require.Contains(t, field(t, "{.status.dynamicConfig.applied}"), "123456789")
	awaitEvent(t, "without a restart: log.retention.ms=123456789")
	patch(t, `{"spec":{"config":{"log.retention.ms":null}}}`)
	eventually(t, "no broker has it", time.Minute, func() bool {
		return !strings.Contains(strings.Join(slices.Collect(maps.Values(onEachBroker(t, "log.retention.ms"))), " "), "DYNAMIC")
	})
	eventually(t, "Ready", time.Minute, func() bool { return ready(t, cluster) })
	require.Equal(t, before, pods(t), "nobody was restarted")
	b.finish("settings").bench(t, "settings")
}

// brokersBothWays: a fourth broker joins and nobody is rolled. It is held back from leaving while it holds a replica, says
// which, and leaves once it holds none.
func brokersBothWays(t *testing.T) {
	b := startLoad(t, "brokers")
	before := pods(t)
	k(t, "scale", "kraftcluster", cluster, "--replicas", "4")
	crashOperator(t)
	eventually(t, "four brokers and Ready", 2*time.Minute, func() bool {
		return len(pods(t)) == 7 && ready(t, cluster)
	})
	var fourth string
	for id := range pods(t) {
		if _, was := before[id]; !was {
			fourth = id
		}
	}
	cl, err := kgo.NewClient(b.opts...)
	require.NoError(t, err)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	require.NoError(t, load.EnsureTopic(ctx, "everywhere", 1, 4, b.opts...))

	k(t, "scale", "kraftcluster", cluster, "--replicas", "3")
	eventually(t, "fewer brokers are held back", 30*time.Second, func() bool {
		return strings.Contains(field(t, "{.status.heldBack}"), "everywhere-0")
	})
	require.Contains(t, field(t, "{.status.heldBack}"), "broker "+fourth+", the next to leave")
	require.Len(t, pods(t), 7, "nobody was removed")
	gone, err := kadm.NewClient(cl).DeleteTopics(ctx, "everywhere")
	require.NoError(t, errors.Join(err, gone.Error()))
	began := time.Now()
	eventually(t, "three brokers and Ready", 2*time.Minute, func() bool {
		return len(pods(t)) == 6 && ready(t, cluster)
	})
	bench(t, "broker_leaves_s", time.Since(began).Seconds(), 30, "")
	for id, p := range before {
		require.Equal(t, p.UID, pods(t)[id].UID, "node %s was restarted", id)
	}
	require.Contains(t, k(t, "get", "pvc", "-o", "name"), "broker-"+fourth, "claims stay")
	awaitEvent(t, "broker "+fourth+": it is empty and stopped, unregistered")
	b.tail()
	b.finish("brokers 3 to 4 to 3").bench(t, "brokers")
}
