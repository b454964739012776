package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// harness is what all worlds share.
type harness struct {
	checks
	dir       string // scratch, removed at the end
	kraftd    string
	classpath string
	archive   string // of classes, for JVMs to start with; "": none
	children  children
	allowed   *lines // what Java nodes log among their own
	ports     map[int]bool
}

// toolWithin bounds a command line tool: a JVM takes a second or two to start, more on a busy machine.
const toolWithin = 2 * time.Minute

// Logging configurations of the JVMs: servers print everything from INFO but a line for each of thousands of quotas, tools only what is wrong, to standard error.
const (
	serverLogging = `status=error
rootLogger.level=info
rootLogger.appenderRef.console.ref=Console
appender.console.type=Console
appender.console.name=Console
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=@%p %d{HH:mm:ss,SSS} %c{1} %m%n
logger.config.name=org.apache.kafka.common.config.AbstractConfig
logger.config.level=warn
logger.quota.name=org.apache.kafka.controller.ClientQuotaControlManager
logger.quota.level=warn
logger.client.name=org.apache.kafka.server.quota.ClientQuotaManager
logger.client.level=warn
logger.broker.name=kafka.server.ClientQuotaManager
logger.broker.level=warn
`
	toolLogging = `status=error
rootLogger.level=warn
rootLogger.appenderRef.console.ref=Console
appender.console.type=Console
appender.console.name=Console
appender.console.target=SYSTEM_ERR
appender.console.layout.type=PatternLayout
appender.console.layout.pattern=%p %c{1} %m%n
`
)

// java is the command line of one of Kafka's classes. Small heaps and the quick compiler: many start, none lives long.
func (h *harness) java(logging, class string, args ...string) []string {
	name := "tool.properties"
	if logging == serverLogging {
		name = "server.properties"
	}
	file := filepath.Join(h.dir, name)
	if _, err := os.Stat(file); err != nil {
		need(os.WriteFile(file, []byte(logging), 0o600), "write %s", file)
	}
	argv := []string{"java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-Djava.io.tmpdir=" + h.dir}
	if _, err := os.Stat(h.archive); err == nil {
		argv = append(argv, "-XX:SharedArchiveFile="+h.archive, "-Xlog:disable", "-Xlog:all=error:stderr")
	}
	return append(append(argv, "-Dlog4j2.configurationFile="+file, "-cp", h.classpath, class), args...)
}

// tool runs a command that has to succeed and returns its standard output.
func (h *harness) tool(argv ...string) string {
	ctx, cancel := context.WithTimeout(context.Background(), toolWithin)
	defer cancel()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		failf("%s: %w\n%s%s", strings.Join(argv[len(argv)-min(len(argv), 6):], " "), err, out.String(), errs.String())
	}
	return out.String()
}

// kafkaTool runs one of Kafka's tools, which has to succeed.
func (h *harness) kafkaTool(class string, args ...string) string {
	return h.tool(h.java(toolLogging, class, args...)...)
}

// port finds a port below the range that the system gives to outgoing connections, so that a node that is down for a while still has its own.
func (h *harness) port() int {
	for range 1000 {
		p := 20000 + rand.IntN(10000)
		if h.ports[p] {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", p))
		if err != nil {
			continue
		}
		l.Close()
		h.ports[p] = true
		return p
	}
	failf("no free port between 20000 and 30000")
	return 0
}
