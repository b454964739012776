package controller

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
)

func TestCreateTopicsRefusals(t *testing.T) {
	q := newQuorum(t, 1, 1)
	c := q.start(1)
	epochs := q.join(c, 101, 102)
	q.register(c, 103, 1) // fenced
	q.create(c, newTopic("a.b", 1, 1))
	end := q.end()
	both := assigned("x", []int32{101})
	both.Topics[0].ReplicationFactor = 1
	counted := assigned("x", []int32{101})
	counted.Topics[0].NumPartitions = 1
	gap := assigned("x", []int32{101}, []int32{102})
	gap.Topics[0].ReplicaAssignment[1].Partition = 2
	twice := assigned("x", []int32{101}, []int32{102})
	twice.Topics[0].ReplicaAssignment[1].Partition = 0
	null := newTopic("x", 1, 1)
	null.Topics[0].Configs = []kmsg.CreateTopicsRequestTopicConfig{{Name: "retention.ms"}}
	for name, tc := range map[string]struct {
		req  *kmsg.CreateTopicsRequest
		want *kerr.Error
		text string
	}{
		"empty name":          {newTopic("", 1, 1), kerr.InvalidTopicException, "Topic name is invalid: the empty string is not allowed"},
		"two dots":            {newTopic("..", 1, 1), kerr.InvalidTopicException, "Topic name is invalid: '.' or '..' is not allowed"},
		"bad character":       {newTopic("a b", 1, 1), kerr.InvalidTopicException, "contains one or more characters other than ASCII alphanumerics"},
		"too long":            {newTopic(strings.Repeat("x", 250), 1, 1), kerr.InvalidTopicException, "is longer than the max allowed length 249"},
		"exists":              {newTopic("a.b", 1, 1), kerr.TopicAlreadyExists, "Topic 'a.b' already exists."},
		"collides":            {newTopic("a_b", 1, 1), kerr.InvalidTopicException, "Topic 'a_b' collides with existing topic: a.b"},
		"the log's own":       {newTopic("__cluster_metadata", 1, 1), kerr.InvalidRequest, "Creation of internal topic __cluster_metadata is prohibited."},
		"no partitions":       {newTopic("x", 0, 1), kerr.InvalidPartitions, "Number of partitions was set to an invalid non-positive value."},
		"no replicas":         {newTopic("x", 1, 0), kerr.InvalidReplicationFactor, "Replication factor must be larger than 0, or -1 to use the default value."},
		"too many replicas":   {newTopic("x", 1, 4), kerr.InvalidReplicationFactor, "Unable to replicate the partition 4 time(s): The target replication factor of 4 cannot be reached because only 3 broker(s) are registered."},
		"too many partitions": {newTopic("x", 10_001, 1), kerr.PolicyViolation, "Excessively large number of partitions per request."},
		"both ways":           {both, kerr.InvalidRequest, "replication factor was not set to -1"},
		"counted and listed":  {counted, kerr.InvalidRequest, "numPartitions was not set to -1"},
		"a gap":               {gap, kerr.InvalidReplicaAssignment, "partitions should be a consecutive 0-based integer sequence"},
		"a partition twice":   {twice, kerr.InvalidReplicaAssignment, "Found multiple manual partition assignments for partition 0"},
		"an unknown broker":   {assigned("x", []int32{9}), kerr.InvalidReplicaAssignment, "includes broker 9, but no such broker is registered."},
		"a broker twice":      {assigned("x", []int32{101, 101}), kerr.InvalidReplicaAssignment, "includes the broker 101 more than once."},
		"uneven":              {assigned("x", []int32{101}, []int32{101, 102}), kerr.InvalidReplicaAssignment, "not consistent with previous partitions, which have 1 replica(s)."},
		"empty list":          {assigned("x", nil), kerr.InvalidReplicaAssignment, "includes an empty replica list."},
		"all of them fenced":  {assigned("x", []int32{103}), kerr.InvalidReplicaAssignment, "are fenced or in controlled shutdown."},
		"unknown config":      {newTopic("x", 1, 1, "retention.mz", "1"), kerr.InvalidConfig, "Unknown topic config name: retention.mz"},
		"bad config value":    {newTopic("x", 1, 1, "retention.ms", "-2"), kerr.InvalidConfig, "Invalid value -2 for configuration retention.ms: Value must be at least -1"},
		"null config":         {null, kerr.InvalidConfig, "Null value not supported for topic configs: retention.ms"},
	} {
		t.Run(name, func(t *testing.T) {
			resp := do[*kmsg.CreateTopicsResponse](q, c, tc.req)
			require.Len(t, resp.Topics, 1)
			require.Equal(t, tc.want.Code, resp.Topics[0].ErrorCode, strOf(resp.Topics[0].ErrorMessage))
			require.Contains(t, strOf(resp.Topics[0].ErrorMessage), tc.text)
		})
	}
	require.Equal(t, end, q.end(), "refusals write nothing")
	_ = epochs
}

