package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// VolumeSpec is the claim behind a node's log directory.
//
// +kubebuilder:validation:XValidation:rule="has(self.class) == has(oldSelf.class) && (!has(self.class) || self.class == oldSelf.class)",message="storage.class: a claim's class can't be changed: put it back; to move the data, add nodes in a pool of the new class"
// +kubebuilder:validation:XValidation:rule="type(self.size) == int || type(oldSelf.size) == int || !isQuantity(self.size) || !isQuantity(oldSelf.size) || quantity(self.size).compareTo(quantity(oldSelf.size)) >= 0",message="storage.size: a claim can't shrink: put back the former size, or a larger one"
type VolumeSpec struct {
	// Size of the claim, such as 100Gi. It may grow.
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="type(self) != int && isQuantity(self) && quantity(self).isGreaterThan(quantity('0'))",message="not a quantity of storage: write a number and a unit, such as 10Gi"
	// +required
	Size intstr.IntOrString `json:"size"`

	// Class is the StorageClass of the claim; unset, the cluster's default class. It can't be changed later.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Class *string `json:"class,omitempty"`
}

// ResourcesSpec is what a node's container asks for.
type ResourcesSpec struct {
	// Requests by resource name, such as {cpu: 500m, memory: 512Mi}.
	// +optional
	Requests Amounts `json:"requests,omitempty"`
	// Limits by resource name.
	// +optional
	Limits Amounts `json:"limits,omitempty"`
}

// Amounts are quantities by resource name.
// +kubebuilder:validation:MaxProperties=8
// +kubebuilder:validation:XValidation:rule="self.all(k, k in ['cpu', 'memory', 'ephemeral-storage'] || k.startsWith('hugepages-') || k.contains('/'))",message="unknown resource: use cpu, memory, ephemeral-storage, hugepages-<size>, or a name with a domain"
// +kubebuilder:validation:XValidation:rule="self.all(k, type(self[k]) == int ? self[k] >= 0 : (isQuantity(self[k]) && !quantity(self[k]).isLessThan(quantity('0'))))",messageExpression="'not a quantity: ' + self.filter(k, type(self[k]) == int ? self[k] < 0 : !(isQuantity(self[k]) && !quantity(self[k]).isLessThan(quantity('0'))))[0] + ': write a number and a unit, such as 500m of cpu or 2Gi of memory'"
type Amounts map[string]intstr.IntOrString

