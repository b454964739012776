//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// upOptions is what `up` was asked for.
type upOptions struct {
	name   string
	nodes  int
	domain string
}

func (o upOptions) check() error {
	if err := checkName(o.name); err != nil {
		return err
	}
	if o.nodes < 1 || o.nodes > maxNodes {
		return fmt.Errorf("--nodes %d: give 1 to %d", o.nodes, maxNodes)
	}
	return checkDomain(o.domain)
}

// lockCluster keeps two commands from changing the same cluster at once.
func lockCluster(ctx context.Context, name string, out io.Writer) (unlock func(), err error) {
	if err := os.MkdirAll(stateRoot, 0o755); err != nil {
		return nil, fmt.Errorf("making the state folder: %w", err)
	}
	return lockFile(ctx, filepath.Join(stateRoot, "."+name+".lock"), func() {
		fmt.Fprintf(out, "another command works on cluster %s: waiting for it\n", name)
	})
}

// up makes a cluster run, from whatever an earlier run left. It returns when the nodes are Ready and DNS answers.
func up(ctx context.Context, o upOptions, out io.Writer) error {
	if err := errors.Join(checkHost(), o.check()); err != nil {
		return err
	}
	if err := ensurePackages(ctx, out); err != nil {
		return err
	}
	bin, err := ensureBinaries(ctx, len(binaries), out)
	if err != nil {
		return err
	}
	unlock, err := lockCluster(ctx, o.name, out)
	if err != nil {
		return err
	}
	defer unlock()
	switch old, err := loadCluster(o.name); {
	case err == nil && old.whole() && old.Nodes == o.nodes && old.BinDir == bin:
		fmt.Fprintf(out, "cluster %s is up already\n", o.name)
		old.sayHow(out)
		return nil
	case err == nil && old.whole():
		return fmt.Errorf("cluster %s is up with %d nodes of %s: `localkube down --name %s` first", o.name, old.Nodes, filepath.Base(old.BinDir), o.name)
	case errors.Is(err, errNoCluster):
	default:
		fmt.Fprintf(out, "clearing what an earlier run of cluster %s left\n", o.name)
	}
	if err := clearCluster(ctx, o.name); err != nil {
		return err
	}
	start := time.Now()
	c, err := newCluster(ctx, o, bin)
	if err != nil {
		return err
	}
	say := func(format string, args ...any) {
		fmt.Fprintf(out, "%5.1f s  %s\n", time.Since(start).Seconds(), fmt.Sprintf(format, args...))
	}
	if err := c.start(ctx, say); err != nil {
		return fmt.Errorf("%w\nlogs are in %s; `localkube down --name %s` clears it", err, c.path("log"), c.Name)
	}
	c.sayHow(out)
	return nil
}

// newCluster reserves a block of addresses and writes the first record.
func newCluster(ctx context.Context, o upOptions, bin string) (*Cluster, error) {
	unlock, err := lockFile(ctx, filepath.Join(stateRoot, ".blocks.lock"), nil)
	if err != nil {
		return nil, err
	}
	defer unlock()
	others, err := listClusters()
	if err != nil {
		return nil, err
	}
	taken := map[int]bool{}
	for _, c := range others {
		taken[c.Block] = true
	}
	routes, err := hostRoutes(ctx)
	if err != nil {
		return nil, err
	}
	block, err := chooseBlock(o.name, taken, routes)
	if err != nil {
		return nil, err
	}
	c := &Cluster{Name: o.name, Block: block, Domain: o.domain, Nodes: o.nodes, BinDir: bin, CreatedAt: time.Now().UTC()}
	return c, c.save()
}

// start brings the machines up and waits for them.
func (c *Cluster) start(ctx context.Context, say func(string, ...any)) error {
	if err := c.prepare(); err != nil {
		return err
	}
	if err := c.launch(controlPlane, c.controlPlaneMachine(), func(p Process) error { return c.connectHost(ctx, p) }); err != nil {
		return err
	}
	var wg sync.WaitGroup
	errs, all := make([]error, c.Nodes+1), make([]int, c.Nodes)
	for i := range c.Nodes {
		all[i] = i + 1
		wg.Go(func() { errs[i] = c.startNode(ctx, i+1) })
	}
	wg.Go(func() {
		if errs[c.Nodes] = c.waitAPI(ctx); errs[c.Nodes] == nil {
			say("the API server is ready at %s", c.apiURL())
		}
	})
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := c.waitNodes(ctx, all, true, 60*time.Second); err != nil {
		return err
	}
	say("%d nodes are Ready", c.Nodes)
	if err := c.furnish(ctx); err != nil {
		return err
	}
	say("DNS and storage classes are there")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.Ready = true
	return c.save()
}

