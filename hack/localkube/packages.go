//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// requirement is a file that must be there, and the Debian package that brings it.
type requirement struct{ file, pkg string }

var requirements = []requirement{
	{"/usr/bin/containerd", "containerd"}, // the one of a Docker engine's package serves as well
	{"/usr/bin/ctr", "containerd"},
	{"/usr/sbin/runc", "runc"},
	{"/usr/lib/cni/bridge", "containernetworking-plugins"},
	{"/usr/lib/cni/host-local", "containernetworking-plugins"},
	{"/usr/sbin/nft", "nftables"},
	{"/usr/sbin/ip", "iproute2"},
	{"/usr/bin/nsenter", "util-linux"},
	{"/usr/bin/mount", "mount"},
}

// elsewhere are other places where a file serves: without merged /usr, and where a Docker engine's package puts runc.
var elsewhere = map[string][]string{
	"/usr/sbin/runc":   {"/usr/bin/runc"},
	"/usr/sbin/ip":     {"/sbin/ip", "/bin/ip"},
	"/usr/sbin/nft":    {"/sbin/nft"},
	"/usr/bin/mount":   {"/bin/mount"},
	"/usr/bin/nsenter": {"/bin/nsenter"},
}

// missingPackages names the packages whose files aren't there, each once. exists is os.Stat in life.
func missingPackages(exists func(string) bool) []string {
	var pkgs []string
	seen := map[string]bool{}
next:
	for _, r := range requirements {
		for _, f := range append([]string{r.file}, elsewhere[r.file]...) {
			if exists(f) {
				continue next
			}
		}
		if !seen[r.pkg] {
			seen[r.pkg] = true
			pkgs = append(pkgs, r.pkg)
		}
	}
	return pkgs
}

func fileExists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// checkHost says in clear words what this machine lacks, or returns nil.
func checkHost() error {
	if os.Geteuid() != 0 {
		return errors.New("localkube needs root: it makes network namespaces, mounts and cgroups; run it with sudo, or use a cluster you have (DEMO_KUBECONFIG=current)")
	}
	return nil
}

// ensurePackages installs the Debian packages that are missing: only those, removing nothing and starting nothing. A
// containerd that is there already, a Docker engine's for instance, is used as a program and not replaced.
func ensurePackages(ctx context.Context, out io.Writer) error {
	pkgs := missingPackages(fileExists)
	if len(pkgs) == 0 {
		return nil
	}
	apt, err := exec.LookPath("apt-get")
	if err != nil {
		return fmt.Errorf("this machine has no apt-get: install %s by its own means and run this again", strings.Join(pkgs, ", "))
	}
	fmt.Fprintf(out, "installing Debian packages: %s\n", strings.Join(pkgs, " "))
	restore, err := forbidServices()
	if err != nil {
		return err
	}
	defer restore()
	install := append([]string{"install", "-y", "-q", "--no-install-recommends", "--no-remove", "-o", "DPkg::Lock::Timeout=300"}, pkgs...)
	if _, err := aptGet(ctx, apt, install); err != nil {
		// A fresh image has no package lists.
		if log, err := aptGet(ctx, apt, []string{"update", "-q"}); err != nil {
			return fmt.Errorf("apt-get update: %w\n%s", err, tail(log, 15))
		}
		if log, err := aptGet(ctx, apt, install); err != nil {
			return fmt.Errorf("apt-get install %s: %w\n%s", strings.Join(pkgs, " "), err, tail(log, 15))
		}
	}
	if left := missingPackages(fileExists); len(left) > 0 {
		return fmt.Errorf("apt-get installed %s, but files of %s are still missing", strings.Join(pkgs, " "), strings.Join(left, ", "))
	}
	return disableServices(ctx, pkgs)
}

func aptGet(ctx context.Context, apt string, args []string) (string, error) {
	cmd := exec.CommandContext(ctx, apt, args...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive", "LC_ALL=C")
	log, err := cmd.CombinedOutput()
	return string(log), err
}

// forbidServices keeps packages from starting services while they are installed (invoke-rc.d(8) asks policy-rc.d). A
// policy that stands already is left alone.
func forbidServices() (restore func(), err error) {
	const policy = "/usr/sbin/policy-rc.d"
	f, err := os.OpenFile(policy, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if errors.Is(err, os.ErrExist) {
		return func() {}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("keeping services from starting: %w", err)
	}
	restore = func() { _ = os.Remove(policy) }
	_, err = f.WriteString("#!/bin/sh\nexit 101\n")
	if err := errors.Join(err, f.Close()); err != nil {
		restore()
		return nil, fmt.Errorf("keeping services from starting: %w", err)
	}
	return restore, nil
}

// disableServices keeps what was just installed from starting at the next boot.
func disableServices(ctx context.Context, pkgs []string) error {
	if !fileExists("/run/systemd/system") {
		return nil
	}
	for _, pkg := range pkgs {
		unit := pkg + ".service"
		if !fileExists(filepath.Join("/lib/systemd/system", unit)) {
			continue
		}
		if _, err := run(ctx, "", "systemctl", "disable", unit); err != nil {
			return err
		}
	}
	return nil
}
