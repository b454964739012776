package controllers

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
)

// knownMaps is a client that knows ConfigMaps by their names.
type knownMaps struct {
	client.Client
	cms map[string]*corev1.ConfigMap
}

func (c knownMaps) Get(_ context.Context, key client.ObjectKey, obj client.Object, _ ...client.GetOption) error {
	cm, ok := c.cms[key.Name]
	if !ok {
		return apierrors.NewNotFound(schema.GroupResource{Resource: "configmaps"}, key.Name)
	}
	cm.DeepCopyInto(obj.(*corev1.ConfigMap))
	return nil
}

// TestEveryReasonOfARollIsNamed: whatever changes a node's template, the field that did is in the event and in status.
func TestEveryReasonOfARollIsNamed(t *testing.T) {
	template := func(change func(*v1alpha1.PodTemplate)) func(*v1alpha1.KRaftCluster) {
		return func(c *v1alpha1.KRaftCluster) { change(&c.Spec.Brokers.Template) }
	}
	const container = "changed: spec.containers[kraftd]."
	for _, tc := range []struct {
		name   string
		change func(*v1alpha1.KRaftCluster)
		why    string
	}{
		{"image pull policy", func(c *v1alpha1.KRaftCluster) { c.Spec.ImagePullPolicy = "Always" }, container + "imagePullPolicy"},
		{"a request", func(c *v1alpha1.KRaftCluster) {
			c.Spec.Brokers.Resources.Requests["cpu"] = intstr.FromString("60m")
		}, container + "resources.requests.cpu"},
		{"a limit that wasn't there", func(c *v1alpha1.KRaftCluster) {
			c.Spec.Brokers.Resources.Limits = v1alpha1.Amounts{"memory": intstr.FromString("1Gi")}
		}, container + "resources.limits.memory"},
		{"requests gone", func(c *v1alpha1.KRaftCluster) { c.Spec.Brokers.Resources.Requests = nil },
			container + "resources.requests.cpu, spec.containers[kraftd].resources.requests.memory"},
		{"a static setting", func(c *v1alpha1.KRaftCluster) { c.Spec.Config["num.partitions"] = "3" }, "changed: config num.partitions"},
		{"two settings, one of them live", func(c *v1alpha1.KRaftCluster) {
			c.Spec.Config = v1alpha1.NodeConfig{"num.partitions": "3", "auto.create.topics.enable": "false", "log.retention.ms": "5"}
		}, "changed: config auto.create.topics.enable, config num.partitions"},
		{"a label", template(func(p *v1alpha1.PodTemplate) { p.Labels = map[string]string{"team": "a"} }), "changed: metadata.labels.team"},
		{"an annotation", template(func(p *v1alpha1.PodTemplate) { p.Annotations = map[string]string{"example.com/a": "b"} }),
			"changed: metadata.annotations.example.com/a"},
		{"an environment variable", template(func(p *v1alpha1.PodTemplate) { p.Env = []v1alpha1.EnvVar{{Name: "A", Value: "b"}} }),
			container + "env[A]"},
		{"a node selector", template(func(p *v1alpha1.PodTemplate) { p.NodeSelector = map[string]string{"disk": "fast"} }), "changed: spec.nodeSelector.disk"},
		{"a toleration", template(func(p *v1alpha1.PodTemplate) { p.Tolerations = []corev1.Toleration{{Key: "k"}} }), "changed: spec.tolerations[0]"},
		{"a priority class", template(func(p *v1alpha1.PodTemplate) { p.PriorityClassName = "high" }), "changed: spec.priorityClassName"},
		{"a runtime class", template(func(p *v1alpha1.PodTemplate) { p.RuntimeClassName = ptr.To("kata") }), "changed: spec.runtimeClassName"},
		{"a pull secret", template(func(p *v1alpha1.PodTemplate) { p.ImagePullSecrets = []string{"reg"} }), "changed: spec.imagePullSecrets[reg]"},
		{"the grace period", template(func(p *v1alpha1.PodTemplate) { p.TerminationGracePeriodSeconds = ptr.To(int64(90)) }),
			"changed: spec.terminationGracePeriodSeconds"},
		{"the spread", template(func(p *v1alpha1.PodTemplate) { p.Spread.Zones = v1alpha1.SpreadRequired }),
			"changed: spec.topologySpreadConstraints[topology.kubernetes.io/zone].whenUnsatisfiable"},
		{"another listener", func(c *v1alpha1.KRaftCluster) {
			c.Spec.Listeners = append(c.Spec.Listeners, v1alpha1.ListenerSpec{Name: "more", Port: 9095, Type: v1alpha1.ListenerInternal, Protocol: "PLAINTEXT"})
		}, "changed: config advertised.listeners, config listener.security.protocol.map, config listeners, spec.containers[kraftd].ports[more]"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before, after := fixture(nil), fixture(tc.change)
			n := before.nodes[3]
			after.sets = map[string]*appsv1.StatefulSet{n.name: n.want}
			cms := map[string]*corev1.ConfigMap{}
			for _, cm := range []*corev1.ConfigMap{before.configMap(n), after.configMap(after.nodes[3])} {
				cms[cm.Name] = cm
			}
			r := &Reconciler{Client: knownMaps{cms: cms}}
			require.Equal(t, tc.why, r.whatChanged(t.Context(), after, after.nodes[3]))
		})
	}
	s := fixture(nil)
	n := s.nodes[3]
	s.sets = map[string]*appsv1.StatefulSet{n.name: n.want.DeepCopy()}
	s.image = "kraft:2"
	n.want = s.statefulSet(n, s.configMap(n).Name)
	require.Equal(t, container+"image", (&Reconciler{}).whatChanged(t.Context(), s, n))
}
