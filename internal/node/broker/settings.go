package broker

import (
	"math"
	"strconv"
	"strings"

	"github.com/kraft-dev/kraft-operator/internal/config"
	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/node/broker/follow"
	"github.com/kraft-dev/kraft-operator/internal/node/broker/replica"
	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/storage/record"
)

// settings are the node's settings in force under one metadata image: the properties file and what was set dynamically.
type settings struct {
	resolver      *config.Resolver
	replica       replica.Settings
	fetchMaxBytes int32 // fetch.max.bytes
	autoCreate    bool  // auto.create.topics.enable
}

func newSettings(static *config.Config, node int32, img *metadata.Image) *settings {
	r := &config.Resolver{
		Static:  static,
		Default: img.Config(metadata.ResourceBroker, ""),
		Broker:  img.Config(metadata.ResourceBroker, strconv.Itoa(int(node))),
	}
	return &settings{
		resolver: r,
		replica: replica.Settings{
			LagMaxMs: r.Int64(config.ReplicaLagTimeMaxMs),
			Fetch: follow.Settings{
				MaxWaitMs: int32(r.Int(config.ReplicaFetchWaitMaxMs)), MinBytes: int32(r.Int(config.ReplicaFetchMinBytes)),
				PartitionMax: int32(r.Int(config.ReplicaFetchMaxBytes)), ResponseMax: int32(r.Int(config.ReplicaFetchResponseMaxBytes)),
				Backoff: ms(r.Int64(config.ReplicaFetchBackoffMs)), SocketTimeout: ms(r.Int64("replica.socket.timeout.ms")),
				FetchersByLeader: r.Int(config.NumReplicaFetchers),
			},
			CheckpointEvery: ms(r.Int64(config.HighWatermarkCheckpointMs)),
			RecoveryEvery:   ms(r.Int64(config.LogFlushCheckpointMs)),
			RetentionEvery:  ms(r.Int64(config.LogRetentionCheckMs)),
			DeleteDelay:     ms(r.Int64("log.segment.delete.delay.ms")),
			RecoveryThreads: r.Int("num.recovery.threads.per.data.dir"),
		},
		fetchMaxBytes: int32(r.Int(config.FetchMaxBytes)),
		autoCreate:    r.Bool(config.AutoCreateTopics),
	}
}

// topic is what a topic's settings mean: its own, then the node's.
func (s *settings) topic(img *metadata.Image, topic string) replica.TopicConfig {
	own := img.Config(metadata.ResourceTopic, topic)
	text := func(key string) string { return s.resolver.TopicValue(own, key) }
	num := func(key string) int64 {
		n, err := strconv.ParseInt(text(key), 10, 64)
		if err != nil { // refused when it was set; null means without limit
			return math.MaxInt64
		}
		return n
	}
	policies := config.SplitList(text(config.CleanupPolicy))
	c := replica.TopicConfig{
		MinISR:        int(num(config.MinInsyncReplicas)),
		FlushMessages: max(num(config.FlushMessages), 1),
		FlushMs:       num(config.FlushMs),
		Log: storage.LogConfig{
			SegmentBytes: num(config.SegmentBytes), SegmentMs: num(config.SegmentMs),
			IndexIntervalBytes: int32(num(config.IndexIntervalBytes)), IndexMaxBytes: int32(num(config.SegmentIndexBytes)),
			MaxMessageBytes: int32(num(config.MaxMessageBytes)), RetentionMs: num(config.RetentionMs),
			RetentionBytes: num(config.RetentionBytes), DeleteDelayMs: num(config.FileDeleteDelayMs),
			LogAppendTime:        text(config.MessageTimestampType) == "LogAppendTime",
			TimestampBeforeMaxMs: num(config.TimestampBeforeMaxMs), TimestampAfterMaxMs: num(config.TimestampAfterMaxMs),
			ProducerExpirationMs: s.resolver.Int64(config.ProducerIDExpirationMs),
			Compression:          codec(text(config.CompressionType)),
		},
	}
	for _, p := range policies {
		c.Log.Delete = c.Log.Delete || p == "delete"
		c.Log.Compact = c.Log.Compact || p == "compact"
	}
	return c
}

// codec is what compression.type makes of produced batches; nil keeps the producer's.
func codec(name string) *record.Codec {
	for n, c := range map[string]record.Codec{
		"uncompressed": record.None, "gzip": record.Gzip, "snappy": record.Snappy, "lz4": record.LZ4, "zstd": record.Zstd,
	} {
		if strings.EqualFold(name, n) {
			return &c
		}
	}
	return nil
}
