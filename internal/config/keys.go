// Package config is what a node and the operator share about settings: Kafka's names, defaults and rules, the
// properties file they stand in, and which of them the operator sets itself. It reads no file and no
// environment.
package config

// Kafka's settings that this project names in code.
const (
	NodeID                       = "node.id"
	BrokerID                     = "broker.id"
	ProcessRoles                 = "process.roles"
	Listeners                    = "listeners"
	AdvertisedListeners          = "advertised.listeners"
	ListenerSecurityProtocolMap  = "listener.security.protocol.map"
	ControllerListenerNames      = "controller.listener.names"
	InterBrokerListenerName      = "inter.broker.listener.name"
	SecurityInterBrokerProtocol  = "security.inter.broker.protocol"
	BrokerRack                   = "broker.rack"
	LogDir                       = "log.dir"
	LogDirs                      = "log.dirs"
	MetadataLogDir               = "metadata.log.dir"
	QuorumVoters                 = "controller.quorum.voters"
	QuorumBootstrapServers       = "controller.quorum.bootstrap.servers"
	QuorumAutoJoin               = "controller.quorum.auto.join.enable"
	QuorumElectionTimeoutMs      = "controller.quorum.election.timeout.ms"
	QuorumElectionBackoffMaxMs   = "controller.quorum.election.backoff.max.ms"
	QuorumFetchTimeoutMs         = "controller.quorum.fetch.timeout.ms"
	QuorumRequestTimeoutMs       = "controller.quorum.request.timeout.ms"
	QuorumRetryBackoffMs         = "controller.quorum.retry.backoff.ms"
	QuorumAppendLingerMs         = "controller.quorum.append.linger.ms"
	QuorumFetchMaxBytes          = "controller.quorum.fetch.max.bytes"
	QuorumFetchSnapshotMaxBytes  = "controller.quorum.fetch.snapshot.max.bytes"
	MetadataMaxIdleIntervalMs    = "metadata.max.idle.interval.ms"
	MetadataSnapshotBytes        = "metadata.log.max.record.bytes.between.snapshots"
	MetadataSnapshotIntervalMs   = "metadata.log.max.snapshot.interval.ms"
	MetadataLogSegmentBytes      = "metadata.log.segment.bytes"
	MetadataLogSegmentMs         = "metadata.log.segment.ms"
	MetadataMaxRetentionBytes    = "metadata.max.retention.bytes"
	MetadataMaxRetentionMs       = "metadata.max.retention.ms"
	BrokerHeartbeatIntervalMs    = "broker.heartbeat.interval.ms"
	BrokerSessionTimeoutMs       = "broker.session.timeout.ms"
	InitialRegistrationTimeoutMs = "initial.broker.registration.timeout.ms"
	NumPartitions                = "num.partitions"
	DefaultReplicationFactor     = "default.replication.factor"
	AutoCreateTopics             = "auto.create.topics.enable"
	DeleteTopicEnable            = "delete.topic.enable"
	AutoLeaderRebalance          = "auto.leader.rebalance.enable"
	LeaderImbalanceCheckSeconds  = "leader.imbalance.check.interval.seconds"
	UncleanElectionIntervalMs    = "unclean.leader.election.interval.ms"
	ControlledShutdownEnable     = "controlled.shutdown.enable"
	OffsetsTopicReplication      = "offsets.topic.replication.factor"
	OffsetsTopicPartitions       = "offsets.topic.num.partitions"
	OffsetsTopicSegmentBytes     = "offsets.topic.segment.bytes"
	OffsetsRetentionMinutes      = "offsets.retention.minutes"
	OffsetMetadataMaxBytes       = "offset.metadata.max.bytes"
	TransactionTopicReplication  = "transaction.state.log.replication.factor"
	TransactionTopicMinISR       = "transaction.state.log.min.isr"
	GroupMinSessionTimeoutMs     = "group.min.session.timeout.ms"
	GroupMaxSessionTimeoutMs     = "group.max.session.timeout.ms"
	GroupInitialRebalanceDelayMs = "group.initial.rebalance.delay.ms"
	GroupMaxSize                 = "group.max.size"
	ReplicaLagTimeMaxMs          = "replica.lag.time.max.ms"
	ReplicaFetchMaxBytes         = "replica.fetch.max.bytes"
	ReplicaFetchResponseMaxBytes = "replica.fetch.response.max.bytes"
	ReplicaFetchMinBytes         = "replica.fetch.min.bytes"
	ReplicaFetchWaitMaxMs        = "replica.fetch.wait.max.ms"
	ReplicaFetchBackoffMs        = "replica.fetch.backoff.ms"
	NumReplicaFetchers           = "num.replica.fetchers"
	HighWatermarkCheckpointMs    = "replica.high.watermark.checkpoint.interval.ms"
	FetchMaxBytes                = "fetch.max.bytes"
	FetchSessionCacheSlots       = "max.incremental.fetch.session.cache.slots"
	MessageMaxBytes              = "message.max.bytes"
	SocketRequestMaxBytes        = "socket.request.max.bytes"
	QueuedMaxRequests            = "queued.max.requests"
	QueuedMaxRequestBytes        = "queued.max.request.bytes"
	SocketSendBufferBytes        = "socket.send.buffer.bytes"
	SocketReceiveBufferBytes     = "socket.receive.buffer.bytes"
	MaxConnections               = "max.connections"
	MaxConnectionsPerIP          = "max.connections.per.ip"
	ConnectionsMaxIdleMs         = "connections.max.idle.ms"
	RequestTimeoutMs             = "request.timeout.ms"
	LogRetentionCheckMs          = "log.retention.check.interval.ms"
	LogFlushCheckpointMs         = "log.flush.offset.checkpoint.interval.ms"
	ProducerIDExpirationMs       = "producer.id.expiration.ms"
	AuthorizerClassName          = "authorizer.class.name"
	RemoteStorageSystemEnable    = "remote.log.storage.system.enable"
)

