//go:build linux

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sort"
	"strings"
	"time"
)

// binary is one program built from a module under modules/, which pins its version and its dependencies.
type binary struct {
	name    string // file name in the cache
	module  string // folder under modules/
	pkg     string // package to build in that module
	ldflags string
}

const (
	kubernetesModule  = "k8s.io/kubernetes"
	kubernetesVersion = "-X k8s.io/component-base/version.gitVersion=%[1]s -X k8s.io/component-base/version.gitMajor=%[2]s -X k8s.io/component-base/version.gitMinor=%[3]s -X k8s.io/client-go/pkg/version.gitVersion=%[1]s"
)

// binaries are in the order in which they are wanted: envtest needs the first three.
var binaries = []binary{
	{name: "etcd", module: "etcd", pkg: "."},
	{name: "kube-apiserver", module: "kubernetes", pkg: kubernetesModule + "/cmd/kube-apiserver", ldflags: kubernetesVersion},
	{name: "kubectl", module: "kubernetes", pkg: kubernetesModule + "/cmd/kubectl", ldflags: kubernetesVersion},
	{name: "kube-controller-manager", module: "kubernetes", pkg: kubernetesModule + "/cmd/kube-controller-manager", ldflags: kubernetesVersion},
	{name: "kube-scheduler", module: "kubernetes", pkg: kubernetesModule + "/cmd/kube-scheduler", ldflags: kubernetesVersion},
	{name: "kubelet", module: "kubernetes", pkg: kubernetesModule + "/cmd/kubelet", ldflags: kubernetesVersion},
	{name: "kube-proxy", module: "kubernetes", pkg: kubernetesModule + "/cmd/kube-proxy", ldflags: kubernetesVersion},
	{name: "coredns", module: "coredns", pkg: "."},
	{name: "pause", module: "pause", pkg: "."},
}

// assetBinaries is how many of binaries make a folder that envtest can use as KUBEBUILDER_ASSETS.
const assetBinaries = 3

// sourceDir is the folder of this program's own source, where modules/ is: the one it was compiled from, else
// hack/localkube under the working directory or a parent of it.
func sourceDir() (string, error) {
	var tried []string
	if dir := os.Getenv("LOCALKUBE_SOURCE"); dir != "" {
		tried = append(tried, dir)
	}
	if _, file, _, ok := runtime.Caller(0); ok && filepath.IsAbs(file) {
		tried = append(tried, filepath.Dir(file))
	}
	wd, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the working directory: %w", err)
	}
	for dir := wd; ; dir = filepath.Dir(dir) {
		tried = append(tried, filepath.Join(dir, "hack", "localkube"), dir)
		if dir == filepath.Dir(dir) {
			break
		}
	}
	for _, dir := range tried {
		if _, err := os.Stat(filepath.Join(dir, "modules", "kubernetes", "go.mod")); err == nil {
			return dir, nil
		}
	}
	return "", errors.New("can't find the source folder hack/localkube: run this inside the repository, or set LOCALKUBE_SOURCE to that folder")
}

// cacheRoot is where built binaries are kept: $XDG_CACHE_HOME or ~/.cache, then kraft-operator/localkube.
func cacheRoot() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the cache folder: %w; set HOME or XDG_CACHE_HOME", err)
	}
	return filepath.Join(base, "kraft-operator", "localkube"), nil
}

// binDir is the cache folder for exactly these modules, sources and platform: another version is another folder.
func binDir(source string) (string, error) {
	root, err := cacheRoot()
	if err != nil {
		return "", err
	}
	hash, err := versionsHash(filepath.Join(source, "modules"))
	if err != nil {
		return "", err
	}
	return filepath.Join(root, hash), nil
}

// versionsHash is over each file under modules (path and content), the platform and how binaries are built.
func versionsHash(modules string) (string, error) {
	var files []string
	err := filepath.WalkDir(modules, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		return "", fmt.Errorf("reading the tool modules: %w", err)
	}
	sort.Strings(files)
	h := sha256.New()
	fmt.Fprintf(h, "%s/%s %q\n", runtime.GOOS, runtime.GOARCH, binaries)
	for _, f := range files {
		rel, err := filepath.Rel(modules, f)
		if err != nil {
			return "", err
		}
		data, err := os.ReadFile(f)
		if err != nil {
			return "", fmt.Errorf("reading the tool modules: %w", err)
		}
		fmt.Fprintf(h, "%s %d\n%s\n", filepath.ToSlash(rel), len(data), data)
	}
	return hex.EncodeToString(h.Sum(nil))[:16], nil
}

// requiredVersion reads the version of a module from the text of a go.mod: from its replacement where it has one.
func requiredVersion(gomod, module string) (string, error) {
	for line := range strings.Lines(gomod) {
		f := strings.Fields(strings.TrimPrefix(strings.TrimSpace(line), "require "))
		if len(f) >= 2 && f[0] == module && strings.HasPrefix(f[1], "v") {
			return f[1], nil
		}
	}
	return "", fmt.Errorf("go.mod requires no %s", module)
}

