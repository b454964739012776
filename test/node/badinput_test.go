package node_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/test/cluster"
)

// digest is the names, sizes and contents of all files below a folder.
func digest(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	for _, f := range files(t, dir) {
		data, err := os.ReadFile(f)
		require.NoError(t, err)
		fmt.Fprintf(&b, "%s %d %x\n", f, len(data), sha256.Sum256(data))
	}
	return b.String()
}

// kraftd runs the node in the foreground until it ends by itself, which it must, and returns what it printed.
func kraftd(t *testing.T, configFile string) string {
	t.Helper()
	cmd := exec.CommandContext(bounded(t, patience), cluster.Binary(t), "run", "--config", configFile)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var exit *exec.ExitError
	require.ErrorAs(t, err, &exit, "it ended without an error:\n%s", out.String())
	require.Equal(t, 1, exit.ExitCode(), out.String())
	return out.String()
}

// reason is the one line with which kraftd ended.
func reason(t *testing.T, out string) string {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(out), "\n")
	last := lines[len(lines)-1]
	require.True(t, strings.HasPrefix(last, "kraftd: "), "the last line says why:\n%s", out)
	for _, l := range lines[:len(lines)-1] {
		require.True(t, strings.HasPrefix(l, "time="), "a single line says why:\n%s", out)
	}
	require.NotContains(t, out, "goroutine ")
	return last
}

// edit replaces a property of a node's file, or adds it.
func edit(t *testing.T, n *cluster.Node, key, value string) {
	t.Helper()
	data, err := os.ReadFile(n.ConfigFile)
	require.NoError(t, err)
	line := regexp.MustCompile(`(?m)^` + regexp.QuoteMeta(key) + `=.*\n`)
	out := line.ReplaceAllString(string(data), "") + key + "=" + value + "\n"
	require.NoError(t, os.WriteFile(n.ConfigFile, []byte(out), 0o600))
}

func TestBadSettingsEndWithOneLine(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct{ key, value, want string }{
		"unknown property":       {"log.retension.ms", "1", `unknown property log\.retension\.ms: did you mean log\.retention\.ms`},
		"not a number":           {"num.partitions", "many", `property num\.partitions: .*many`},
		"out of range":           {"node.id", "-5", `property node\.id: .*-5`},
		"unknown role":           {"process.roles", "broker,zookeeper", `property process\.roles: .*zookeeper`},
		"listener without a map": {"listeners", "X://127.0.0.1:1", `property listeners: .*X.*listener\.security\.protocol\.map`},
		"unset variable":         {"broker.rack", "${env:KRAFT_TEST_UNSET}", `property broker\.rack: environment variable KRAFT_TEST_UNSET is not set`},
		"cluster id":             {"kraft.cluster.id", "short", `property kraft\.cluster\.id: .*short`},
		"initial controllers":    {"kraft.initial.controllers", "0@127.0.0.1", `property kraft\.initial\.controllers: .*0@127\.0\.0\.1`},
		"port that is taken":     {"kraft.http.listener", "127.0.0.1:99999", `property kraft\.http\.listener: .*99999`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := cluster.New(t, cluster.Spec{Controllers: 1, Processes: true}).Controllers[0]
			edit(t, n, tc.key, tc.value)
			before := digest(t, n.Dir)
			out := kraftd(t, n.ConfigFile)
			require.Len(t, strings.Split(strings.TrimSpace(out), "\n"), 1, out)
			require.Regexp(t, tc.want, reason(t, out))
			require.Equal(t, before, digest(t, n.Dir), "nothing on disk has changed")
			require.NoDirExists(t, filepath.Join(n.Dir, "data"))
		})
	}
}

// flip inverts one byte of a file at a fraction of its size.
func flip(t *testing.T, name string, num, den int) {
	t.Helper()
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	require.NotEmpty(t, data)
	data[len(data)*num/den] ^= 0xff
	require.NoError(t, os.WriteFile(name, data, 0o600))
}

func overwrite(t *testing.T, name, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
}

