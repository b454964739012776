package node_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/storage/record"
	"github.com/kraft-dev/kraft-operator/test/cluster"
)

// TestInternalTopicsWaitForEnoughBrokers: with one broker of three, a group finds no coordinator and nothing is created; when the others
// come, the group works by itself and its topic has the replication factor that was asked for.
func TestInternalTopicsWaitForEnoughBrokers(t *testing.T) {
	t.Parallel()
	c := cluster.New(t, cluster.Spec{Controllers: 3, Brokers: 3})
	for _, n := range append(c.Controllers, c.Brokers[0]) {
		n.Start()
	}
	c.WaitReady()
	adm := admin(c)
	createTopic(t, adm, "t", 1, 1)
	m := join(t, c, "g", "t")
	c.Eventually("the coordinator is refused", patience, func() bool {
		return errors.Is(adm.FindGroupCoordinators(bounded(t, patience), "g")["g"].Err, kerr.CoordinatorNotAvailable)
	})
	_, err := topicOf(t, c.Brokers[0], "__consumer_offsets")
	require.ErrorIs(t, err, kerr.UnknownTopicOrPartition)

	for _, n := range c.Brokers[1:] {
		n.Start()
	}
	c.WaitReady()
	send(t, c.Client(), "t", 0, 10)
	caughtUp(t, c, m, 10, 10)
	waitISR(t, c, "__consumer_offsets")
	offsets, err := topicOf(t, c.Brokers[0], "__consumer_offsets")
	require.NoError(t, err)
	for _, p := range offsets.Partitions {
		require.Len(t, p.Replicas, 3)
	}
}

// metadataBatches reads the batches of a node's metadata log: the types of the records in each.
func metadataBatches(t *testing.T, n *cluster.Node) (batches [][]metadata.Record) {
	t.Helper()
	segments, err := filepath.Glob(filepath.Join(n.Dir, "data", "__cluster_metadata-0", "*.log"))
	require.NoError(t, err)
	require.NotEmpty(t, segments)
	for _, name := range segments {
		data, err := os.ReadFile(name)
		require.NoError(t, err)
		for len(data) > 0 {
			b, rest, err := record.Split(data)
			if err != nil {
				break // the end of what was written
			}
			data = rest
			if b.IsControl() {
				continue
			}
			var recs []metadata.Record
			for r, err := range b.Records(1 << 24) {
				require.NoError(t, err)
				rec, _, err := metadata.Decode(r.Value)
				require.NoError(t, err)
				recs = append(recs, rec)
			}
			batches = append(batches, recs)
		}
	}
	return batches
}

func TestOneCreateTopicsRequestIsOneCommit(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Spec{Controllers: 1})
	var names []string
	for i := range 50 {
		names = append(names, fmt.Sprintf("t-%02d", i))
	}
	r, err := admin(c).CreateTopics(bounded(t, patience), 2, 1, nil, names...)
	require.NoError(t, err)
	require.NoError(t, r.Error())
	require.Len(t, r, 50)
	var holding []int
	for _, batch := range metadataBatches(t, c.Controllers[0]) {
		topics, partitions := 0, 0
		for _, rec := range batch {
			switch rec.(type) {
			case *metadata.TopicRecord:
				topics++
			case *metadata.PartitionRecord:
				partitions++
			}
		}
		if topics > 0 {
			holding = append(holding, topics)
			require.Equal(t, 2*topics, partitions)
		}
	}
	require.Equal(t, []int{50}, holding, "topics in each batch of the metadata log that creates any")
}

// produceOnce sends one record to partition 0 without repeating it and returns the broker's error; it is repeated only if the broker
// doesn't know yet that it leads.
func produceOnce(t *testing.T, c *cluster.Cluster, topic string, acks int16, size int) (err error) {
	t.Helper()
	c.Eventually("the leader takes part", patience, func() bool {
		err = produceOnly(t, c, topic, acks, size)
		return !errors.Is(err, kerr.NotLeaderForPartition) && !errors.Is(err, kerr.UnknownTopicOrPartition)
	})
	return err
}

