package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// manager is the operator as its own process, as it is shipped.
type manager struct {
	cmd *exec.Cmd
}

func startManager(ctx context.Context, binary, kubeconfig string, log *os.File) (*manager, error) {
	cmd := exec.CommandContext(ctx, binary, "--metrics-bind-address=0", "--health-probe-bind-address=0", "--node-image=kraft:1")
	cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "POD_NAMESPACE=kraft-system")
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the manager: %w", err)
	}
	return &manager{cmd: cmd}, nil
}

// memory is what the process has in memory now, and had at most, in MiB.
func (m *manager) memory() (now, most float64, err error) {
	path := fmt.Sprintf("/proc/%d/status", m.cmd.Process.Pid)
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, 0, err
	}
	field := func(name string) float64 {
		_, rest, _ := strings.Cut(string(text), name+":")
		kib, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
		n, convErr := strconv.ParseFloat(kib, 64)
		if convErr != nil {
			err = fmt.Errorf("%s: %s: %w", path, name, convErr)
		}
		return n / 1024
	}
	now, most = field("VmRSS"), field("VmHWM")
	return now, most, err
}
