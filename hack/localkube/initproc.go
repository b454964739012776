//go:build linux

package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A "machine" is one process tree in namespaces of its own (processes, mounts, network, host name, IPC): a node, or
// the control plane. Its first process is this program, which sets the machine up, starts what runs there, starts it
// again when it ends, and reaps what is left without a parent. When it is killed the kernel kills all the rest and
// lets go of the mounts and the network, as when the power goes: nothing has to be tracked down afterwards.

// MachineSpec says what one machine is made of. It is written as a file for the machine's first process.
type MachineSpec struct {
	Hostname  string            `json:"hostname"`
	Mounts    []Mount           `json:"mounts"`
	Files     map[string]string `json:"files"` // written after the mounts: path in the machine → content
	Sysctls   map[string]string `json:"sysctls"`
	Processes []ProcessSpec     `json:"processes"`
}

// Mount is one mount, in the machine only. Source is a folder or file of the host for a bind mount (Type "bind"),
// a content for Type "mask" (a small file that stands in front of Target), else as in mount(2).
type Mount struct {
	Type   string `json:"type"`
	Source string `json:"source"`
	Target string `json:"target"`
	Data   string `json:"data,omitempty"`
}

// ProcessSpec is one program that a machine keeps running.
type ProcessSpec struct {
	Name  string   `json:"name"`
	Args  []string `json:"args"`
	Env   []string `json:"env,omitempty"`
	Log   string   `json:"log"`             // opened before the mounts, so a path of the host
	After []string `json:"after,omitempty"` // URLs that must answer 200 and files that must exist before the first start
	CA    string   `json:"ca,omitempty"`    // certificate file for https URLs in After
}

const initCommand = "machine-init"

// startMachine starts a machine's first process and waits until its mounts stand. The machine starts its programs
// when release is called, so that it can be recorded and connected first; if this process dies before, it ends.
func startMachine(name, self, specFile, logFile string) (p Process, release func() error, err error) {
	log, err := os.OpenFile(logFile, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return Process{}, nil, fmt.Errorf("opening the log of %s: %w", name, err)
	}
	defer log.Close()
	goR, goW, err := os.Pipe()
	if err != nil {
		return Process{}, nil, fmt.Errorf("making a pipe: %w", err)
	}
	defer goR.Close()
	saysR, saysW, err := os.Pipe()
	if err != nil {
		goW.Close()
		return Process{}, nil, fmt.Errorf("making a pipe: %w", err)
	}
	defer saysR.Close()
	cmd := exec.Command(self, initCommand, specFile)
	cmd.Dir, cmd.Stdout, cmd.Stderr = "/", log, log
	cmd.ExtraFiles = []*os.File{goR, saysW}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true, // it outlives this command and its terminal
		Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWNET | syscall.CLONE_NEWUTS | syscall.CLONE_NEWIPC,
	}
	err = cmd.Start()
	saysW.Close()
	if err != nil {
		goW.Close()
		return Process{}, nil, fmt.Errorf("starting %s: %w", name, err)
	}
	fail := func(err error) (Process, func() error, error) {
		goW.Close()
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		return Process{}, nil, err
	}
	said, err := io.ReadAll(saysR)
	if err != nil || string(said) != "mounted" {
		return fail(fmt.Errorf("setting up %s: %w", name, errors.Join(err, errors.New(strings.TrimSpace(string(said)+" (see "+logFile+")")))))
	}
	p, err = recordProcess(name, cmd.Process.Pid)
	if err != nil {
		return fail(err)
	}
	return p, func() error {
		defer goW.Close()
		_, err := goW.Write([]byte("go"))
		if err != nil {
			return fmt.Errorf("starting the programs of %s: %w", name, err)
		}
		return nil
	}, nil
}

// runMachine is the first process of a machine. It never returns while the machine runs, and then with an error.
func runMachine(specFile string) error {
	goPipe, says := os.NewFile(3, "go"), os.NewFile(4, "says")
	syscall.CloseOnExec(3)
	syscall.CloseOnExec(4)
	m, err := setUpMachine(specFile)
	if err != nil {
		_, _ = says.WriteString(err.Error())
		return err
	}
	if _, err := says.WriteString("mounted"); err != nil {
		return err
	}
	says.Close()
	if word, err := io.ReadAll(goPipe); err != nil || string(word) != "go" {
		return errors.New("the command that started this machine ended before it was done")
	}
	goPipe.Close()
	m.startAll()
	return m.reap()
}

// machine is the running state of a machine's first process.
type machine struct {
	spec MachineSpec
	logs map[string]*os.File

	mu      sync.Mutex
	running map[int]*ProcessSpec // guarded by mu: process id → what it is
}

