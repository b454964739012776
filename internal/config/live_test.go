package config

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestWhichSettingsRunningNodesTake(t *testing.T) {
	for key, live := range map[string]bool{
		MinInsyncReplicas: true, MessageMaxBytes: true, "log.retention.ms": true, UncleanLeaderElection: true, NumReplicaFetchers: true,
		"log.retention.hours": false, NumPartitions: false, DefaultReplicationFactor: false, // Kafka reads them from the file alone
		MaxConnections: false, "metric.reporters": false, // our nodes do
		Listeners: false, "no.such.key": false,
	} {
		require.Equal(t, live, TakenLive(key, "1"), key)
	}
	require.False(t, TakenLive("log.retention.ms", "${env:RETENTION}"))
}
