//go:build linux

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// A cluster has one block 10.<block>.0.0/16 for itself:
//
//	10.B.0.0/24    nodes' network, a bridge in the cluster's namespace: .1 the control plane, .11 node-1, .12 node-2 …
//	10.B.1.0/30    the one link with the host: .1 the host, .2 the cluster
//	10.B.64.0/18   pods: 10.B.(64+n).0/24 on node n
//	10.B.128.0/17  Services: .1 the API, 10.B.128.10 DNS
const (
	firstBlock = 100
	blocks     = 100
	maxNodes   = 60
)

func (c *Cluster) addr(third, fourth int) string {
	return fmt.Sprintf("10.%d.%d.%d", c.Block, third, fourth)
}

func (c *Cluster) apiAddr() string       { return c.addr(0, 1) }
func (c *Cluster) apiURL() string        { return "https://" + c.apiAddr() + ":6443" }
func (c *Cluster) nodeAddr(n int) string { return c.addr(0, 10+n) }
func (c *Cluster) hostAddr() string      { return c.addr(1, 1) }
func (c *Cluster) hostPeerAddr() string  { return c.addr(1, 2) }
func (c *Cluster) serviceCIDR() string   { return c.addr(128, 0) + "/17" }
func (c *Cluster) serviceAPI() string    { return c.addr(128, 1) }
func (c *Cluster) serviceDNS() string    { return c.addr(128, 10) }
func (c *Cluster) podCIDR() string       { return c.addr(64, 0) + "/18" }
func (c *Cluster) nodePods(n int) string { return c.addr(64+n, 0) + "/24" }
func (c *Cluster) network() string       { return c.addr(0, 0) + "/16" }
func (c *Cluster) hostLink() string      { return fmt.Sprintf("lk%d", c.Block) }
func nodeName(n int) string              { return fmt.Sprintf("node-%d", n) }
func nodeLink(n int) string              { return fmt.Sprintf("n%d", n) }
func (c *Cluster) nodeMAC(n int) string  { return fmt.Sprintf("02:4c:4b:%02x:00:%02x", c.Block, n) }
func (c *Cluster) bridgeMAC() string     { return c.nodeMAC(0) }
func nodeZone(n int) string              { return fmt.Sprintf("z%d", (n-1)%3+1) }
func blockPrefix(block int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(block), 0, 0}), 16)
}

// nodeNumber turns node-N into N, within the cluster.
func (c *Cluster) nodeNumber(name string) (int, error) {
	digits, ok := strings.CutPrefix(name, "node-")
	n, err := strconv.Atoi(digits)
	if !ok || err != nil || n < 1 || n > c.Nodes || name != nodeName(n) {
		return 0, fmt.Errorf("node %q: cluster %s has node-1 to node-%d", name, c.Name, c.Nodes)
	}
	return n, nil
}

// chooseBlock picks the block of a new cluster: the one that its name leads to, so that it is the same each time,
// else the next that neither another cluster nor a route of the host holds.
func chooseBlock(name string, taken map[int]bool, used []netip.Prefix) (int, error) {
	h := fnv.New32a()
	_, _ = h.Write([]byte(name))
	start := int(h.Sum32() % blocks)
next:
	for i := range blocks {
		block := firstBlock + (start+i)%blocks
		if taken[block] {
			continue
		}
		for _, p := range used {
			if p.Bits() > 0 && p.Overlaps(blockPrefix(block)) {
				continue next
			}
		}
		return block, nil
	}
	return 0, fmt.Errorf("each of 10.%d.0.0/16 to 10.%d.0.0/16 is used by a cluster or by a route of this host: take a cluster down", firstBlock, firstBlock+blocks-1)
}

// parseRoutes reads destinations and addresses out of `ip route show table all` and `ip -o addr`.
func parseRoutes(text string) []netip.Prefix {
	var found []netip.Prefix
	for field := range strings.FieldsSeq(text) {
		if p, err := netip.ParsePrefix(field); err == nil && p.Addr().Is4() {
			found = append(found, p.Masked())
		} else if a, err := netip.ParseAddr(field); err == nil && a.Is4() {
			found = append(found, netip.PrefixFrom(a, 32))
		}
	}
	return found
}

// hostRoutes is what the host's own network namespace uses.
func hostRoutes(ctx context.Context) ([]netip.Prefix, error) {
	routes, err := run(ctx, "", "ip", "-4", "route", "show", "table", "all")
	if err != nil {
		return nil, err
	}
	addrs, err := run(ctx, "", "ip", "-4", "-o", "addr", "show")
	if err != nil {
		return nil, err
	}
	return parseRoutes(routes + addrs), nil
}

