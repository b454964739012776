package controllers

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
	"github.com/kraft-dev/kraft-operator/internal/config"
)

var rewrite = flag.Bool("rewrite", false, "write the golden objects anew")

// fixture is the sample as it stands after its ids were drawn.
func fixture(change func(*v1alpha1.KRaftCluster)) *scope {
	volume := func(size string) v1alpha1.VolumeSpec { return v1alpha1.VolumeSpec{Size: intstr.FromString(size)} }
	c := &v1alpha1.KRaftCluster{
		ObjectMeta: metav1.ObjectMeta{Name: "demo", Namespace: "ns", UID: "0000", Generation: 1},
		Spec: v1alpha1.KRaftClusterSpec{
			Version: "4.3", ImagePullPolicy: "IfNotPresent",
			Controllers: v1alpha1.ControllersSpec{Replicas: 3, Roles: []v1alpha1.Role{v1alpha1.RoleController}, Storage: volume("1Gi")},
			Brokers: &v1alpha1.BrokersSpec{Replicas: 3, Storage: volume("2Gi"), Resources: v1alpha1.ResourcesSpec{
				Requests: v1alpha1.Amounts{"cpu": intstr.FromString("50m"), "memory": intstr.FromString("64Mi")},
			}},
			Listeners: []v1alpha1.ListenerSpec{
				{Name: "internal", Port: 9092, Type: v1alpha1.ListenerInternal, Protocol: "PLAINTEXT"},
				{Name: "external", Port: 9094, Type: v1alpha1.ListenerNodePort, Protocol: "PLAINTEXT"},
			},
			Config: v1alpha1.NodeConfig{"min.insync.replicas": "2"},
		},
		Status: v1alpha1.KRaftClusterStatus{
			ClusterID: "4L6g3nShT-eMCtK--X86sw", Defaults: defaultsFor(3),
			InitialVoters: []v1alpha1.InitialVoter{
				{ID: 0, DirectoryID: "BBBBBBBBBBBBBBBBBBBBBA"}, {ID: 1, DirectoryID: "CCCCCCCCCCCCCCCCCCCCCA"}, {ID: 2, DirectoryID: "DDDDDDDDDDDDDDDDDDDDDA"},
			},
			Pools: []v1alpha1.PoolStatus{
				{Name: poolControllers, FirstID: 0, NodeIDs: []int32{0, 1, 2}}, {Name: poolBrokers, FirstID: 1000, NodeIDs: []int32{1000, 1001, 1002}},
			},
		},
	}
	if change != nil {
		change(c)
	}
	s := &scope{cluster: c, spec: *c.Spec.DeepCopy(), image: "kraft:1", operatorNamespace: "kraft-system", now: time.Unix(1_700_000_000, 0)}
	s.makeNodes()
	for _, n := range s.nodes {
		if n.broker {
			n.nodePorts = map[string]int32{"external": 30000 + n.id}
		}
		n.want = s.statefulSet(n, s.configMap(n).Name)
	}
	return s
}

func (s *scope) objects(n *node) []client.Object {
	var objs []client.Object
	for _, svc := range s.nodeServices(n, false) {
		objs = append(objs, svc)
	}
	return append(objs, s.configMap(n), s.claim(n), n.want)
}

// TestObjectsAreAsTheyWere: a changed pod template rolls every cluster there is, so a change here must be meant.
func TestObjectsAreAsTheyWere(t *testing.T) {
	s := fixture(nil)
	combined := fixture(func(c *v1alpha1.KRaftCluster) {
		c.Spec.Brokers, c.Spec.Controllers.Roles = nil, []v1alpha1.Role{v1alpha1.RoleController, v1alpha1.RoleBroker}
		c.Status.Pools = c.Status.Pools[:1]
	})
	golden(t, "controller", s.objects(s.nodes[0]))
	golden(t, "broker", s.objects(s.nodes[3]))
	golden(t, "combined", combined.objects(combined.nodes[0]))
	golden(t, "shared", append(s.shared(), s.liveConfigMap(), s.budget(poolBrokers, 1)))
}

func golden(t *testing.T, name string, objs []client.Object) {
	t.Helper()
	var docs []string
	for _, o := range objs {
		b, err := yaml.Marshal(o)
		require.NoError(t, err)
		docs = append(docs, string(b))
	}
	got := strings.Join(docs, "---\n")
	path := filepath.Join("testdata", name+".yaml")
	if *rewrite {
		require.NoError(t, os.MkdirAll("testdata", 0o755))
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "%s: if this is as intended, run with -rewrite and read the diff", path)
}