func TestCreateTopicsIsOneCommit(t *testing.T) {
	q := newQuorum(t, 1, 1, 2)
	c := q.start(1)
	q.join(c, 101, 102, 103)
	batches := len(q.batches)
	req := newTopic("a", 6, 3, "retention.ms", "60000")
	req.Topics = append(req.Topics, newTopic("b", -1, -1).Topics[0], newTopic("bad name", 1, 1).Topics[0], newTopic("d", 1, 1).Topics[0], newTopic("d", 1, 1).Topics[0])
	resp := do[*kmsg.CreateTopicsResponse](q, c, req)
	require.Equal(t, batches+1, len(q.batches))
	byName := map[string]kmsg.CreateTopicsResponseTopic{}
	for _, rt := range resp.Topics {
		byName[rt.Topic] = rt
	}
	require.Len(t, resp.Topics, 4, "a name given twice is answered once")
	require.Zero(t, byName["a"].ErrorCode)
	require.EqualValues(t, 6, byName["a"].NumPartitions)
	require.EqualValues(t, 3, byName["a"].ReplicationFactor)
	require.EqualValues(t, 1, byName["b"].NumPartitions, "num.partitions")
	require.EqualValues(t, 1, byName["b"].ReplicationFactor, "default.replication.factor")
	require.Equal(t, kerr.InvalidTopicException.Code, byName["bad name"].ErrorCode)
	require.Equal(t, kerr.InvalidRequest.Code, byName["d"].ErrorCode)
	configs := map[string]kmsg.CreateTopicsResponseTopicConfig{}
	for _, rc := range byName["a"].Configs {
		configs[rc.Name] = rc
	}
	require.Equal(t, "60000", *configs["retention.ms"].Value)
	require.EqualValues(t, kmsg.ConfigSourceDynamicTopicConfig, configs["retention.ms"].Source)
	require.Equal(t, "2", *configs["min.insync.replicas"].Value, "from the cluster's default")
	require.EqualValues(t, kmsg.ConfigSourceDynamicDefaultBrokerConfig, configs["min.insync.replicas"].Source)
	require.EqualValues(t, kmsg.ConfigSourceDefaultConfig, configs["cleanup.policy"].Source)

	only := newTopic("e", 1, 1)
	only.ValidateOnly = true
	require.Zero(t, do[*kmsg.CreateTopicsResponse](q, c, only).Topics[0].ErrorCode)
	_, ok := c.committed.stable().img.TopicByName("e")
	require.False(t, ok)
	topic, _ := c.committed.stable().img.TopicByName("a")
	for _, p := range topic.Partitions() {
		requirePartitionInvariants(t, p)
		require.Len(t, p.ISR, 3)
		require.Zero(t, p.LeaderEpoch)
		require.Zero(t, p.PartitionEpoch)
	}
	q.requireConverged()
}