func produceOnly(t *testing.T, c *cluster.Cluster, topic string, acks int16, size int) error {
	t.Helper()
	cl, err := kgo.NewClient(kgo.SeedBrokers(c.Bootstrap()...), kgo.RequiredAcks(map[int16]kgo.Acks{0: kgo.NoAck(), 1: kgo.LeaderAck(), -1: kgo.AllISRAcks()}[acks]),
		kgo.DisableIdempotentWrite(), kgo.ProducerBatchCompression(kgo.NoCompression()), kgo.RecordRetries(0), kgo.ProducerBatchMaxBytes(16<<20), kgo.BrokerMaxWriteBytes(32<<20))
	require.NoError(t, err)
	defer cl.Close()
	return cl.ProduceSync(bounded(t, patience), &kgo.Record{Topic: topic, Partition: 0, Value: make([]byte, size)}).FirstErr()
}

func TestAcksAndMinInsyncReplicas(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Spec{Controllers: 1, Brokers: 3, Config: map[string]string{
		"broker.session.timeout.ms": "2000", "broker.heartbeat.interval.ms": "300",
	}})
	adm := admin(c)
	create(t, c, "t", 1, 3, "min.insync.replicas", "2")
	for _, acks := range []int16{-1, 1, 0} { // a leader that takes no part yet would drop an acks=0 record in silence
		require.NoError(t, produceOnce(t, c, "t", acks, 10))
	}
	c.Eventually("all three are on every replica: whoever leads may be killed", patience, func() bool {
		ends, err := adm.ListEndOffsets(bounded(t, patience), "t")
		return err == nil && ends["t"][0].Offset == 3
	})
	for _, n := range c.Brokers[1:] {
		n.Kill()
	}
	c.Eventually("the one that is left leads alone", patience, func() bool {
		topic, err := topicOf(t, c.Brokers[0], "t")
		return err == nil && len(topic.Partitions[0].ISR) == 1 && topic.Partitions[0].Leader == c.Brokers[0].ID
	})
	require.ErrorIs(t, produceOnce(t, c, "t", -1, 10), kerr.NotEnoughReplicas)
	require.NoError(t, produceOnce(t, c, "t", 1, 10), "acks=1 asks for no one else")
	for _, n := range c.Brokers[1:] {
		n.Start()
	}
	c.WaitReady()
	waitISR(t, c, "t")
	require.NoError(t, produceOnce(t, c, "t", -1, 10))
	ends, err := adm.ListEndOffsets(bounded(t, patience), "t")
	require.NoError(t, err)
	require.EqualValues(t, 5, ends["t"][0].Offset)
}

func TestTopicIsDeletedAndCreatedAgain(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Spec{Controllers: 3, Brokers: 3})
	adm := admin(c)
	folders := func() (found []string) {
		for _, n := range c.Brokers {
			list, err := filepath.Glob(filepath.Join(n.Dir, "data", "t-[0-9]"))
			require.NoError(t, err)
			found = append(found, list...)
		}
		return found
	}
	var ids [][16]byte
	for i := range 3 {
		create(t, c, "t", 4, 3)
		topic, err := topicOf(t, c.Brokers[0], "t")
		require.NoError(t, err)
		require.NotContains(t, ids, topic.TopicID)
		ids = append(ids, topic.TopicID)
		send(t, c.Client(), "t", 0, 100+i)
		ends, err := admin(c).ListEndOffsets(bounded(t, patience), "t")
		require.NoError(t, errors.Join(err, ends.Error()))
		var sum int64
		ends.Each(func(o kadm.ListedOffset) { sum += o.Offset })
		require.EqualValues(t, 100+i, sum, "a new topic begins empty")
		require.Len(t, folders(), 12)
		deleted, err := adm.DeleteTopics(bounded(t, patience), "t")
		require.NoError(t, errors.Join(err, deleted.Error()))
		c.Eventually("no folder of t-N is left", patience, func() bool { return len(folders()) == 0 })
	}
}

