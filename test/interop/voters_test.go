//go:build interop

package interop

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/test/cluster"
)

// TestKafkasToolChangesOurVoters: MetadataQuorumCommand adds and removes controllers, asked of a broker, which forwards, and of the
// controllers themselves; FeatureCommand upgrades a static quorum.
func TestKafkasToolChangesOurVoters(t *testing.T) {
	c := cluster.Start(t, cluster.Spec{Controllers: 3, Voters: 2, Brokers: 1, Processes: true})
	var controllers []string
	for _, n := range c.Controllers {
		controllers = append(controllers, n.ControllerAddr())
	}
	third := c.Controllers[2]
	directory := ""
	meta, err := os.ReadFile(filepath.Join(third.Dir, "data", "meta.properties"))
	require.NoError(t, err)
	for line := range strings.Lines(string(meta)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "directory.id="); ok {
			directory = v
		}
	}
	require.NotEmpty(t, directory, "%s", meta)
	for _, at := range [][]string{{"--bootstrap-server", bootstrap(c)}, {"--bootstrap-controller", strings.Join(controllers, ",")}} {
		voters := func() string {
			status := kafka(t, quorumCommand, append(at, "describe", "--status")...)
			return status[strings.Index(status, "CurrentVoters"):strings.Index(status, "CurrentObservers")]
		}
		require.Equal(t, 2, strings.Count(voters(), `"directoryId"`))
		added := kafka(t, quorumCommand, append(at, "--command-config", third.ConfigFile, "add-controller")...)
		require.Contains(t, added, fmt.Sprintf("Added controller %d with directory id %s and endpoints", third.ID, directory))
		require.Equal(t, 3, strings.Count(voters(), `"directoryId"`))
		removed := kafka(t, quorumCommand, append(at, "remove-controller", "--controller-id", fmt.Sprint(third.ID), "--controller-directory-id", directory)...)
		require.Regexp(t, fmt.Sprintf(`Removed\s+KRaft controller %d with directory id %s`, third.ID, directory), removed)
		require.Equal(t, 2, strings.Count(voters(), `"directoryId"`))
	}
}
