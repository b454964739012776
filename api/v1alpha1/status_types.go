package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Condition types of a KRaftCluster.
const (
	// ConditionReady: the cluster is as the spec says (or hibernated as it says).
	ConditionReady = "Ready"
	// ConditionAvailable: it serves: the quorum has a leader and brokers answer.
	ConditionAvailable = "Available"
	// ConditionReconciling and ConditionStalled are kstatus's: at work, and not getting on without a hand.
	ConditionReconciling = "Reconciling"
	ConditionStalled     = "Stalled"
	// ConditionQuorumFormed: the first epoch was committed; from then on no empty disk may vote by itself.
	ConditionQuorumFormed = "QuorumFormed"
	// ConditionQuorumHealthy: there is a leader and every voter keeps up with it.
	ConditionQuorumHealthy = "QuorumHealthy"
	// ConditionRolling: nodes are being restarted into a new template.
	ConditionRolling = "Rolling"
)

// RolledStatus is what the nodes' templates were made of and by.
type RolledStatus struct {
	// Operator is the version of the operator, and its image for nodes whose spec.image is unset.
	// +optional
	Operator string `json:"operator,omitempty"`
	// Generation of the spec.
	// +optional
	Generation int64 `json:"generation,omitempty"`
	// SpecHash is of what the templates take from the spec.
	// +optional
	SpecHash string `json:"specHash,omitempty"`
	// RestartedAt is the annotation kraft.dev/restartedAt.
	// +optional
	RestartedAt string `json:"restartedAt,omitempty"`
}

// KRaftClusterStatus is what the operator last saw and did.
type KRaftClusterStatus struct {
	// ObservedGeneration is the generation the conditions speak of; -1 until the operator has looked.
	// +default=-1
	ObservedGeneration int64 `json:"observedGeneration"`

	// AcceptedGeneration is the last generation that was taken over whole; heldBack says what later ones wait for.
	// +optional
	AcceptedGeneration int64 `json:"acceptedGeneration,omitempty"`

	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// Version that the nodes run.
	// +optional
	Version string `json:"version,omitempty"`

	// Image that the nodes run or are being rolled to.
	// +optional
	Image string `json:"image,omitempty"`

	// Rolled is what every node was brought to, and Ready with, last.
	// +optional
	Rolled *RolledStatus `json:"rolled,omitempty"`

	// UpgradingTo is the operator for whose sake alone the nodes are being rolled, as in rolled.operator; few clusters have one at a time.
	// +optional
	UpgradingTo string `json:"upgradingTo,omitempty"`

	// ClusterID is Kafka's cluster id, recorded before the first pod exists.
	// +optional
	ClusterID string `json:"clusterID,omitempty"`

	// InitialVoters formed, or are to form, the quorum: an empty disk of theirs is formatted with exactly these.
	// +listType=map
	// +listMapKey=id
	// +optional
	InitialVoters []InitialVoter `json:"initialVoters,omitempty"`

	// Formed is set at the first committed epoch and never unset.
	// +optional
	Formed bool `json:"formed,omitempty"`

	// Defaults are the settings that followed the number of brokers when the cluster was formed.
	// +optional
	Defaults map[string]string `json:"defaults,omitempty"`

	// DynamicConfig is the cluster's dynamic default settings: what of spec.config needs no restart, and what others set.
	// +optional
	DynamicConfig *DynamicConfigStatus `json:"dynamicConfig,omitempty"`

	// Pools are the groups of nodes and their node ids.
	// +listType=map
	// +listMapKey=name
	// +optional
	Pools []PoolStatus `json:"pools,omitempty"`

	// Quorum is what the active controller said last.
	// +optional
	Quorum *QuorumStatus `json:"quorum,omitempty"`

	// Brokers counts the nodes that have the role broker.
	// +optional
	Brokers *BrokersStatus `json:"brokers,omitempty"`

	// Listeners say where clients connect.
	// +listType=map
	// +listMapKey=name
	// +optional
	Listeners []ListenerStatus `json:"listeners,omitempty"`

	// HeldBack lists parts of the spec that aren't carried out, and why.
	// +listType=map
	// +listMapKey=field
	// +optional
	HeldBack []HeldBack `json:"heldBack,omitempty"`

	// Doing is the operator's intent, recorded before it acts on it.
	// +optional
	Doing *Doing `json:"doing,omitempty"`

	// VoterChange is the change of the voters that was asked for last, until it is seen to be made or can't be any more.
	// +optional
	VoterChange *VoterChange `json:"voterChange,omitempty"`

	// GoneVoters are voters that don't keep up, and since when; spec.quorum.replaceAfter counts from there.
	// +listType=atomic
	// +optional
	GoneVoters []GoneVoter `json:"goneVoters,omitempty"`

	// RestartedAt is the last value of the annotation kraft.dev/restartedAt: every node was, or is being, restarted for it.
	// +optional
	RestartedAt string `json:"restartedAt,omitempty"`

	// Hibernation is there from the first node that spec.hibernated stops until the cluster has woken.
	// +optional
	Hibernation *HibernationStatus `json:"hibernation,omitempty"`

	// LostBrokers are brokers that are fenced and don't run, while spec.brokers.replaceAfter is set, and those that have
	// been replaced while partitions still name them.
	// +listType=atomic
	// +optional
	LostBrokers []LostBroker `json:"lostBrokers,omitempty"`

	// NextCommand is worth trying next.
	// +optional
	NextCommand string `json:"nextCommand,omitempty"`
}

