package auth

import (
	"net/netip"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Action is one thing that a request wants to do to one resource.
type Action struct {
	Operation    kmsg.ACLOperation
	ResourceType kmsg.ACLResourceType
	ResourceName string // literal: topic, group, "kafka-cluster", transactional id, …
}

// ClusterName is the name of the one resource of type CLUSTER.
const ClusterName = "kafka-cluster"

// Subject is who asks, and from where.
type Subject struct {
	Principal Principal
	Host      netip.Addr
	Listener  string
}

// Authorizer decides whether a subject may do something. It must be safe for
// concurrent use and must not block: decisions come from the metadata image.
type Authorizer interface {
	Authorize(s Subject, a Action) bool
}

// AllowAll lets everybody do everything: Kafka's behaviour without authorizer.class.name.
type AllowAll struct{}

// Authorize returns true.
func (AllowAll) Authorize(Subject, Action) bool { return true }
