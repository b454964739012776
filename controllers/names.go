package controllers

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
)

// Labels and annotations. Claims carry what proves whose disk they are.
const (
	labelCluster    = "kraft.dev/cluster"
	labelPool       = "kraft.dev/pool"
	labelNodeID     = "kraft.dev/node-id"
	labelController = "kraft.dev/controller" // "true" on nodes of that role
	labelBroker     = "kraft.dev/broker"

	annotationTemplateHash = "kraft.dev/template-hash" // of a node's pod template
	annotationTemplate     = "kraft.dev/template"      // the template itself, to name what changed
	annotationApplied      = "kraft.dev/applied-hash"  // of an object as the operator last applied it
	annotationLiveHash     = "kraft.dev/live-hash"     // on pods: makes the kubelet look at the live settings now

	annotationHurried = "kraft.dev/hurried" // on pods: how often the kubelet was made to try again

	// What users set: on a pod, to restart it; on a KRaftCluster, a time, to restart every node once.
	annotationRestart     = "kraft.dev/restart"
	annotationRestartedAt = "kraft.dev/restartedAt"

	annotationClusterID     = "kraft.dev/cluster-id"
	annotationNodeID        = "kraft.dev/node-id"
	annotationDirectoryID   = "kraft.dev/directory-id"
	annotationInitialVoters = "kraft.dev/initial-voters" // id@directoryId,…
	annotationFormed        = "kraft.dev/formed"
	annotationHome          = "kraft.dev/home" // on claims: namespace/name of the KRaftCluster that they are of
	annotationLeft          = "kraft.dev/left" // on claims: the node left its pool
)

// Names of pools and the first node id of each.
const (
	poolControllers = "controllers"
	poolBrokers     = "brokers"

	firstController = int32(0)
	firstBroker     = int32(1000)
)

// Ports and paths of a node.
const (
	controllerPort = 9093
	httpPort       = 8080

	configDir = "/etc/kraft"      // the static properties, one immutable ConfigMap a node
	liveDir   = "/etc/kraft-live" // the live ones, one ConfigMap a cluster
	dataDir   = "/var/lib/kraft"
	logDir    = dataDir + "/data"

	configFile = "kraftd.properties"
	liveFile   = "live.properties"
)

// controllerListener is the name of the controllers' listener.
const controllerListener = "CONTROLLER"

const fieldManager = "kraft-operator"

func nodeName(cluster string, controller bool, id int32) string {
	if controller {
		return fmt.Sprintf("%s-controller-%d", cluster, id)
	}
	return fmt.Sprintf("%s-broker-%d", cluster, id)
}

func claimName(node string) string       { return "data-" + node }
func podName(node string) string         { return node + "-0" }
func nodePortsName(node string) string   { return node + "-nodeport" }
func headlessName(cluster string) string { return cluster + "-nodes" }

func controllersServiceName(cluster string) string { return cluster + "-controllers" }
func bootstrapName(cluster string) string          { return cluster + "-bootstrap" }
func liveConfigName(cluster string) string         { return cluster + "-live" }
func serviceAccountName(cluster string) string     { return cluster + "-node" }

func listenerBootstrapName(cluster, listener string) string {
	return cluster + "-" + listener + "-bootstrap"
}

// kafkaListener is a listener's name in Kafka's settings.
func kafkaListener(name string) string { return strings.ToUpper(name) }

func clusterLabels(cluster string) map[string]string {
	return map[string]string{
		"app.kubernetes.io/name":       "kraft",
		"app.kubernetes.io/instance":   cluster,
		"app.kubernetes.io/managed-by": fieldManager,
		labelCluster:                   cluster,
	}
}

func (n *node) labels() map[string]string {
	l := clusterLabels(n.cluster)
	l[labelPool] = n.pool
	l[labelNodeID] = strconv.Itoa(int(n.id))
	l["app.kubernetes.io/component"] = n.component()
	if n.controller {
		l[labelController] = "true"
	}
	if n.broker {
		l[labelBroker] = "true"
	}
	return l
}

// selector finds one node's pod; it never changes.
func (n *node) selector() map[string]string {
	return map[string]string{labelCluster: n.cluster, labelNodeID: strconv.Itoa(int(n.id))}
}

// brokerHost is the Service that leads to a node's Internal listeners. A combined node's is not its controller's, whose
// address holds whether the node is Ready or not.
func (n *node) brokerHost() string {
	if n.controller {
		return n.name + "-broker"
	}
	return n.name
}

func (n *node) component() string {
	if n.controller {
		return "controller"
	}
	return "broker"
}

func ownerOf(c *v1alpha1.KRaftCluster) metav1.OwnerReference {
	yes := true
	return metav1.OwnerReference{
		APIVersion: v1alpha1.GroupVersion.String(), Kind: "KRaftCluster",
		Name: c.Name, UID: c.UID, Controller: &yes, BlockOwnerDeletion: &yes,
	}
}

// hashOf names a value by its JSON: 10 hexadecimal digits.
func hashOf(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("hash of %T: %v", v, err)) // our own types: they always marshal
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:5])
}
