package controllers

import (
	"encoding/json"
	"fmt"
	"maps"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
)

// nonRoot is the user and group of the image.
const nonRoot = int64(65532)

// Readiness is asked once a period, and so many failures in a row turn it.
const (
	readinessPeriodSeconds = 1
	readinessFailures      = 2
)

// shutdownLingerMs is how long a broker that is to stop serves on while it says that it is not ready: until the probe has
// turned (2 s at most), its endpoint has been taken out (the EndpointSlice controller and kube-proxy each gather changes for up to a
// second). One that ended sooner would leave an address behind that swallows connection attempts (decision 14).
const shutdownLingerMs = 1000*readinessPeriodSeconds*readinessFailures + 2500

// podTemplate is a node's pod without its hash. It names its ConfigMap by content, so the hash covers the settings.
func (s *scope) podTemplate(n *node, configMapName string) corev1.PodTemplateSpec {
	t := n.template
	labels, annotations := maps.Clone(t.Labels), maps.Clone(t.Annotations)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, n.labels())
	if at := s.cluster.Status.RestartedAt; at != "" {
		annotations = merged(annotations, map[string]string{annotationRestartedAt: at})
	}
	var pullSecrets []corev1.LocalObjectReference
	for _, name := range t.ImagePullSecrets {
		pullSecrets = append(pullSecrets, corev1.LocalObjectReference{Name: name})
	}
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: labels, Annotations: annotations},
		Spec: corev1.PodSpec{
			ServiceAccountName:            serviceAccountName(n.cluster),
			AutomountServiceAccountToken:  ptr.To(false),
			EnableServiceLinks:            ptr.To(false),
			TerminationGracePeriodSeconds: ptr.To(ptr.Deref(t.TerminationGracePeriodSeconds, 60)),
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: ptr.To(true), RunAsUser: ptr.To(nonRoot), RunAsGroup: ptr.To(nonRoot), FSGroup: ptr.To(nonRoot),
				FSGroupChangePolicy: ptr.To(corev1.FSGroupChangeOnRootMismatch),
				SeccompProfile:      &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			ImagePullSecrets:          pullSecrets,
			NodeSelector:              t.NodeSelector,
			Tolerations:               t.Tolerations,
			PriorityClassName:         t.PriorityClassName,
			RuntimeClassName:          t.RuntimeClassName,
			TopologySpreadConstraints: n.spread(),
			Containers:                []corev1.Container{s.container(n)},
			Volumes:                   n.volumes(configMapName),
		},
	}
}

func (s *scope) container(n *node) corev1.Container {
	c := corev1.Container{
		Name:            "kraftd",
		Image:           s.image,
		ImagePullPolicy: corev1.PullPolicy(s.spec.ImagePullPolicy),
		Command:         []string{"/kraftd", "run", "--config", configDir + "/" + configFile},
		Env:             n.env(),
		Resources:       corev1.ResourceRequirements{Requests: amounts(n.resources.Requests), Limits: amounts(n.resources.Limits)},
		Ports:           []corev1.ContainerPort{{Name: "http", ContainerPort: httpPort, Protocol: corev1.ProtocolTCP}},
		SecurityContext: &corev1.SecurityContext{
			AllowPrivilegeEscalation: ptr.To(false), ReadOnlyRootFilesystem: ptr.To(true), RunAsNonRoot: ptr.To(true),
			Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		// A start may replay a long log; a live node's loops turn whatever its peers do, and bear a long fsync.
		StartupProbe:   probe("/livez", 1, 3600),
		LivenessProbe:  probe("/livez", 10, 6),
		ReadinessProbe: probe("/readyz", readinessPeriodSeconds, readinessFailures),
		VolumeMounts: []corev1.VolumeMount{
			{Name: "data", MountPath: dataDir},
			{Name: "config", MountPath: configDir, ReadOnly: true},
			{Name: "live", MountPath: liveDir, ReadOnly: true},
		},
	}
	if n.controller {
		c.Ports = append(c.Ports, corev1.ContainerPort{Name: "controller", ContainerPort: controllerPort, Protocol: corev1.ProtocolTCP})
	}
	if n.broker {
		for _, l := range s.spec.Listeners {
			c.Ports = append(c.Ports, corev1.ContainerPort{Name: l.Name, ContainerPort: l.Port, Protocol: corev1.ProtocolTCP})
		}
	}
	return c
}

func probe(path string, periodSeconds, failures int32) *corev1.Probe {
	return &corev1.Probe{
		ProbeHandler:     corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromString("http"), Scheme: corev1.URISchemeHTTP}},
		PeriodSeconds:    periodSeconds,
		TimeoutSeconds:   5,
		SuccessThreshold: 1,
		FailureThreshold: failures,
	}
}

// env is what a node can't know from its settings: where it runs. The zone is the pod's own label, which Kubernetes
// copies from the node at binding (1.35 and later); without it the variable is empty.
func (n *node) env() []corev1.EnvVar {
	from := func(name, path string) corev1.EnvVar {
		return corev1.EnvVar{Name: name, ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: path}}}
	}
	env := []corev1.EnvVar{
		from("POD_NAME", "metadata.name"),
		from("POD_NAMESPACE", "metadata.namespace"),
		from("POD_IP", "status.podIP"),
		from("HOST_IP", "status.hostIP"),
		from("ZONE", "metadata.labels['"+corev1.LabelTopologyZone+"']"),
	}
	for _, e := range n.template.Env {
		env = append(env, corev1.EnvVar{Name: e.Name, Value: e.Value})
	}
	return env
}