// InitialVoter is a voter of the set that forms the quorum.
type InitialVoter struct {
	// ID is the node id.
	ID int32 `json:"id"`
	// DirectoryID is the id of its metadata log directory: 22 characters.
	DirectoryID string `json:"directoryID"`
}

// DynamicConfigStatus is the dynamic default settings of the cluster (the broker resource without a name).
type DynamicConfigStatus struct {
	// Applied are the settings of spec.config that nodes take while they run. One that leaves spec.config is reset.
	// +optional
	Applied map[string]string `json:"applied,omitempty"`
	// Others were set by somebody else and are left alone: at most 50. Passwords are not shown.
	// +optional
	Others map[string]string `json:"others,omitempty"`
}

// PoolStatus is a group of nodes made from one template.
type PoolStatus struct {
	// Name of the pool: controllers or brokers.
	Name string `json:"name"`
	// +listType=atomic
	Roles []Role `json:"roles"`
	// FirstID is where the pool's range of 1,000 node ids begins.
	FirstID int32 `json:"firstID"`
	// NodeIDs of the pool, ascending.
	// +listType=atomic
	// +optional
	NodeIDs []int32 `json:"nodeIDs,omitempty"`
	// Leaving are nodes that are being taken out: they hold nothing, and are stopped.
	// +listType=atomic
	// +optional
	Leaving []int32 `json:"leaving,omitempty"`
	// Ready nodes of the pool.
	Ready int32 `json:"ready"`
	// Updated nodes run the template of the spec.
	Updated int32 `json:"updated"`
}

// QuorumStatus is DescribeQuorum, as of ObservedTime.
type QuorumStatus struct {
	// Leader is the node id of the active controller; absent when there is none.
	// +optional
	Leader string `json:"leader,omitempty"`
	// LeaderEpoch is the epoch of the leader.
	LeaderEpoch int32 `json:"leaderEpoch"`
	// HighWatermark of the metadata log.
	HighWatermark int64 `json:"highWatermark"`
	// VotersReady counts voters that keep up, of all, such as 3/3.
	VotersReady string `json:"votersReady"`
	// +listType=atomic
	// +optional
	Voters []ReplicaStatus `json:"voters,omitempty"`
	// +listType=atomic
	// +optional
	Observers []ReplicaStatus `json:"observers,omitempty"`
	// ObservedTime is when the leader said so. Offsets are refreshed every few seconds at most.
	ObservedTime metav1.Time `json:"observedTime"`
}

// ReplicaStatus is a replica of the metadata log.
type ReplicaStatus struct {
	ID int32 `json:"id"`
	// DirectoryID of the replica's log directory.
	// +optional
	DirectoryID string `json:"directoryID,omitempty"`
	// LogEndOffset as the leader knows it; -1 unknown.
	LogEndOffset int64 `json:"logEndOffset"`
	// Lag is the leader's log end offset less the replica's, in offsets; -1 unknown.
	Lag int64 `json:"lag"`
}

// BrokersStatus counts brokers, for kubectl scale and autoscalers.
type BrokersStatus struct {
	// Replicas is the number of brokers there are, without those that spec.hibernated has stopped.
	Replicas int32 `json:"replicas"`
	// Ready brokers.
	Ready int32 `json:"ready"`
	// ReadyOfAll is for people: 3/3, and 0/3 when they rest.
	ReadyOfAll string `json:"readyOfAll"`
	// Selector finds the brokers' pods.
	Selector string `json:"selector"`
}

