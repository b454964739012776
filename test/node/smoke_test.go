// Package node_test runs whole clusters of real nodes with real clients, without Kubernetes.
package node_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kraft-dev/kraft-operator/test/cluster"
	"github.com/kraft-dev/kraft-operator/test/e2e/load"
)

// layouts are the ways in which roles are spread.
var layouts = map[string]cluster.Spec{
	"3+3":            {Controllers: 3, Brokers: 3},
	"three combined": {Controllers: 3},
	"one combined":   {Controllers: 1},
}

func replication(s cluster.Spec) int16 {
	if s.Brokers == 0 {
		return int16(min(3, s.Controllers))
	}
	return int16(min(3, s.Brokers))
}

func TestProduceAndConsume(t *testing.T) {
	for name, spec := range layouts {
		t.Run(name, func(t *testing.T) {
			c := cluster.Start(t, spec)
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			seeds := kgo.SeedBrokers(c.Bootstrap()...)
			require.NoError(t, load.EnsureTopic(ctx, "t", 6, replication(spec), seeds))
			var l load.Ledger
			require.NoError(t, load.Produce(ctx, &l, "go", "t", 0, 10_000, 0, 100, seeds))
			n, err := l.Failures()
			require.Zero(t, n, "%v", err)
			seen, done := l.Audit()
			require.NoError(t, load.ReadBack(ctx, "t", seen, seeds))
			require.Equal(t, load.Audit{Acked: 10_000}, done())
		})
	}
}
