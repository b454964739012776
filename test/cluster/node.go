package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/config"
	"github.com/kraft-dev/kraft-operator/internal/node"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// Node is one kraftd.
type Node struct {
	c                  *Cluster
	ID                 int32
	Controller, Broker bool
	Dir                string // holds data/ and kraftd.properties
	ConfigFile         string

	directory                            uuid.UUID
	controllerPort, clientPort, httpPort int

	mu     sync.Mutex
	out    lockedBuffer
	cmd    *exec.Cmd
	cancel context.CancelCauseFunc
	done   chan struct{}
	err    error
}

// lockedBuffer collects what a node prints.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Addr is where clients reach this broker.
func (n *Node) Addr() string { return fmt.Sprintf("127.0.0.1:%d", n.clientPort) }

// ControllerAddr is the controller listener.
func (n *Node) ControllerAddr() string { return fmt.Sprintf("127.0.0.1:%d", n.controllerPort) }

// Binary is the kraftd that the nodes run.
func (n *Node) Binary() string { return n.c.binary }

// Log is everything the node printed.
func (n *Node) Log() string { return n.out.String() }

// Running tells whether the node was started and has not ended.
func (n *Node) Running() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.done == nil {
		return false
	}
	select {
	case <-n.done:
		return false
	default:
		return true
	}
}

// Start starts the node and does not wait for anything.
func (n *Node) Start() {
	n.c.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.done = make(chan struct{})
	done := n.done
	if n.c.Spec.Processes {
		n.cmd = exec.Command(n.c.binary, "run", "--config", n.ConfigFile)
		n.cmd.Stdout, n.cmd.Stderr = &n.out, &n.out
		n.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		require.NoError(n.c.t, n.cmd.Start())
		cmd := n.cmd
		go func() {
			n.err = cmd.Wait()
			close(done)
		}()
		return
	}
	data, err := os.ReadFile(n.ConfigFile)
	require.NoError(n.c.t, err)
	props, err := config.Parse(data)
	require.NoError(n.c.t, err)
	cfg, err := config.Load(props)
	require.NoError(n.c.t, err)
	ctx, cancel := context.WithCancelCause(context.Background())
	n.cancel = cancel
	logger := slog.New(slog.NewTextHandler(&n.out, &slog.HandlerOptions{Level: slog.LevelInfo})).With("node", n.ID)
	go func() {
		defer close(done)
		n.err = node.Run(ctx, node.Options{Config: cfg, Logger: logger, Version: "test"})
		if n.err != nil {
			logger.Error("The node ended", "err", n.err)
		}
	}()
}

// Stop asks the node to leave (SIGTERM) and waits; the error is how it ended.
func (n *Node) Stop() error {
	n.c.t.Helper()
	if !n.Running() {
		return n.err
	}
	if n.c.Spec.Processes {
		require.NoError(n.c.t, n.cmd.Process.Signal(syscall.SIGTERM))
	} else {
		n.cancel(nil)
	}
	<-n.done
	return n.err
}

// Kill ends a process as kill -9 does; a node in this process ends without handing anything over.
func (n *Node) Kill() {
	if !n.Running() {
		return
	}
	if n.c.Spec.Processes {
		_ = n.cmd.Process.Kill()
		<-n.done
		return
	}
	n.cancel(node.ErrAbandon)
	<-n.done
}

// Wait waits for the node to end by itself.
func (n *Node) Wait() error {
	<-n.done
	return n.err
}

// Ready asks /readyz.
func (n *Node) Ready() error {
	code, body, err := get(fmt.Sprintf("http://127.0.0.1:%d/readyz", n.httpPort))
	if err == nil && code != 200 {
		err = errors.New(body)
	}
	return err
}

// Metrics is what /metrics says.
func (n *Node) Metrics() string {
	_, body, err := get(fmt.Sprintf("http://127.0.0.1:%d/metrics", n.httpPort))
	require.NoError(n.c.t, err)
	return body
}

// WaitReady waits for Ready.
func (n *Node) WaitReady() {
	n.c.t.Helper()
	n.c.Eventually(fmt.Sprintf("node %d ready", n.ID), readyWithin, func() bool {
		if !n.Running() {
			n.c.t.Fatalf("node %d ended: %v\n%s", n.ID, n.err, n.Log())
		}
		return n.Ready() == nil
	})
}

// PID of a node that is a process.
func (n *Node) PID() int { return n.cmd.Process.Pid }

var (
	buildOnce sync.Once
	built     string
	buildErr  error
)

// Binary builds kraftd once a test run; KRAFTD names one that is built already.
func Binary(t T) string {
	t.Helper()
	if b := os.Getenv("KRAFTD"); b != "" {
		return b
	}
	buildOnce.Do(func() {
		dir, err := os.MkdirTemp("", "kraftd")
		if err != nil {
			buildErr = err
			return
		}
		built = filepath.Join(dir, "kraftd")
		cmd := exec.Command("go", "build", "-o", built, "github.com/kraft-dev/kraft-operator/cmd/kraftd")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			buildErr = fmt.Errorf("%w\n%s", err, out)
		}
	})
	require.NoError(t, buildErr)
	return built
}
