package config

import "strings"

// owned are the settings that the operator sets itself, with the field of a KRaftCluster that says the same.
var owned = map[string]string{
	NodeID:                      "spec.controllers.replicas or spec.brokers.replicas",
	BrokerID:                    "spec.brokers.replicas",
	ProcessRoles:                "spec.controllers.roles",
	Listeners:                   "spec.listeners",
	AdvertisedListeners:         "spec.listeners",
	ListenerSecurityProtocolMap: "spec.listeners",
	ControllerListenerNames:     "spec.listeners",
	InterBrokerListenerName:     "spec.listeners",
	SecurityInterBrokerProtocol: "spec.listeners",
	"early.start.listeners":     "spec.listeners",
	QuorumVoters:                "spec.quorum.voters",
	QuorumBootstrapServers:      "spec.quorum.voters",
	QuorumAutoJoin:              "spec.quorum.voters",
	LogDir:                      "spec.brokers.storage or spec.controllers.storage",
	LogDirs:                     "spec.brokers.storage or spec.controllers.storage",
	MetadataLogDir:              "spec.controllers.storage",
	BrokerRack:                  "", // the pod's zone
}

// Owned tells whether the operator sets key itself, and which field of a KRaftCluster to use instead; specField
// is empty where there is none and the operator decides alone. The quorum's time limits are the user's.
func Owned(key string) (specField string, isOwned bool) {
	if strings.HasPrefix(key, "kraft.") {
		return "", true
	}
	specField, isOwned = owned[key]
	return specField, isOwned
}
