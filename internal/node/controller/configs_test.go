package controller

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
)

type opOf struct {
	typ      kmsg.ConfigResourceType
	resource string
	name     string
	op       kmsg.IncrementalAlterConfigOp
	value    *string
}

func incremental(ops ...opOf) *kmsg.IncrementalAlterConfigsRequest {
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	for _, o := range ops {
		req.Resources = append(req.Resources, kmsg.IncrementalAlterConfigsRequestResource{
			ResourceType: o.typ, ResourceName: o.resource,
			Configs: []kmsg.IncrementalAlterConfigsRequestResourceConfig{{Name: o.name, Op: o.op, Value: o.value}},
		})
	}
	return req
}

func TestIncrementalAlterConfigs(t *testing.T) {
	const (
		topic  = kmsg.ConfigResourceTypeTopic
		broker = kmsg.ConfigResourceTypeBroker
		set    = kmsg.IncrementalAlterConfigOpSet
		del    = kmsg.IncrementalAlterConfigOpDelete
		app    = kmsg.IncrementalAlterConfigOpAppend
		sub    = kmsg.IncrementalAlterConfigOpSubtract
	)
	for name, tc := range map[string]struct {
		op   opOf
		want *kerr.Error
		text string
		key  string // what stands afterwards, "-" for nothing
		is   string
	}{
		"set":                    {op: opOf{topic, "a", "retention.ms", set, ptr("5")}, key: "retention.ms", is: "5"},
		"delete":                 {op: opOf{topic, "a", "segment.bytes", del, nil}, key: "segment.bytes", is: "-"},
		"delete what isn't set":  {op: opOf{topic, "a", "retention.ms", del, nil}, key: "retention.ms", is: "-"},
		"append to the default":  {op: opOf{topic, "a", "cleanup.policy", app, ptr("compact")}, key: "cleanup.policy", is: "delete,compact"},
		"subtract":               {op: opOf{topic, "a", "leader.replication.throttled.replicas", sub, ptr("0:1")}, key: "leader.replication.throttled.replicas", is: "0:2"},
		"append what is there":   {op: opOf{topic, "a", "leader.replication.throttled.replicas", app, ptr("0:1")}, key: "leader.replication.throttled.replicas", is: "0:1,0:2"},
		"append to no list":      {op: opOf{topic, "a", "retention.ms", app, ptr("5")}, want: kerr.InvalidConfig, text: "Can't APPEND to key retention.ms because its type is not LIST."},
		"set to null":            {op: opOf{topic, "a", "retention.ms", set, nil}, want: kerr.InvalidConfig, text: "Null value not supported for topic configs: retention.ms"},
		"unknown topic":          {op: opOf{topic, "x", "retention.ms", set, ptr("5")}, want: kerr.UnknownTopicOrPartition, text: "The topic 'x' does not exist."},
		"no topic":               {op: opOf{topic, "", "retention.ms", set, ptr("5")}, want: kerr.InvalidRequest, text: "Default topic resources are not allowed."},
		"unknown setting":        {op: opOf{topic, "a", "nope", set, ptr("5")}, want: kerr.InvalidConfig, text: "Unknown topic config name: nope"},
		"bad value":              {op: opOf{topic, "a", "min.insync.replicas", set, ptr("0")}, want: kerr.InvalidConfig, text: "Value must be at least 1"},
		"a broker's":             {op: opOf{broker, "101", "log.cleaner.threads", set, ptr("2")}, key: "log.cleaner.threads", is: "2"},
		"the cluster's default":  {op: opOf{broker, "", "log.retention.ms", set, ptr("9")}, key: "log.retention.ms", is: "9"},
		"a read-only one":        {op: opOf{broker, "", "log.dirs", set, ptr("/x")}, want: kerr.InvalidConfig, text: "Cannot update these configs dynamically"},
		"a broker that is none":  {op: opOf{broker, "x", "log.cleaner.threads", set, ptr("2")}, want: kerr.InvalidRequest, text: "Unable to parse broker name as a base 10 number."},
		"a broker's min ISR":     {op: opOf{broker, "101", "min.insync.replicas", set, ptr("1")}, want: kerr.InvalidConfig, text: "cannot be altered while ELR is enabled"},
		"no min ISR":             {op: opOf{broker, "", "min.insync.replicas", del, nil}, want: kerr.InvalidConfig, text: "cannot be removed while ELR is enabled"},
		"a logger":               {op: opOf{kmsg.ConfigResourceTypeBrokerLogger, "1", "x", set, ptr("2")}, want: kerr.InvalidRequest, text: "Unknown resource type BROKER_LOGGER"},
		"an unknown resource":    {op: opOf{99, "1", "x", set, ptr("2")}, want: kerr.UnsupportedVersion, text: "Unknown resource type 99."},
		"a group's":              {op: opOf{kmsg.ConfigResourceTypeGroupConfig, "g", "consumer.session.timeout.ms", set, ptr("50000")}, key: "consumer.session.timeout.ms", is: "50000"},
		"an unknown group's own": {op: opOf{kmsg.ConfigResourceTypeGroupConfig, "g", "x", set, ptr("1")}, want: kerr.InvalidConfig, text: "Unknown group config name: x"},
	} {
		t.Run(name, func(t *testing.T) {
			q := newQuorum(t, 1, 1, 2)
			c := q.start(1)
			q.join(c, 101)
			q.create(c, newTopic("a", 1, 1, "segment.bytes", "1048576", "leader.replication.throttled.replicas", "0:1,0:2"))
			end := q.end()
			resp := do[*kmsg.IncrementalAlterConfigsResponse](q, c, incremental(tc.op)).Resources[0]
			if tc.want != nil {
				require.Equal(t, tc.want.Code, resp.ErrorCode, strOf(resp.ErrorMessage))
				require.Contains(t, strOf(resp.ErrorMessage), tc.text)
				require.Equal(t, end, q.end())
				return
			}
			require.Zero(t, resp.ErrorCode, strOf(resp.ErrorMessage))
			v, ok := c.committed.stable().img.ConfigValue(int8(tc.op.typ), tc.op.resource, tc.key)
			if !ok {
				v = "-"
			}
			require.Equal(t, tc.is, v)
			q.requireConverged()
		})
	}
}

