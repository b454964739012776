//go:build interop

package interop

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/config"
	"github.com/kraft-dev/kraft-operator/test/cluster"
)

// TestKafkasToolsAgainstOurCluster walks through a topic's life with Apache Kafka's command line tools.
func TestKafkasToolsAgainstOurCluster(t *testing.T) {
	for layout, spec := range layouts {
		t.Run(layout, func(t *testing.T) {
			c := cluster.Start(t, spec)
			at := []string{"--bootstrap-server", bootstrap(c)}
			tool := func(class string, args ...string) string { return kafka(t, class, append(at, args...)...) }

			require.Contains(t, tool(topicCommand, "--create", "--topic", "orders", "--partitions", "4", "--replication-factor", "3", "--config", "retention.ms=3600000"), "Created topic orders.")
			require.Regexp(t, `(?m)^orders$`, tool(topicCommand, "--list"))
			described := tool(topicCommand, "--describe", "--topic", "orders")
			require.Regexp(t, `PartitionCount: 4\s+ReplicationFactor: 3\s+Configs: .*retention\.ms=3600000`, described)
			require.Len(t, regexp.MustCompile(`Partition: \d\s+Leader: \d+\s+Replicas: \d+,\d+,\d+\s+Isr: \d+,\d+,\d+`).FindAllString(described, -1), 4, described)
			tool(topicCommand, "--alter", "--topic", "orders", "--partitions", "6")
			require.Contains(t, tool(topicCommand, "--describe", "--topic", "orders"), "PartitionCount: 6")

			must(t, lines(), "java", javaArgs(t, consoleProducer, append(at, "--topic", "orders")...)...)
			requireRecords(t, "orders", tool(consoleConsumer, "--topic", "orders", "--from-beginning", "--group", "billing",
				"--max-messages", fmt.Sprint(records), "--timeout-ms", "60000"))
			group := tool(consumerGroupCommand, "--describe", "--group", "billing")
			require.Equal(t, records, sumColumn(t, group, "CURRENT-OFFSET"), group)
			require.Zero(t, sumColumn(t, group, "LAG"), group)
			require.Regexp(t, `(?m)^billing$`, tool(consumerGroupCommand, "--list"))
			require.Contains(t, tool(consumerGroupCommand, "--describe", "--group", "billing", "--state"), "Empty")
			tool(consumerGroupCommand, "--reset-offsets", "--group", "billing", "--topic", "orders", "--to-earliest", "--execute")
			require.Equal(t, records, sumColumn(t, tool(consumerGroupCommand, "--describe", "--group", "billing"), "LAG"))
			require.Contains(t, tool(consumerGroupCommand, "--delete", "--group", "billing"), "Deletion of requested consumer groups ('billing') was successful.")
			ends := 0
			for line := range strings.Lines(tool(getOffsetShell, "--topic", "orders")) {
				var p, end int
				_, err := fmt.Sscanf(line, "orders:%d:%d", &p, &end)
				require.NoError(t, err, line)
				ends += end
			}
			require.Equal(t, records, ends)

			tool(configCommand, "--alter", "--entity-type", "topics", "--entity-name", "orders", "--add-config", "max.message.bytes=100000")
			require.Contains(t, tool(configCommand, "--describe", "--entity-type", "topics", "--entity-name", "orders"), "max.message.bytes=100000")
			broker := fmt.Sprint(c.Brokers[0].ID)
			tool(configCommand, "--alter", "--entity-type", "brokers", "--entity-default", "--add-config", "log.retention.ms=7200000")
			require.Contains(t, tool(configCommand, "--describe", "--entity-type", "brokers", "--entity-name", broker, "--all"), "log.retention.ms=7200000")

			requireQuorum(t, c)
			for _, n := range c.Brokers {
				require.Contains(t, tool(apiVersionsCommand), fmt.Sprintf("%s (id: %d ", n.Addr(), n.ID))
				break
			}
			require.Contains(t, tool(logDirsCommand, "--describe", "--topic-list", "orders"), `"partition":"orders-0"`)
			require.Regexp(t, `metadata\.version\s.*FinalizedVersionLevel: 4\.\d-IV\d`, tool(featureCommand, "describe"))

			tool(topicCommand, "--delete", "--topic", "orders")
			require.NotRegexp(t, `(?m)^orders$`, tool(topicCommand, "--list"))
		})
	}
}

// sumColumn adds up a column of a table.
func sumColumn(t *testing.T, table, column string) (sum int) {
	t.Helper()
	at := -1
	for line := range strings.Lines(table) {
		fields := strings.Fields(line)
		for i, f := range fields {
			if f == column {
				at = i
			}
		}
		var n int
		if at >= 0 && len(fields) > at {
			if _, err := fmt.Sscan(fields[at], &n); err == nil {
				sum += n
			}
		}
	}
	require.GreaterOrEqual(t, at, 0, "no column %s:\n%s", column, table)
	return sum
}

