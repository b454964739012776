package v1alpha1

import (
	"k8s.io/apimachinery/pkg/util/intstr"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// MaxNameLength bounds a KRaftCluster's name: "<name>-controller-999" plus a revision's hash must fit a label of
// 63 characters on each pod.
const MaxNameLength = 37

// KRaftCluster is one Kafka-protocol cluster with a KRaft metadata quorum of its own.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=kc,categories=kraft
// +kubebuilder:subresource:status
// +kubebuilder:subresource:scale:specpath=.spec.brokers.replicas,statuspath=.status.brokers.replicas,selectorpath=.status.brokers.selector
// +kubebuilder:printcolumn:name="READY",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="VERSION",type=string,JSONPath=`.status.version`
// +kubebuilder:printcolumn:name="LEADER",type=string,JSONPath=`.status.quorum.leader`,description="node id of the active controller"
// +kubebuilder:printcolumn:name="VOTERS",type=string,JSONPath=`.status.quorum.votersReady`,description="voters that keep up, of all voters"
// +kubebuilder:printcolumn:name="BROKERS",type=string,JSONPath=`.status.brokers.readyOfAll`,description="ready brokers, of all brokers"
// +kubebuilder:printcolumn:name="AGE",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="DOING",type=string,priority=1,JSONPath=`.status.doing.what`
// +kubebuilder:printcolumn:name="STATUS",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 37",message="metadata.name: too long for the names of its pods (<name>-controller-<id>-0): use at most 37 characters"
// +kubebuilder:validation:XValidation:rule="self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name: becomes the name of Services: use lower-case letters, digits and '-', starting with a letter"
// +kubebuilder:validation:XValidation:rule="!has(self.spec.adopt) || !has(self.spec.adopt.clusterID) || size(self.spec.adopt.clusterID) == 0 || !has(self.status) || !has(self.status.clusterID) || self.status.clusterID == self.spec.adopt.clusterID || has(oldSelf.spec.adopt) && has(oldSelf.spec.adopt.clusterID) && oldSelf.spec.adopt.clusterID == self.spec.adopt.clusterID",message="spec.adopt.clusterID: this cluster is the one of status.clusterID, and stays it: set that, or remove the field"
// +kubebuilder:validation:XValidation:rule="!self.spec.controllers.roles.exists(r, r == 'broker') || self.spec.controllers.replicas >= oldSelf.spec.controllers.replicas || !has(self.status) || !has(self.status.formed) || !self.status.formed",message="spec.controllers.replicas: combined nodes may hold replicas that would be lost: leave it as it is; for fewer voters set spec.quorum.voters"
type KRaftCluster struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// +required
	Spec KRaftClusterSpec `json:"spec"`
	// +default={"observedGeneration":-1}
	// +optional
	Status KRaftClusterStatus `json:"status,omitempty"`
}

// KRaftClusterList is a list of KRaftClusters.
//
// +kubebuilder:object:root=true
type KRaftClusterList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []KRaftCluster `json:"items"`
}

