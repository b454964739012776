package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"time"

	"github.com/kraft-dev/kraft-operator/test/engine"
)

// group is a quorum of one kind: a process for each voter, and some for its observers.
type group struct {
	kind      string
	voters    []*process
	observers []*process
	leader    *process
}

// observersPerProcess keeps a hundred observers in few processes, none of them a voter's.
const observersPerProcess = 25

// startGroup starts a quorum and waits until it has a leader that commits.
func startGroup(h *host, kind string, voters, observers int) (*group, error) {
	g := &group{kind: kind}
	ports, err := freePorts(voters + observers)
	if err != nil {
		return nil, err
	}
	var vs, os []engine.Member
	for i, p := range ports {
		m := engine.Member{ID: i, Addr: fmt.Sprintf("127.0.0.1:%d", p), Voter: i < voters}
		if m.Voter {
			vs = append(vs, m)
		} else {
			os = append(os, m)
		}
	}
	dir := h.TempDir()
	start := func(self []engine.Member) (*process, error) {
		return startProcess(h, spec{Kind: kind, Self: self, Voters: vs, Nonvoters: os, Dir: dir})
	}
	for i := range vs {
		p, err := start(vs[i : i+1])
		if err != nil {
			return nil, err
		}
		g.voters = append(g.voters, p)
	}
	for some := range slices.Chunk(os, observersPerProcess) {
		p, err := start(some)
		if err != nil {
			return nil, err
		}
		g.observers = append(g.observers, p)
	}
	if err := g.findLeader(); err != nil {
		return nil, err
	}
	_, err = g.load(order{Writers: 10, For: 200 * time.Millisecond})
	return g, err
}

func (g *group) findLeader() error {
	g.leader = nil
	var failed error
	err := waitFor("a leader of "+g.kind, time.Minute, func() bool {
		for _, p := range g.voters {
			out, err := p.ask(order{Op: "leads"})
			if err != nil {
				failed = err
				return true
			}
			if out.Leads {
				g.leader = p
				return true
			}
		}
		return false
	})
	return errors.Join(err, failed)
}

// load makes the leader's process write. A load during which the leadership moved is taken again, at most twice: a starved machine may cost
// any engine its leader, and that is not what is measured here.
func (g *group) load(o order) (out outcome, err error) {
	o.Op = "load"
	for range 3 {
		if out, err = g.leader.ask(o); err == nil {
			break
		}
		fmt.Printf("#   %s: %v; again\n", g.kind, err)
		if err := g.findLeader(); err != nil {
			return out, err
		}
	}
	if err != nil {
		return out, fmt.Errorf("%s: %w", g.kind, err)
	}
	if out.Commits == 0 {
		return out, fmt.Errorf("%s: nothing was committed in %s", g.kind, o.For)
	}
	return out, nil
}

// lag returns how old records were when they reached the observers, since it was last asked: the worst process's percentiles.
func (g *group) lag() (worst outcome, err error) {
	for _, p := range g.observers {
		out, err := p.ask(order{Op: "lag"})
		if err != nil {
			return worst, err
		}
		worst.P50, worst.P99, worst.Samples = max(worst.P50, out.P50), max(worst.P99, out.P99), worst.Samples+out.Samples
	}
	return worst, nil
}

func (g *group) stop() {
	for _, p := range slices.Concat(g.observers, g.voters) {
		p.stop()
	}
}

// process runs replicas and takes orders on its standard input.
type process struct {
	cmd     *exec.Cmd
	orders  io.WriteCloser
	answers *json.Decoder
	ended   bool
}

func startProcess(h *host, s spec) (*process, error) {
	arg, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	p := &process{cmd: exec.Command(self, "replica", string(arg))}
	p.cmd.Stderr = os.Stderr
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if p.orders, err = p.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	p.answers = json.NewDecoder(bufio.NewReader(out))
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	h.Cleanup(p.stop)
	_, err = p.answer()
	return p, err
}

func (p *process) ask(o order) (outcome, error) {
	if err := json.NewEncoder(p.orders).Encode(o); err != nil {
		return outcome{}, err
	}
	return p.answer()
}

func (p *process) answer() (outcome, error) {
	var out outcome
	if err := p.answers.Decode(&out); err != nil {
		return out, fmt.Errorf("a process of replicas has ended: %w", err)
	}
	if out.Error != "" {
		return out, errors.New(out.Error)
	}
	return out, nil
}

// stop kills: what it held is of no use any more.
func (p *process) stop() {
	if p.ended {
		return
	}
	p.ended = true
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

func freePorts(n int) (ports []int, err error) {
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