func TestOldAlterConfigsReplacesAll(t *testing.T) {
	q := newQuorum(t, 1, 1)
	c := q.start(1)
	q.join(c, 101)
	q.create(c, newTopic("a", 1, 1, "segment.bytes", "1048576", "retention.ms", "5"))
	req := kmsg.NewPtrAlterConfigsRequest()
	req.Resources = []kmsg.AlterConfigsRequestResource{
		{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "a", Configs: []kmsg.AlterConfigsRequestResourceConfig{{Name: "retention.ms", Value: ptr("7")}}},
		{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "b"}, {ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "b"},
	}
	only := *req
	only.ValidateOnly = true
	require.Zero(t, do[*kmsg.AlterConfigsResponse](q, c, &only).Resources[0].ErrorCode)
	require.Equal(t, map[string]string{"segment.bytes": "1048576", "retention.ms": "5"}, c.committed.stable().img.Config(metadata.ResourceTopic, "a"))
	resp := do[*kmsg.AlterConfigsResponse](q, c, req)
	require.Len(t, resp.Resources, 2)
	require.Zero(t, resp.Resources[0].ErrorCode)
	require.Equal(t, kerr.InvalidRequest.Code, resp.Resources[1].ErrorCode, "named twice")
	require.Equal(t, map[string]string{"retention.ms": "7"}, c.committed.stable().img.Config(metadata.ResourceTopic, "a"))
}

func TestChangingMinISRForgetsWhoWasEligible(t *testing.T) {
	q := newQuorum(t, 1, 1, 2)
	c := q.start(1)
	epochs := q.join(c, 101, 102)
	a := q.create(c, assigned("a", []int32{101, 102}))
	b := q.create(c, assigned("b", []int32{101, 102}))
	fence := heartbeat(102, epochs[102], q.end())
	fence.WantFence = true
	q.beat(c, fence)
	require.Equal(t, []int32{102}, q.partition(c, a, 0).ELR)
	do[*kmsg.IncrementalAlterConfigsResponse](q, c, incremental(opOf{kmsg.ConfigResourceTypeTopic, "a", "min.insync.replicas", 0, ptr("1")}))
	require.Empty(t, q.partition(c, a, 0).ELR)
	require.Equal(t, []int32{102}, q.partition(c, b, 0).ELR)
	do[*kmsg.IncrementalAlterConfigsResponse](q, c, incremental(opOf{kmsg.ConfigResourceTypeBroker, "", "min.insync.replicas", 0, ptr("1")}))
	require.Empty(t, q.partition(c, b, 0).ELR)
	q.requireConverged()
}