// KRaftClusterSpec is what the cluster shall be.
//
// +kubebuilder:validation:XValidation:rule="has(self.brokers) || self.controllers.roles.exists(r, r == 'broker')",message="spec.brokers: required while spec.controllers.roles is [controller]; add brokers, or add the role broker to spec.controllers.roles"
// +kubebuilder:validation:XValidation:rule="!has(self.brokers) || !self.controllers.roles.exists(r, r == 'broker')",message="spec.brokers: must be absent while spec.controllers.roles has broker (combined nodes are the brokers): scale spec.controllers.replicas, or take broker off the roles"
// +kubebuilder:validation:XValidation:rule="has(self.quorum.voters) || self.controllers.replicas % 2 == 1",message="spec.controllers.replicas: an even number of voters bears no more failures than one fewer: use 1, 3 or 5, or set spec.quorum.voters to an odd number and let the others observe"
// +kubebuilder:validation:XValidation:rule="has(self.quorum.voters) || self.controllers.replicas <= 9",message="spec.controllers.replicas: more than 9 voters slow every write: set spec.quorum.voters (3, 5 or 7) and let the others observe"
// +kubebuilder:validation:XValidation:rule="!has(self.quorum.voters) || self.quorum.voters <= self.controllers.replicas",message="spec.quorum.voters: more voters than spec.controllers.replicas: lower it, or raise spec.controllers.replicas first"
type KRaftClusterSpec struct {
	// Version is the protocol and feature level of the cluster.
	// +kubebuilder:validation:Enum="4.3"
	// +kubebuilder:default="4.3"
	// +optional
	Version string `json:"version,omitempty"`

	// Image runs the nodes. Unset, it follows the operator's own image.
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Image string `json:"image,omitempty"`

	// ImagePullPolicy of the nodes' containers.
	// +kubebuilder:validation:Enum=Always;IfNotPresent;Never
	// +kubebuilder:default=IfNotPresent
	// +optional
	ImagePullPolicy string `json:"imagePullPolicy,omitempty"`

	// Quorum says how many controllers vote and when a lost one is replaced.
	// +kubebuilder:default={}
	// +optional
	Quorum QuorumSpec `json:"quorum,omitempty"`

	// Controllers is the pool that holds the metadata quorum (node ids 0 to 999).
	// +required
	Controllers ControllersSpec `json:"controllers"`

	// Brokers is the pool of brokers (node ids 1000 to 1999). Present exactly when the controllers lack the role broker.
	// +optional
	Brokers *BrokersSpec `json:"brokers,omitempty"`

	// The last rule finds the first Internal one by index: what filter() returns has no bound, and the API server's estimate of the cost would
	// be too high.

	// Listeners are where clients connect. The first Internal one is also used between the brokers.
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:default={{name: "internal", port: 9092, type: "Internal"}}
	// +kubebuilder:validation:XValidation:rule="self.exists(l, l.type == 'Internal')",message="spec.listeners: the brokers need one listener of type Internal to reach each other"
	// +kubebuilder:validation:XValidation:rule="self.all(l, self.exists_one(m, m.port == l.port))",message="spec.listeners: two listeners have the same port: give each its own"
	// +kubebuilder:validation:XValidation:rule="!self.exists(l, l.type == 'Internal') || (self[0].type == 'Internal' ? self[0].name : self[1].type == 'Internal' ? self[1].name : self[2].type == 'Internal' ? self[2].name : self[3].type == 'Internal' ? self[3].name : self[4].type == 'Internal' ? self[4].name : self[5].type == 'Internal' ? self[5].name : self[6].type == 'Internal' ? self[6].name : self[7].name) == (oldSelf[0].type == 'Internal' ? oldSelf[0].name : oldSelf[1].type == 'Internal' ? oldSelf[1].name : oldSelf[2].type == 'Internal' ? oldSelf[2].name : oldSelf[3].type == 'Internal' ? oldSelf[3].name : oldSelf[4].type == 'Internal' ? oldSelf[4].name : oldSelf[5].type == 'Internal' ? oldSelf[5].name : oldSelf[6].type == 'Internal' ? oldSelf[6].name : oldSelf[7].name)",message="spec.listeners: the brokers reach each other by the first listener of type Internal, and while they are restarted one by one they need it as it is: keep its name and its place, and add others after it"
	// +optional
	Listeners []ListenerSpec `json:"listeners,omitempty"`

	// Config holds node settings by Kafka's property names. Unset replication factors of internal topics follow the
	// broker count once, at most 3, and are shown in status.defaults.
	// +optional
	Config NodeConfig `json:"config,omitempty"`

	// Rolling bounds how many nodes may be down by the operator's own act.
	// +kubebuilder:default={}
	// +optional
	Rolling RollingSpec `json:"rolling,omitempty"`

	// Storage says what becomes of the claims.
	// +kubebuilder:default={}
	// +optional
	Storage StoragePolicy `json:"storage,omitempty"`

	// Hibernated stops every node and keeps claims and Services: brokers, then observers, then voters, the active
	// controller last. A cluster that is forming does so first. Set to false, everything starts again.
	// +optional
	Hibernated bool `json:"hibernated,omitempty"`

	// Paused makes the operator look and report, but change nothing.
	// +optional
	Paused bool `json:"paused,omitempty"`

	// Adopt insists on the claims of one cluster. Those that stand here under this name are taken up without it, but for
	// claims that were moved here from another namespace or KRaftCluster.
	// +optional
	Adopt *AdoptSpec `json:"adopt,omitempty"`
}

// QuorumSpec says who votes.
type QuorumSpec struct {
	// Voters is how many controllers vote; the others observe as hot standbys. Unset: all of them.
	// +kubebuilder:validation:XValidation:rule="self >= 1 && self <= 9 && self % 2 == 1",message="must be odd, 1 to 9: an even quorum bears no more failures than one fewer voter; use 1, 3 or 5"
	// +optional
	Voters *int32 `json:"voters,omitempty"`

	// ReplaceAfter is how long a voter may be gone before another controller takes its place. A lost disk is replaced at
	// once. The clock doesn't run while the cluster is paused, restarts that node or has no leader.
	// +kubebuilder:default="5m"
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self.matches('^([0-9]+(\\\\.[0-9]+)?(s|m|h))+$') && duration(self) >= duration('10s')",message="must be a duration of 10s or more, such as 90s, 5m or 1h"
	// +optional
	ReplaceAfter string `json:"replaceAfter,omitempty"`
}

// Role is what a node does in the cluster.
// +kubebuilder:validation:Enum=controller;broker
type Role string

// The roles of KRaft.
const (
	RoleController Role = "controller"
	RoleBroker     Role = "broker"
)