// expandLDFlags puts the version that the module's go.mod requires into a binary's link flags.
func expandLDFlags(b binary, gomod string) (string, error) {
	const strip = "-s -w"
	if b.ldflags == "" {
		return strip, nil
	}
	v, err := requiredVersion(gomod, kubernetesModule)
	if err != nil {
		return "", err
	}
	parts := strings.SplitN(strings.TrimPrefix(v, "v"), ".", 3)
	if len(parts) < 2 {
		return "", fmt.Errorf("version %q of %s isn't major.minor.patch", v, kubernetesModule)
	}
	return strip + " " + fmt.Sprintf(b.ldflags, v, parts[0], parts[1]), nil
}

// ensureBinaries builds the first n binaries that the cache lacks and returns their folder. One build runs at a
// time; a second caller waits and then finds them.
func ensureBinaries(ctx context.Context, n int, out io.Writer) (string, error) {
	source, err := sourceDir()
	if err != nil {
		return "", err
	}
	dir, err := binDir(source)
	if err != nil {
		return "", err
	}
	if len(missing(dir, n)) == 0 {
		return dir, nil
	}
	if _, err := exec.LookPath("go"); err != nil {
		return "", fmt.Errorf("go isn't on PATH, and %s lacks %s: install Go and run this again", dir, strings.Join(missing(dir, n), ", "))
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", fmt.Errorf("making the cache folder: %w", err)
	}
	unlock, err := lockFile(ctx, filepath.Join(dir, ".lock"), func() {
		fmt.Fprintf(out, "another build into %s is running: waiting for it\n", dir)
	})
	if err != nil {
		return "", err
	}
	defer unlock()
	todo := missing(dir, n)
	if len(todo) > 0 {
		fmt.Fprintf(out, "building %d programs from their Go modules into %s (once; about 9 minutes on two cores when nothing is cached)\n", len(todo), dir)
	}
	done, start := 0, time.Now()
	for _, b := range binaries[:n] {
		if _, err := os.Stat(filepath.Join(dir, b.name)); err == nil {
			continue
		}
		done++
		if err := buildOne(ctx, b, filepath.Join(source, "modules"), dir, fmt.Sprintf("[%d/%d]", done, len(todo)), out); err != nil {
			return "", err
		}
	}
	if done > 0 {
		fmt.Fprintf(out, "built %d programs in %s\n", done, time.Since(start).Round(time.Second))
	}
	return dir, nil
}

// missing names those of the first n binaries that dir lacks.
func missing(dir string, n int) []string {
	var names []string
	for _, b := range binaries[:n] {
		if fi, err := os.Stat(filepath.Join(dir, b.name)); err != nil || !fi.Mode().IsRegular() {
			names = append(names, b.name)
		}
	}
	return names
}

// buildOne compiles one binary beside its place and renames it there, so that the cache never holds half a file.
func buildOne(ctx context.Context, b binary, modules, dir, counter string, out io.Writer) error {
	mod := filepath.Join(modules, b.module)
	gomod, err := os.ReadFile(filepath.Join(mod, "go.mod"))
	if err != nil {
		return fmt.Errorf("reading go.mod of %s: %w", b.module, err)
	}
	ldflags, err := expandLDFlags(b, string(gomod))
	if err != nil {
		return err
	}
	tmp := filepath.Join(dir, "."+b.name+".new")
	// At low priority: a build must not slow what the person does meanwhile.
	args := []string{"go", "build", "-trimpath", "-buildvcs=false", "-ldflags", ldflags, "-o", tmp, b.pkg}
	if nice, err := exec.LookPath("nice"); err == nil {
		args = append([]string{nice, "-n", "10"}, args...)
	}
	var log bytes.Buffer
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = mod, &log, &log
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOFLAGS=-mod=readonly")
	start := time.Now()
	stop := tick(out, counter+" "+b.name, start)
	err = cmd.Run()
	stop()
	if err != nil {
		return fmt.Errorf("building %s in %s: %w\n%s", b.name, mod, err, tail(log.String(), 20))
	}
	if err := os.Rename(tmp, filepath.Join(dir, b.name)); err != nil {
		return fmt.Errorf("putting %s into the cache: %w", b.name, err)
	}
	fmt.Fprintf(out, "%s %s built in %s\n", counter, b.name, time.Since(start).Round(100*time.Millisecond))
	return nil
}

// tick prints a line every 30 s until the returned function is called, so that a long build is seen to go on.
func tick(out io.Writer, what string, start time.Time) (stop func()) {
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		t := time.NewTicker(30 * time.Second)
		defer t.Stop()
		for {
			select {
			case <-done:
				return
			case <-t.C:
				fmt.Fprintf(out, "%s … %s\n", what, time.Since(start).Round(time.Second))
			}
		}
	}()
	return func() { close(done); <-ended }
}

// tail is the last n lines of a program's output.
func tail(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return strings.Join(lines, "\n")
}
