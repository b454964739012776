package controllers

import (
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
)

// shared is what the nodes have in common, but for the live settings.
func (s *scope) shared() []client.Object {
	objs := []client.Object{s.serviceAccount(), s.headlessService(), s.controllersService(), s.bootstrapService()}
	for _, l := range s.spec.Listeners {
		if l.Type == v1alpha1.ListenerNodePort {
			objs = append(objs, s.listenerBootstrapService(l))
		}
	}
	return append(objs, s.controllersPolicy(), s.brokersPolicy())
}

func (s *scope) meta(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: name, Namespace: s.cluster.Namespace, Labels: clusterLabels(s.cluster.Name),
		OwnerReferences: []metav1.OwnerReference{ownerOf(s.cluster)},
	}
}

// serviceAccount has no rights, and its token isn't mounted.
func (s *scope) serviceAccount() *corev1.ServiceAccount {
	return &corev1.ServiceAccount{
		TypeMeta:                     metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"},
		ObjectMeta:                   s.meta(serviceAccountName(s.cluster.Name)),
		AutomountServiceAccountToken: ptr.To(false),
	}
}

func port(name string, number int32) corev1.ServicePort {
	return corev1.ServicePort{Name: name, Port: number, TargetPort: intstr.FromInt32(number), Protocol: corev1.ProtocolTCP}
}

func (s *scope) service(name string, selector map[string]string, notReady bool, ports ...corev1.ServicePort) *corev1.Service {
	return &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: s.meta(name),
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeClusterIP, Selector: selector, Ports: ports, PublishNotReadyAddresses: notReady,
		},
	}
}

// headlessService governs the StatefulSets. Nothing in formation waits for Ready, so it publishes all addresses.
func (s *scope) headlessService() *corev1.Service {
	svc := s.service(headlessName(s.cluster.Name), map[string]string{labelCluster: s.cluster.Name}, true, port("http", httpPort))
	svc.Spec.ClusterIP = corev1.ClusterIPNone
	return svc
}

// controllersService leads to any controller: it tells who leads.
func (s *scope) controllersService() *corev1.Service {
	return s.service(controllersServiceName(s.cluster.Name),
		map[string]string{labelCluster: s.cluster.Name, labelController: "true"}, true, port("controller", controllerPort))
}

// bootstrapService leads clients inside Kubernetes to any Ready broker.
func (s *scope) bootstrapService() *corev1.Service {
	return s.service(bootstrapName(s.cluster.Name), s.brokerSelector(), false, s.listenerPorts(v1alpha1.ListenerInternal)...)
}

func (s *scope) listenerBootstrapService(l v1alpha1.ListenerSpec) *corev1.Service {
	p := port(l.Name, l.Port)
	p.NodePort = l.BootstrapNodePort
	svc := s.service(listenerBootstrapName(s.cluster.Name, l.Name), s.brokerSelector(), false, p)
	svc.Spec.Type = corev1.ServiceTypeNodePort
	return svc
}

// nodeServices are one node's addresses. before tells that the node still runs with settings of a time when a combined node
// had one address for both roles: its listeners stay reachable there until it is restarted.
func (s *scope) nodeServices(n *node, before bool) []*corev1.Service {
	out := []*corev1.Service{s.nodeService(n, before)}
	for _, svc := range []*corev1.Service{s.brokerService(n), s.nodePortsService(n)} {
		if svc != nil {
			out = append(out, svc)
		}
	}
	return out
}

// nodeService is one node's address. A controller's holds whether it is Ready or not, as formation waits for nothing. A
// broker's holds while it is Ready: a Service that publishes not-ready addresses leads to a terminated pod's address until
// its object is gone, and a connection attempt that falls into that second hangs until the client gives up (decision 14).
func (s *scope) nodeService(n *node, before bool) *corev1.Service {
	var ports []corev1.ServicePort
	if n.controller {
		ports = append(ports, port("controller", controllerPort))
	}
	if !n.controller || n.broker && before {
		ports = append(ports, s.listenerPorts(v1alpha1.ListenerInternal)...)
	}
	svc := s.service(n.name, n.selector(), n.controller, ports...)
	svc.Labels = n.labels()
	return svc
}

// brokerService is the address of a combined node's Internal listeners, which holds while the node is Ready; nil for other
// nodes.
func (s *scope) brokerService(n *node) *corev1.Service {
	if !n.controller || !n.broker {
		return nil
	}
	svc := s.service(n.brokerHost(), n.selector(), false, s.listenerPorts(v1alpha1.ListenerInternal)...)
	svc.Labels = n.labels()
	return svc
}

