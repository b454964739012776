package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestOutline(t *testing.T) {
	for expr, want := range map[string]string{
		`'unknown key: ' + self.filter(k, !(k in ['a', 'b']))[0]`:       "unknown key: …",
		`'not a ' + f(x)[0] + ': write ' + {'a': 'b'}[y] + ', or none'`: "not a …: write …, or none",
		`'as it is'`: "as it is",
	} {
		require.Equal(t, want, outline(expr))
	}
}

func TestReferenceOfOwnTypes(t *testing.T) {
	dir := t.TempDir()
	const src = "package x\n\n" +
		"// KRaftCluster is a kind.\n//\n// +kubebuilder:validation:XValidation:rule=\"a\",message=\"spec: no | yes\"\n" +
		"type KRaftCluster struct {\n" +
		"\tmetav1.TypeMeta `json:\",inline\"`\n" +
		"\t// Mode is how.\n\t// +kubebuilder:default=\"A\"\n\t// +optional\n\tMode Mode `json:\"mode,omitempty\"`\n" +
		"\t// +kubebuilder:validation:Minimum=1\n\t// +required\n\tSizes map[string]*intstr.IntOrString `json:\"sizes\"`\n}\n\n" +
		"// Mode is how.\n// +kubebuilder:validation:Enum=A;B\ntype Mode string\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "types.go"), []byte(src), 0o644))
	p, err := load(dir)
	require.NoError(t, err)
	text, err := p.reference("KRaftCluster")
	require.NoError(t, err)
	require.Contains(t, text, "| `mode` | [Mode](#mode) | `A` | Mode is how. |\n")
	require.Contains(t, text, "| `sizes` | map of string to int or string |  | At least 1. Required. |\n")
	require.Contains(t, text, "Refused with:\n\n- spec: no | yes\n")
	require.Contains(t, text, "## Mode\n\nMode is how. One of `A`, `B`.\n\nType: string.\n")
	_, err = p.reference("Missing")
	require.ErrorContains(t, err, "not found")
}
