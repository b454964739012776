package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a child whose output goes to a file.
type process struct {
	name    string
	log     string // file
	cmd     *exec.Cmd
	done    chan struct{}
	err     error // how it ended; read after done
	started bool  // seen to be through with its start; the main goroutine's
	mu      sync.Mutex
	asked   bool // we ended it
	paused  bool
}

// children are all that run, so that nothing outlives this program.
type children struct {
	mu  sync.Mutex
	all map[*process]bool
}

func (c *children) start(name, log string, argv []string) (*process, error) {
	if err := os.MkdirAll(filepath.Dir(log), 0o755); err != nil {
		return nil, err
	}
	f, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	p := &process{name: name, log: log, cmd: exec.Command(argv[0], argv[1:]...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = f, f
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	c.mu.Lock()
	c.all[p] = true
	c.mu.Unlock()
	go func() {
		p.err = p.cmd.Wait()
		c.mu.Lock()
		delete(c.all, p)
		c.mu.Unlock()
		close(p.done)
	}()
	return p, nil
}

// killAll ends whatever still runs.
func (c *children) killAll() {
	c.mu.Lock()
	var left []*process
	for p := range c.all {
		left = append(left, p)
	}
	c.mu.Unlock()
	for _, p := range left {
		p.kill()
	}
}

func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// endedByItself tells whether the process is gone though nobody asked it to go.
func (p *process) endedByItself() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.running() && !p.asked
}

func (p *process) signal(s syscall.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch s {
	case syscall.SIGTERM, syscall.SIGKILL:
		p.asked = p.asked || p.running()
	case syscall.SIGSTOP:
		p.paused = true
	case syscall.SIGCONT:
		p.paused = false
	}
	_ = p.cmd.Process.Signal(s) // an error: it has ended, which done says
}

// kill is kill -9.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.done
}

// stop is SIGTERM, and gives up if that takes longer than within.
func (p *process) stop(within time.Duration) {
	p.signal(syscall.SIGTERM)
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		p.kill()
		failf("%s did not end within %s of SIGTERM:\n%s", p.name, within, tail(p.log, 15))
	}
	if p.err != nil && !endedBySIGTERM(p.err) && !closedUnderReader(p.log) {
		failf("%s ended with %w after SIGTERM:\n%s", p.name, p.err, tail(p.log, 15))
	}
}

// endedBySIGTERM: a JVM that shut down in order over SIGTERM exits with 128 + 15.
func endedBySIGTERM(err error) bool {
	var exit *exec.ExitError
	return errors.As(err, &exit) && exit.ExitCode() == 128+int(syscall.SIGTERM)
}

// closedUnderReader: a JVM may close its log while its loader still reads from it, and then ends with status 1. In quorums of Java nodes
// alone, one follower in thirteen that was stopped under load did so.
func closedUnderReader(log string) bool {
	data, err := os.ReadFile(log)
	return err == nil && bytes.Contains(data, []byte("Unhandled fault in MetadataLoader#handleCommit")) &&
		bytes.Contains(data, []byte("Caused by: java.nio.channels.ClosedChannelException"))
}

// tail is the end of a file, for a failure's message.
func tail(file string, lines int) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimSpace(string(data)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

func (p *process) isPaused() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.paused
}