// nodePortsService gives one broker a port on every Kubernetes node for each NodePort listener, while it is Ready; nil
// without one.
func (s *scope) nodePortsService(n *node) *corev1.Service {
	ports := s.listenerPorts(v1alpha1.ListenerNodePort)
	if !n.broker || len(ports) == 0 {
		return nil
	}
	svc := s.service(nodePortsName(n.name), n.selector(), false, ports...)
	svc.Labels = n.labels()
	svc.Spec.Type = corev1.ServiceTypeNodePort
	return svc
}

func (s *scope) listenerPorts(t v1alpha1.ListenerType) (ports []corev1.ServicePort) {
	for _, l := range s.spec.Listeners {
		if l.Type == t {
			ports = append(ports, port(l.Name, l.Port))
		}
	}
	return ports
}

func (s *scope) brokerSelector() map[string]string {
	return map[string]string{labelCluster: s.cluster.Name, labelBroker: "true"}
}

// controllersPolicy closes the quorum's port to all but the cluster and the operator.
func (s *scope) controllersPolicy() *networkingv1.NetworkPolicy {
	quorum := networkingv1.NetworkPolicyIngressRule{
		Ports: policyPorts(controllerPort),
		From:  []networkingv1.NetworkPolicyPeer{{PodSelector: &metav1.LabelSelector{MatchLabels: map[string]string{labelCluster: s.cluster.Name}}}},
	}
	if s.operatorNamespace != "" {
		quorum.From = append(quorum.From, networkingv1.NetworkPolicyPeer{
			NamespaceSelector: &metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelMetadataName: s.operatorNamespace}},
			PodSelector:       &metav1.LabelSelector{MatchLabels: map[string]string{"app.kubernetes.io/name": "kraft-operator"}},
		})
	}
	return s.policy(s.cluster.Name+"-controllers", map[string]string{labelCluster: s.cluster.Name, labelController: "true"},
		quorum, networkingv1.NetworkPolicyIngressRule{Ports: policyPorts(httpPort)})
}

// brokersPolicy opens the listeners, probes and metrics, and nothing else.
func (s *scope) brokersPolicy() *networkingv1.NetworkPolicy {
	ports := []int32{httpPort}
	for _, l := range s.spec.Listeners {
		ports = append(ports, l.Port)
	}
	return s.policy(s.cluster.Name+"-brokers", s.brokerSelector(), networkingv1.NetworkPolicyIngressRule{Ports: policyPorts(ports...)})
}

func (s *scope) policy(name string, pods map[string]string, rules ...networkingv1.NetworkPolicyIngressRule) *networkingv1.NetworkPolicy {
	return &networkingv1.NetworkPolicy{
		TypeMeta:   metav1.TypeMeta{APIVersion: "networking.k8s.io/v1", Kind: "NetworkPolicy"},
		ObjectMeta: s.meta(name),
		Spec: networkingv1.NetworkPolicySpec{
			PodSelector: metav1.LabelSelector{MatchLabels: pods},
			PolicyTypes: []networkingv1.PolicyType{networkingv1.PolicyTypeIngress},
			Ingress:     rules,
		},
	}
}

func policyPorts(numbers ...int32) (ports []networkingv1.NetworkPolicyPort) {
	for _, n := range numbers {
		ports = append(ports, networkingv1.NetworkPolicyPort{Protocol: ptr.To(corev1.ProtocolTCP), Port: ptr.To(intstr.FromInt32(n))})
	}
	return ports
}

// budget is a pool's PodDisruptionBudget.
func (s *scope) budget(pool string, maxUnavailable int) *policyv1.PodDisruptionBudget {
	return &policyv1.PodDisruptionBudget{
		TypeMeta:   metav1.TypeMeta{APIVersion: "policy/v1", Kind: "PodDisruptionBudget"},
		ObjectMeta: s.meta(s.cluster.Name + "-" + pool),
		Spec: policyv1.PodDisruptionBudgetSpec{
			Selector: &metav1.LabelSelector{
				MatchLabels:      map[string]string{labelCluster: s.cluster.Name, labelPool: pool},
				MatchExpressions: []metav1.LabelSelectorRequirement{{Key: labelBatch, Operator: metav1.LabelSelectorOpDoesNotExist}},
			},
			MaxUnavailable: ptr.To(intstr.FromInt(maxUnavailable)),
		},
	}
}
