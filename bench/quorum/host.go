package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// host owns what a run leaves behind: folders and processes. It stands in for a test where helpers of tests are used.
type host struct {
	root string
	own  bool // root was made here

	mu       sync.Mutex
	cleanups []func()
	folders  int
}

// failure carries what Fatalf was told out of a benchmark.
type failure struct{ err error }

func newHost(dir string) (*host, error) {
	if dir != "" {
		return &host{root: dir}, os.MkdirAll(dir, 0o755)
	}
	root, err := os.MkdirTemp("", "bench-quorum-")
	return &host{root: root, own: true}, err
}

func (h *host) close() error {
	h.cleanup()
	if !h.own {
		return nil
	}
	return os.RemoveAll(h.root)
}

// run calls one benchmark, and ends what it started.
func (h *host) run(f func() error) (err error) {
	defer h.cleanup()
	defer func() {
		switch r := recover().(type) {
		case nil:
		case failure:
			err = r.err
		default:
			panic(r)
		}
	}()
	return f()
}

func (h *host) cleanup() {
	h.mu.Lock()
	fs := h.cleanups
	h.cleanups = nil
	h.mu.Unlock()
	for i := len(fs) - 1; i >= 0; i-- {
		fs[i]()
	}
}

// Cleanup, Helper, TempDir, Errorf, FailNow and Fatalf make a host a cluster.T.
func (h *host) Cleanup(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.cleanups = append(h.cleanups, f)
}

// Helper does nothing.
func (h *host) Helper() {}

// TempDir makes a folder that goes at the end of the benchmark.
func (h *host) TempDir() string {
	h.mu.Lock()
	h.folders++
	dir := filepath.Join(h.root, fmt.Sprintf("%03d", h.folders))
	h.mu.Unlock()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		panic(failure{err})
	}
	h.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// Errorf prints; FailNow follows.
func (h *host) Errorf(format string, args ...any) { fmt.Printf("# "+format+"\n", args...) }

// FailNow ends the benchmark.
func (h *host) FailNow() { panic(failure{errors.New("failed, see above")}) }

// Fatalf ends the benchmark.
func (h *host) Fatalf(format string, args ...any) { panic(failure{fmt.Errorf(format, args...)}) }

// waitFor waits for a condition.
func waitFor(what string, within time.Duration, cond func() bool) error {
	deadline := time.Now().Add(within)
	for !cond() {
		if time.Now().After(deadline) {
			return fmt.Errorf("not within %s: %s", within, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
	return nil
}

// machineLine says on what was measured.
func machineLine(dir string) string {
	var fs unix.Statfs_t
	kind := "unknown"
	if unix.Statfs(dir, &fs) == nil {
		kind = map[int64]string{unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.TMPFS_MAGIC: "tmpfs", unix.OVERLAYFS_SUPER_MAGIC: "overlay"}[int64(fs.Type)] //nolint:unconvert // an int32 on other machines
	}
	memory := "?"
	if data, err := os.ReadFile("/proc/meminfo"); err == nil {
		var kib int64
		if _, err := fmt.Sscanf(string(data), "MemTotal: %d kB", &kib); err == nil {
			memory = fmt.Sprintf("%d GiB", (kib+1<<19)>>20)
		}
	}
	return fmt.Sprintf("# %d cores, %s, %s, %s %s, load average %s", runtime.NumCPU(), memory, kind, runtime.GOOS, runtime.Version(), loadAverage())
}

func loadAverage() string {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "?"
	}
	one, _, _ := strings.Cut(string(data), " ")
	return one
}
