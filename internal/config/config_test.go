package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// node is the least that a combined node needs.
func node(more ...string) map[string]string {
	p := map[string]string{
		"node.id": "1", "process.roles": "broker,controller", "controller.listener.names": "CONTROLLER",
		"listeners":                      "INTERNAL://:9092,CONTROLLER://:9093",
		"listener.security.protocol.map": "INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT",
		"inter.broker.listener.name":     "INTERNAL",
	}
	for i := 0; i < len(more); i += 2 {
		if p[more[i]] = more[i+1]; more[i+1] == "-" {
			delete(p, more[i])
		}
	}
	return p
}

func load(t *testing.T, more ...string) *Config {
	t.Helper()
	c, err := Load(node(more...))
	require.NoError(t, err)
	return c
}

func TestTableHoldsEverySettingOfTheFile(t *testing.T) {
	counts := map[string]int{}
	for line := range strings.SplitSeq(tsv, "\n") {
		scope, _, _ := strings.Cut(line, "\t")
		counts[scope]++
	}
	require.Len(t, slices.Collect(TopicKeys()), counts["topic"])
	require.Len(t, slices.Collect(GroupKeys()), counts["group"])
	kafka, dynamic := 0, 0
	for k := range NodeKeys() {
		d, ok := Lookup(k)
		require.True(t, ok)
		if !d.Own {
			kafka++
		}
		if d.Dynamic != ReadOnly {
			dynamic++
		}
	}
	throttles := 3 // dynamic settings that the file doesn't list with the node's
	require.Equal(t, counts["node"]+len(extra)+throttles, kafka)
	require.Equal(t, counts["dynamic"], dynamic)
	t.Logf("node=%d topic=%d group=%d dynamic=%d", counts["node"], counts["topic"], counts["group"], dynamic)
}

// Every default passes its own rule, and every synonym is a node setting.
func TestDefaultsPassTheirOwnRules(t *testing.T) {
	for _, defs := range []map[string]*Def{table().node, table().topic, table().group} {
		for name, d := range defs {
			if !d.Null && d.Default != "" {
				require.NoError(t, d.Check(d.Default), name)
			}
			for _, s := range d.Synonyms {
				_, ok := Lookup(s)
				require.True(t, ok, "%s falls back to %s", name, s)
			}
		}
	}
}

// Where both have one, a topic's default is the node's.
func TestTopicDefaultsAreTheNodes(t *testing.T) {
	r := &Resolver{Static: load(t)}
	for name, d := range table().topic {
		if !d.Internal {
			require.Equal(t, d.Default, r.TopicDefault(name), name)
		}
	}
}

func TestLoadRefusesWithPropertyValueAndWayOut(t *testing.T) {
	for _, tc := range []struct{ name, key, value, want string }{
		{"a number below its range", "log.retention.check.interval.ms", "0", "property log.retention.check.interval.ms: value 0: must be in [1,...]"},
		{"a number above its range", "compression.zstd.level", "23", "property compression.zstd.level: value 23: must be in [-131072,...,22]"},
		{"text for a number", "num.partitions", "many", "property num.partitions: value many: must be a number of type INT"},
		{"a number beyond its type", "default.replication.factor", "3000000000", "must be a number of type INT"},
		{"no boolean", "auto.create.topics.enable", "yes", "property auto.create.topics.enable: value yes: must be true or false"},
		{"none of the choices", "compression.type", "brotli", "must be one of uncompressed, zstd, lz4, snappy, gzip, producer"},
		{"a typo", "log.retention.mss", "1", "unknown property log.retention.mss: did you mean log.retention.ms?"},
		{"a key like nothing", "xyzzy", "1", "unknown property xyzzy: remove it"},
		{"a role that isn't one", "process.roles", "broker,zookeeper", `has "zookeeper": each must be one of broker, controller`},
		{"a role twice", "process.roles", "broker,broker", `has "broker" twice`},
		{"no node id", "node.id", "-", "property node.id: is not set"},
		{"another broker.id", "broker.id", "2", "property broker.id: value 2: must be the same as node.id, 1"},
		{"a Java class", "authorizer.class.name", "org.apache.kafka.metadata.authorizer.StandardAuthorizer", "Java classes can't be loaded here: remove it"},
		{"tiered storage", "remote.log.storage.system.enable", "true", "tiered storage is not supported"},
		{"heartbeats slower than sessions", "broker.heartbeat.interval.ms", "9000", "must be less than broker.session.timeout.ms, 9000"},
		{"a cluster id that isn't one", "kraft.cluster.id", "demo", "property kraft.cluster.id: value demo: uuid"},
		{"a voter without a directory id", "kraft.initial.controllers", "1@h:9093", `"1@h:9093" is not id@host:port:directoryId`},
		{"a bootstrap server without a port", "controller.quorum.bootstrap.servers", "h", `property controller.quorum.bootstrap.servers: value h: "h" is not host:port`},
		{"voters of a bad form", "controller.quorum.voters", "h:9093", `"h:9093" is not id@host:port`},
		{"an HTTP port of 0", "kraft.http.listener", "0.0.0.0:0", "port"},
		{"a password is hidden", "ssl.key.password", "secret", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := Load(node(tc.key, tc.value))
			if tc.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tc.want)
			require.NotContains(t, err.Error(), "\n")
		})
	}
	_, err := Load(node("xyzzy", "1"))
	require.ErrorIs(t, err, ErrUnknownKey)
	for _, k := range []string{"listener.name.internal.ssl.keystore.location", "rsm.config.x", "super.users", "confluent.license"} {
		require.True(t, Known(k), k)
		load(t, k, "x")
	}
	require.False(t, Known("listener.name."))
}

