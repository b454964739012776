package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// toolsRead lets Apache Kafka's offline tools read the log of a Go node, after the world has come to rest.
func (w *world) toolsRead() {
	n := w.of(goKind)[0]
	var file string
	if !w.check("a Go node stops, and its log is copied for the tools", func() {
		w.caughtUp()
		n.stop()
		// A copy: the tools lock the directory's parent, and the file's name is its first offset.
		data, err := os.ReadFile(filepath.Join(n.metadataLog(), "00000000000000000000.log"))
		need(err, "read the log")
		file = filepath.Join(w.dir, "copy", "00000000000000000000.log")
		need(os.MkdirAll(filepath.Dir(file), 0o755), "copy")
		need(os.WriteFile(file, data, 0o600), "copy")
		n.start()
	}) {
		return
	}
	w.check("DumpLogSegments reads a Go node's log, every record of it", func() {
		out := w.h.kafkaTool("org.apache.kafka.tools.DumpLogSegments", "--cluster-metadata-decoder", "--files", file)
		for _, bad := range []string{"isvalid: false", "xception", "could not", "mismatch"} {
			want(!strings.Contains(out, bad), "it says %q", bad)
		}
		for _, kind := range []string{"REGISTER_BROKER_RECORD", "REGISTER_CONTROLLER_RECORD", "TOPIC_RECORD", "PARTITION_CHANGE_RECORD", "CLIENT_QUOTA_RECORD",
			"USER_SCRAM_CREDENTIAL_RECORD", "PRODUCER_IDS_RECORD", "FEATURE_LEVEL_RECORD", "LeaderChange", "KRaftVoters"} {
			want(strings.Contains(out, kind), "no %s", kind)
		}
	})
	w.check("the metadata shell reads a Go node's log", func() {
		w.h.shell(file, map[string]string{
			"ls /image/topics/byName":             "of-Go",
			"cat /image/features/metadataVersion": "4.3-IV0",
			"ls /image/cluster/controllers":       "1\n2\n3\n",
			"ls /image/configs":                   "TOPIC:of-Go",
		})
	})
}

// toolsReadSnapshot lets the same tools read a snapshot that a Go node made.
func (w *world) toolsReadSnapshot() {
	var file string
	if !w.check("a Go node has made a snapshot by itself", func() {
		n := w.of(goKind)[0]
		name := newestSnapshot(n)
		want(name != "", "%s has none", n)
		data, err := os.ReadFile(filepath.Join(n.metadataLog(), name))
		need(err, "read it")
		file = filepath.Join(w.dir, "copy", name)
		need(os.MkdirAll(filepath.Dir(file), 0o755), "copy")
		need(os.WriteFile(file, data, 0o600), "copy")
	}) {
		return
	}
	w.check("DumpLogSegments reads a Go node's snapshot, header, voters and footer included", func() {
		out := w.h.kafkaTool("org.apache.kafka.tools.DumpLogSegments", "--cluster-metadata-decoder", "--files", file)
		for _, kind := range []string{"SnapshotHeader", "KRaftVersion", "KRaftVoters", "FEATURE_LEVEL_RECORD", "CLIENT_QUOTA_RECORD", "REGISTER_CONTROLLER_RECORD", "SnapshotFooter"} {
			want(strings.Contains(out, kind), "no %s", kind)
		}
		want(!strings.Contains(out, "isvalid: false"), "an invalid batch")
	})
	w.check("the metadata shell reads a Go node's snapshot", func() {
		w.h.shell(file, map[string]string{"cat /image/features/metadataVersion": "4.3-IV0", "ls /image/cluster": "controllers"})
	})
}

// shell asks Apache Kafka's metadata shell about a file until every command printed what is expected of it: it takes commands before it
// has read the file to its end.
func (h *harness) shell(file string, expected map[string]string) {
	ctx, cancel := context.WithTimeout(context.Background(), electsWithin)
	defer cancel()
	argv := h.java(toolLogging, "org.apache.kafka.shell.MetadataShell", "--snapshot", file)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var out lockedBuffer
	cmd.Stdout = &out
	in, err := cmd.StdinPipe()
	need(err, "the shell's input")
	need(cmd.Start(), "start the shell")
	defer func() {
		in.Close() // its end
		_ = cmd.Wait()
	}()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		missing := ""
		for command, words := range expected {
			if !strings.Contains(out.String(), words) {
				missing = command
				if _, err := fmt.Fprintln(in, command); err != nil {
					failf("%s: %w\n%s", command, err, out.String())
				}
			}
		}
		if missing == "" {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			failf("%s: nothing of %q in\n%s", missing, expected[missing], out.String())
		}
	}
}

// lockedBuffer is what a process has printed so far.
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
