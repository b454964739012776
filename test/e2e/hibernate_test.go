//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/test/e2e/load"
)

// hibernate stops everything under load, and wakes it: records that wait in a client are acknowledged then, none is lost.
func hibernate(t *testing.T) {
	b := startLoad(t, "hibernated")
	b.flow()
	nodes, claims, leads := len(pods(t)), k(t, "get", "pvc", "-o", "name"), leader(t)
	services := k(t, "get", "services", "-o", "jsonpath={.items[*].spec.clusterIP}")
	took := sleep(t)
	bench(t, "hibernate_s", took.Seconds(), 60, "")
	awaitEvent(t, "active controller "+leads+": spec.hibernated")
	require.Empty(t, pods(t))
	require.Equal(t, claims, k(t, "get", "pvc", "-o", "name"), "claims stay")
	require.Equal(t, services, k(t, "get", "services", "-o", "jsonpath={.items[*].spec.clusterIP}"), "Services stay")
	require.Equal(t, "False", condition(t, cluster, "Available"))
	t.Logf("\n%s", k(t, "get", "kraftcluster", cluster, "-o", "wide"))

	bench(t, "wake_to_first_ack_s", wake(t, b).Seconds(), 10, "")
	backAgain(t, nodes)
	b.flow()
	b.tail()
	b.finish("hibernated and woken")
	require.Equal(t, "", field(t, "{.status.hibernation}"))
}

// sleep waits until the cluster rests.
func sleep(t testing.TB) time.Duration {
	t.Helper()
	patch(t, `{"spec":{"hibernated":true}}`)
	return eventually(t, "Hibernated", 3*time.Minute, func() bool {
		reason := field(t, `{.status.conditions[?(@.type=="Ready")].reason}`)
		return reason == "Hibernated" && ready(t, cluster) && len(pods(t)) == 0
	})
}

// wake returns the time until a client that tries all the time has its first acknowledgement.
func wake(t testing.TB, b *background) time.Duration {
	t.Helper()
	var ledger load.Ledger
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	began := time.Now()
	producer := fmt.Sprint("woken-", began.UnixMilli()) // another each time: the books know a record by its producer and number
	patch(t, `{"spec":{"hibernated":false}}`)
	wg.Go(func() {
		if err := load.Produce(ctx, &ledger, producer, b.topic, 0, 1, 0, 100, quick(b.opts)...); err != nil {
			t.Errorf("producer: %v", err)
		}
	})
	eventually(t, "the first acknowledgement", time.Minute, func() bool { return ledger.Total() > 0 })
	took := time.Since(began)
	t.Logf("first acknowledgement after %s; %s", took, strings.Join(strings.Fields(field(t, "{.status.quorum.votersReady} {.status.brokers.readyOfAll}")), " voters, brokers "))
	return took
}
