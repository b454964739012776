//go:build linux

package main

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestChooseBlock(t *testing.T) {
	preferred, err := chooseBlock("demo", nil, nil)
	require.NoError(t, err)
	next := firstBlock + (preferred-firstBlock+1)%blocks

	for name, tc := range map[string]struct {
		taken map[int]bool
		used  string
		want  int
	}{
		"the same name leads to the same block":               {want: preferred},
		"another cluster's block is passed over":              {taken: map[int]bool{preferred: true}, want: next},
		"a route inside the block makes it taken":             {used: "10." + itoa(preferred) + ".7.0/24 via 10.0.0.1 dev eth0", want: next},
		"an address inside the block makes it taken":          {used: "2: eth0 inet 10." + itoa(preferred) + ".0.9 scope", want: next},
		"the default route holds nothing":                     {used: "default via 192.0.2.1 dev eth0", want: preferred},
		"a route to everything, as a VPN sets, holds nothing": {used: "0.0.0.0/0 dev tun0", want: preferred},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := chooseBlock("demo", tc.taken, parseRoutes(tc.used))
			require.NoError(t, err)
			require.Equal(t, tc.want, got)
		})
	}

	_, err = chooseBlock("demo", nil, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")})
	require.ErrorContains(t, err, "take a cluster down", "a host whose network is all of 10/8 is told so")
}

func itoa(n int) string {
	return strings.TrimSuffix(strings.TrimPrefix(blockPrefix(n).String(), "10."), ".0.0/16")
}

func TestAddressesOfACluster(t *testing.T) {
	c := &Cluster{Name: "demo", Block: 114, Nodes: maxNodes}
	block, services, pods := blockPrefix(114), netip.MustParsePrefix(c.serviceCIDR()), netip.MustParsePrefix(c.podCIDR())
	require.False(t, services.Overlaps(pods))
	require.True(t, services.Contains(netip.MustParseAddr(c.serviceDNS())))
	require.True(t, services.Contains(netip.MustParseAddr(c.serviceAPI())))
	seen := map[string]bool{c.apiAddr(): true, c.hostAddr(): true, c.hostPeerAddr(): true}
	for n := 1; n <= maxNodes; n++ {
		addr := c.nodeAddr(n)
		require.False(t, seen[addr], addr)
		seen[addr] = true
		require.True(t, block.Contains(netip.MustParseAddr(addr)))
		require.True(t, pods.Overlaps(netip.MustParsePrefix(c.nodePods(n))), "node %d", n)
	}
	require.LessOrEqual(t, len(c.hostLink()), 15, "the kernel's limit for a link's name")
	require.Contains(t, c.controlPlaneNetwork(), "route add 10.114.65.0/24 via 10.114.0.11 dev br0\n")
}

func TestNodeNames(t *testing.T) {
	c := &Cluster{Name: "demo", Nodes: 3}
	n, err := c.nodeNumber("node-3")
	require.NoError(t, err)
	require.Equal(t, 3, n)
	for _, bad := range []string{"node-0", "node-4", "node-03", "node-", "node-+1", "n1", ""} {
		_, err := c.nodeNumber(bad)
		require.ErrorContains(t, err, "node-1 to node-3", bad)
	}
	require.Equal(t, []string{"z1", "z2", "z3", "z1"}, []string{nodeZone(1), nodeZone(2), nodeZone(3), nodeZone(4)})
}
