// Package broker is the broker role of a node: it serves clients from its partitions and from the metadata image, replicates what
// other brokers lead, and asks the active controller for everything that changes metadata.
//
// One file holds one Kafka API; the head of each says which versions it serves and what is left out.
package broker

import (
	"context"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/kraft-dev/kraft-operator/internal/config"
	"github.com/kraft-dev/kraft-operator/internal/node/auth"
	"github.com/kraft-dev/kraft-operator/internal/node/broker/channel"
	"github.com/kraft-dev/kraft-operator/internal/node/broker/lifecycle"
	"github.com/kraft-dev/kraft-operator/internal/node/loader"
	"github.com/kraft-dev/kraft-operator/internal/node/rpc"
	"github.com/kraft-dev/kraft-operator/internal/node/server"
	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// GroupHandler serves the consumer group APIs. Package group's Coordinator is one.
type GroupHandler interface {
	// Handle returns false for a key that isn't a group API.
	Handle(r *server.Request) bool
	// BecomeLeader and BecomeFollower tell of partitions of __consumer_offsets, in the order of the metadata log.
	BecomeLeader(partition, leaderEpoch int32)
	BecomeFollower(partition int32)
	Run(ctx context.Context) error
}

// Config of a Broker. Everything is needed unless it says otherwise.
type Config struct {
	NodeID    int32
	ClusterID string
	Static    *config.Config // the properties file

	// Advertised are this broker's endpoints as it registers them: ports are the real ones.
	Advertised []lifecycle.Listener
	// InterBroker is the listener name by which brokers reach each other.
	InterBroker string
	Rack        *string // broker.rack; nil: none

	FS storage.FS
	// LogDir is the one directory of partitions, formatted, and locked by the caller.
	LogDir      string
	DirectoryID uuid.UUID

	Loader *loader.Loader
	Finder channel.ControllerFinder
	// Controllers are the addresses of those that may become the active controller: what clients wait for is forwarded on a connection that
	// is there already. nil: it is made when it is needed.
	Controllers func() []string
	// NewClient makes a client for one purpose, with connections of its own ("heartbeat", "controller", "fetch").
	NewClient func(purpose string) *rpc.Client
	// Groups makes the group coordinator; nil leaves the group APIs out.
	Groups     func(*Broker) GroupHandler
	Authorizer auth.Authorizer
	// KRaftVersion is the finalized kraft.version, listed by ApiVersions when it is above 0.
	KRaftVersion func() int16
	// Fatal is called once when the node must stop: a failed disk, metadata that can't be applied, no registration.
	Fatal    func(error)
	Registry prometheus.Registerer // nil: no metrics
	Logger   *slog.Logger
}

// forwardTimeout is how long a forwarded request looks for an active controller.
const forwardTimeout = time.Minute
