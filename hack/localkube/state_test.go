//go:build linux

package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestNamesAndDomains(t *testing.T) {
	for _, good := range []string{"a", "demo", "kraft-demo", "a2345678901234567890"[:20]} {
		require.NoError(t, checkName(good), good)
	}
	for _, bad := range []string{"", "Demo", "-a", "a-", "1a", "a/b", "..", "a b", strings.Repeat("a", 21)} {
		require.ErrorContains(t, checkName(bad), "--name", bad)
	}
	for _, good := range []string{"cluster.local", "k8s", "a-b.example"} {
		require.NoError(t, checkDomain(good), good)
	}
	for _, bad := range []string{"", ".", "a..b", "-a.b", "A.b", "a.b.", strings.Repeat("a", 64), "a\nb"} {
		require.ErrorContains(t, checkDomain(bad), "domain", bad)
	}
	require.ErrorContains(t, upOptions{name: "demo", nodes: 0, domain: "a"}.check(), "--nodes 0")
	require.ErrorContains(t, upOptions{name: "demo", nodes: 61, domain: "a"}.check(), "give 1 to 60")
}

func TestRecordOfProcesses(t *testing.T) {
	c := &Cluster{Name: "demo", Block: 114, Domain: "cluster.local", Nodes: 2, CreatedAt: time.Unix(1, 0).UTC()}
	c.setProcess(Process{Name: "node-1", PID: 7})
	c.setProcess(Process{Name: "node-2", PID: 8})
	c.setProcess(Process{Name: "node-1", PID: 9, StartTime: 42, BootID: "b"})
	c.dropProcess("node-2")
	data, err := json.Marshal(c)
	require.NoError(t, err)
	var back Cluster
	require.NoError(t, json.Unmarshal(data, &back))
	require.Equal(t, []Process{{Name: "node-1", PID: 9, StartTime: 42, BootID: "b"}}, back.Processes)
	require.Equal(t, c.Block, back.Block)
	p, ok := back.process("node-1")
	require.True(t, ok)
	require.False(t, p.alive(), "of another boot")
}

func TestAProcessIsKnownByItsStartTime(t *testing.T) {
	me, err := recordProcess("test", os.Getpid())
	require.NoError(t, err)
	require.True(t, me.alive())
	other := me
	other.StartTime++
	require.False(t, other.alive(), "the same process id, started at another time, is another process")
	require.NoError(t, other.kill(t.Context()), "and isn't killed")
}

func TestParseStat(t *testing.T) {
	const tail = " S 12 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 5678 1000 100"
	st, err := parseStat("34 (a) (b c)" + tail)
	require.NoError(t, err)
	require.Equal(t, procStat{comm: "a) (b c", state: 'S', ppid: 12, startTime: 5678}, st)
	for _, bad := range []string{"", "34 (a", "34 (a) S 1", "34 (a)" + strings.Replace(tail, "5678", "x", 1)} {
		_, err := parseStat(bad)
		require.Error(t, err, bad)
	}
}

func TestCgroupHierarchies(t *testing.T) {
	const v1 = "36 26 0:31 / /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory\n"
	const v2 = "40 26 0:27 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
	const other = "20 1 8:1 / / rw,relatime shared:1 - ext4 /dev/vda rw\nnonsense\n"
	require.Equal(t, []string{"/sys/fs/cgroup/memory", "/sys/fs/cgroup/unified"}, cgroupHierarchies(v2+other+v1))
	require.Equal(t, []string{"/sys/fs/cgroup/unified"}, cgroupHierarchies(other+v2))
	require.Empty(t, cgroupHierarchies(other))
}

func TestPodsHaveTheWeightOfMachines(t *testing.T) {
	for file, want := range map[string]map[int]string{
		"cpu.shares": {1: "8192", 2: "16384", 64: "262144"},
		"cpu.weight": {1: "800", 2: "1600", 64: "10000"},
	} {
		dir := t.TempDir()
		require.NoError(t, weighPods(dir, 2), "no such controller")
		require.NoError(t, os.WriteFile(filepath.Join(dir, file), []byte("1024"), 0o600))
		for processors, value := range want {
			require.NoError(t, weighPods(dir, processors))
			got, err := os.ReadFile(filepath.Join(dir, file))
			require.NoError(t, err)
			require.Equal(t, value, string(got), "%s with %d processors", file, processors)
		}
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		require.Len(t, entries, 1, "nothing is made")
	}
}

func TestLockIsTakenAnewWhenItsFileWasRemoved(t *testing.T) {
	path := t.TempDir() + "/folder/.lock"
	unlock, err := lockFile(t.Context(), path, nil)
	require.NoError(t, err)
	waiting, got := make(chan struct{}), make(chan error)
	go func() {
		unlock, err := lockFile(t.Context(), path, func() { close(waiting) })
		if err == nil {
			unlock()
		}
		got <- err
	}()
	<-waiting
	require.NoError(t, os.Remove(path))
	unlock()
	require.NoError(t, <-got)
	require.FileExists(t, path)
}