// What an operator does that applies its settings anew, or an edited min ISR, to a cluster whose brokers aren't back yet.
func TestMinISRIsSetWhileNobodyLeads(t *testing.T) {
	for name, min := range map[string]string{"as it was": "2", "another": "1"} {
		t.Run(name, func(t *testing.T) {
			q := newQuorum(t, 1, 1, 2)
			c := q.start(1)
			epochs := q.join(c, 101, 102, 103)
			setMin := func(v string) {
				resp := do[*kmsg.IncrementalAlterConfigsResponse](q, c, incremental(opOf{kmsg.ConfigResourceTypeBroker, "", "min.insync.replicas", 0, ptr(v)}))
				require.Zero(t, resp.Resources[0].ErrorCode)
			}
			setMin("2")
			id := q.create(c, assigned("a", []int32{101, 102}))
			other := q.create(c, assigned("b", []int32{103, 102}))
			for _, b := range []int32{102, 101} {
				fence := heartbeat(b, epochs[b], q.end())
				fence.WantFence = true
				q.beat(c, fence)
			}
			require.Equal(t, noLeader, q.partition(c, id, 0).Leader)
			require.ElementsMatch(t, []int32{101, 102}, q.partition(c, id, 0).ELR)
			require.Equal(t, []int32{102}, q.partition(c, other, 0).ELR)
			setMin(min)
			require.ElementsMatch(t, []int32{101, 102}, q.partition(c, id, 0).ELR)
			if min == "1" {
				require.Empty(t, q.partition(c, other, 0).ELR, "that one has a leader, who may commit alone from now on")
			} else {
				require.Equal(t, []int32{102}, q.partition(c, other, 0).ELR)
			}
			require.False(t, q.beat(c, heartbeat(102, epochs[102], q.end())).IsFenced)
			p := q.partition(c, id, 0)
			require.EqualValues(t, 102, p.Leader)
			require.Equal(t, metadata.LeaderRecovered, p.LeaderRecoveryState, "it has everything that was acknowledged")
			q.requireConverged()
		})
	}
}

// A leader that hasn't taken in the log yet would describe settings as unset, and whoever manages them would set them again.
func TestALeaderThatIsNotActiveYetDescribesNothing(t *testing.T) {
	q := newQuorum(t, 1, 1, 2)
	q.start(1)
	q.elect(2, 0)
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeBroker}}
	require.Equal(t, kerr.NotController.Code, q.send(q.nodes[2].core, req).resp.(*kmsg.DescribeConfigsResponse).Resources[0].ErrorCode)
	q.commit()
	q.commit()
	require.True(t, q.nodes[2].core.active())
	require.Zero(t, do[*kmsg.DescribeConfigsResponse](q, q.nodes[2].core, req).Resources[0].ErrorCode)
}

