package config

import (
	"slices"
	"strconv"
	"strings"
)

// TopicSettings is a topic's settings in force, read once for each change.
type TopicSettings struct {
	Compact, Delete         bool // cleanup.policy; neither keeps records for ever
	RetentionMs             int64
	RetentionBytes          int64
	SegmentBytes            int64
	SegmentMs               int64
	SegmentJitterMs         int64
	SegmentIndexBytes       int64
	IndexIntervalBytes      int32
	MaxMessageBytes         int32
	MinInsyncReplicas       int32
	UncleanLeaderElection   bool
	CompressionType         string // producer keeps the producer's
	LogAppendTime           bool   // message.timestamp.type
	TimestampBeforeMaxMs    int64
	TimestampAfterMaxMs     int64
	FlushMessages           int64
	FlushMs                 int64
	FileDeleteDelayMs       int64
	DeleteRetentionMs       int64
	MinCompactionLagMs      int64
	MaxCompactionLagMs      int64
	MinCleanableDirtyRatio  float64
	Preallocate             bool
	LeaderThrottledReplicas []string
	FollowerThrottled       []string
}

// Topic is the settings in force for a topic whose own settings are overrides.
func (r *Resolver) Topic(overrides map[string]string) TopicSettings {
	text := func(key string) string { return r.TopicValue(overrides, key) }
	num := func(key string) int64 { return parseInt64(text(key)) }
	is := func(key string) bool { return strings.EqualFold(text(key), "true") }
	policy := SplitList(text(CleanupPolicy))
	ratio, _ := strconv.ParseFloat(text(MinCleanableDirtyRatio), 64)
	return TopicSettings{
		Compact: slices.Contains(policy, "compact"), Delete: slices.Contains(policy, "delete"),
		RetentionMs: num(RetentionMs), RetentionBytes: num(RetentionBytes),
		SegmentBytes: num(SegmentBytes), SegmentMs: num(SegmentMs), SegmentJitterMs: num(SegmentJitterMs),
		SegmentIndexBytes: num(SegmentIndexBytes), IndexIntervalBytes: int32(num(IndexIntervalBytes)),
		MaxMessageBytes: int32(num(MaxMessageBytes)), MinInsyncReplicas: int32(num(MinInsyncReplicas)),
		UncleanLeaderElection: is(UncleanLeaderElection), CompressionType: text(CompressionType),
		LogAppendTime:        text(MessageTimestampType) == "LogAppendTime",
		TimestampBeforeMaxMs: num(TimestampBeforeMaxMs), TimestampAfterMaxMs: num(TimestampAfterMaxMs),
		FlushMessages: num(FlushMessages), FlushMs: num(FlushMs), FileDeleteDelayMs: num(FileDeleteDelayMs),
		DeleteRetentionMs: num(DeleteRetentionMs), MinCompactionLagMs: num(MinCompactionLagMs),
		MaxCompactionLagMs: num(MaxCompactionLagMs), MinCleanableDirtyRatio: ratio, Preallocate: is(Preallocate),
		LeaderThrottledReplicas: SplitList(text("leader.replication.throttled.replicas")),
		FollowerThrottled:       SplitList(text("follower.replication.throttled.replicas")),
	}
}