func setUpMachine(specFile string) (*machine, error) {
	data, err := os.ReadFile(specFile)
	if err != nil {
		return nil, fmt.Errorf("reading the machine's description: %w", err)
	}
	m := &machine{logs: map[string]*os.File{}, running: map[int]*ProcessSpec{}}
	if err := json.Unmarshal(data, &m.spec); err != nil {
		return nil, fmt.Errorf("%s: %w", specFile, err)
	}
	for _, p := range m.spec.Processes {
		f, err := os.OpenFile(p.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			return nil, fmt.Errorf("opening the log of %s: %w", p.Name, err)
		}
		m.logs[p.Name] = f
	}
	if err := unix.Sethostname([]byte(m.spec.Hostname)); err != nil {
		return nil, fmt.Errorf("setting the host name: %w", err)
	}
	if err := mountAll(m.spec.Mounts); err != nil {
		return nil, err
	}
	for path, content := range m.spec.Files {
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o600)); err != nil {
			return nil, fmt.Errorf("writing %s: %w", path, err)
		}
	}
	for key, value := range m.spec.Sysctls {
		if !strings.HasPrefix(key, "net/") {
			return nil, fmt.Errorf("sysctl %s isn't of the network namespace: it would change the host", key)
		}
		if err := os.WriteFile("/proc/sys/"+key, []byte(value), 0); err != nil {
			return nil, fmt.Errorf("setting sysctl %s: %w", key, err)
		}
	}
	return m, nil
}

// mountAll first parts the machine's mounts from the host's, so that none of what follows is seen there.
func mountAll(mounts []Mount) error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("parting the mounts from the host's: %w", err)
	}
	// The kubelet and the runtime pass mounts on to containers: the machine's own tree is shared within itself.
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
		return fmt.Errorf("sharing the machine's mounts within it: %w", err)
	}
	for i, mt := range mounts {
		var err error
		switch mt.Type {
		case "bind":
			err = unix.Mount(mt.Source, mt.Target, "", unix.MS_BIND|unix.MS_REC, "")
		case "mask":
			file := fmt.Sprintf("/run/.mask-%d", i)
			if err = os.WriteFile(file, []byte(mt.Source), 0o644); err == nil {
				err = unix.Mount(file, mt.Target, "", unix.MS_BIND, "")
			}
		default:
			err = unix.Mount(mt.Source, mt.Target, mt.Type, unix.MS_NOSUID|unix.MS_NODEV, mt.Data)
		}
		if err != nil {
			return fmt.Errorf("mounting %s (%s) on %s: %w", mt.Source, mt.Type, mt.Target, err)
		}
	}
	return nil
}

// startAll starts each program as soon as what it waits for is there.
func (m *machine) startAll() {
	for i := range m.spec.Processes {
		p := &m.spec.Processes[i]
		go func() {
			client := httpClient(p.CA)
			for _, what := range p.After {
				for !there(client, what) {
					time.Sleep(30 * time.Millisecond)
				}
			}
			m.start(p)
		}()
	}
}

func httpClient(caFile string) *http.Client {
	transport := &http.Transport{DisableKeepAlives: true}
	if pem, err := os.ReadFile(caFile); err == nil {
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(pem)
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return &http.Client{Timeout: 2 * time.Second, Transport: transport}
}

// there says whether a file exists or a URL answers 200.
func there(client *http.Client, what string) bool {
	if strings.HasPrefix(what, "/") {
		_, err := os.Stat(what)
		return err == nil
	}
	req, err := http.NewRequestWithContext(context.Background(), http.MethodGet, what, nil)
	if err != nil {
		return false
	}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

func (m *machine) start(p *ProcessSpec) {
	log := m.logs[p.Name]
	env := append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"}, p.Env...)
	m.mu.Lock() // so that reap can't see the process end before it is known here
	defer m.mu.Unlock()
	pid, err := syscall.ForkExec(p.Args[0], p.Args, &syscall.ProcAttr{
		Dir: "/", Env: env, Files: []uintptr{0, log.Fd(), log.Fd()},
		Sys: &syscall.SysProcAttr{Setsid: true},
	})
	if err != nil {
		fmt.Fprintf(log, "localkube: starting %s: %v\n", p.Name, err)
		m.again(p)
		return
	}
	m.running[pid] = p
}

// again starts a program half a second from now.
func (m *machine) again(p *ProcessSpec) {
	time.AfterFunc(500*time.Millisecond, func() { m.start(p) })
}

// reap waits for whatever ends in the machine, for orphans too, and starts what must run again.
func (m *machine) reap() error {
	for {
		var status syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.ECHILD):
			time.Sleep(50 * time.Millisecond) // nothing runs yet
			continue
		case err != nil:
			return fmt.Errorf("waiting for processes: %w", err)
		}
		m.mu.Lock()
		p := m.running[pid]
		delete(m.running, pid)
		m.mu.Unlock()
		if p != nil {
			fmt.Fprintf(m.logs[p.Name], "localkube: %s ended (exit %d, signal %d): starting it again\n", p.Name, status.ExitStatus(), status.Signal())
			m.again(p)
		}
	}
}
