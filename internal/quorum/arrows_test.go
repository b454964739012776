package quorum_test

import (
	"go/build"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestEngineIsPure: no clock, socket, disk, randomness or goroutine helper can come in by import, and nothing
// of the node. Type time.Duration is welcome, time.Now is banned by lint.
func TestEngineIsPure(t *testing.T) {
	pkg, err := build.ImportDir(".", 0)
	require.NoError(t, err)
	allowed := map[string]bool{
		"cmp": true, "errors": true, "fmt": true, "math": true, "slices": true, "sort": true, "strings": true, "time": true,
		"github.com/kraft-dev/kraft-operator/internal/uuid": true,
	}
	for _, imp := range pkg.Imports {
		require.True(t, allowed[imp], "%s: the engine gets it from the driver, as an event or an argument", imp)
	}
	for _, f := range pkg.GoFiles {
		require.NotContains(t, readFile(t, f), "time.Now", f)
		require.NotContains(t, readFile(t, f), "go func", f)
	}
}
