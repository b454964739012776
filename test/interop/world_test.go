//go:build interop

package interop

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/test/cluster"
)

// patience bounds a command of another family: a JVM takes seconds to start.
const patience = 3 * time.Minute

// cache is where hack/interop.sh puts what it installs.
func cache(t *testing.T, parts ...string) string {
	t.Helper()
	dir := os.Getenv("INTEROP_CACHE")
	if dir == "" {
		home, err := os.UserCacheDir()
		require.NoError(t, err)
		dir = filepath.Join(home, "kraft-operator")
	}
	path := filepath.Join(append([]string{dir}, parts...)...)
	_, err := os.Stat(path)
	require.NoError(t, err, "missing: run hack/interop.sh, which installs it")
	return path
}

// run runs a command with the given input and returns what it printed to its standard output and, if it failed, all.
func run(t *testing.T, stdin, name string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if err != nil {
		return out.String() + errs.String(), err
	}
	return out.String(), nil
}

// must runs a command that has to succeed.
func must(t *testing.T, stdin, name string, args ...string) string {
	t.Helper()
	out, err := run(t, stdin, name, args...)
	require.NoError(t, err, "%s %s\n%s", name, strings.Join(args, " "), out)
	return out
}

// javaArgs are the arguments of java for a class of Kafka's.
func javaArgs(t *testing.T, class string, args ...string) []string {
	libs := cache(t, "kafka-4.3.1", "libs")
	return append([]string{"-Xmx256m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Xshare:auto", "-cp", libs + "/*", class}, args...)
}

// kafka runs one of Kafka's tools, which has to succeed.
func kafka(t *testing.T, class string, args ...string) string {
	t.Helper()
	return must(t, "", "java", javaArgs(t, class, args...)...)
}

// Kafka's tools.
const (
	topicCommand         = "org.apache.kafka.tools.TopicCommand"
	consoleProducer      = "org.apache.kafka.tools.ConsoleProducer"
	consoleConsumer      = "org.apache.kafka.tools.consumer.ConsoleConsumer"
	consumerGroupCommand = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"
	quorumCommand        = "org.apache.kafka.tools.MetadataQuorumCommand"
	configCommand        = "kafka.admin.ConfigCommand"
	apiVersionsCommand   = "org.apache.kafka.tools.BrokerApiVersionsCommand"
	getOffsetShell       = "org.apache.kafka.tools.GetOffsetShell"
	logDirsCommand       = "org.apache.kafka.tools.LogDirsCommand"
	featureCommand       = "org.apache.kafka.tools.FeatureCommand"
	dumpLogSegments      = "org.apache.kafka.tools.DumpLogSegments"
)

func bootstrap(c *cluster.Cluster) string { return strings.Join(c.Bootstrap(), ",") }

// layouts are separate and combined roles.
var layouts = map[string]cluster.Spec{
	"separate": {Controllers: 3, Brokers: 3, Processes: true},
	"combined": {Controllers: 3, Processes: true},
}