func TestListeners(t *testing.T) {
	for _, tc := range []struct {
		name string
		more []string
		want string // error
	}{
		{"a combined node", nil, ""},
		{"a lone controller without a map", []string{"process.roles", "controller", "listeners", "CONTROLLER://:9093", "listener.security.protocol.map", "-", "inter.broker.listener.name", "-"}, ""},
		{"a lone broker", []string{"process.roles", "broker", "listeners", "INTERNAL://h:9092"}, ""},
		{"port 0 twice", []string{"listeners", "INTERNAL://127.0.0.1:0,CONTROLLER://127.0.0.1:0"}, ""},
		{"names of lower case", []string{"listeners", "internal://:9092,controller://:9093"}, ""},
		{"an IPv6 host", []string{"listeners", "INTERNAL://[::1]:9092,CONTROLLER://:9093"}, ""},
		{"advertised leaves the controller out", []string{"advertised.listeners", "INTERNAL://a.example:19092"}, ""},
		{"no controller listener names", []string{"controller.listener.names", ""}, "property controller.listener.names: is not set"},
		{"a broker listens as a controller", []string{"process.roles", "broker"}, "CONTROLLER is in controller.listener.names, and this node is no controller: remove it"},
		{"a controller listens as a broker", []string{"process.roles", "controller"}, "INTERNAL is not in controller.listener.names, and this node is no broker: remove it"},
		{"a controller without its listener", []string{"listeners", "INTERNAL://:9092"}, "must have one of controller.listener.names, CONTROLLER"},
		{"no listener at all", []string{"listeners", ""}, "must have at least one listener"},
		{"a name twice", []string{"listeners", "INTERNAL://:1,INTERNAL://:2"}, "listener name INTERNAL is there twice"},
		{"a port twice", []string{"listeners", "INTERNAL://:9092,CONTROLLER://:9092"}, "port 9092 is there twice"},
		{"a port beyond 65535", []string{"listeners", "INTERNAL://:65536,CONTROLLER://:9093"}, `port "65536": must be in [0,...,65535]`},
		{"no URL", []string{"listeners", "9092"}, `"9092" is not NAME://host:port`},
		{"a name without protocol", []string{"listeners", "X://:1,CONTROLLER://:9093"}, "X is not in listener.security.protocol.map: add X:PLAINTEXT"},
		{"a protocol that isn't one", []string{"listener.security.protocol.map", "INTERNAL:TLS"}, "protocol must be PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL"},
		{"a protocol not served", []string{"listener.security.protocol.map", "INTERNAL:SSL,CONTROLLER:PLAINTEXT"}, "listener INTERNAL has security protocol SSL: only PLAINTEXT is supported"},
		{"advertised everywhere", []string{"advertised.listeners", "INTERNAL://0.0.0.0:9092"}, "INTERNAL can't be reached at 0.0.0.0"},
		{"advertised but not bound", []string{"advertised.listeners", "EXTERNAL://h:9092", "listener.security.protocol.map", "INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT,EXTERNAL:PLAINTEXT"}, "EXTERNAL is not in listeners"},
		{"inter broker by another name", []string{"inter.broker.listener.name", "OTHER"}, "OTHER is not among the broker's advertised listeners"},
		{"inter broker by the controller's", []string{"inter.broker.listener.name", "CONTROLLER"}, "CONTROLLER is not among the broker's advertised listeners"},
		{"inter broker by default", []string{"inter.broker.listener.name", "-"}, "PLAINTEXT is not among the broker's advertised listeners: set inter.broker.listener.name"},
		{"inter broker twice", []string{"security.inter.broker.protocol", "PLAINTEXT"}, "only one of it and inter.broker.listener.name"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c, err := Load(node(tc.more...))
			if tc.want != "" {
				require.ErrorContains(t, err, tc.want)
				return
			}
			require.NoError(t, err)
			s, err := c.Listeners()
			require.NoError(t, err)
			for _, l := range s.Bind {
				require.Equal(t, "PLAINTEXT", l.Protocol)
				require.Equal(t, strings.ToUpper(l.Name), l.Name)
			}
		})
	}
	s, err := load(t, "advertised.listeners", "INTERNAL://a.example:19092").Listeners()
	require.NoError(t, err)
	require.Equal(t, []Listener{{"INTERNAL", "a.example", 19092, "PLAINTEXT"}}, s.BrokerAdvertised())
	require.Equal(t, []Listener{{"CONTROLLER", "", 9093, "PLAINTEXT"}}, s.ControllerAdvertised())
	require.Equal(t, "INTERNAL", s.InterBroker)
}