// requireQuorum asks brokers and controllers for the quorum.
func requireQuorum(t *testing.T, c *cluster.Cluster) {
	t.Helper()
	var controllers []string
	for _, n := range c.Controllers {
		controllers = append(controllers, n.ControllerAddr())
	}
	for _, at := range [][]string{{"--bootstrap-server", bootstrap(c)}, {"--bootstrap-controller", strings.Join(controllers, ",")}} {
		status := kafka(t, quorumCommand, append(at, "describe", "--status")...)
		require.Regexp(t, `ClusterId:\s+`+regexp.QuoteMeta(c.ClusterID), status)
		require.Regexp(t, `LeaderId:\s+[012]\n`, status)
		require.Regexp(t, `HighWatermark:\s+\d+`, status)
		require.Equal(t, 3, strings.Count(status[strings.Index(status, "CurrentVoters"):strings.Index(status, "CurrentObservers")], `"directoryId"`), status)
		replication := kafka(t, quorumCommand, append(at, "describe", "--replication")...)
		require.Equal(t, 1, len(regexp.MustCompile(`\sLeader\s`).FindAllString(replication, -1)), replication)
		require.Equal(t, 2, strings.Count(replication, "Follower"), replication)
		require.Equal(t, len(c.Nodes())-3, strings.Count(replication, "Observer"), replication)
	}
}

// TestKafkaReadsOurDisks: DumpLogSegments reads the metadata log, the checkpoints, a partition with its indexes, and groups.
func TestKafkaReadsOurDisks(t *testing.T) {
	c := cluster.Start(t, cluster.Spec{Controllers: 3, Processes: true, Config: map[string]string{
		"log.index.interval.bytes": "200", config.MetadataSnapshotBytes: "2000"}})
	kafka(t, topicCommand, "--bootstrap-server", bootstrap(c), "--create", "--topic", "orders", "--partitions", "1", "--replication-factor", "3")
	checkpoints := func() []string {
		files, err := filepath.Glob(filepath.Join(c.Nodes()[0].Dir, "data", "__cluster_metadata-0", "*.checkpoint"))
		require.NoError(t, err)
		return files
	}
	before := len(checkpoints())
	kafka(t, topicCommand, "--bootstrap-server", bootstrap(c), "--create", "--topic", "wide", "--partitions", "40", "--replication-factor", "3")
	c.Eventually("a snapshot with both topics", time.Minute, func() bool { return len(checkpoints()) > before })
	for codec := range codecs {
		producers["franz-go"](t, c, "orders", codec)
	}
	kafka(t, consoleConsumer, "--bootstrap-server", bootstrap(c), "--topic", "orders", "--from-beginning", "--group", "billing", "--max-messages", "100", "--timeout-ms", "60000")
	for _, n := range c.Nodes() {
		require.NoError(t, n.Stop(), n.Log())
	}
	dir := filepath.Join(c.Nodes()[0].Dir, "data")
	dump := func(file string, args ...string) string {
		t.Helper()
		out := kafka(t, dumpLogSegments, append(args, "--files", filepath.Join(dir, file))...)
		require.NotContains(t, out, "isvalid: false")
		require.NotRegexp(t, `(?i)exception|could not|mismatch|corrupt`, out)
		return out
	}
	out := dump("__cluster_metadata-0/00000000000000000000.log", "--cluster-metadata-decoder")
	for _, want := range []string{"FEATURE_LEVEL_RECORD", "REGISTER_BROKER_RECORD", "REGISTER_CONTROLLER_RECORD", "BROKER_REGISTRATION_CHANGE_RECORD", `"type":"TOPIC_RECORD","version":0,"data":{"name":"orders"`, "PARTITION_RECORD", "LeaderChange"} {
		require.Contains(t, out, want)
	}
	require.Contains(t, dump("bootstrap.checkpoint", "--cluster-metadata-decoder"), "metadata.version")
	voters := dump("__cluster_metadata-0/00000000000000000000-0000000000.checkpoint", "--cluster-metadata-decoder")
	require.Contains(t, voters, "KRaftVoters")
	require.Contains(t, voters, "SnapshotFooter")

	newest := slices.Max(checkpoints())
	snapshot := dump(filepath.Join("__cluster_metadata-0", filepath.Base(newest)), "--cluster-metadata-decoder")
	for _, want := range []string{"SnapshotHeader", "KRaftVersion", "KRaftVoters", "FEATURE_LEVEL_RECORD", "REGISTER_BROKER_RECORD", "REGISTER_CONTROLLER_RECORD",
		`"type":"TOPIC_RECORD","version":0,"data":{"name":"orders"`, "PARTITION_RECORD", "SnapshotFooter"} {
		require.Contains(t, snapshot, want)
	}

	out = dump("orders-0/00000000000000000000.log", "--deep-iteration", "--print-data-log")
	require.Equal(t, records*len(codecs), strings.Count(out, "| offset: "), "records")
	for codec := range codecs {
		require.Contains(t, out, "compresscodec: "+codec)
	}
	dump("orders-0/00000000000000000000.index", "--index-sanity-check")
	require.NotContains(t, dump("orders-0/00000000000000000000.index", "--verify-index-only"), "Mismatches")
	dump("orders-0/00000000000000000000.timeindex", "--verify-index-only")

	groups := ""
	for p := range 3 {
		groups += dump(fmt.Sprintf("__consumer_offsets-%d/00000000000000000000.log", p), "--offsets-decoder")
	}
	require.Contains(t, groups, "billing")
	require.Contains(t, groups, "orders")
}
