package ports

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const asChild = "PORTS_TEST_CHILD"

// TestNobodyGetsAPortTwice: neither this process, also past the end of a block, nor another one at the same time.
func TestNobodyGetsAPortTwice(t *testing.T) {
	taken, err := Take(block + 10)
	require.NoError(t, err)
	if os.Getenv(asChild) != "" {
		fmt.Println("TAKEN", strings.Trim(fmt.Sprint(taken), "[]"))
		return
	}
	busy, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", taken[len(taken)-1]+1))
	require.NoError(t, err)
	defer busy.Close()
	more, err := Take(10)
	require.NoError(t, err)
	taken = append(taken, more...)
	require.NotContains(t, taken, busy.Addr().(*net.TCPAddr).Port, "somebody listens there")

	cmd := exec.Command(os.Args[0], "-test.run=^TestNobodyGetsAPortTwice$")
	cmd.Env = append(os.Environ(), asChild+"=1")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	_, list, found := strings.Cut(string(out), "TAKEN ")
	require.True(t, found, "%s", out)
	list, _, _ = strings.Cut(list, "\n")
	for _, p := range strings.Fields(list) {
		var port int
		_, err := fmt.Sscan(p, &port)
		require.NoError(t, err)
		taken = append(taken, port)
	}
	require.Len(t, taken, 2*(block+10)+10)
	seen := map[int]bool{}
	for _, p := range taken {
		require.False(t, seen[p], "%d twice", p)
		seen[p] = true
	}
}