func TestOwnedSettingsNameTheirField(t *testing.T) {
	for key, want := range map[string]string{"listeners": "spec.listeners", "controller.quorum.voters": "spec.quorum.voters",
		"kraft.routes": "", "broker.rack": "", "log.dirs": "spec.brokers.storage or spec.controllers.storage"} {
		field, ok := Owned(key)
		require.True(t, ok, key)
		require.Equal(t, want, field, key)
	}
	for _, key := range []string{"min.insync.replicas", "controller.quorum.fetch.timeout.ms", "no.such.key"} {
		_, ok := Owned(key)
		require.False(t, ok, key)
	}
	for key := range owned {
		_, ok := Lookup(key)
		require.True(t, ok, key)
	}
}

func TestExpand(t *testing.T) {
	env := map[string]string{"HOST": "h1", "NEST": "${env:HOST}", "EMPTY": ""}
	lookup := func(n string) (string, bool) { v, ok := env[n]; return v, ok }
	got, err := Expand(map[string]string{"a": "x://${env:HOST}:1,${env:HOST}${env:EMPTY}", "b": "${env:NEST}", "c": "${file:/x:y} $HOME"}, lookup)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"a": "x://h1:1,h1", "b": "${env:HOST}", "c": "${file:/x:y} $HOME"}, got)
	_, err = Expand(map[string]string{"broker.rack": "${env:ZONE}"}, lookup)
	require.EqualError(t, err, "property broker.rack: environment variable ZONE is not set: set it, or write the value itself")
	_, err = Expand(map[string]string{"a": "${env:HOST"}, lookup)
	require.ErrorContains(t, err, "is not closed by }")
}

