//go:build interop

package interop

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kraft-dev/kraft-operator/internal/storage/record"
	"github.com/kraft-dev/kraft-operator/test/cluster"
)

// records of each topic.
const records = 500

// codecs by Kafka's numbers, which stand in a batch's attributes.
var codecs = map[string]int{"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}

// lines are the records as text, one a line.
func lines() string {
	var b strings.Builder
	for i := range records {
		fmt.Fprintf(&b, "%d %s\n", i, strings.Repeat("x", 100))
	}
	return b.String()
}

// producers write the same records, each with its own library's framing of a codec.
var producers = map[string]func(t *testing.T, c *cluster.Cluster, topic, codec string){
	"franz-go": func(t *testing.T, c *cluster.Cluster, topic, codec string) {
		with := map[string]kgo.CompressionCodec{"none": kgo.NoCompression(), "gzip": kgo.GzipCompression(), "snappy": kgo.SnappyCompression(), "lz4": kgo.Lz4Compression(), "zstd": kgo.ZstdCompression()}
		cl := c.Client(kgo.ProducerBatchCompression(with[codec]), kgo.DefaultProduceTopic(topic), kgo.ProducerLinger(20*time.Millisecond))
		var rs []*kgo.Record
		for line := range strings.Lines(lines()) {
			rs = append(rs, &kgo.Record{Value: []byte(strings.TrimSpace(line))})
		}
		require.NoError(t, cl.ProduceSync(t.Context(), rs...).FirstErr())
	},
	"librdkafka-debian": func(t *testing.T, c *cluster.Cluster, topic, codec string) {
		must(t, lines(), "kcat", "-q", "-P", "-b", bootstrap(c), "-t", topic, "-z", codec, "-X", "linger.ms=20")
	},
	"librdkafka-pypi": func(t *testing.T, c *cluster.Cluster, topic, codec string) {
		must(t, "", cache(t, "confluent", "bin", "python"), "testdata/client.py", "produce", bootstrap(c), topic, codec, "0", fmt.Sprint(records))
	},
	"java": func(t *testing.T, c *cluster.Cluster, topic, codec string) {
		must(t, lines(), "java", javaArgs(t, consoleProducer, "--bootstrap-server", bootstrap(c), "--topic", topic, "--compression-codec", codec,
			"--command-property", "linger.ms=20")...)
	},
}

// TestEveryFamilyWithEveryCodec: each family writes a topic with each codec, and each family reads all of those topics.
func TestEveryFamilyWithEveryCodec(t *testing.T) {
	for layout, spec := range layouts {
		t.Run(layout, func(t *testing.T) {
			c := cluster.Start(t, spec)
			adm := kadm.NewClient(c.Client())
			var topics []string
			for family, produce := range producers {
				for codec := range codecs {
					topic := family + "." + codec
					_, err := adm.CreateTopic(t.Context(), 2, 3, nil, topic)
					require.NoError(t, err)
					topics = append(topics, topic)
					produce(t, c, topic, codec)
					requireCodec(t, c, topic, codecs[codec])
				}
			}
			t.Run("franz-go reads", func(t *testing.T) { readByFranz(t, c, topics) })
			t.Run("librdkafka of Debian reads", func(t *testing.T) {
				for _, topic := range topics {
					requireRecords(t, topic, must(t, "", "kcat", "-q", "-C", "-e", "-o", "beginning", "-b", bootstrap(c), "-t", topic, "-X", "check.crcs=true"))
				}
			})
			t.Run("librdkafka of PyPI reads", func(t *testing.T) {
				out := must(t, "", cache(t, "confluent", "bin", "python"), append([]string{"testdata/client.py", "consume", bootstrap(c)}, topics...)...)
				for _, topic := range topics {
					require.Contains(t, out, fmt.Sprintf("%s %d %d\n", topic, records, records))
				}
			})
			t.Run("java reads", func(t *testing.T) {
				out := kafka(t, consoleConsumer, "--bootstrap-server", bootstrap(c), "--include", `.*\..*`, "--from-beginning",
					"--max-messages", fmt.Sprint(records*len(topics)), "--timeout-ms", "60000", "--group", "java")
				require.Equal(t, records*len(topics), strings.Count(out, "\n"))
				seen := map[string]int{}
				for line := range strings.Lines(out) {
					seen[line]++
				}
				require.Len(t, seen, records)
				for line, n := range seen {
					require.Equal(t, len(topics), n, line)
				}
			})
		})
	}
}

func requireRecords(t *testing.T, topic, out string) {
	t.Helper()
	seen := map[string]bool{}
	for line := range strings.Lines(out) {
		require.False(t, seen[line], "%s: twice: %s", topic, line)
		seen[line] = true
	}
	require.Len(t, seen, records, topic)
}

func readByFranz(t *testing.T, c *cluster.Cluster, topics []string) {
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cl := c.Client(kgo.ConsumeTopics(topics...), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	seen := map[string]map[string]bool{}
	for n := 0; n < records*len(topics); {
		fs := cl.PollFetches(ctx)
		require.NoError(t, fs.Err0())
		fs.EachRecord(func(r *kgo.Record) {
			n++
			if seen[r.Topic] == nil {
				seen[r.Topic] = map[string]bool{}
			}
			seen[r.Topic][string(r.Value)] = true
		})
	}
	for _, topic := range topics {
		require.Len(t, seen[topic], records, topic)
	}
}

// requireCodec reads a topic's segments on the disks of all brokers: batches are compressed as the client was told. Clients leave one of a
// single record as it is where that is smaller.
func requireCodec(t *testing.T, c *cluster.Cluster, topic string, codec int) {
	t.Helper()
	batches := 0
	for _, n := range c.Brokers {
		segments, err := filepath.Glob(filepath.Join(n.Dir, "data", topic+"-*", "*.log"))
		require.NoError(t, err)
		for _, name := range segments {
			data, err := os.ReadFile(name)
			require.NoError(t, err)
			for r := bytes.Clone(data); len(r) > 0; {
				b, rest, err := record.Split(r)
				if err != nil {
					break // being written
				}
				r = rest
				if b.Count() > 5 || b.Compression() != 0 {
					require.EqualValues(t, codec, b.Compression(), "%s: batch at offset %d of %d records", name, b.BaseOffset(), b.Count())
					batches++
				}
			}
		}
	}
	require.Positive(t, batches)
}
