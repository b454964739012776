package broker

import (
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/node/wire"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

func TestMetadataInEveryVersion(t *testing.T) {
	in(t, 3, func(f *fixture) {
		id := f.topic("t", 7, []int32{1, 2}, []int32{2, 3})
		f.topic(OffsetsTopic, 8, []int32{1})
		f.commit(&metadata.BrokerRegistrationChangeRecord{BrokerID: 3, BrokerEpoch: 13, Fenced: metadata.ChangeFence})
		for v := int16(0); v <= 13; v++ {
			r := call[*kmsg.MetadataResponse](f, kmsg.NewPtrMetadataRequest(), v)
			require.Len(t, r.Brokers, 2, "broker 3 is fenced")
			require.Len(t, r.Topics, 2)
			require.Equal(t, OffsetsTopic, *r.Topics[0].Topic)
			top := r.Topics[1]
			require.Len(t, top.Partitions, 2)
			require.EqualValues(t, 1, top.Partitions[0].Leader)
			require.Equal(t, []int32{1, 2}, top.Partitions[0].Replicas)
			require.EqualValues(t, 9092, r.Brokers[0].Port)
			if v >= 1 {
				require.True(t, r.Topics[0].IsInternal)
				require.Contains(t, []int32{1, 2}, r.ControllerID)
			}
			if v >= 5 {
				require.Equal(t, []int32{3}, top.Partitions[1].OfflineReplicas)
			}
			if v >= 10 {
				require.EqualValues(t, id, top.TopicID)
			}
		}
		none := kmsg.NewPtrMetadataRequest()
		none.Topics = []kmsg.MetadataRequestTopic{}
		require.Empty(t, call[*kmsg.MetadataResponse](f, none, 12).Topics)
	})
}

func TestMetadataOfWhatIsNotThere(t *testing.T) {
	in(t, 1, func(f *fixture) {
		id := f.topic("t", 7, []int32{1})
		ask := func(name *string, id uuid.UUID, create bool, v int16) int16 {
			req := kmsg.NewPtrMetadataRequest()
			req.AllowAutoTopicCreation = create
			req.Topics = []kmsg.MetadataRequestTopic{{Topic: name, TopicID: id}}
			return call[*kmsg.MetadataResponse](f, req, v).Topics[0].ErrorCode
		}
		require.Zero(t, ask(nil, id, false, 12))
		require.Equal(t, kerr.UnknownTopicID.Code, ask(nil, uuid.UUID{9}, false, 12))
		require.Equal(t, kerr.UnknownTopicOrPartition.Code, ask(kmsg.StringPtr("u"), uuid.UUID{}, false, 12))
		require.Equal(t, kerr.InvalidTopicException.Code, ask(kmsg.StringPtr("u u"), uuid.UUID{}, false, 12))
		require.Empty(t, f.create.running)
		require.Equal(t, kerr.UnknownTopicOrPartition.Code, ask(kmsg.StringPtr("u"), uuid.UUID{}, true, 12))
		f.create.mu.Lock()
		require.True(t, f.create.running["u"], "the controller is asked to create it")
		f.create.mu.Unlock()
	})
}

func TestInternalTopicsWaitForBrokers(t *testing.T) {
	in(t, 2, func(f *fixture) {
		f.Offsets().CreateOffsetsTopic()
		f.create.mu.Lock()
		require.True(t, f.create.waiting[OffsetsTopic], "two of three brokers")
		require.Empty(t, f.create.running)
		f.create.mu.Unlock()
		f.commit(&metadata.RegisterBrokerRecord{BrokerID: 3, BrokerEpoch: 13, LogDirs: []uuid.UUID{{3, 1}},
			EndPoints: []metadata.Endpoint{{Name: "BROKERS", Host: "h3", Port: 9093}}})
		f.create.mu.Lock()
		require.True(t, f.create.running[OffsetsTopic])
		f.create.mu.Unlock()
		req, least := f.create.request(OffsetsTopic)
		require.Equal(t, 3, least)
		require.EqualValues(t, 50, req.Topics[0].NumPartitions)
	})
}

func TestDescribeTopicPartitionsInPages(t *testing.T) {
	in(t, 1, func(f *fixture) {
		f.topic("a", 7, []int32{1}, []int32{1}, []int32{1})
		f.topic("b", 8, []int32{1}, []int32{1})
		req := kmsg.NewPtrDescribeTopicPartitionsRequest()
		req.ResponsePartitionLimit = 2
		var seen []string
		for range 9 {
			r := call[*kmsg.DescribeTopicPartitionsResponse](f, req, 0)
			for _, top := range r.Topics {
				for _, p := range top.Partitions {
					seen = append(seen, fmt.Sprint(*top.Topic, p.Partition))
				}
			}
			if r.NextCursor == nil {
				break
			}
			req.Cursor = &kmsg.DescribeTopicPartitionsRequestCursor{Topic: r.NextCursor.Topic, Partition: r.NextCursor.Partition}
		}
		require.Equal(t, []string{"a0", "a1", "a2", "b0", "b1"}, seen)
		req.Cursor, req.Topics = nil, []kmsg.DescribeTopicPartitionsRequestTopic{{Topic: "x"}}
		require.Equal(t, kerr.UnknownTopicOrPartition.Code, call[*kmsg.DescribeTopicPartitionsResponse](f, req, 0).Topics[0].ErrorCode)
	})
}

func TestApiVersions(t *testing.T) {
	in(t, 1, func(f *fixture) {
		for v := int16(0); v <= 4; v++ {
			req := kmsg.NewPtrApiVersionsRequest()
			req.ClientSoftwareName, req.ClientSoftwareVersion = "test", "1.0"
			r := call[*kmsg.ApiVersionsResponse](f, req, v)
			require.Zero(t, r.ErrorCode)
			require.Len(t, r.ApiKeys, len(servedKeys))
			for _, k := range r.ApiKeys {
				api, ok := wire.Lookup(k.ApiKey)
				require.True(t, ok)
				require.Equal(t, api.Max, k.MaxVersion)
				if k.ApiKey == produceKey {
					require.Zero(t, k.MinVersion, "or librdkafka compresses nothing (KAFKA-18659)")
				} else {
					require.Equal(t, api.Min, k.MinVersion)
				}
			}
			if v == 3 {
				require.Len(t, r.SupportedFeatures, 1, "those with a minimum of 0 break older clients")
			}
			if v == 4 {
				require.Len(t, r.SupportedFeatures, len(metadata.Supported()))
				require.NotEmpty(t, r.FinalizedFeatures)
			}
		}
		req := kmsg.NewPtrApiVersionsRequest()
		req.ClientSoftwareName = "not a name"
		require.Equal(t, kerr.InvalidRequest.Code, call[*kmsg.ApiVersionsResponse](f, req, 3).ErrorCode)
	})
}

func TestDescribeCluster(t *testing.T) {
	in(t, 3, func(f *fixture) {
		f.commit(&metadata.BrokerRegistrationChangeRecord{BrokerID: 3, BrokerEpoch: 13, Fenced: metadata.ChangeFence})
		req := kmsg.NewPtrDescribeClusterRequest()
		req.EndpointType = 1
		require.Len(t, call[*kmsg.DescribeClusterResponse](f, req, 2).Brokers, 2)
		req.IncludeFencedBrokers = true
		r := call[*kmsg.DescribeClusterResponse](f, req, 2)
		require.Len(t, r.Brokers, 3)
		require.True(t, r.Brokers[2].IsFenced)
		req.EndpointType = 2
		require.Equal(t, kerr.MismatchedEndpointType.Code, call[*kmsg.DescribeClusterResponse](f, req, 2).ErrorCode)
	})
}

func TestDescribeConfigs(t *testing.T) {
	in(t, 1, func(f *fixture) {
		f.topic("t", 7, []int32{1})
		own, def := "1234", "5678"
		f.commit(&metadata.ConfigRecord{ResourceType: metadata.ResourceTopic, ResourceName: "t", Name: "retention.ms", Value: &own},
			&metadata.ConfigRecord{ResourceType: metadata.ResourceBroker, ResourceName: "", Name: "log.retention.ms", Value: &def})
		req := kmsg.NewPtrDescribeConfigsRequest()
		req.IncludeSynonyms = true
		req.Resources = []kmsg.DescribeConfigsRequestResource{
			{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "t", ConfigNames: []string{"retention.ms"}},
			{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: "1", ConfigNames: []string{"node.id"}},
			{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: ""},
			{ResourceType: kmsg.ConfigResourceTypeBroker, ResourceName: "2"},
			{ResourceType: kmsg.ConfigResourceTypeTopic, ResourceName: "u"},
			{ResourceType: kmsg.ConfigResourceTypeBrokerLogger, ResourceName: "1"},
		}
		for v := int16(1); v <= 4; v++ {
			r := call[*kmsg.DescribeConfigsResponse](f, req, v).Resources
			c := r[0].Configs[0]
			require.Equal(t, own, *c.Value)
			require.Equal(t, kmsg.ConfigSourceDynamicTopicConfig, c.Source)
			require.Equal(t, []string{"retention.ms", "log.retention.ms"}, []string{c.ConfigSynonyms[0].Name, c.ConfigSynonyms[1].Name})
			require.Equal(t, "1", *r[1].Configs[0].Value)
			require.True(t, r[1].Configs[0].ReadOnly)
			require.Len(t, r[2].Configs, 1)
			require.Equal(t, kerr.InvalidRequest.Code, r[3].ErrorCode)
			require.Equal(t, kerr.UnknownTopicOrPartition.Code, r[4].ErrorCode)
			require.Equal(t, kerr.InvalidRequest.Code, r[5].ErrorCode)
		}
	})
}

func TestDescribeLogDirs(t *testing.T) {
	in(t, 2, func(f *fixture) {
		f.topic("a", 7, []int32{1}, []int32{2}, []int32{2, 1})
		f.topic("b", 8, []int32{1})
		r := call[*kmsg.DescribeLogDirsResponse](f, &kmsg.DescribeLogDirsRequest{}, 5)
		require.Len(t, r.Dirs, 1)
		require.Len(t, r.Dirs[0].Topics, 2)
		require.Len(t, r.Dirs[0].Topics[0].Partitions, 2)
		req := &kmsg.DescribeLogDirsRequest{Topics: []kmsg.DescribeLogDirsRequestTopic{{Topic: "a", Partitions: []int32{2}}}}
		r = call[*kmsg.DescribeLogDirsResponse](f, req, 5)
		require.Len(t, r.Dirs[0].Topics, 1)
		require.EqualValues(t, 2, r.Dirs[0].Topics[0].Partitions[0].Partition)
	})
}

func TestInitProducerIDRefusesTransactions(t *testing.T) {
	in(t, 1, func(f *fixture) {
		req := kmsg.NewPtrInitProducerIDRequest()
		req.TransactionalID = kmsg.StringPtr("tx")
		require.Equal(t, kerr.TransactionalIDAuthorizationFailed.Code, call[*kmsg.InitProducerIDResponse](f, req, 5).ErrorCode)
		f.ids.from, f.ids.end = 1000, 1002
		for want := int64(1000); want < 1002; want++ {
			r := call[*kmsg.InitProducerIDResponse](f, kmsg.NewPtrInitProducerIDRequest(), 4)
			require.Zero(t, r.ErrorCode)
			require.Equal(t, want, r.ProducerID)
			require.Zero(t, r.ProducerEpoch)
		}
		r := call[*kmsg.InitProducerIDResponse](f, kmsg.NewPtrInitProducerIDRequest(), 4)
		require.Equal(t, kerr.CoordinatorLoadInProgress.Code, r.ErrorCode, "the block is used up and no controller answers")
	})
}

func TestListConfigResources(t *testing.T) {
	in(t, 2, func(f *fixture) {
		f.topic("a", 7, []int32{1})
		r := call[*kmsg.ListConfigResourcesResponse](f, &kmsg.ListConfigResourcesRequest{}, 1)
		require.Len(t, r.ConfigResources, 5, "a topic, two brokers and their loggers")
		require.Empty(t, call[*kmsg.ListConfigResourcesResponse](f, &kmsg.ListConfigResourcesRequest{}, 0).ConfigResources)
		require.Equal(t, kerr.UnsupportedVersion.Code, call[*kmsg.ListConfigResourcesResponse](f, &kmsg.ListConfigResourcesRequest{ResourceTypes: []int8{77}}, 1).ErrorCode)
	})
}
