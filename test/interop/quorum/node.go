package main

import (
	"bytes"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/kraft-dev/kraft-operator/internal/config"
	"github.com/kraft-dev/kraft-operator/internal/storage"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// kind is whose program a node runs.
type kind int

const (
	goKind kind = iota
	javaKind
)

func (k kind) String() string { return [...]string{"Go", "Java"}[k] }

func (k kind) other() kind { return 1 - k }

// snapshotBytes is the setting that makes snapshots often.
const snapshotBytes = "metadata.log.max.record.bytes.between.snapshots"

// chunkBytes is the setting of how much of a snapshot a node asks for at once. A snapshot of this test's many records has several times chunk.
const (
	chunkBytes = config.QuorumFetchSnapshotMaxBytes
	chunk      = 50_000
)

// endsWithin bounds an orderly end: Apache Kafka gives its raft layer 5 s of it.
const endsWithin = 60 * time.Second

// node is one node of a world. Its kind may change while it is down; its id, address and disk stay.
type node struct {
	w         *world
	id        int32
	kind      kind
	broker    bool // else a controller
	joins     bool // a controller that is formatted without voters
	autoJoins bool // and asks to vote by itself
	directory uuid.UUID
	port      int // of its listener
	httpPort  int
	tokenPort int // of a Java controller's second listener
	proc      *process
	starts    int
	logs      []string // of all its processes, Java's apart
	javaLogs  []string
}

func (n *node) String() string { return fmt.Sprintf("node %d (%s)", n.id, n.kind) }

func (n *node) addr() string { return fmt.Sprintf("127.0.0.1:%d", n.port) }

func (n *node) dir() string { return filepath.Join(n.w.dir, fmt.Sprintf("node-%d", n.id)) }

// data is log.dirs: one directory, whichever kind runs on it.
func (n *node) data() string { return filepath.Join(n.dir(), "data") }

func (n *node) metadataLog() string { return filepath.Join(n.data(), "__cluster_metadata-0") }

func (n *node) up() bool { return n.proc != nil && n.proc.running() }

// answers tells whether the node runs and isn't paused.
func (n *node) answers() bool { return n.up() && !n.proc.isPaused() }

// started tells whether the node is through with its start. A JVM follows the leader before its listeners are open, and one that is stopped
// before it says that it has started may run into errors of its own.
func (n *node) started() error {
	if n.proc.started {
		return nil
	}
	if n.kind == javaKind {
		log, err := os.ReadFile(n.proc.log)
		if err != nil {
			return err
		}
		if !bytes.Contains(log, []byte("Kafka Server started")) {
			return fmt.Errorf("%s has not started yet", n)
		}
	}
	conn, err := net.DialTimeout("tcp", n.addr(), answerWithin)
	if err != nil {
		return err
	}
	n.proc.started = true
	return conn.Close()
}

// settings are those that both kinds read.
func (n *node) settings() map[string]string {
	props := map[string]string{
		config.NodeID:                       fmt.Sprint(n.id),
		config.LogDirs:                      n.data(),
		config.ControllerListenerNames:      "CONTROLLER",
		config.QuorumBootstrapServers:       strings.Join(n.w.bootstrap(), ","),
		config.ListenerSecurityProtocolMap:  "CONTROLLER:PLAINTEXT,INTERNAL:PLAINTEXT",
		config.OffsetsTopicReplication:      "1",
		config.OffsetsTopicPartitions:       "1",
		config.GroupInitialRebalanceDelayMs: "0",
		"broker.session.timeout.ms":         "60000", // brokers on paper send one heartbeat
	}
	maps.Copy(props, n.w.extra)
	if n.w.static {
		delete(props, config.QuorumBootstrapServers)
		props[config.QuorumVoters] = n.w.staticVoters()
	}
	if n.autoJoins {
		props[config.QuorumAutoJoin] = "true"
	}
	if n.broker {
		props[config.ProcessRoles] = "broker"
		props[config.Listeners] = "INTERNAL://" + n.addr()
		props[config.InterBrokerListenerName] = "INTERNAL"
	} else {
		props[config.ProcessRoles] = "controller"
		props[config.Listeners] = "CONTROLLER://" + n.addr()
	}
	return props
}

// writeConfig writes the properties of the node's present kind and returns the file.
func (n *node) writeConfig() string {
	props := n.settings()
	switch n.kind {
	case goKind:
		maps.Copy(props, map[string]string{
			config.KraftHTTPListener: fmt.Sprintf("127.0.0.1:%d", n.httpPort),
			config.KraftClusterID:    n.w.clusterID,
		})
		if !n.broker && !n.joins && !n.w.static {
			props[config.KraftInitialControllers] = n.w.initialControllers()
		}
	case javaKind:
		props["authorizer.class.name"] = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
		props["super.users"] = "User:ANONYMOUS;User:" + tokenOwner
		if !n.broker {
			n.addTokenListener(props)
		}
		props["advertised.listeners"] = props[config.Listeners]
	}
	return n.writeProperties(props)
}

func (n *node) writeProperties(props map[string]string) string {
	file := filepath.Join(n.dir(), strings.ToLower(n.kind.String())+".properties")
	need(os.MkdirAll(n.dir(), 0o755), "make %s", n.dir())
	need(os.WriteFile(file, config.Format(props), 0o600), "write the properties of %s", n)
	return file
}

// format formats the disk with the present kind's own means.
func (n *node) format() {
	args := []string{"format", "--config", n.writeConfig(), "--cluster-id", n.w.clusterID}
	switch {
	case n.w.static:
	case n.joins:
		args = append(args, "--no-initial-controllers")
	case !n.broker:
		args = append(args, "--initial-controllers", n.w.initialControllers())
	}
	if n.kind == goKind {
		n.w.h.tool(append([]string{n.w.h.kraftd}, args...)...)
	} else {
		n.w.h.kafkaTool("kafka.tools.StorageTool", args...)
	}
	meta, err := storage.ReadMetaProperties(storage.OS(), n.data())
	need(err, "the disk of %s", n)
	n.directory = meta.DirectoryID
}

// start starts the node and waits for nothing.
func (n *node) start() {
	file := n.writeConfig()
	n.starts++
	log := filepath.Join(n.w.dir, "logs", fmt.Sprintf("%d-%d-%s.log", n.id, n.starts, strings.ToLower(n.kind.String())))
	argv := []string{n.w.h.kraftd, "run", "--config", file}
	if n.kind == javaKind {
		argv = n.w.h.java(serverLogging, "kafka.Kafka", file)
		n.javaLogs = append(n.javaLogs, log)
	} else {
		n.logs = append(n.logs, log)
	}
	p, err := n.w.h.children.start(fmt.Sprintf("%s, %s", n.w.name, n), log, argv)
	need(err, "start %s", n)
	n.proc = p
	n.w.procs = append(n.w.procs, p)
}

// stop ends the node in order. The ledger rests while a JVM ends: under load it trips over itself more often (closedUnderReader).
func (n *node) stop() {
	if !n.up() {
		return
	}
	n.resume()
	if n.kind == javaKind && n.w.ledger != nil {
		n.w.ledger.hold()
		defer n.w.ledger.release()
	}
	n.proc.stop(endsWithin)
}

// kill is kill -9.
func (n *node) kill() { n.proc.kill() }

func (n *node) pause()  { n.proc.signal(syscall.SIGSTOP) }
func (n *node) resume() { n.proc.signal(syscall.SIGCONT) }