// ControllersSpec is the pool of controllers.
//
// +kubebuilder:validation:XValidation:rule="self.replicas >= 1",message="spec.controllers.replicas: a cluster can't be without a controller, they hold its metadata: use 1 or 3; to stop everything and keep the data set spec.hibernated"
// +kubebuilder:validation:XValidation:rule="self.replicas <= 1000",message="spec.controllers.replicas: the pool has node ids 0 to 999: use at most 1000"
type ControllersSpec struct {
	// Replicas is the number of controllers.
	// +kubebuilder:default=3
	// +optional
	Replicas int32 `json:"replicas,omitzero"`

	// Roles of these nodes: [controller], or [controller, broker] for combined nodes.
	// +listType=set
	// +kubebuilder:validation:MaxItems=2
	// +kubebuilder:default={controller}
	// +kubebuilder:validation:XValidation:rule="self.exists(r, r == 'controller')",message="must have controller: a pool without it belongs in spec.brokers"
	// +kubebuilder:validation:XValidation:rule="size(self) == size(oldSelf) && self.all(r, r in oldSelf)",message="can't be changed on a running cluster yet: make a new KRaftCluster with these roles and move the topics there"
	// +optional
	Roles []Role `json:"roles,omitempty"`

	// Storage of each controller's log directory.
	// +required
	Storage VolumeSpec `json:"storage"`

	// Resources of each node's container.
	// +optional
	Resources ResourcesSpec `json:"resources,omitempty"`

	// Template holds what else may be set on the pods.
	// +optional
	Template PodTemplate `json:"template,omitempty"`
}

// BrokersSpec is the pool of brokers.
//
// +kubebuilder:validation:XValidation:rule="self.replicas >= 1",message="spec.brokers.replicas: use 1 or more; to stop everything and keep the data set spec.hibernated"
// +kubebuilder:validation:XValidation:rule="self.replicas <= 1000",message="spec.brokers.replicas: the pool has node ids 1000 to 1999: use at most 1000"
type BrokersSpec struct {
	// Replicas is the number of brokers; kubectl scale changes it. Fewer: the highest ids leave, once they hold no
	// replicas.
	// +kubebuilder:default=3
	// +optional
	Replicas int32 `json:"replicas,omitzero"`

	// ReplaceAfter is how long a broker may be lost (fenced, and its pod not running) before a broker of a new id takes
	// its place; its claim is kept, and its partitions remain to be moved. Unset: never. The clock doesn't run while the
	// cluster is paused or hibernated, restarts that node or has no leader.
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="self == '' || self.matches('^([0-9]+(\\\\.[0-9]+)?(s|m|h))+$') && duration(self) >= duration('10s')",message="must be a duration of 10s or more, such as 5m or 1h"
	// +optional
	ReplaceAfter string `json:"replaceAfter,omitempty"`

	// Storage of each broker's log directory.
	// +required
	Storage VolumeSpec `json:"storage"`

	// Resources of each node's container.
	// +optional
	Resources ResourcesSpec `json:"resources,omitempty"`

	// Template holds what else may be set on the pods.
	// +optional
	Template PodTemplate `json:"template,omitempty"`
}

// RollingSpec bounds a roll.
type RollingSpec struct {
	// MaxUnavailable is how many brokers may be down at once by the operator's own act: a number, or a percentage of
	// the pool, rounded down but never to none. The first broker of a new template restarts alone. Then those of one
	// zone restart together whose absence leaves every partition its min.insync.replicas. Controllers restart one by
	// one whatever it says.
	// +kubebuilder:default=1
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? self >= 1 : self.matches('^([1-9][0-9]?|100)%$')",message="must be a number of 1 or more, or a percentage from 1% to 100%"
	// +kubebuilder:validation:MaxLength=8
	// +optional
	MaxUnavailable intstr.IntOrString `json:"maxUnavailable,omitzero"`
}

// DeletionPolicy says what becomes of the claims when the KRaftCluster is deleted.
// +kubebuilder:validation:Enum=Retain;Delete
type DeletionPolicy string

// The deletion policies.
const (
	DeletionRetain DeletionPolicy = "Retain"
	DeletionDelete DeletionPolicy = "Delete"
)

// StoragePolicy is about all claims of the cluster.
type StoragePolicy struct {
	// DeletionPolicy Retain keeps the claims when the KRaftCluster is deleted: one of the same name takes them up
	// again. Delete removes them with it.
	// +kubebuilder:default=Retain
	// +optional
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`
}

// AdoptSpec takes over claims.
type AdoptSpec struct {
	// ClusterID is the cluster id of the claims: 22 characters, as in meta.properties. Others are refused.
	// +kubebuilder:validation:Pattern=`^([A-Za-z0-9_-]{22})?$`
	// +optional
	ClusterID string `json:"clusterID,omitempty"`
}
