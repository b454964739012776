// Package cluster runs whole clusters of kraftd for tests, without Kubernetes: nodes as processes that can be killed, or
// all of them in the test's own process.
package cluster

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kraft-dev/kraft-operator/internal/config"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
	"github.com/kraft-dev/kraft-operator/test/ports"
)

// Spec says what runs. Controllers have ids from 0, brokers from 1000, as the operator gives them.
type Spec struct {
	Controllers int
	Voters      int  // initial ones, the first controllers; 0: all
	Static      bool // the initial voters stand in controller.quorum.voters: kraft.version 0
	Brokers     int  // 0: the controllers are brokers too
	Processes   bool // nodes are processes of the kraftd binary, otherwise they run in this process
	Config      map[string]string
}

// T is what a cluster needs of a test; *testing.T is one, and so may be a benchmark's program.
type T interface {
	require.TestingT
	Helper()
	Cleanup(func())
	TempDir() string
	Fatalf(format string, args ...any)
}

// Cluster is a running cluster. Its nodes end with the test.
type Cluster struct {
	t           T
	Spec        Spec
	ClusterID   string
	Controllers []*Node
	Brokers     []*Node // the controllers, where they are combined
	binary      string
}

// readyWithin bounds every wait for a node; on two busy cores a start takes a second or two.
const readyWithin = 2 * time.Minute

// Start makes a cluster and waits until every node is ready.
func Start(t T, spec Spec) *Cluster {
	c := New(t, spec)
	for _, n := range c.Nodes() {
		n.Start()
	}
	c.WaitReady()
	return c
}

// New writes the configuration of every node and starts none.
func New(t T, spec Spec) *Cluster {
	t.Helper()
	id, err := uuid.New(rand.Reader)
	require.NoError(t, err)
	c := &Cluster{t: t, Spec: spec, ClusterID: id.String()}
	if spec.Processes {
		c.binary = Binary(t)
	}
	free, err := ports.Take(3 * (spec.Controllers + spec.Brokers))
	require.NoError(t, err)
	take := func() int {
		p := free[0]
		free = free[1:]
		return p
	}
	combined := spec.Brokers == 0
	var initial, bootstrap []string
	for i := range spec.Controllers {
		n := &Node{c: c, ID: int32(i), Controller: true, Broker: combined, controllerPort: take(), httpPort: take(), clientPort: take()}
		dir, err := uuid.New(rand.Reader)
		require.NoError(t, err)
		n.directory = dir
		if spec.Voters == 0 || i < spec.Voters {
			initial = append(initial, fmt.Sprintf("%d@127.0.0.1:%d:%s", n.ID, n.controllerPort, dir))
		}
		bootstrap = append(bootstrap, fmt.Sprintf("127.0.0.1:%d", n.controllerPort))
		c.Controllers = append(c.Controllers, n)
	}
	c.Brokers = c.Controllers
	if !combined {
		c.Brokers = nil
		for i := range spec.Brokers {
			c.Brokers = append(c.Brokers, &Node{c: c, ID: int32(1000 + i), Broker: true, clientPort: take(), httpPort: take()})
		}
	}
	for _, n := range c.Nodes() {
		n.Dir = filepath.Join(t.TempDir(), fmt.Sprintf("node-%d", n.ID))
		require.NoError(t, os.MkdirAll(n.Dir, 0o755))
		n.writeConfig(strings.Join(initial, ","), strings.Join(bootstrap, ","), min(3, len(c.Brokers)))
	}
	t.Cleanup(c.stop)
	return c
}

// Nodes returns controllers, then brokers, each once.
func (c *Cluster) Nodes() []*Node {
	if c.Spec.Brokers == 0 {
		return c.Controllers
	}
	return slices.Concat(c.Controllers, c.Brokers)
}

// stop ends brokers before controllers, as an operator would.
func (c *Cluster) stop() {
	nodes := c.Nodes()
	slices.Reverse(nodes)
	for _, n := range nodes {
		n.Kill()
	}
}

