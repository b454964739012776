// Package v1alpha1 holds the kinds of kraft.dev/v1alpha1: their fields, defaults, refusals (CEL) and conditions.
//
// What a rule can see at apply time is refused there, with the field and the way out. What only the operator can
// know is refused by a condition, and listed in status.heldBack.
//
// +kubebuilder:object:generate=true
// +groupName=kraft.dev
package v1alpha1

//go:generate go run ../../hack/configrules -out nodeconfig_generated.go

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// GroupVersion names the API.
var GroupVersion = schema.GroupVersion{Group: "kraft.dev", Version: "v1alpha1"}

// AddToScheme makes the kinds known to a scheme.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion, &KRaftCluster{}, &KRaftClusterList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
