package controllers

import (
	"fmt"
	"maps"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
	"github.com/kraft-dev/kraft-operator/controllers/plan/planted"
	"github.com/kraft-dev/kraft-operator/internal/config"
)

// properties is a node's static settings: the user's but for those that running nodes take (see liveSettings), the
// defaults that followed the broker count, and over both what the operator owns. Addresses end in .svc: no cluster domain is ever stored.
func (s *scope) properties(n *node) map[string]string {
	p := maps.Clone(s.cluster.Status.Defaults)
	if p == nil {
		p = map[string]string{}
	}
	for k, v := range s.spec.Config {
		if !config.TakenLive(k, v) {
			p[k] = v
		}
	}
	p[config.NodeID] = fmt.Sprint(n.id)
	p[config.ProcessRoles] = strings.Join(n.roles(), ",")
	p[config.LogDirs] = logDir
	p[config.ControllerListenerNames] = controllerListener
	p[config.QuorumBootstrapServers] = s.bootstrapControllers()
	p[config.KraftClusterID] = s.cluster.Status.ClusterID
	p[config.KraftFormationSafe] = "true"
	p[config.KraftLiveConfigFile] = liveDir + "/" + liveFile
	p[config.KraftHTTPListener] = fmt.Sprintf("0.0.0.0:%d", httpPort)
	if n.broker {
		p[config.KraftShutdownLingerMs] = fmt.Sprint(shutdownLingerMs)
	}
	if dir := s.initialDirectory(n.id); n.controller && dir != "" {
		p[config.KraftDirectoryID] = dir
		p[config.KraftInitialControllers] = s.initialControllers()
	}
	s.listenerProperties(n, p)
	return p
}

func (s *scope) listenerProperties(n *node, p map[string]string) {
	var listen, advertise []string
	protocols := []string{controllerListener + ":PLAINTEXT"}
	add := func(name, port, address string) {
		listen = append(listen, name+"://0.0.0.0:"+port)
		advertise = append(advertise, name+"://"+address)
	}
	if n.controller {
		add(controllerListener, fmt.Sprint(controllerPort), s.controllerAddress(n.id))
	}
	for _, l := range s.spec.Listeners {
		name := kafkaListener(l.Name)
		protocols = append(protocols, name+":"+l.Protocol)
		if n.broker {
			add(name, fmt.Sprint(l.Port), s.advertised(n, l))
		}
	}
	p[config.Listeners] = strings.Join(listen, ",")
	p[config.AdvertisedListeners] = strings.Join(advertise, ",")
	p[config.ListenerSecurityProtocolMap] = strings.Join(protocols, ",")
	if n.broker {
		p[config.BrokerRack] = "${env:ZONE}"
		p[config.InterBrokerListenerName] = s.interBrokerListener()
	}
}

// interBrokerListener is the first Internal listener; the API sees to it that there is one.
func (s *scope) interBrokerListener() string {
	for _, l := range s.spec.Listeners {
		if l.Type == v1alpha1.ListenerInternal {
			return kafkaListener(l.Name)
		}
	}
	return kafkaListener(s.spec.Listeners[0].Name)
}

// advertised is host:port of one node's listener, as told to clients.
func (s *scope) advertised(n *node, l v1alpha1.ListenerSpec) string {
	if l.Type != v1alpha1.ListenerNodePort {
		return fmt.Sprintf("%s.%s.svc:%d", n.brokerHost(), s.cluster.Namespace, l.Port)
	}
	host := l.AdvertisedHost
	if host == "" {
		host = "${env:HOST_IP}"
	} else if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return fmt.Sprintf("%s:%d", host, n.nodePorts[l.Name])
}

func (s *scope) controllerAddress(id int32) string {
	return fmt.Sprintf("%s:%d", s.controllerHost(id), controllerPort)
}

func (s *scope) controllerHost(id int32) string {
	return fmt.Sprintf("%s.%s.svc", nodeName(s.cluster.Name, true, id), s.cluster.Namespace)
}

// bootstrapControllers is where a node finds the quorum: one Service over all controllers, and the initial voters by
// name in case that Service's pick is unreachable. Controllers that come later change neither, so nobody is rolled.
func (s *scope) bootstrapControllers() string {
	addrs := []string{fmt.Sprintf("%s.%s.svc:%d", controllersServiceName(s.cluster.Name), s.cluster.Namespace, controllerPort)}
	for _, v := range s.cluster.Status.InitialVoters {
		addrs = append(addrs, s.controllerAddress(v.ID))
	}
	return strings.Join(addrs, ",")
}

func (s *scope) initialControllers() string {
	var out []string
	for _, v := range s.cluster.Status.InitialVoters {
		out = append(out, fmt.Sprintf("%d@%s:%s", v.ID, s.controllerAddress(v.ID), v.DirectoryID))
	}
	return strings.Join(out, ",")
}

func (s *scope) initialDirectory(id int32) string {
	for _, v := range s.cluster.Status.InitialVoters {
		if v.ID == id {
			return v.DirectoryID
		}
	}
	return ""
}

// checkConfig tries a node's settings as the node will: values that only it could know to be wrong are refused before
// a pod meets them.
func (s *scope) checkConfig(n *node) error {
	env := map[string]string{"HOST_IP": "192.0.2.1", "ZONE": "zone", "POD_NAME": "pod", "POD_NAMESPACE": "namespace", "POD_IP": "192.0.2.2"}
	for _, e := range n.template.Env {
		env[e.Name] = e.Value
	}
	p, err := config.Expand(merged(s.properties(n), s.liveSettings()), func(name string) (string, bool) { v, ok := env[name]; return v, ok })
	if err != nil {
		return err
	}
	_, err = config.Load(p)
	return err
}

// configMap is a node's static settings: immutable and named by its content, so that a pod and its settings can't
// disagree.
func (s *scope) configMap(n *node) *corev1.ConfigMap {
	data := map[string]string{configFile: string(config.Format(s.properties(n)))}
	yes := true
	return &corev1.ConfigMap{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{
			Name: n.name + "-" + hashOf(data), Namespace: s.cluster.Namespace, Labels: n.labels(),
			OwnerReferences: []metav1.OwnerReference{ownerOf(s.cluster)},
		},
		Immutable: &yes,
		Data:      data,
	}
}

// liveConfigMap is what nodes read again when it changes: whether an empty disk may still form the quorum, and where
// controllers are now.
func (s *scope) liveConfigMap() *corev1.ConfigMap {
	var routes []string
	for _, n := range s.nodes {
		if n.controller {
			routes = append(routes, fmt.Sprintf("%d@%s", n.id, s.controllerAddress(n.id)))
		}
	}
	p := map[string]string{
		config.KraftFormationPermit: fmt.Sprint(!s.cluster.Status.Formed || planted.Bug == planted.PermitStays),
		config.KraftRoutes:          strings.Join(routes, ","),
	}
	return &corev1.ConfigMap{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{
			Name: liveConfigName(s.cluster.Name), Namespace: s.cluster.Namespace, Labels: clusterLabels(s.cluster.Name),
			OwnerReferences: []metav1.OwnerReference{ownerOf(s.cluster)},
		},
		Data: map[string]string{liveFile: string(config.Format(p))},
	}
}