// furnish gives the cluster its first images and objects.
func (c *Cluster) furnish(ctx context.Context) error {
	images, err := ownImages(c.BinDir)
	if err != nil {
		return err
	}
	if err := c.load(ctx, io.Discard, images...); err != nil {
		return err
	}
	if _, err := c.kubectl(ctx, c.fill(clusterManifest), "apply", "-f", "-"); err != nil {
		return err
	}
	return c.waitDNS(ctx)
}

// prepare writes all files that the machines start from.
func (c *Cluster) prepare() error {
	for _, d := range []string{"log", "bin", "machines", "etcd", "pki"} {
		if err := os.MkdirAll(c.path(d), 0o700); err != nil {
			return fmt.Errorf("making a folder: %w", err)
		}
	}
	// Pods that aren't root's go through these to their volumes.
	for _, d := range []string{c.path("movable"), c.path("nodes")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return fmt.Errorf("making a folder: %w", err)
		}
	}
	if err := copySelf(c.self()); err != nil {
		return err
	}
	for n := 1; n <= c.Nodes; n++ {
		for _, d := range []string{movableFolder, filepath.Dir(nodeSelf), nodePrograms, volumesFolder, "/var/lib/containerd", "/var/log", "/var/tmp", "/var/cache"} {
			if err := os.MkdirAll(c.nodePath(n, d), 0o755); err != nil {
				return fmt.Errorf("making a node's folder: %w", err)
			}
		}
		_ = os.Symlink("/run", c.nodePath(n, "var", "run"))
		if err := installDriver(c.nodePath(n, nodePlugins), driverScript(nodeSelf, movableFolder, nodeName(n))); err != nil {
			return err
		}
	}
	if err := c.writePKI(); err != nil {
		return err
	}
	w := &fileWriter{}
	w.write(c.path("audit-policy.yaml"), []byte(c.fill(auditPolicy)))
	w.note(installDriver(c.path("volumeplugins"), driverScript(c.self(), c.path("movable"), "")))
	return w.err
}

// copySelf copies this program to where the cluster's machines run it.
func copySelf(to string) error {
	exe, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program's file: %w", err)
	}
	src, err := os.Open(exe)
	if err != nil {
		return fmt.Errorf("copying this program: %w", err)
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o755)
	if err != nil {
		return fmt.Errorf("copying this program: %w", err)
	}
	_, err = io.Copy(dst, src)
	if err := errors.Join(err, dst.Close()); err != nil {
		return fmt.Errorf("copying this program: %w", err)
	}
	return nil
}

// startNode starts a node's machine and waits until its containerd serves.
func (c *Cluster) startNode(ctx context.Context, n int) error {
	if err := makeCgroup(c.cgroup(n)); err != nil {
		return err
	}
	master, ok := c.process(controlPlane)
	if !ok {
		return fmt.Errorf("cluster %s has no control plane: `localkube up --name %[1]s`", c.Name)
	}
	snapshotter, err := snapshotterFor(c.dir())
	if err != nil {
		return err
	}
	spec := c.nodeMachine(n, snapshotter)
	if err := c.launch(nodeName(n), spec, func(p Process) error { return c.connectNode(ctx, n, master, p) }); err != nil {
		return err
	}
	p, _ := c.process(nodeName(n))
	return c.waitRuntime(ctx, p)
}

// snapshotterFor picks containerd's snapshotter: overlay file systems don't stack on one another, as in a container.
func snapshotterFor(dir string) (string, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return "", fmt.Errorf("looking at the file system of %s: %w", dir, err)
	}
	if st.Type == unix.OVERLAYFS_SUPER_MAGIC {
		return "native", nil
	}
	return "overlayfs", nil
}

// stopNode ends a node as a power cut does: kubelet, containerd and pods at once, and its link with them.
func (c *Cluster) stopNode(ctx context.Context, n int) error {
	p, ok := c.process(nodeName(n))
	if !ok {
		return nil
	}
	if err := p.kill(ctx); err != nil {
		return err
	}
	if master, ok := c.process(controlPlane); ok && master.alive() {
		if err := c.disconnectNode(ctx, n, master); err != nil {
			return err
		}
	}
	if err := removeCgroup(ctx, c.cgroup(n)); err != nil {
		return err
	}
	return c.forget(nodeName(n))
}

// machines names all machines of the cluster.
func (c *Cluster) machines() []string {
	names := []string{controlPlane}
	for n := 1; n <= c.Nodes; n++ {
		names = append(names, nodeName(n))
	}
	return names
}

// whole says whether the cluster came up and its control plane still runs: a stopped node is a person's wish.
func (c *Cluster) whole() bool {
	p, ok := c.process(controlPlane)
	if !c.Ready || !ok || !p.alive() {
		return false
	}
	for _, p := range c.Processes {
		if !p.alive() {
			return false
		}
	}
	return true
}