// controlPlaneNetwork is `ip -batch` text for inside the cluster's namespace.
func (c *Cluster) controlPlaneNetwork() string {
	var b strings.Builder
	fmt.Fprintf(&b, `link set lo up
link add br0 address %s type bridge
addr add %s/24 dev br0
link set br0 up
addr add %s/30 dev host
link set host up
route add unreachable %s
`, c.bridgeMAC(), c.apiAddr(), c.hostPeerAddr(), c.serviceCIDR())
	for n := 1; n <= c.Nodes; n++ {
		fmt.Fprintf(&b, "route add %s via %s dev br0\n", c.nodePods(n), c.nodeAddr(n))
	}
	return b.String()
}

// connectHost joins the host and the cluster's namespace by one link, and sends the whole block through it.
func (c *Cluster) connectHost(ctx context.Context, controlPlane Process) error {
	// The link may be there from a run that died; one of this name is ours by its block.
	_ = c.removeHostLink(ctx)
	if _, err := run(ctx, fmt.Sprintf(`link add %[1]s type veth peer name host netns %[2]d
addr add %[3]s/30 dev %[1]s
link set %[1]s up
`, c.hostLink(), controlPlane.PID, c.hostAddr()), "ip", "-batch", "-"); err != nil {
		return fmt.Errorf("linking the host with the cluster: %w", err)
	}
	if _, err := run(ctx, c.controlPlaneNetwork(), "nsenter", netOf(controlPlane), "ip", "-batch", "-"); err != nil {
		return fmt.Errorf("making the cluster's bridge: %w", err)
	}
	if _, err := run(ctx, "", "ip", "route", "add", c.network(), "via", c.hostPeerAddr(), "dev", c.hostLink()); err != nil {
		return fmt.Errorf("routing %s to the cluster: %w", c.network(), err)
	}
	return nil
}

// connectNode gives a node its network card: one end in the node, the other in the cluster's bridge.
func (c *Cluster) connectNode(ctx context.Context, n int, controlPlane, node Process) error {
	if _, err := run(ctx, fmt.Sprintf(`link add %[1]s type veth peer name eth0 address %[2]s netns %[3]d
link set %[1]s master br0
link set %[1]s up
`, nodeLink(n), c.nodeMAC(n), node.PID), "nsenter", netOf(controlPlane), "ip", "-batch", "-"); err != nil {
		return fmt.Errorf("linking %s: %w", nodeName(n), err)
	}
	if _, err := run(ctx, fmt.Sprintf(`link set lo up
addr add %s/24 dev eth0
link set eth0 up
route add default via %s
`, c.nodeAddr(n), c.apiAddr()), "nsenter", netOf(node), "ip", "-batch", "-"); err != nil {
		return fmt.Errorf("setting up the network of %s: %w", nodeName(n), err)
	}
	return nil
}

// disconnectNode removes what is left of a node's link after it ended.
func (c *Cluster) disconnectNode(ctx context.Context, n int, controlPlane Process) error {
	return waitFor(ctx, 10*time.Second, "the link of "+nodeName(n)+" to go", func() (bool, error) {
		_, _ = run(ctx, "", "nsenter", netOf(controlPlane), "ip", "link", "del", nodeLink(n))
		out, err := run(ctx, "", "nsenter", netOf(controlPlane), "ip", "-o", "link", "show")
		return err == nil && !strings.Contains(out, " "+nodeLink(n)+"@"), err
	})
}

// setNodeLink pulls a node's cable (up false) or plugs it in again.
func (c *Cluster) setNodeLink(ctx context.Context, n int, controlPlane Process, up bool) error {
	state := "down"
	if up {
		state = "up"
	}
	_, err := run(ctx, "", "nsenter", netOf(controlPlane), "ip", "link", "set", nodeLink(n), state)
	return err
}

// removeHostLink removes the host's end of the link, and with it its address and route. No link is no error.
func (c *Cluster) removeHostLink(ctx context.Context) error {
	return waitFor(ctx, 10*time.Second, "the link "+c.hostLink()+" to go", func() (bool, error) {
		out, err := run(ctx, "", "ip", "-o", "link", "show")
		if err != nil {
			return false, err
		}
		if !strings.Contains(out, " "+c.hostLink()+"@") {
			return true, nil
		}
		_, err = run(ctx, "", "ip", "link", "del", c.hostLink())
		return false, err
	})
}

func netOf(p Process) string { return fmt.Sprintf("--net=/proc/%d/ns/net", p.PID) }

// run runs a command to its end and returns what it printed; an error carries what it complained about.
func run(ctx context.Context, stdin, name string, args ...string) (string, error) {
	var out, errOut bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errOut
	if err := cmd.Run(); err != nil {
		msg := strings.TrimSpace(errOut.String())
		if errors.Is(err, exec.ErrNotFound) || msg == "" {
			return out.String(), fmt.Errorf("%s %s: %w", name, strings.Join(args, " "), err)
		}
		return out.String(), fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, tail(msg, 5))
	}
	return out.String(), nil
}
