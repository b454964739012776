package main

import (
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// kafka is a cluster of Apache Kafka's nodes, with the heap and the flags that its own start script gives them.
type kafka struct {
	nodes []*kafkaNode // the controllers by id, then the broker
}

type kafkaNode struct {
	libs, config, log string
	addr              string
	cmd               *exec.Cmd
	done              chan error
}

var serverFlags = []string{"-Xmx1G", "-Xms1G", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35",
	"-XX:+ExplicitGCInvokesConcurrent", "-Djava.awt.headless=true"}

const kafkaBroker = 1000

func startKafka(h *host, o options, voters int) (*kafka, error) {
	ports, err := freePorts(voters + 1)
	if err != nil {
		return nil, err
	}
	ids := make([]string, voters+1) // cluster, then directories
	for i := range ids {
		id, err := uuid.New(rand.Reader)
		if err != nil {
			return nil, err
		}
		ids[i] = id.String()
	}
	var initial, bootstrap []string
	for i := range voters {
		bootstrap = append(bootstrap, fmt.Sprintf("127.0.0.1:%d", ports[i]))
		initial = append(initial, fmt.Sprintf("%d@127.0.0.1:%d:%s", i, ports[i], ids[1+i]))
	}
	k := &kafka{}
	h.Cleanup(func() { // brokers first
		for i := len(k.nodes) - 1; i >= 0; i-- {
			_ = k.nodes[i].end(syscall.SIGKILL)
		}
	})
	for i, port := range ports {
		n := &kafkaNode{libs: o.kafka, addr: fmt.Sprintf("127.0.0.1:%d", port)}
		role, listener, id, format := "controller", "CONTROLLER", i, "--initial-controllers="+strings.Join(initial, ",")
		if i == voters {
			role, listener, id, format = "broker", "INTERNAL", kafkaBroker, "--no-initial-controllers"
		}
		dir := h.TempDir()
		n.config, n.log = filepath.Join(dir, "server.properties"), filepath.Join(dir, "server.log")
		lines := []string{
			"process.roles=" + role, fmt.Sprintf("node.id=%d", id), "listeners=" + listener + "://" + n.addr,
			"controller.listener.names=CONTROLLER", "listener.security.protocol.map=CONTROLLER:PLAINTEXT,INTERNAL:PLAINTEXT",
			"controller.quorum.bootstrap.servers=" + strings.Join(bootstrap, ","), "log.dirs=" + filepath.Join(dir, "data"),
			"offsets.topic.replication.factor=1", "transaction.state.log.replication.factor=1", "transaction.state.log.min.isr=1",
			"share.coordinator.state.topic.replication.factor=1", "share.coordinator.state.topic.min.isr=1",
		}
		if role == "broker" {
			lines = append(lines, "inter.broker.listener.name=INTERNAL")
		}
		if err := os.WriteFile(n.config, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			return nil, err
		}
		out, err := n.java([]string{"-Xmx256m", "-XX:TieredStopAtLevel=1"}, "kafka.tools.StorageTool", "format", "-c", n.config, "-t", ids[0], format).CombinedOutput()
		if err != nil {
			return nil, fmt.Errorf("format Apache Kafka's node %d: %w\n%s", id, err, out)
		}
		k.nodes = append(k.nodes, n)
	}
	for _, n := range k.nodes {
		if err := n.start(); err != nil {
			return nil, err
		}
	}
	return k, nil
}

func (n *kafkaNode) java(flags []string, class string, args ...string) *exec.Cmd {
	return exec.Command("java", append(append(append([]string(nil), flags...), "-cp", n.libs+"/*", class), args...)...)
}

func (n *kafkaNode) start() error {
	log, err := os.OpenFile(n.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	n.cmd = n.java(serverFlags, "kafka.Kafka", n.config)
	n.cmd.Stdout, n.cmd.Stderr = log, log
	n.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := n.cmd.Start(); err != nil {
		return err
	}
	cmd, done := n.cmd, make(chan error, 1)
	n.done = done
	go func() { done <- cmd.Wait() }()
	return nil
}

func (n *kafkaNode) end(sig syscall.Signal) error {
	if n.cmd == nil {
		return nil
	}
	err := n.cmd.Process.Signal(sig)
	<-n.done //nolint:errcheck // it was told to end
	n.cmd = nil
	return err
}

func (k *kafka) name() string { return "kafka" }

func (k *kafka) controllers() (out []string) {
	for _, n := range k.nodes[:len(k.nodes)-1] {
		out = append(out, n.addr)
	}
	return out
}

func (k *kafka) broker() string { return k.nodes[len(k.nodes)-1].addr }

func (k *kafka) leave(id int) error { return k.nodes[id].end(syscall.SIGTERM) }

func (k *kafka) kill(id int) error { return k.nodes[id].end(syscall.SIGKILL) }

func (k *kafka) start(id int) error { return k.nodes[id].start() }

func (k *kafka) logs() string { return "" }