// PodTemplate is the part of a pod that a user may set. It is short on purpose: everything else is the operator's.
type PodTemplate struct {
	// Labels to add to the pods. Those of app.kubernetes.io/ and kraft.dev/ are the operator's.
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('app.kubernetes.io/') && !k.startsWith('kraft.dev/') && !k.startsWith('topology.kubernetes.io/'))",message="labels of app.kubernetes.io/, kraft.dev/ and topology.kubernetes.io/ are set by others: choose a prefix of your own"
	// +optional
	Labels map[string]string `json:"labels,omitempty"`

	// Annotations to add to the pods.
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('kraft.dev/'))",message="annotations of kraft.dev/ are the operator's: choose a prefix of your own"
	// +optional
	Annotations map[string]string `json:"annotations,omitempty"`

	// NodeSelector restricts the Kubernetes nodes by label.
	// +kubebuilder:validation:MaxProperties=16
	// +optional
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`

	// Tolerations let the pods run on tainted Kubernetes nodes.
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +optional
	Tolerations []corev1.Toleration `json:"tolerations,omitempty"`

	// Spread says how strictly the pods of the pool are spread.
	// +kubebuilder:default={}
	// +optional
	Spread SpreadSpec `json:"spread,omitempty"`

	// PriorityClassName of the pods.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	PriorityClassName string `json:"priorityClassName,omitempty"`

	// RuntimeClassName of the pods.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	RuntimeClassName *string `json:"runtimeClassName,omitempty"`

	// ImagePullSecrets are names of Secrets in the same namespace.
	// +listType=set
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MaxLength=253
	// +optional
	ImagePullSecrets []string `json:"imagePullSecrets,omitempty"`

	// Env adds environment variables, for use as ${env:NAME} in spec.config. Names the operator sets can't be used.
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:XValidation:rule="self.all(e, !(e.name in ['POD_NAME', 'POD_NAMESPACE', 'POD_IP', 'HOST_IP', 'ZONE']))",message="POD_NAME, POD_NAMESPACE, POD_IP, HOST_IP and ZONE are set by the operator: choose another name"
	// +optional
	Env []EnvVar `json:"env,omitempty"`

	// TerminationGracePeriodSeconds is the time a node has to hand over before it is killed.
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=3600
	// +kubebuilder:default=60
	// +optional
	TerminationGracePeriodSeconds *int64 `json:"terminationGracePeriodSeconds,omitempty"`
}

// SpreadPolicy is how strictly pods are kept apart.
// +kubebuilder:validation:Enum=Required;Preferred
type SpreadPolicy string

// The spread policies.
const (
	SpreadRequired  SpreadPolicy = "Required"
	SpreadPreferred SpreadPolicy = "Preferred"
)

// SpreadSpec spreads a pool's pods.
type SpreadSpec struct {
	// Zones (topology.kubernetes.io/zone).
	// +kubebuilder:default=Preferred
	// +optional
	Zones SpreadPolicy `json:"zones,omitempty"`
	// Hosts (kubernetes.io/hostname).
	// +kubebuilder:default=Preferred
	// +optional
	Hosts SpreadPolicy `json:"hosts,omitempty"`
}

// EnvVar is an environment variable with a fixed value.
type EnvVar struct {
	// +kubebuilder:validation:Pattern=`^[A-Za-z_][A-Za-z0-9_]*$`
	// +kubebuilder:validation:MaxLength=128
	// +required
	Name string `json:"name"`
	// +kubebuilder:validation:MaxLength=4096
	// +optional
	Value string `json:"value,omitempty"`
}

// ListenerType is how a listener is reached.
// +kubebuilder:validation:Enum=Internal;NodePort
type ListenerType string

// The listener types.
const (
	ListenerInternal ListenerType = "Internal"
	ListenerNodePort ListenerType = "NodePort"
)

// ListenerSpec is one place where clients connect.
//
// +kubebuilder:validation:XValidation:rule="self.type == 'NodePort' || !(has(self.advertisedHost) || has(self.bootstrapNodePort))",message="advertisedHost and bootstrapNodePort are for type NodePort only: remove them, or change the type"
// +kubebuilder:validation:XValidation:rule="!(self.port in [8080, 9093])",message="port: 9093 is the controllers' and 8080 the probes' and metrics': use another, such as 9092 or 9094"
// +kubebuilder:validation:XValidation:rule="self.name != 'controller'",message="name: controller is the quorum's own listener: use another name"
// +kubebuilder:validation:XValidation:rule="self.port == oldSelf.port && self.type == oldSelf.type",message="port and type of a listener that is there can't be changed, as brokers are restarted one by one and its Services are the same for all: add another listener, move the clients there, and remove this one"
type ListenerSpec struct {
	// Name of the listener; its Kafka listener name is this in upper case.
	// +kubebuilder:validation:Pattern=`^[a-z]([-a-z0-9]*[a-z0-9])?$`
	// +kubebuilder:validation:MaxLength=15
	// +required
	Name string `json:"name"`

	// Port that the brokers listen on.
	// +kubebuilder:validation:Minimum=1024
	// +kubebuilder:validation:Maximum=65535
	// +required
	Port int32 `json:"port"`

	// Type Internal is reached by Services inside Kubernetes; NodePort by a port on every Kubernetes node.
	// +kubebuilder:default=Internal
	// +optional
	Type ListenerType `json:"type,omitempty"`

	// Protocol is the security protocol.
	// +kubebuilder:validation:Enum=PLAINTEXT
	// +kubebuilder:default=PLAINTEXT
	// +optional
	Protocol string `json:"protocol,omitempty"`

	// AdvertisedHost replaces the Kubernetes node's address in what a NodePort listener tells its clients.
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9]([-A-Za-z0-9.:]*[A-Za-z0-9])?$`
	// +optional
	AdvertisedHost string `json:"advertisedHost,omitempty"`

	// BootstrapNodePort fixes the node port of the listener's bootstrap Service; unset, Kubernetes chooses one.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=65535
	// +optional
	BootstrapNodePort int32 `json:"bootstrapNodePort,omitempty"`
}