func TestValidateTopicSpeaksKafka(t *testing.T) {
	for _, tc := range []struct{ key, value, want string }{
		{"retention.ms", "-1", ""},
		{"retention.ms", " 5 ", ""},
		{"retention.ms", "-2", "Invalid value -2 for configuration retention.ms: Value must be at least -1"},
		{"retention.ms", "soon", "Invalid value soon for configuration retention.ms: Not a number of type LONG"},
		{"min.cleanable.dirty.ratio", "1.5", "Invalid value 1.5 for configuration min.cleanable.dirty.ratio: Value must be no more than 1"},
		{"cleanup.policy", "compact,delete", ""},
		{"cleanup.policy", "shred", "Invalid value shred for configuration cleanup.policy: String must be one of: compact, delete"},
		{"compression.gzip.level", "-1", ""},
		{"compression.gzip.level", "0", "Invalid value 0 for configuration compression.gzip.level: Value must be at least 1"},
		{"preallocate", "TRUE", ""},
		{"preallocate", "1", "Invalid value 1 for configuration preallocate: Expected value to be either true or false"},
		{"retention.mss", "1", "Unknown topic config name: retention.mss (did you mean retention.ms?)"},
		{"segment.bytes", "1048575", "Invalid value 1048575 for configuration segment.bytes: Value must be at least 1048576"},
		{"leader.replication.throttled.replicas", "0:1,1:2", ""},
		{"leader.replication.throttled.replicas", "*", ""},
		{"leader.replication.throttled.replicas", "0", "must be the literal '*'"},
		{"remote.storage.enable", "true", "Tiered Storage functionality is disabled"},
		{"min.compaction.lag.ms", "9", ""},
	} {
		t.Run(tc.key+"="+tc.value, func(t *testing.T) {
			err := ValidateTopic(map[string]string{tc.key: tc.value})
			if tc.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, errors.New(KafkaMessage(err)), tc.want)
		})
	}
	err := ValidateTopic(map[string]string{"min.compaction.lag.ms": "9", "max.compaction.lag.ms": "8"})
	require.ErrorContains(t, err, "must not be less than min.compaction.lag.ms, 9")
	require.NoError(t, ValidateGroup(map[string]string{"share.auto.offset.reset": "by_duration:PT1H"}))
	require.Error(t, ValidateGroup(map[string]string{"share.auto.offset.reset": "yesterday"}))
	require.ErrorIs(t, ValidateGroup(map[string]string{"x": ""}), ErrUnknownKey)
}

func TestValidateDynamic(t *testing.T) {
	require.NoError(t, ValidateDynamic(map[string]string{"log.retention.ms": "1", "some.plugin": "x"}, false))
	require.NoError(t, ValidateDynamic(map[string]string{"cordoned.log.dirs": "/a", "follower.replication.throttled.rate": "10"}, true))
	require.ErrorContains(t, ValidateDynamic(map[string]string{"cordoned.log.dirs": "/a"}, false), "at default cluster level, broker id must be specified")
	require.ErrorContains(t, ValidateDynamic(map[string]string{"num.partitions": "3"}, true), "Cannot update these configs dynamically")
	require.Error(t, ValidateDynamic(map[string]string{"log.retention.ms": "x"}, false))
}

func TestResolverTakesTheNarrowestValue(t *testing.T) {
	r := &Resolver{Static: load(t, "log.retention.hours", "24", "log.segment.bytes", "2097152", "ssl.key.password", "p")}
	require.Equal(t, "86400000", r.TopicValue(nil, RetentionMs))
	require.Equal(t, "2097152", r.TopicValue(nil, SegmentBytes))
	r.Default = map[string]string{"log.retention.ms": "5000", "log.segment.bytes": "3145728"}
	require.Equal(t, "5000", r.TopicValue(nil, RetentionMs), "ms counts before hours")
	r.Broker = map[string]string{"log.segment.bytes": "4194304"}
	require.EqualValues(t, 4194304, r.Topic(nil).SegmentBytes)
	overrides := map[string]string{"segment.bytes": "1048576", "cleanup.policy": "compact,delete"}
	require.EqualValues(t, 1048576, r.Topic(overrides).SegmentBytes)
	require.True(t, r.Topic(overrides).Compact)

	entries := map[string]Entry{}
	for _, e := range r.DescribeTopic(overrides) {
		entries[e.Name] = e
	}
	text := func(syns []Synonym) (out []string) {
		for _, s := range syns {
			v := "null"
			if s.Value != nil {
				v = *s.Value
			}
			out = append(out, fmt.Sprintf("%d:%s=%s", s.Source, s.Name, v))
		}
		return out
	}
	require.Equal(t, []string{"1:segment.bytes=1048576", "2:log.segment.bytes=4194304", "3:log.segment.bytes=3145728",
		"4:log.segment.bytes=2097152", "5:log.segment.bytes=1073741824"}, text(entries["segment.bytes"].Synonyms))
	require.Equal(t, SourceTopic, entries["segment.bytes"].Source)
	require.Equal(t, SourceDynamicDefaultBroker, entries["retention.ms"].Source)
	require.Equal(t, SourceDefault, entries["retention.bytes"].Source)
	require.NotContains(t, entries, "internal.segment.bytes")

	entries = map[string]Entry{}
	for _, e := range r.DescribeBroker() {
		entries[e.Name] = e
	}
	require.Nil(t, entries["ssl.key.password"].Value)
	require.True(t, entries["ssl.key.password"].Sensitive)
	require.True(t, entries["node.id"].ReadOnly)
	require.Equal(t, SourceStaticBroker, entries["node.id"].Source)
	require.Equal(t, "4194304", *entries["log.segment.bytes"].Value)
	require.False(t, entries["log.segment.bytes"].ReadOnly)
	require.Nil(t, entries["advertised.listeners"].Value)
	require.Len(t, r.DescribeDynamicDefault(), 2)
	require.Len(t, r.DescribeGroup(map[string]string{"consumer.session.timeout.ms": "50000"}), len(table().groupNames))
}