// down removes a cluster and all that belongs to it.
func down(ctx context.Context, name string, out io.Writer) error {
	if err := errors.Join(checkHost(), checkName(name)); err != nil {
		return err
	}
	if !fileExists(stateRoot) {
		fmt.Fprintf(out, "cluster %s isn't there\n", name)
		return nil
	}
	unlock, err := lockCluster(ctx, name, out)
	if err != nil {
		return err
	}
	defer unlock()
	there := fileExists(filepath.Join(stateRoot, name))
	if err := clearCluster(ctx, name); err != nil {
		return err
	}
	_ = os.Remove(filepath.Join(stateRoot, "."+name+".lock"))
	removeIfLast()
	if there {
		fmt.Fprintf(out, "cluster %s is gone\n", name)
	} else {
		fmt.Fprintf(out, "cluster %s isn't there\n", name)
	}
	return nil
}

// removeIfLast removes the state folder when no cluster and no other command needs it.
func removeIfLast() {
	entries, err := os.ReadDir(stateRoot)
	if err == nil && len(entries) == 1 && entries[0].Name() == ".blocks.lock" {
		_ = os.Remove(filepath.Join(stateRoot, ".blocks.lock"))
	}
	_ = os.Remove(stateRoot)
}

// clearCluster ends the recorded processes of a cluster and removes its link, cgroups and files, whatever state they
// are in. It touches nothing that isn't of this name.
func clearCluster(ctx context.Context, name string) error {
	c, err := loadCluster(name)
	if err != nil {
		c = &Cluster{Name: name} // no record, or a broken one: files, cgroups and processes are still found by name
	}
	procs := append(c.strays(), c.Processes...)
	for i := len(procs) - 1; i >= 0; i-- {
		if err := procs[i].kill(ctx); err != nil {
			return err
		}
	}
	if c.Block != 0 {
		if err := c.removeHostLink(ctx); err != nil {
			return err
		}
	}
	if err := removeCgroup(ctx, filepath.Join("/", cgroupRootName, name)); err != nil {
		return err
	}
	if err := unmountBelow(c.dir()); err != nil {
		return err
	}
	if err := os.RemoveAll(c.dir()); err != nil {
		return fmt.Errorf("removing the cluster's folder: %w", err)
	}
	return nil
}

// strays finds first processes of this cluster's machines that the record lacks, by the command line that only they
// have: a run can die between starting one and recording it.
func (c *Cluster) strays() []Process {
	want := c.self() + "\x00" + initCommand + "\x00" + c.path("machines") + "/"
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil
	}
	var found []Process
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil || !strings.HasPrefix(string(data), want) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f)))
		if err != nil {
			continue
		}
		if p, err := recordProcess("an unrecorded machine", pid); err == nil {
			found = append(found, p)
		}
	}
	return found
}

// unmountBelow unmounts what is mounted under a folder on the host. Machines mount in namespaces of their own, so this
// finds something only after someone mounted there by hand; removing the folder must not reach through it.
func unmountBelow(dir string) error {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return fmt.Errorf("reading the mounts: %w", err)
	}
	var below []string
	for line := range strings.Lines(string(data)) {
		if f := strings.Fields(line); len(f) > 4 && strings.HasPrefix(f[4], dir+"/") {
			below = append(below, f[4])
		}
	}
	for i := len(below) - 1; i >= 0; i-- {
		if err := unix.Unmount(below[i], unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmounting %s: %w", below[i], err)
		}
	}
	return nil
}

// setDomain changes the cluster's DNS suffix: what CoreDNS answers, and what kubelets write into new pods. A pod that
// runs keeps the search list it was started with.
func (c *Cluster) setDomain(ctx context.Context, domain string) error {
	if err := checkDomain(domain); err != nil {
		return err
	}
	c.Domain = domain
	if err := c.save(); err != nil {
		return err
	}
	if err := c.reissueAPICert(); err != nil {
		return err
	}
	if _, err := c.kubectl(ctx, c.fill(clusterManifest), "apply", "-f", "-"); err != nil {
		return err
	}
	for n := 1; n <= c.Nodes; n++ {
		w := &fileWriter{}
		w.write(c.nodePath(n, nodeConfig, "kubelet.yaml"), []byte(c.kubeletConfig(n)))
		if w.err != nil {
			return w.err
		}
		// The machine starts it again, with the new configuration.
		if p, ok := c.process(nodeName(n)); ok && p.alive() {
			if err := p.killChild("kubelet"); err != nil {
				return err
			}
		}
	}
	return c.waitDNS(ctx)
}

// sayHow tells how to use the cluster.
func (c *Cluster) sayHow(out io.Writer) {
	fmt.Fprintf(out, "export KUBECONFIG=%s   # %s/kubectl get nodes\n", c.kubeconfig(), c.BinDir)
}
