//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sort"
	"strconv"
	"strings"
	"time"
)

// cgroupHierarchies lists where cgroups are mounted on this host: one place with cgroup v2, one for each controller
// with v1. It reads the text of /proc/self/mountinfo (proc(5)).
func cgroupHierarchies(mountinfo string) []string {
	var v1, v2 []string
	for line := range strings.Lines(mountinfo) {
		before, after, ok := strings.Cut(line, " - ")
		f, g := strings.Fields(before), strings.Fields(after)
		if !ok || len(f) < 5 || len(g) < 1 {
			continue
		}
		switch g[0] {
		case "cgroup":
			v1 = append(v1, f[4])
		case "cgroup2":
			v2 = append(v2, f[4])
		}
	}
	if len(v1) > 0 { // a hybrid host: containers' controllers are the v1 ones
		return append(v1, v2...)
	}
	return v2
}

func hostHierarchies() ([]string, error) {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("reading the mounts: %w", err)
	}
	found := cgroupHierarchies(string(data))
	if len(found) == 0 {
		return nil, errors.New("no cgroup file system is mounted: mount one at /sys/fs/cgroup")
	}
	return found, nil
}

// makeCgroup makes a cgroup in each hierarchy; a kubelet wants its root to be there.
func makeCgroup(path string) error {
	hierarchies, err := hostHierarchies()
	if err != nil {
		return err
	}
	for _, h := range hierarchies {
		dir := h
		for _, part := range strings.Split(strings.Trim(path, "/"), "/") {
			parent := dir
			dir = filepath.Join(dir, part)
			if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
				return fmt.Errorf("making the cgroup: %w", err)
			}
			if err := errors.Join(delegate(parent, len(hierarchies) == 1), inheritCPUSet(parent, dir)); err != nil {
				return err
			}
			if parent == h {
				if err := weighPods(dir, runtime.NumCPU()); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// delegate lets the children of a cgroup have all its controllers: with cgroup v2 they have none before. On a host that
// has v1 as well, containers use that, and v2 is left as it is.
func delegate(dir string, onlyV2 bool) error {
	if !onlyV2 {
		return nil
	}
	controllers, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return nil //nolint:nilerr // v1: each hierarchy is one controller
	}
	for _, c := range strings.Fields(string(controllers)) {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+c), 0); err != nil {
			return fmt.Errorf("handing controller %s down: %w", c, err)
		}
	}
	return nil
}

// inheritCPUSet copies the processors and memory nodes of the parent: with cgroup v1 a new cpuset has none.
func inheritCPUSet(parent, dir string) error {
	for _, f := range []string{"cpuset.cpus", "cpuset.mems"} {
		has, err := os.ReadFile(filepath.Join(dir, f))
		if err != nil || strings.TrimSpace(string(has)) != "" || isCgroup2(dir) {
			continue
		}
		value, err := os.ReadFile(filepath.Join(parent, f))
		if err != nil {
			return fmt.Errorf("reading %s: %w", f, err)
		}
		if err := os.WriteFile(filepath.Join(dir, f), value, 0); err != nil {
			return fmt.Errorf("setting %s: %w", f, err)
		}
	}
	return nil
}

// A machine of its own divides a busy processor between its pods (1,024 for each processor) and all of its daemons together (1,024).
// Here the daemons are processes of the host, of weight 1,024 each, and all pods of all machines are in one cgroup, which by itself
// would count as much as one of them: pods would stand still for tenths of a second whenever an API server is busy.
const (
	sharesPerProcessor = 1024
	daemons            = 8 // that may be busy at once
	mostShares         = 1 << 18
	mostWeight         = 10_000
)

// weighPods gives the cgroup of all pods the weight against the daemons that it has on machines of their own.
func weighPods(dir string, processors int) error {
	shares := min(processors*daemons*sharesPerProcessor, mostShares)
	for f, v := range map[string]int{"cpu.shares": shares, "cpu.weight": min(shares*100/1024, mostWeight)} { // v1, v2
		file, err := os.OpenFile(filepath.Join(dir, f), os.O_WRONLY|os.O_TRUNC, 0)
		if errors.Is(err, os.ErrNotExist) {
			continue // another hierarchy's
		}
		if err == nil {
			_, err = file.WriteString(strconv.Itoa(v))
			err = errors.Join(err, file.Close())
		}
		if err != nil {
			return fmt.Errorf("setting %s: %w", f, err)
		}
	}
	return nil
}

func isCgroup2(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "cgroup.controllers"))
	return err == nil
}

// removeCgroup removes a cgroup and all below it from each hierarchy, once the processes in them are gone, and its
// parents where nothing else is left in them.
func removeCgroup(ctx context.Context, path string) error {
	hierarchies, err := hostHierarchies()
	if err != nil {
		return err
	}
	for _, h := range hierarchies {
		top := filepath.Join(h, path)
		err := waitFor(ctx, 20*time.Second, "the cgroup "+top+" to be empty", func() (bool, error) {
			err := removeTree(top)
			return err == nil, err
		})
		if err != nil {
			return err
		}
		for dir := filepath.Dir(top); dir != h; dir = filepath.Dir(dir) {
			if os.Remove(dir) != nil { // another cluster's are in it
				break
			}
		}
	}
	return nil
}

// removeTree removes folders from the deepest up; the files of a cgroup go with its folder.
func removeTree(top string) error {
	var dirs []string
	err := filepath.WalkDir(top, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("listing cgroups: %w", err)
	}
	sort.Sort(sort.Reverse(sort.StringSlice(dirs)))
	for _, d := range dirs {
		if err := os.Remove(d); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("removing a cgroup: %w", err)
		}
	}
	return nil
}
