package controller

import (
	"cmp"
	"iter"
	"maps"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/node/auth"
)

// access asks what the sender of one request may do.
type access struct {
	authorizer auth.Authorizer
	subject    auth.Subject
}

func (a access) allowed(op kmsg.ACLOperation, resource kmsg.ACLResourceType, name string) bool {
	return a.authorizer.Authorize(a.subject, auth.Action{Operation: op, ResourceType: resource, ResourceName: name})
}

func (a access) cluster(op kmsg.ACLOperation) bool {
	return a.allowed(op, kmsg.ACLResourceTypeCluster, auth.ClusterName)
}

func (a access) topic(op kmsg.ACLOperation, name string) bool {
	return a.allowed(op, kmsg.ACLResourceTypeTopic, name)
}

func keys[K comparable, V any](m map[K]V) iter.Seq[K] { return maps.Keys(m) }

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K { return slices.Sorted(maps.Keys(m)) }
