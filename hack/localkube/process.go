//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Process is a process started by this program: a process id alone may since belong to another one, so it is
// recorded with its start time and with the boot in which that time counts.
type Process struct {
	Name      string `json:"name"`
	PID       int    `json:"pid"`
	StartTime uint64 `json:"startTime"` // clock ticks since boot (proc(5), field 22 of stat)
	BootID    string `json:"bootID"`
}

// recordProcess notes the identity of a running process.
func recordProcess(name string, pid int) (Process, error) {
	st, err := readStat(pid)
	if err != nil {
		return Process{}, err
	}
	boot, err := bootID()
	if err != nil {
		return Process{}, err
	}
	return Process{Name: name, PID: pid, StartTime: st.startTime, BootID: boot}, nil
}

func bootID() (string, error) {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("reading the boot id: %w", err)
	}
	return strings.TrimSpace(string(data)), nil
}

// alive says whether this very process still runs.
func (p Process) alive() bool {
	boot, err := bootID()
	if err != nil || boot != p.BootID {
		return false
	}
	st, err := readStat(p.PID)
	return err == nil && st.startTime == p.StartTime && st.state != 'Z' && st.state != 'X'
}

// procStat is the part of /proc/PID/stat that is used here.
type procStat struct {
	comm      string
	state     byte
	ppid      int
	startTime uint64
}

func readStat(pid int) (procStat, error) {
	data, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return procStat{}, fmt.Errorf("process %d: %w", pid, err)
	}
	return parseStat(string(data))
}

// parseStat reads a line of /proc/PID/stat. The command name may hold spaces and brackets: the last ")" ends it.
func parseStat(line string) (procStat, error) {
	open, end := strings.IndexByte(line, '('), strings.LastIndexByte(line, ')')
	if open < 0 || end < open {
		return procStat{}, fmt.Errorf("not a line of /proc/PID/stat: %q", line)
	}
	f := strings.Fields(line[end+1:])
	if len(f) < 20 {
		return procStat{}, fmt.Errorf("short line of /proc/PID/stat: %q", line)
	}
	ppid, err1 := strconv.Atoi(f[1])
	start, err2 := strconv.ParseUint(f[19], 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return procStat{}, fmt.Errorf("line of /proc/PID/stat %q: %w", line, err)
	}
	return procStat{comm: line[open+1 : end], state: f[0][0], ppid: ppid, startTime: start}, nil
}

// kill ends the process hard and waits until it is gone. Each recorded process is the first of a process namespace
// of its own, so that the kernel ends all that runs in it first.
func (p Process) kill(ctx context.Context) error {
	if !p.alive() {
		return nil
	}
	if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("ending %s (process %d): %w", p.Name, p.PID, err)
	}
	return waitFor(ctx, 20*time.Second, fmt.Sprintf("the end of %s (process %d)", p.Name, p.PID), func() (bool, error) {
		var status syscall.WaitStatus
		_, _ = syscall.Wait4(p.PID, &status, syscall.WNOHANG, nil) // ours only if this very run started it
		return !p.alive(), nil
	})
}

// child finds a child of the process by its command name; 0 if there is none. Names are cut at 15 bytes.
func (p Process) child(comm string) int {
	if len(comm) > 15 {
		comm = comm[:15]
	}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return 0
	}
	for _, d := range dirs {
		pid, err := strconv.Atoi(filepath.Base(d))
		if err != nil {
			continue
		}
		if st, err := readStat(pid); err == nil && st.ppid == p.PID && st.comm == comm {
			return pid
		}
	}
	return 0
}

// killChild ends one program of a machine; the machine starts it again. One that doesn't run is no error.
func (p Process) killChild(comm string) error {
	pid := p.child(comm)
	if pid == 0 {
		return nil
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return fmt.Errorf("ending %s of %s: %w", comm, p.Name, err)
	}
	return nil
}

// waitFor asks done every 20 ms until it says yes, fails, or the limit has passed.
func waitFor(ctx context.Context, limit time.Duration, what string, done func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var last error
	for {
		ok, err := done()
		if ok {
			return nil
		}
		last = err
		select {
		case <-ctx.Done():
			if last != nil {
				return fmt.Errorf("waited %s for %s: %w", limit, what, last)
			}
			return fmt.Errorf("waited %s for %s: %w", limit, what, ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}
