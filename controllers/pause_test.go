package controllers

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestManyIdleClustersAreLookedAtLessOften, so that two hundred of them cost no more than fifty.
func TestManyIdleClustersAreLookedAtLessOften(t *testing.T) {
	for clusters, want := range map[int]time.Duration{1: 5 * time.Second, 50: 5 * time.Second, 51: 5100 * time.Millisecond, 100: 10 * time.Second, 1000: 20 * time.Second} {
		require.Equal(t, want, steadilyAmong(clusters), clusters)
	}
}