// Bootstrap is where clients connect.
func (c *Cluster) Bootstrap() []string {
	var out []string
	for _, n := range c.Brokers {
		out = append(out, n.Addr())
	}
	return out
}

// Client makes a franz-go client that is closed with the test.
func (c *Cluster) Client(opts ...kgo.Opt) *kgo.Client {
	c.t.Helper()
	cl, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(c.Bootstrap()...)}, opts...)...)
	require.NoError(c.t, err)
	c.t.Cleanup(cl.Close)
	return cl
}

// WaitReady waits until every running node is ready.
func (c *Cluster) WaitReady() {
	c.t.Helper()
	for _, n := range c.Nodes() {
		if n.Running() {
			n.WaitReady()
		}
	}
}

// Eventually waits for a condition.
func (c *Cluster) Eventually(what string, within time.Duration, cond func() bool) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			c.t.Fatalf("not within %s: %s\n%s", within, what, c.Logs())
		}
	}
}

// Logs returns the last lines of every node's log, for a failure's message.
func (c *Cluster) Logs() string {
	var b strings.Builder
	for _, n := range c.Nodes() {
		lines := strings.Split(strings.TrimSpace(n.Log()), "\n")
		fmt.Fprintf(&b, "--- node %d\n%s\n", n.ID, strings.Join(lines[max(0, len(lines)-25):], "\n"))
	}
	return b.String()
}

// get asks a node's HTTP listener.
func get(url string) (int, string, error) {
	cl := http.Client{Timeout: 15 * time.Second}
	resp, err := cl.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, string(body), err
}

func (n *Node) writeConfig(initial, bootstrap string, rf int) {
	props := map[string]string{
		config.NodeID:                       fmt.Sprint(n.ID),
		config.LogDirs:                      filepath.Join(n.Dir, "data"),
		config.ControllerListenerNames:      "CONTROLLER",
		config.QuorumBootstrapServers:       bootstrap,
		config.KraftClusterID:               n.c.ClusterID,
		config.KraftHTTPListener:            fmt.Sprintf("127.0.0.1:%d", n.httpPort),
		config.KraftInitialControllers:      initial,
		config.KraftFormationSafe:           "true",
		config.ListenerSecurityProtocolMap:  "CONTROLLER:PLAINTEXT,INTERNAL:PLAINTEXT",
		config.OffsetsTopicReplication:      fmt.Sprint(rf),
		config.OffsetsTopicPartitions:       "3",
		config.GroupInitialRebalanceDelayMs: "0",
		config.DefaultReplicationFactor:     fmt.Sprint(rf),
	}
	var roles, listeners []string
	if n.Broker {
		roles = append(roles, "broker")
		listeners = append(listeners, fmt.Sprintf("INTERNAL://127.0.0.1:%d", n.clientPort))
		props[config.InterBrokerListenerName] = "INTERNAL"
	}
	if n.Controller {
		roles = append(roles, "controller")
		listeners = append(listeners, fmt.Sprintf("CONTROLLER://127.0.0.1:%d", n.controllerPort))
	}
	props[config.ProcessRoles], props[config.Listeners] = strings.Join(roles, ","), strings.Join(listeners, ",")
	if n.c.Spec.Static {
		var voters []string
		for _, v := range strings.Split(initial, ",") {
			voters = append(voters, v[:strings.LastIndexByte(v, ':')])
		}
		delete(props, config.KraftInitialControllers)
		delete(props, config.KraftFormationSafe)
		if !n.Controller || slices.ContainsFunc(voters, func(v string) bool { return strings.HasPrefix(v, fmt.Sprintf("%d@", n.ID)) }) {
			props[config.QuorumVoters] = strings.Join(voters, ",")
		}
	}
	maps.Copy(props, n.c.Spec.Config)
	n.ConfigFile = filepath.Join(n.Dir, "kraftd.properties")
	require.NoError(n.c.t, os.WriteFile(n.ConfigFile, config.Format(props), 0o600))
}