// TestDamagedDisksAreRefusedAndLeftAlone damages one file of a disk that was in use.
func TestDamagedDisksAreRefusedAndLeftAlone(t *testing.T) {
	t.Parallel()
	const log = "__cluster_metadata-0/00000000000000000000.log"
	replace := func(file, old, new string) func(*testing.T, *cluster.Node) {
		return func(t *testing.T, n *cluster.Node) {
			name := filepath.Join(n.Dir, "data", file)
			data, err := os.ReadFile(name)
			require.NoError(t, err)
			require.Regexp(t, old, string(data))
			overwrite(t, name, regexp.MustCompile(old).ReplaceAllString(string(data), new))
		}
	}
	for name, tc := range map[string]struct {
		damage func(*testing.T, *cluster.Node)
		want   string
	}{
		"another cluster's disk": {
			func(t *testing.T, n *cluster.Node) { edit(t, n, "kraft.cluster.id", "4L6g3nShT-eMCtK--X86sw") },
			`meta\.properties: cluster\.id is .* this is another cluster's disk; mount the right one`,
		},
		"another node's disk": {
			func(t *testing.T, n *cluster.Node) { edit(t, n, "node.id", "7") },
			`meta\.properties: node\.id is 0, but this node is 7: this is another node's disk; mount the right one`,
		},
		"meta.properties without its cluster": {replace("meta.properties", `cluster\.id=.*\n`, ""), `meta\.properties: .*no cluster\.id; put the file back`},
		"meta.properties of noise":            {replace("meta.properties", `(?s).*`, "\x00\x01"), `meta\.properties: .*line 1.*; put the file back`},
		"meta.properties is gone": {
			func(t *testing.T, n *cluster.Node) {
				require.NoError(t, os.Remove(filepath.Join(n.Dir, "data", "meta.properties")))
			},
			`data: meta\.properties is missing, but there is data .*: restore the file, or mount an empty disk`,
		},
		"quorum-state cut short":     {replace("__cluster_metadata-0/quorum-state", `\}\s*$`, ""), `quorum-state: .*; `},
		"quorum-state without epoch": {replace("__cluster_metadata-0/quorum-state", `"leaderEpoch":\d+,`, ""), `quorum-state: .*no leaderEpoch; `},
		"metadata segment in the middle": {
			func(t *testing.T, n *cluster.Node) { flip(t, filepath.Join(n.Dir, "data", log), 1, 2) },
			`__cluster_metadata-0/0+\.log: .*(byte|offset) \d+.*directory id`,
		},
		"voters' checkpoint": {
			func(t *testing.T, n *cluster.Node) {
				flip(t, filepath.Join(n.Dir, "data", "__cluster_metadata-0/00000000000000000000-0000000000.checkpoint"), 1, 2)
			},
			`0000000000\.checkpoint: .*; `,
		},
		"bootstrap.checkpoint": {
			func(t *testing.T, n *cluster.Node) {
				flip(t, filepath.Join(n.Dir, "data", "bootstrap.checkpoint"), 1, 2)
			},
			`bootstrap\.checkpoint: .*; `,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := cluster.Start(t, cluster.Spec{Controllers: 1, Processes: true})
			for _, topic := range []string{"a", "b", "c"} { // a few batches
				create(t, c, topic, 1, 1)
			}
			n := c.Controllers[0]
			require.NoError(t, n.Stop())
			tc.damage(t, n)
			before := digest(t, n.Dir)
			why := reason(t, kraftd(t, n.ConfigFile))
			require.Regexp(t, tc.want, why)
			require.Equal(t, before, digest(t, n.Dir), "nothing on disk has changed")
		})
	}
}

// TestRotInAPartitionIsRefusedAndATornTailIsNot: a flipped byte below the recovery point stops the node with a line and the
// partition stays as it was; a tail that was torn off is cut away and the node serves.
func TestRotInAPartitionIsRefusedAndATornTailIsNot(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Spec{Controllers: 1, Processes: true})
	create(t, c, "t", 1, 1, "flush.messages", "1")
	n := c.Controllers[0]
	for i := range 60 {
		send(t, c.Client(), "t", i*10, i*10+10)
	}
	dir := filepath.Join(n.Dir, "data", "t-0")
	segments, err := filepath.Glob(filepath.Join(dir, "*.log"))
	require.NoError(t, err)
	require.NoError(t, n.Stop())
	n.Start()
	n.WaitReady()
	n.Kill()

	active := segments[len(segments)-1]
	whole, err := os.ReadFile(active)
	require.NoError(t, err)
	f, err := os.OpenFile(active, os.O_WRONLY|os.O_APPEND, 0)
	require.NoError(t, err)
	_, err = f.Write(whole[:70]) // the beginning of a batch that was never finished
	require.NoError(t, err)
	require.NoError(t, f.Close())
	n.Start()
	n.WaitReady()
	ends, err := admin(c).ListEndOffsets(bounded(t, patience), "t")
	require.NoError(t, err)
	require.EqualValues(t, 600, ends["t"][0].Offset)
	n.Kill()

	flip(t, active, 1, 2)
	before := digest(t, dir)
	why := reason(t, kraftd(t, n.ConfigFile))
	require.Regexp(t, `t-0/\d+\.log: .*(byte|offset) \d+`, why)
	require.Equal(t, before, digest(t, dir), "nothing of the partition has changed")
}

// TestTornTailOfTheMetadataLog: what a crash tears off the end of the metadata log is cut, and the node serves.
func TestTornTailOfTheMetadataLog(t *testing.T) {
	t.Parallel()
	c := cluster.Start(t, cluster.Spec{Controllers: 1, Processes: true})
	create(t, c, "a", 1, 1)
	n := c.Controllers[0]
	n.Kill()
	name := filepath.Join(n.Dir, "data", "__cluster_metadata-0", "00000000000000000000.log")
	data, err := os.ReadFile(name)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(name, append(data, data[:100]...), 0o600))
	n.Start()
	n.WaitReady()
	create(t, c, "b", 1, 1)
}
