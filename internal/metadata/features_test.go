package metadata

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestMetadataVersions(t *testing.T) {
	require.Len(t, mvNames, int(MVLatest-MVLowest)+1)
	for v, name := range map[MetadataVersion]string{
		7: "3.3-IV3", 14: "3.6-IV2", 15: "3.7-IV0", 17: "3.7-IV2", 19: "3.7-IV4", 20: "3.8-IV0", 21: "3.9-IV0",
		22: "4.0-IV0", 25: "4.0-IV3", 26: "4.1-IV0", 27: "4.1-IV1", 28: "4.2-IV0", 29: "4.2-IV1", 30: "4.3-IV0",
	} {
		require.Equal(t, name, v.String())
		got, err := ParseMetadataVersion(name)
		require.NoError(t, err)
		require.Equal(t, v, got)
	}
	for text, want := range map[string]MetadataVersion{"4.3": 30, "3.7": 19, "4.0": 25} {
		got, err := ParseMetadataVersion(text)
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
	for _, text := range []string{"", "4", "4.", "4.4", "3.2-IV0", "4.3-IV1"} {
		_, err := ParseMetadataVersion(text)
		require.Error(t, err, text)
	}
	require.Error(t, MetadataVersion(6).Check())
	require.Error(t, MetadataVersion(31).Check())
}

func TestRecordVersionsFollowMetadataVersion(t *testing.T) {
	for _, tc := range []struct {
		mv                             MetadataVersion
		register, partition, regChange int16
	}{{7, 1, 0, 1}, {8, 2, 0, 1}, {16, 2, 0, 1}, {17, 3, 1, 2}, {22, 3, 1, 2}, {23, 3, 2, 2}, {29, 3, 2, 2}, {30, 4, 2, 3}} {
		require.Equal(t, tc.register, tc.mv.RecordVersion(&RegisterBrokerRecord{}), "%v", tc.mv)
		require.Equal(t, tc.partition, tc.mv.RecordVersion(&PartitionRecord{}), "%v", tc.mv)
		require.Equal(t, tc.partition, tc.mv.RecordVersion(&PartitionChangeRecord{}), "%v", tc.mv)
		require.Equal(t, tc.regChange, tc.mv.RecordVersion(&BrokerRegistrationChangeRecord{}), "%v", tc.mv)
		require.Zero(t, tc.mv.RecordVersion(&TopicRecord{}))
	}
}

func TestSafeDowngrade(t *testing.T) {
	require.True(t, MV4_1_IV0.SafeDowngrade(MV4_0_IV1))
	require.True(t, MetadataVersion(29).SafeDowngrade(23))
	require.False(t, MVLatest.SafeDowngrade(29))
	require.False(t, MetadataVersion(23).SafeDowngrade(22))
}

// What Kafka 4.3's storage tool writes into bootstrap.checkpoint, in its order.
func TestBootstrapRecords(t *testing.T) {
	var got []FeatureLevelRecord
	for _, r := range BootstrapRecords() {
		got = append(got, *r.(*FeatureLevelRecord))
	}
	require.Equal(t, []FeatureLevelRecord{
		{"metadata.version", 30}, {"eligible.leader.replicas.version", 1}, {"group.version", 1},
		{"share.version", 1}, {"streams.version", 1}, {"transaction.version", 2},
	}, got)
}
