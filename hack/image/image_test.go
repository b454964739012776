package main

import (
	"archive/tar"
	"io"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/stretchr/testify/require"
)

// program builds a smallest static program.
func program(t *testing.T, env ...string) string {
	t.Helper()
	dir := t.TempDir()
	source, out := filepath.Join(dir, "main.go"), filepath.Join(dir, "program")
	require.NoError(t, os.WriteFile(source, []byte("package main\nfunc main() { println(\"here\") }\n"), 0o600))
	cmd := exec.Command("go", "build", "-trimpath", "-o", out, source)
	cmd.Env = append(append(os.Environ(), "CGO_ENABLED=0"), env...)
	said, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", said)
	return out
}

func runImage(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out strings.Builder
	cmd := newCommand()
	cmd.SetArgs(args)
	cmd.SetOut(&out)
	err := cmd.ExecuteContext(t.Context())
	return out.String(), err
}

func TestArchiveHoldsBothBinariesForAUserThatIsNotRoot(t *testing.T) {
	bin, out := program(t), filepath.Join(t.TempDir(), "image.tar")
	said, err := runImage(t, "--kraftd", bin, "--manager", bin, "--tag", "kraft.local/kraft-operator:v1", "--out", out)
	require.NoError(t, err)
	require.Contains(t, said, "sha256:")
	tag, err := name.NewTag("kraft.local/kraft-operator:v1")
	require.NoError(t, err)
	img, err := tarball.ImageFromPath(out, &tag)
	require.NoError(t, err)
	config, err := img.ConfigFile()
	require.NoError(t, err)
	require.Equal(t, "65532:65532", config.Config.User)
	require.Equal(t, []string{"/kraftd"}, config.Config.Entrypoint)
	require.Equal(t, "linux", config.OS)
	require.NotEmpty(t, config.Architecture)
	files := map[string]int64{}
	flat := tar.NewReader(mutate.Extract(img))
	for {
		h, err := flat.Next()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		files[h.Name] = h.Mode
		require.Zero(t, h.Uid)
	}
	require.Equal(t, map[string]int64{"kraftd": 0o755, "manager": 0o755}, files)
}

func TestSameBinariesMakeTheSameImage(t *testing.T) {
	bin, dir := program(t), t.TempDir()
	var archives [2][]byte
	for i := range archives {
		out := filepath.Join(dir, "image.tar")
		_, err := runImage(t, "--kraftd", bin, "--tag", "kraft.local/k:1", "--out", out)
		require.NoError(t, err)
		archives[i], err = os.ReadFile(out)
		require.NoError(t, err)
	}
	require.Equal(t, archives[0], archives[1])
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Len(t, left, 1, "no half-written file stays")
}

func TestPushToARegistry(t *testing.T) {
	server := httptest.NewServer(registry.New())
	defer server.Close()
	to := strings.TrimPrefix(server.URL, "http://") + "/team/kraft-operator:v1"
	_, err := runImage(t, "--file", program(t)+":/bin/probe", "--push", to)
	require.NoError(t, err)
	ref, err := name.ParseReference(to)
	require.NoError(t, err)
	img, err := remote.Image(ref)
	require.NoError(t, err)
	config, err := img.ConfigFile()
	require.NoError(t, err)
	require.Equal(t, []string{"/bin/probe"}, config.Config.Entrypoint)
}

func TestWhatCannotRunIsRefused(t *testing.T) {
	good, script := program(t), filepath.Join(t.TempDir(), "script")
	require.NoError(t, os.WriteFile(script, []byte("#!/bin/sh\n"), 0o600))
	out := filepath.Join(t.TempDir(), "image.tar")
	for want, args := range map[string][]string{
		"nowhere to put the image":             {"--kraftd", good},
		"nothing to put into the image":        {"--tag", "a:1", "--out", out},
		"--out needs --tag":                    {"--kraftd", good, "--out", out},
		"--file \"x\": give SOURCE:/TARGET":    {"--file", "x", "--tag", "a:1", "--out", out},
		"not a Linux program":                  {"--kraftd", script, "--tag", "a.b/c:1", "--out", out},
		"no such file":                         {"--kraftd", script + "x", "--tag", "a.b/c:1", "--out", out},
		"entrypoint /other isn't in the image": {"--kraftd", good, "--entrypoint", "/other", "--tag", "a.b/c:1", "--out", out},
		"it is built for EM_":                  {"--kraftd", program(t, "GOARCH=arm64", "GOOS=linux"), "--platform", "linux/amd64", "--tag", "a.b/c:1", "--out", out},
	} {
		_, err := runImage(t, args...)
		require.ErrorContains(t, err, want)
		require.NoFileExists(t, out)
	}
}

func TestDynamicProgramIsRefused(t *testing.T) {
	shell, err := os.ReadFile("/bin/sh")
	require.NoError(t, err)
	require.ErrorContains(t, checkStatic(shell, &v1.Platform{OS: "linux"}), "build it with CGO_ENABLED=0")
}
