package wire

import "github.com/twmb/franz-go/pkg/kmsg"

// Caps of request frames in bytes, size field excluded.
const (
	// smallRequest fits requests whose size doesn't grow with the number of topics. It
	// includes everything that is allowed before authentication but SaslAuthenticate.
	smallRequest = 64 << 10
	// saslRequest is Kafka's sasl.server.max.receive.size.
	saslRequest = 512 << 10
	// mediumRequest is the default.
	mediumRequest = 1 << 20
	// largeRequest fits requests that list every partition of a broker, every assignment
	// of a group or hold another request.
	largeRequest = 8 << 20
)

// MaxRequestSize is the cap on a frame with this key, before any of it is read. Produce's is
// maxProduce (socket.request.max.bytes), which also bounds all others. An unknown key gives 0.
//
// Source: Kafka has one cap for all APIs; ours are a divergence, made so that only records may be large.
func MaxRequestSize(key int16, maxProduce int) int {
	if _, ok := Lookup(key); !ok {
		return 0
	}
	switch kmsg.Key(key) {
	case kmsg.Produce:
		return maxProduce
	case kmsg.SASLAuthenticate:
		return min(saslRequest, maxProduce)
	case kmsg.ApiVersions, kmsg.SASLHandshake, kmsg.Heartbeat, kmsg.InitProducerID, kmsg.AddOffsetsToTxn, kmsg.EndTxn, kmsg.Vote,
		kmsg.BeginQuorumEpoch, kmsg.EndQuorumEpoch, kmsg.DescribeQuorum, kmsg.FetchSnapshot, kmsg.DescribeCluster,
		kmsg.UnregisterBroker, kmsg.AllocateProducerIDs, kmsg.AddRaftVoter, kmsg.RemoveRaftVoter, kmsg.UpdateRaftVoter,
		kmsg.GetTelemetrySubscriptions, kmsg.ControllerRegistration:
		return min(smallRequest, maxProduce)
	case kmsg.Fetch, kmsg.ListOffsets, kmsg.Metadata, kmsg.OffsetCommit, kmsg.OffsetFetch, kmsg.JoinGroup, kmsg.SyncGroup, kmsg.CreateTopics,
		kmsg.DeleteTopics, kmsg.DeleteRecords, kmsg.OffsetForLeaderEpoch, kmsg.AddPartitionsToTxn, kmsg.WriteTxnMarkers,
		kmsg.TxnOffsetCommit, kmsg.CreateACLs, kmsg.DeleteACLs, kmsg.DescribeConfigs, kmsg.AlterConfigs, kmsg.AlterReplicaLogDirs,
		kmsg.DescribeLogDirs, kmsg.CreatePartitions, kmsg.ElectLeaders, kmsg.IncrementalAlterConfigs,
		kmsg.AlterPartitionAssignments, kmsg.AlterPartition, kmsg.Envelope, kmsg.AssignReplicasToDirs, kmsg.ShareFetch,
		kmsg.ShareAcknowledge, kmsg.InitializeShareGroupState, kmsg.ReadShareGroupState, kmsg.WriteShareGroupState,
		kmsg.ReadShareGroupStateSummary:
		return min(largeRequest, maxProduce)
	default:
		return min(mediumRequest, maxProduce)
	}
}