func TestTopicSettingsDefaults(t *testing.T) {
	s := (&Resolver{Static: load(t)}).Topic(nil)
	require.True(t, s.Delete)
	require.False(t, s.Compact)
	require.EqualValues(t, 604800000, s.RetentionMs)
	require.EqualValues(t, -1, s.RetentionBytes)
	require.EqualValues(t, 1<<30, s.SegmentBytes)
	require.EqualValues(t, 1048588, s.MaxMessageBytes)
	require.EqualValues(t, 1, s.MinInsyncReplicas)
	require.Equal(t, "producer", s.CompressionType)
	require.Equal(t, 0.5, s.MinCleanableDirtyRatio)
}

func TestQuorumSettings(t *testing.T) {
	const dirs = "1@c1.svc:9093:AAAAAAAAQACAAAAAAAAAyA,2@[::1]:9093:BBBBBBBBQACAAAAAAAAAyA"
	c := load(t, "kraft.cluster.id", "MkU3OEVBNTcwNTJENDM2Qg", "kraft.initial.controllers", dirs, "kraft.routes", "2@10.0.0.2:9093")
	cs, err := c.InitialControllers()
	require.NoError(t, err)
	require.Len(t, cs, 2)
	require.Equal(t, dirs, cs[0].String()+","+cs[1].String())
	require.Equal(t, Live{FormationPermit: true, Routes: []Address{{2, "10.0.0.2", 9093}}}, c.Live())
	live, err := ParseLive([]byte("kraft.formation.permit=false\n"), c.Live())
	require.NoError(t, err)
	require.False(t, live.FormationPermit)
	require.Len(t, live.Routes, 1)
	for file, want := range map[string]string{
		"num.partitions=3":             "property num.partitions: is not live",
		"kraft.formation.permit=maybe": "must be true or false",
		"kraft.routes=x":               `"x" is not id@host:port`,
		"kraft.routes=1@h:1,1@h:2":     "node 1 is there twice",
	} {
		got, err := ParseLive([]byte(file), live)
		require.ErrorContains(t, err, want)
		require.Equal(t, live, got)
	}
	for _, bad := range []string{
		"1@c1:9093:AAAAAAAAAAAAAAAAAAAAAQ", "1@c:1:AAAAAAAAQACAAAAAAAAAyA,1@d:1:BBBBBBBBQACAAAAAAAAAyA", "-1@c:1:AAAAAAAAQACAAAAAAAAAyA", "1@:1:AAAAAAAAQACAAAAAAAAAyA",
	} {
		_, err := ParseInitialControllers(bad)
		require.Error(t, err, bad)
	}
}

func TestBrokerIDStandsForNodeID(t *testing.T) {
	c := load(t, "node.id", "-", "broker.id", "7")
	require.EqualValues(t, 7, c.NodeID())
	require.Equal(t, []string{"/tmp/kafka-logs"}, c.LogDirs())
	require.Equal(t, "/tmp/kafka-logs", c.MetadataLogDir())
	require.True(t, maps.Equal(c.Raw(), c.Raw()))
}