func (n *node) volumes(configMapName string) []corev1.Volume {
	fromMap := func(volume, name string) corev1.Volume {
		return corev1.Volume{Name: volume, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
			LocalObjectReference: corev1.LocalObjectReference{Name: name}, DefaultMode: ptr.To(int32(0o444)),
		}}}
	}
	return []corev1.Volume{
		{Name: "data", VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: claimName(n.name)}}},
		fromMap("config", configMapName),
		fromMap("live", liveConfigName(n.cluster)),
	}
}

// spread keeps a role's pods apart: a zone or a host that is lost takes as few of them as can be.
func (n *node) spread() []corev1.TopologySpreadConstraint {
	role := labelBroker
	if n.controller {
		role = labelController
	}
	selector := &metav1.LabelSelector{MatchLabels: map[string]string{labelCluster: n.cluster, role: "true"}}
	constraint := func(key string, policy v1alpha1.SpreadPolicy) corev1.TopologySpreadConstraint {
		when := corev1.ScheduleAnyway
		if policy == v1alpha1.SpreadRequired {
			when = corev1.DoNotSchedule
		}
		return corev1.TopologySpreadConstraint{MaxSkew: 1, TopologyKey: key, WhenUnsatisfiable: when, LabelSelector: selector}
	}
	return []corev1.TopologySpreadConstraint{
		constraint(corev1.LabelTopologyZone, n.template.Spread.Zones),
		constraint(corev1.LabelHostname, n.template.Spread.Hosts),
	}
}

// amounts reads quantities that the API has already checked.
func amounts(in v1alpha1.Amounts) corev1.ResourceList {
	if len(in) == 0 {
		return nil
	}
	out := corev1.ResourceList{}
	for k, v := range in {
		if q, err := resource.ParseQuantity(v.String()); err == nil {
			out[corev1.ResourceName(k)] = q
		}
	}
	return out
}

// statefulSet is a node's: one pod of a fixed identity, replaced only when the operator takes it down.
func (s *scope) statefulSet(n *node, configMapName string) *appsv1.StatefulSet {
	template := s.podTemplate(n, configMapName)
	text, err := json.Marshal(template)
	if err != nil {
		panic(fmt.Sprintf("pod template of %s: %v", n.name, err)) // Kubernetes' own types: they always marshal
	}
	hash := hashOf(template)
	if template.Annotations == nil {
		template.Annotations = map[string]string{}
	}
	template.Annotations[annotationTemplateHash] = hash
	return &appsv1.StatefulSet{
		TypeMeta: metav1.TypeMeta{APIVersion: "apps/v1", Kind: "StatefulSet"},
		ObjectMeta: metav1.ObjectMeta{
			Name: n.name, Namespace: s.cluster.Namespace, Labels: n.labels(),
			Annotations:     map[string]string{annotationTemplate: string(text)},
			OwnerReferences: []metav1.OwnerReference{ownerOf(s.cluster)},
		},
		Spec: appsv1.StatefulSetSpec{
			Replicas:             ptr.To(n.replicas()),
			ServiceName:          headlessName(n.cluster),
			PodManagementPolicy:  appsv1.ParallelPodManagement,
			UpdateStrategy:       appsv1.StatefulSetUpdateStrategy{Type: appsv1.OnDeleteStatefulSetStrategyType},
			RevisionHistoryLimit: ptr.To(int32(2)),
			Selector:             &metav1.LabelSelector{MatchLabels: n.selector()},
			Template:             template,
		},
	}
}

// replicas is 1 pod, or none of a node that is being taken out.
func (n *node) replicas() int32 {
	if n.leaving {
		return 0
	}
	return 1
}

// claim is a node's disk. It outlives the StatefulSet, and with the policy Retain the KRaftCluster.
func (s *scope) claim(n *node) *corev1.PersistentVolumeClaim {
	c := &corev1.PersistentVolumeClaim{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "PersistentVolumeClaim"},
		ObjectMeta: metav1.ObjectMeta{
			Name: claimName(n.name), Namespace: s.cluster.Namespace, Labels: n.labels(),
			Annotations: map[string]string{
				annotationClusterID:     s.cluster.Status.ClusterID,
				annotationNodeID:        fmt.Sprint(n.id),
				annotationInitialVoters: formatVoters(s.cluster.Status.InitialVoters),
				annotationFormed:        fmt.Sprint(s.cluster.Status.Formed),
				annotationHome:          s.home(),
			},
		},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes:      []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			StorageClassName: n.storage.Class,
			Resources:        corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: n.size()}},
		},
	}
	if dir := s.initialDirectory(n.id); n.controller && dir != "" && !s.cluster.Status.Formed {
		c.Annotations[annotationDirectoryID] = dir
	}
	c.OwnerReferences = s.claimOwners(c)
	return c
}

func (n *node) size() resource.Quantity {
	q, err := resource.ParseQuantity(n.storage.Size.String())
	if err != nil {
		panic(fmt.Sprintf("size of %s: %v", n.name, err)) // refused by the API
	}
	return q
}