// Settings of topics that this project names in code.
const (
	CleanupPolicy          = "cleanup.policy"
	RetentionMs            = "retention.ms"
	RetentionBytes         = "retention.bytes"
	SegmentBytes           = "segment.bytes"
	SegmentMs              = "segment.ms"
	SegmentJitterMs        = "segment.jitter.ms"
	SegmentIndexBytes      = "segment.index.bytes"
	IndexIntervalBytes     = "index.interval.bytes"
	MaxMessageBytes        = "max.message.bytes"
	MinInsyncReplicas      = "min.insync.replicas"
	UncleanLeaderElection  = "unclean.leader.election.enable"
	CompressionType        = "compression.type"
	MessageTimestampType   = "message.timestamp.type"
	TimestampBeforeMaxMs   = "message.timestamp.before.max.ms"
	TimestampAfterMaxMs    = "message.timestamp.after.max.ms"
	FlushMessages          = "flush.messages"
	FlushMs                = "flush.ms"
	FileDeleteDelayMs      = "file.delete.delay.ms"
	DeleteRetentionMs      = "delete.retention.ms"
	MinCompactionLagMs     = "min.compaction.lag.ms"
	MaxCompactionLagMs     = "max.compaction.lag.ms"
	MinCleanableDirtyRatio = "min.cleanable.dirty.ratio"
	Preallocate            = "preallocate"
	RemoteStorageEnable    = "remote.storage.enable"
)

// Settings of this project. Own documents them.
const (
	KraftClusterID          = "kraft.cluster.id"
	KraftInitialControllers = "kraft.initial.controllers"
	KraftDirectoryID        = "kraft.directory.id"
	KraftFormationSafe      = "kraft.formation.safe"
	KraftFormationPermit    = "kraft.formation.permit"
	KraftLiveConfigFile     = "kraft.live.config.file"
	KraftRoutes             = "kraft.routes"
	KraftHTTPListener       = "kraft.http.listener"
	KraftShutdownLingerMs   = "kraft.shutdown.linger.ms"
)

// own are the settings that Kafka doesn't have. live ones stand in the file that kraft.live.config.file names,
// which may change without the node's properties file; it is read when the node starts, and its routes each second.
var own = []struct{ name, typ, def, doc string }{
	{KraftClusterID, "STRING", "null", "cluster id (22 characters of base64url) that an empty disk is formatted with; a disk of another cluster is refused"},
	{KraftInitialControllers, "LIST", "[]", "initial voters, as id@host:port:directoryId,…, that an empty disk is formatted with"},
	{KraftDirectoryID, "STRING", "null", "directory id that an empty disk of this node is formatted with"},
	{KraftFormationSafe, "BOOLEAN", "false", "until the quorum has formed, an empty log needs the votes of all initial voters, and an empty disk never votes for a log that isn't empty"},
	{KraftFormationPermit, "BOOLEAN", "true", "live: whether an empty disk may still format itself as an initial voter; false gives it a fresh directory id, and it observes"},
	{KraftLiveConfigFile, "STRING", "null", "properties file with the live settings, read when the node starts"},
	{KraftRoutes, "LIST", "[]", "live: other addresses of voters, as id@host:port,…; checked, not used yet"},
	{KraftHTTPListener, "STRING", "0.0.0.0:8080", "host:port of /livez, /readyz and /metrics"},
	{KraftShutdownLingerMs, "INT", "0", "how long a broker that was told to stop serves on, counted from that moment, while it says that it is not ready: what routes clients by readiness forgets it before its address goes dead; 0 to 60000"},
}

// extra are settings that Kafka's built-in parts read without declaring them with the node's.
var extra = []struct{ name, typ, def string }{
	{"super.users", "STRING", ""},
	{"allow.everyone.if.no.acl.found", "BOOLEAN", "false"},
}

// passThrough are the prefixes whose rest is some plugin's or one listener's business, as in Kafka.
var passThrough = []string{"listener.name.", "rsm.config.", "rlmm.config.", "config.providers.", "confluent."}
