package main

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestSchemaIsUpToDate is the verify twin of go generate: kmsg was not upgraded and the table
// of APIs not changed without making the schema anew.
func TestSchemaIsUpToDate(t *testing.T) {
	want, err := Generate("../kafka-apis.tsv")
	require.NoError(t, err)
	got, err := os.ReadFile("../schema_gen.go")
	require.NoError(t, err)
	require.Equal(t, string(want), string(got), "run go generate ./internal/node/wire")
}