// TestTheLongestNamesAreLabels: 37 characters are the most that the API takes, 999 the last id of the first pool.
func TestTheLongestNamesAreLabels(t *testing.T) {
	s := fixture(func(c *v1alpha1.KRaftCluster) {
		c.Name = strings.Repeat("n", 37)
		c.Spec.Brokers, c.Spec.Controllers.Roles = nil, []v1alpha1.Role{v1alpha1.RoleController, v1alpha1.RoleBroker}
		c.Spec.Listeners[1].Name = strings.Repeat("l", 15)
		c.Status.Pools = []v1alpha1.PoolStatus{{Name: poolControllers, NodeIDs: []int32{999}}}
	})
	services := 0
	for _, o := range append(s.shared(), s.objects(s.nodes[0])...) {
		if o.GetObjectKind().GroupVersionKind().Kind == "Service" {
			services++
			require.LessOrEqual(t, len(o.GetName()), 63, o.GetName())
		}
	}
	require.Equal(t, 7, services)
}

// TestWhatChangesATemplateAndWhatDoesnt: the hash decides who is rolled.
func TestWhatChangesATemplateAndWhatDoesnt(t *testing.T) {
	hashes := func(s *scope) map[string]string {
		out := map[string]string{}
		for _, n := range s.nodes {
			out[n.name] = n.want.Spec.Template.Annotations[annotationTemplateHash]
		}
		return out
	}
	before := hashes(fixture(nil))
	for _, tc := range []struct {
		name                string
		change              func(*v1alpha1.KRaftCluster)
		controllers, broker bool // rolled
	}{
		{"another broker", func(c *v1alpha1.KRaftCluster) {
			c.Status.Pools[1].NodeIDs = append(c.Status.Pools[1].NodeIDs, 1003)
		}, false, false},
		{"another controller that observes", func(c *v1alpha1.KRaftCluster) {
			c.Status.Pools[0].NodeIDs = append(c.Status.Pools[0].NodeIDs, 3)
		}, false, false},
		{"formed", func(c *v1alpha1.KRaftCluster) { c.Status.Formed = true }, false, false},
		{"storage grows", func(c *v1alpha1.KRaftCluster) { c.Spec.Brokers.Storage.Size = intstr.FromString("4Gi") }, false, false},
		{"deletion policy", func(c *v1alpha1.KRaftCluster) { c.Spec.Storage.DeletionPolicy = v1alpha1.DeletionDelete }, false, false},
		{"a setting", func(c *v1alpha1.KRaftCluster) { c.Spec.Config["num.partitions"] = "4" }, true, true},
		{"a setting that running nodes take", func(c *v1alpha1.KRaftCluster) { c.Spec.Config["log.retention.ms"] = "4" }, false, false},
		{"the brokers' memory", func(c *v1alpha1.KRaftCluster) {
			c.Spec.Brokers.Resources.Limits = v1alpha1.Amounts{"memory": intstr.FromString("1Gi")}
		}, false, true},
		{"the controllers' grace", func(c *v1alpha1.KRaftCluster) {
			c.Spec.Controllers.Template.TerminationGracePeriodSeconds = ptr.To(int64(90))
		}, true, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			after := hashes(fixture(tc.change))
			require.Equal(t, tc.controllers, before["demo-controller-1"] != after["demo-controller-1"], "controllers")
			require.Equal(t, tc.broker, before["demo-broker-1001"] != after["demo-broker-1001"], "brokers")
		})
	}
}

// TestSettingsAreOnesThatANodeTakes: what the operator writes, internal/config reads without complaint.
func TestSettingsAreOnesThatANodeTakes(t *testing.T) {
	s := fixture(nil)
	for _, n := range s.nodes {
		require.NoError(t, s.checkConfig(n), n.name)
	}
	live, err := config.Parse([]byte(s.liveConfigMap().Data[liveFile]))
	require.NoError(t, err)
	require.Equal(t, "true", live[config.KraftFormationPermit])
	routes, err := config.ParseRoutes(live[config.KraftRoutes])
	require.NoError(t, err)
	require.Len(t, routes, 3)
}

func TestInitialVotersAreWrittenAsTheyAreRead(t *testing.T) {
	s := fixture(nil)
	got := parseVoters(formatVoters(s.cluster.Status.InitialVoters))
	require.Equal(t, s.identity().Voters, got)
	for _, bad := range []string{"", "0", "x@BBBBBBBBBBBBBBBBBBBBBA", "0@short", "0@BBBBBBBBBBBBBBBBBBBBBA,"} {
		require.Nil(t, parseVoters(bad), bad)
	}
}
