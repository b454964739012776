package node_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/kraft-dev/kraft-operator/test/cluster"
	"github.com/kraft-dev/kraft-operator/test/e2e/load"
	"github.com/kraft-dev/kraft-operator/test/ports"
)

// TestTheFilesOfTheDocumentation runs the three files of docs/without-kubernetes.md, with other ports and directories, and the commands
// that the page shows.
func TestTheFilesOfTheDocumentation(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/without-kubernetes.md")
	require.NoError(t, err)
	dir := t.TempDir()
	page = bytes.ReplaceAll(page, []byte("/var/lib/kraftd"), []byte(dir))
	addrs := map[string]string{}
	page = regexp.MustCompile(`127\.0\.0\.1:(9\d\d\d)`).ReplaceAllFunc(page, func(addr []byte) []byte {
		if addrs[string(addr)] == "" {
			free, err := ports.Take(1)
			require.NoError(t, err)
			addrs[string(addr)] = fmt.Sprintf("127.0.0.1:%d", free[0])
		}
		return []byte(addrs[string(addr)])
	})
	files := regexp.MustCompile("`(node-\\d\\.properties)`:\n\n```properties\n((?s:.*?))```").FindAllSubmatch(page, -1)
	require.Len(t, files, 3)
	kraftd := cluster.Binary(t)
	var nodes []*exec.Cmd
	for _, f := range files {
		name := filepath.Join(dir, string(f[1]))
		require.NoError(t, os.WriteFile(name, f[2], 0o600))
		cmd := exec.Command(kraftd, "run", "--config", name)
		var log bytes.Buffer
		cmd.Stdout, cmd.Stderr = &log, &log
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		require.NoError(t, cmd.Start())
		nodes = append(nodes, cmd)
	}
	t.Cleanup(func() {
		for _, cmd := range nodes {
			_ = cmd.Process.Signal(syscall.SIGTERM)
		}
		for _, cmd := range nodes {
			if err := cmd.Wait(); err != nil {
				t.Errorf("%v: %v\n%s", cmd.Args, err, cmd.Stderr)
			}
		}
	})
	eventually(t, "all three are ready", func() bool {
		for _, port := range []string{"9090", "9190", "9290"} {
			resp, err := http.Get(fmt.Sprintf("http://%s/readyz", addrs["127.0.0.1:"+port]))
			if err != nil {
				return false
			}
			resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				return false
			}
		}
		return true
	})
	commands := regexp.MustCompile(`(?m)^kraftd ((?:topic|produce|consume) .*)$`).FindAllSubmatch(page, -1)
	require.Len(t, commands, 3)
	for _, c := range commands {
		out, err := exec.CommandContext(bounded(t, patience), kraftd, strings.Fields(string(c[1]))...).CombinedOutput()
		require.NoError(t, err, "kraftd %s\n%s", c[1], out)
	}
	ctx := bounded(t, patience)
	seeds := kgo.SeedBrokers(addrs["127.0.0.1:9192"], addrs["127.0.0.1:9292"])
	n := 0
	require.NoError(t, load.ReadBack(ctx, "orders", func([]byte) { n++ }, seeds))
	require.Equal(t, 1000, n)
}