// ListenerStatus says where clients connect.
type ListenerStatus struct {
	Name string       `json:"name"`
	Type ListenerType `json:"type"`
	// BootstrapServers is host:port[,host:port], for a client's bootstrap.servers.
	// +optional
	BootstrapServers string `json:"bootstrapServers,omitempty"`
}

// VoterChangeKind says what is done to a voter.
// +kubebuilder:validation:Enum=Add;Remove
type VoterChangeKind string

// The changes of voters.
const (
	VoterAdd    VoterChangeKind = "Add"
	VoterRemove VoterChangeKind = "Remove"
)

// VoterChange is one change of the voters, recorded before the active controller is asked for it.
type VoterChange struct {
	Change VoterChangeKind `json:"change"`
	// ID is the node id.
	ID int32 `json:"id"`
	// DirectoryID of the node's metadata log directory.
	DirectoryID string `json:"directoryID"`
	// Reason for it.
	// +optional
	Reason string `json:"reason,omitempty"`
	// Since is when it was asked for.
	Since metav1.Time `json:"since"`
}

// GoneVoter is a voter that the active controller hasn't heard of lately, or that lags far behind.
type GoneVoter struct {
	// ID is the node id.
	ID int32 `json:"id"`
	// DirectoryID of the node's metadata log directory.
	DirectoryID string `json:"directoryID"`
	// Since is when it fetched last, at the earliest when the operator looked before it saw it so; when it saw it where the leader knows of
	// no fetch. The clock begins anew after a time without a leader.
	Since metav1.Time `json:"since"`
}

// LostBroker is a broker that is fenced and doesn't run.
type LostBroker struct {
	// ID is the node id.
	ID int32 `json:"id"`
	// Since is when the operator first saw it so; spec.brokers.replaceAfter counts from there.
	Since metav1.Time `json:"since"`
	// Replaced: another id has taken its place. Its claim is kept.
	// +optional
	Replaced bool `json:"replaced,omitempty"`
	// Partitions still name it among their replicas: so many remain to be moved. Counted once it is replaced.
	// +optional
	Partitions int32 `json:"partitions,omitempty"`
	// Examples of those partitions, at most 5.
	// +listType=atomic
	// +optional
	Examples []string `json:"examples,omitempty"`
}

// HeldBack is a part of the spec that isn't carried out.
type HeldBack struct {
	// Field of the spec.
	Field string `json:"field"`
	// Reason in CamelCase.
	Reason string `json:"reason"`
	// Message says why, and the way out.
	Message string `json:"message"`
}

// Doing is one step that takes a node down or changes the voters, recorded before it is done.
type Doing struct {
	// What is done, such as "restart controller 2" or "add voter 3".
	What string `json:"what"`
	// Reason for it, such as the fields that changed.
	// +optional
	Reason string `json:"reason,omitempty"`
	// WaitsFor says what must come before the next step.
	// +optional
	WaitsFor string `json:"waitsFor,omitempty"`
	// Node id of the node.
	// +optional
	Node *int32 `json:"node,omitempty"`
	// Pod that may be taken down.
	// +optional
	Pod string `json:"pod,omitempty"`
	// PodUID is the identity of that pod: another one of the same name is left alone.
	// +optional
	PodUID types.UID `json:"podUID,omitempty"`
	// TemplateHash is what the node is to run.
	// +optional
	TemplateHash string `json:"templateHash,omitempty"`
	// Batch is every pod of a step that takes several brokers down together.
	// +listType=atomic
	// +optional
	Batch []BatchPod `json:"batch,omitempty"`
	// Since is when the step was decided.
	Since metav1.Time `json:"since"`
}

// BatchPod is one pod of a step that takes several down together.
type BatchPod struct {
	// Node id of the broker.
	Node int32 `json:"node"`
	// Pod that may be taken down.
	Pod string `json:"pod"`
	// PodUID is the identity of that pod.
	PodUID types.UID `json:"podUID"`
	// TemplateHash is what the node is to run.
	TemplateHash string `json:"templateHash"`
	// Back: its successor was Ready. What befalls the node from then on is no restart.
	// +optional
	Back bool `json:"back,omitempty"`
}