func TestUncleanElectionByTopicConfig(t *testing.T) {
	q := newQuorum(t, 1, 1)
	c := q.start(1)
	epochs := q.join(c, 101, 102)
	id := q.create(c, assigned("a", []int32{101, 102}))
	do[*kmsg.IncrementalAlterConfigsResponse](q, c, incremental(opOf{kmsg.ConfigResourceTypeTopic, "a", "min.insync.replicas", 0, ptr("1")}))
	for _, b := range []int32{102, 101} {
		fence := heartbeat(b, epochs[b], q.end())
		fence.WantFence = true
		q.beat(c, fence)
	}
	// 102 left while 101 was in sync and min ISR held, so it isn't eligible.
	require.False(t, q.beat(c, heartbeat(102, epochs[102], q.end())).IsFenced)
	require.Equal(t, noLeader, q.partition(c, id, 0).Leader)
	do[*kmsg.IncrementalAlterConfigsResponse](q, c, incremental(opOf{kmsg.ConfigResourceTypeTopic, "a", "unclean.leader.election.enable", 0, ptr("true")}))
	q.now = q.now.Add(301e9)
	q.beat(c, heartbeat(102, epochs[102], q.end()))
	c.tick(q.now)
	q.commit()
	p := q.partition(c, id, 0)
	require.EqualValues(t, 102, p.Leader)
	require.Equal(t, metadata.LeaderRecovering, p.LeaderRecoveryState)
	resp := do[*kmsg.AlterPartitionResponse](q, c, func() *kmsg.AlterPartitionRequest {
		req := alterISR(p, id, epochs, 102)
		req.Topics[0].Partitions[0].LeaderRecoveryState = metadata.LeaderRecovered
		return req
	}())
	require.Zero(t, resp.Topics[0].Partitions[0].ErrorCode)
	require.Equal(t, metadata.LeaderRecovered, q.partition(c, id, 0).LeaderRecoveryState)
}

func TestDescribeConfigs(t *testing.T) {
	q := newQuorum(t, 1, 1, 2)
	c := q.start(1)
	q.join(c, 101)
	q.create(c, newTopic("a", 1, 1, "retention.ms", "5"))
	do[*kmsg.IncrementalAlterConfigsResponse](q, c, incremental(opOf{kmsg.ConfigResourceTypeBroker, "1", "ssl.keystore.password", 0, ptr("secret")},
		opOf{kmsg.ConfigResourceTypeBroker, "", "log.retention.ms", 0, ptr("9")}))
	req := kmsg.NewPtrDescribeConfigsRequest()
	req.IncludeSynonyms = true
	for typ, name := range map[kmsg.ConfigResourceType]string{kmsg.ConfigResourceTypeTopic: "a", kmsg.ConfigResourceTypeBroker: "1"} {
		req.Resources = append(req.Resources, kmsg.DescribeConfigsRequestResource{ResourceType: typ, ResourceName: name})
	}
	req.Resources = append(req.Resources, kmsg.DescribeConfigsRequestResource{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: "101"})
	for _, on := range []int32{1, 2} { // a standby answers as well
		resp := do[*kmsg.DescribeConfigsResponse](q, q.nodes[on].core, req)
		for _, r := range resp.Resources {
			got := map[string]kmsg.DescribeConfigsResponseResourceConfig{}
			for _, rc := range r.Configs {
				got[rc.Name] = rc
			}
			switch {
			case r.ResourceType == kmsg.ConfigResourceTypeTopic:
				require.Zero(t, r.ErrorCode)
				require.Equal(t, "5", *got["retention.ms"].Value)
				require.Equal(t, "9", *got["retention.ms"].ConfigSynonyms[1].Value)
				require.Equal(t, kmsg.ConfigTypeLong, got["retention.ms"].ConfigType)
				require.True(t, got["cleanup.policy"].IsDefault)
			case r.ResourceName == "101" || on == 2:
				require.Equal(t, kerr.InvalidRequest.Code, r.ErrorCode)
			default:
				require.Equal(t, "2", *got["min.insync.replicas"].Value)
				require.Equal(t, kmsg.ConfigSourceDynamicDefaultBrokerConfig, got["min.insync.replicas"].Source)
				require.True(t, got["node.id"].ReadOnly)
				require.True(t, got["ssl.keystore.password"].IsSensitive)
				require.Nil(t, got["ssl.keystore.password"].Value, "a password is never shown")
				require.Equal(t, kmsg.ConfigSourceDynamicBrokerConfig, got["ssl.keystore.password"].Source)
			}
		}
	}
	req.Resources = []kmsg.DescribeConfigsRequestResource{{ResourceType: kmsg.ConfigResourceTypeBroker, ConfigNames: []string{"log.retention.ms", "log.dirs"}}}
	got := do[*kmsg.DescribeConfigsResponse](q, c, req).Resources[0].Configs
	require.Len(t, got, 1, "of the cluster's defaults, those that are set")
	require.Equal(t, "9", *got[0].Value)
}
