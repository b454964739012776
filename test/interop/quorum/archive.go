package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// makeArchive has one Java node, broker and controller, write the classes that it loaded to the file of h.archive, from which later JVMs map
// them: a start then takes a third of the time. A file that doesn't fit the class path is ignored by the JVM; hack/interop-quorum.sh
// removes one that is older than what it was made of.
func (h *harness) makeArchive() {
	if _, err := os.Stat(h.archive); err == nil {
		return
	}
	fresh := fmt.Sprintf("%s.%d", h.archive, os.Getpid())
	defer os.Remove(fresh) // what is left of it if this fails
	fmt.Fprintf(h.out, "classes are written to %s, once\n", h.archive)
	w := h.newWorld(scenario{name: "classes", kinds: []kind{javaKind}})
	defer w.end()
	n := w.voters[0]
	props := n.settings()
	props["process.roles"] = "broker,controller"
	props["listeners"] = fmt.Sprintf("CONTROLLER://%s,INTERNAL://127.0.0.1:%d", n.addr(), n.httpPort)
	props["inter.broker.listener.name"] = "INTERNAL"
	props["advertised.listeners"] = props["listeners"]
	props["authorizer.class.name"] = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
	props["super.users"] = "User:ANONYMOUS"
	file := n.writeProperties(props)
	argv := h.java(serverLogging, "kafka.Kafka", file)
	argv = append([]string{argv[0], "-XX:ArchiveClassesAtExit=" + fresh}, argv[1:]...)
	p, err := h.children.start("classes", filepath.Join(w.dir, "classes.log"), argv)
	need(err, "start a Java node")
	w.procs = append(w.procs, p)
	eventually(electsWithin, "the Java node has started", func() error {
		if !p.running() {
			return fmt.Errorf("%w: it ended: %w\n%s", errHopeless, p.err, tail(p.log, 12))
		}
		log, err := os.ReadFile(p.log)
		if err == nil && !bytes.Contains(log, []byte("Kafka Server started")) {
			err = errors.New("not yet")
		}
		return err
	})
	p.stop(electsWithin)
	need(os.Rename(fresh, h.archive), "keep the classes")
}
