package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// HibernationPhase says how far a cluster is.
// +kubebuilder:validation:Enum=Stopping;Hibernated;Waking
type HibernationPhase string

// The phases of hibernation.
const (
	// HibernationStopping: nodes are being stopped.
	HibernationStopping HibernationPhase = "Stopping"
	// Hibernated: no node runs.
	Hibernated HibernationPhase = "Hibernated"
	// HibernationWaking: nodes were started again, and the quorum has no leader yet.
	HibernationWaking HibernationPhase = "Waking"
)

// HibernationStatus is about a cluster that rests, is about to, or wakes.
type HibernationStatus struct {
	Phase HibernationPhase `json:"phase"`
	// Since is when the phase began.
	Since metav1.Time `json:"since"`
}
