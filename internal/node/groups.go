package node

import (
	"log/slog"
	"time"

	"github.com/kraft-dev/kraft-operator/internal/config"
	"github.com/kraft-dev/kraft-operator/internal/node/broker"
	"github.com/kraft-dev/kraft-operator/internal/node/group"
)

// newGroups makes the group coordinator over a broker's partitions of __consumer_offsets.
func newGroups(c *config.Config, logger *slog.Logger) func(*broker.Broker) broker.GroupHandler {
	settings := group.Settings{
		Group: group.Config{
			MinSessionTimeout:     ms(c.Int64(config.GroupMinSessionTimeoutMs)),
			MaxSessionTimeout:     ms(c.Int64(config.GroupMaxSessionTimeoutMs)),
			InitialRebalanceDelay: ms(c.Int64(config.GroupInitialRebalanceDelayMs)),
			MaxSize:               c.Int(config.GroupMaxSize),
		},
		MaxMetadataBytes:  c.Int(config.OffsetMetadataMaxBytes),
		OffsetsRetention:  time.Duration(c.Int64(config.OffsetsRetentionMinutes)) * time.Minute,
		RetentionInterval: 10 * time.Minute, // offsets.retention.check.interval.ms's default
	}
	return func(b *broker.Broker) broker.GroupHandler {
		return group.NewCoordinator(settings, b.Offsets(), b.Offsets(), logger.With("component", "groups"))
	}
}