func TestPartitionsAreAdded(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Spec{Controllers: 3})
	adm := admin(c)
	create(t, c, "t", 1, 3)
	r, err := adm.UpdatePartitions(bounded(t, patience), 5, "t")
	require.NoError(t, errors.Join(err, r.Error()))
	c.Eventually("five partitions", patience, func() bool {
		for _, n := range c.Brokers {
			if topic, err := topicOf(t, n, "t"); err != nil || len(topic.Partitions) != 5 {
				return false
			}
		}
		return true
	})
	waitISR(t, c, "t")
	require.NoError(t, c.Client(kgo.RecordPartitioner(kgo.ManualPartitioner())).ProduceSync(bounded(t, patience),
		&kgo.Record{Topic: "t", Partition: 4, Value: []byte("x")}).FirstErr())
	waitISR(t, c, "t")
	fewer, err := adm.UpdatePartitions(bounded(t, patience), 2, "t")
	require.NoError(t, err)
	require.ErrorIs(t, fewer["t"].Err, kerr.InvalidPartitions)
}

// TestConfigsTakeEffectLive changes settings of a topic, of all brokers and of one.
func TestConfigsTakeEffectLive(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Spec{Controllers: 1, Brokers: 1})
	adm := admin(c)
	create(t, c, "t", 1, 1)
	require.NoError(t, produceOnce(t, c, "t", -1, 5000))
	set := func(change func(context.Context, []kadm.AlterConfig, ...string) (kadm.AlterConfigsResponses, error), op kadm.IncrementalOp, key, value string, names ...string) error {
		r, err := change(bounded(t, patience), []kadm.AlterConfig{{Op: op, Name: key, Value: &value}}, names...)
		require.NoError(t, err)
		require.Len(t, r, 1)
		return r[0].Err
	}
	brokers := func(ctx context.Context, cs []kadm.AlterConfig, _ ...string) (kadm.AlterConfigsResponses, error) {
		return adm.AlterBrokerConfigs(ctx, cs)
	}
	refused := func(why string) {
		t.Helper()
		c.Eventually(why, patience, func() bool { return errors.Is(produceOnce(t, c, "t", -1, 5000), kerr.MessageTooLarge) })
	}
	taken := func(why string) {
		t.Helper()
		c.Eventually(why, patience, func() bool { return produceOnce(t, c, "t", -1, 5000) == nil })
	}
	require.NoError(t, set(adm.AlterTopicConfigs, kadm.SetConfig, "max.message.bytes", "1000", "t"))
	refused("the topic's limit holds")
	require.NoError(t, set(adm.AlterTopicConfigs, kadm.DeleteConfig, "max.message.bytes", "", "t"))
	taken("the default holds again")
	require.NoError(t, set(brokers, kadm.SetConfig, "message.max.bytes", "1000"))
	refused("the cluster's limit holds")
	require.NoError(t, set(brokers, kadm.DeleteConfig, "message.max.bytes", ""))
	taken("the default holds once more")
	require.Error(t, set(adm.AlterTopicConfigs, kadm.SetConfig, "max.message.bytes", "many", "t"))
	require.Error(t, set(brokers, kadm.SetConfig, "log.dirs", "/tmp"))

	described, err := adm.DescribeTopicConfigs(bounded(t, patience), "t")
	require.NoError(t, err)
	require.NoError(t, described[0].Err)
	for _, cfg := range described[0].Configs {
		if cfg.Key == "max.message.bytes" {
			require.Equal(t, "1048588", cfg.MaybeValue())
			require.Equal(t, kmsg.ConfigSourceDefaultConfig, cfg.Source)
		}
	}
}

// files lists the regular files below a folder.
func files(t *testing.T, dir string) (out []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			out = append(out, path)
		}
		return err
	}))
	return out
}