func TestDeleteTopicsByNameAndID(t *testing.T) {
	q := newQuorum(t, 1, 1, 2)
	c := q.start(1)
	q.join(c, 101)
	a := q.create(c, newTopic("a", 2, 1, "retention.ms", "1"))
	b := q.create(c, newTopic("b", 1, 1))
	d := q.create(c, newTopic("d", 1, 1))
	q.create(c, newTopic("keep", 1, 1))
	req := kmsg.NewPtrDeleteTopicsRequest()
	name := func(s string) kmsg.DeleteTopicsRequestTopic { return kmsg.DeleteTopicsRequestTopic{Topic: &s} }
	req.Topics = []kmsg.DeleteTopicsRequestTopic{
		name("a"), {TopicID: b}, name("nope"), {TopicID: [16]byte{7}}, name("twice"), name("twice"), {}, name("d"), {TopicID: d},
		{Topic: kmsg.StringPtr("keep"), TopicID: a},
	}
	batches := len(q.batches)
	resp := do[*kmsg.DeleteTopicsResponse](q, c, req)
	require.Equal(t, batches+1, len(q.batches))
	got := map[string]int16{}
	for _, rt := range resp.Topics {
		got[strOf(rt.Topic)+"/"+string(rt.TopicID[:1])] = rt.ErrorCode
	}
	require.Len(t, resp.Topics, 8)
	require.Zero(t, got["a/"+string(a[:1])])
	require.Zero(t, got["b/"+string(b[:1])])
	require.Equal(t, kerr.UnknownTopicOrPartition.Code, got["nope/\x00"])
	require.Equal(t, kerr.UnknownTopicID.Code, got["/\x07"])
	require.Equal(t, kerr.InvalidRequest.Code, got["twice/\x00"])
	require.Equal(t, kerr.InvalidRequest.Code, got["/\x00"])
	require.Equal(t, kerr.InvalidRequest.Code, got["d/"+string(d[:1])], "the same topic by name and by id")
	img := c.committed.stable().img
	require.Equal(t, 2, img.TopicCount())
	require.Nil(t, img.Config(metadata.ResourceTopic, "a"))
	q.create(c, newTopic("a", 1, 1))
	q.requireConverged()
}

func TestCreatePartitions(t *testing.T) {
	q := newQuorum(t, 1, 1)
	c := q.start(1)
	q.join(c, 101, 102)
	id := q.create(c, newTopic("a", 2, 2))
	add := func(topic string, count int32, assignments ...[]int32) (int16, string) {
		req := kmsg.NewPtrCreatePartitionsRequest()
		rt := kmsg.CreatePartitionsRequestTopic{Topic: topic, Count: count}
		for _, a := range assignments {
			rt.Assignment = append(rt.Assignment, kmsg.CreatePartitionsRequestTopicAssignment{Replicas: a})
		}
		req.Topics = append(req.Topics, rt)
		resp := do[*kmsg.CreatePartitionsResponse](q, c, req)
		return resp.Topics[0].ErrorCode, strOf(resp.Topics[0].ErrorMessage)
	}
	for name, tc := range map[string]struct {
		topic string
		count int32
		by    [][]int32
		want  *kerr.Error
		text  string
	}{
		"unknown topic":      {"x", 3, nil, kerr.UnknownTopicOrPartition, ""},
		"as many as before":  {"a", 2, nil, kerr.InvalidPartitions, "Topic already has 2 partition(s)."},
		"fewer":              {"a", 1, nil, kerr.InvalidPartitions, "The topic a currently has 2 partition(s); 1 would not be an increase."},
		"too few lists":      {"a", 4, [][]int32{{101, 102}}, kerr.InvalidReplicaAssignment, "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified."},
		"another factor":     {"a", 3, [][]int32{{101}}, kerr.InvalidReplicaAssignment, "not consistent with previous partitions, which have 2 replica(s)."},
		"more than a commit": {"a", 10_003, nil, kerr.PolicyViolation, "Excessively large number of partitions per request."},
	} {
		t.Run(name, func(t *testing.T) {
			code, text := add(tc.topic, tc.count, tc.by...)
			require.Equal(t, tc.want.Code, code)
			require.Contains(t, text, tc.text)
		})
	}
	code, _ := add("a", 5)
	require.Zero(t, code)
	code, _ = add("a", 6, []int32{102, 101})
	require.Zero(t, code)
	require.Equal(t, []int32{102, 101}, q.partition(c, id, 5).Replicas)
	topic, _ := c.committed.stable().img.TopicByName("a")
	require.Equal(t, 6, topic.PartitionCount())
}

func TestAFenceOfABrokerWithMorePartitionsThanABatchHolds(t *testing.T) {
	q := newQuorum(t, 1, 1, 2)
	c := q.start(1)
	epochs := q.join(c, 101, 102)
	for _, name := range []string{"a", "b", "d"} {
		q.create(c, newTopic(name, 7000, 2))
	}
	before := len(q.batches)
	fence := heartbeat(101, epochs[101], q.end())
	fence.WantFence = true
	require.True(t, q.beat(c, fence).IsFenced)
	require.Equal(t, before+3, len(q.batches), "21,001 records in batches of 10,000")
	require.Zero(t, c.committed.stable().img.BrokerCounts(101).ISR)
	q.requireConverged()
}
