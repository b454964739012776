//go:build linux

package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// ownImages makes the images of the cluster's own pods out of their binaries, once, beside these.
func ownImages(binDir string) ([]string, error) {
	var files []string
	for program, ref := range map[string]string{"pause": pauseImage, "coredns": corednsImage} {
		file := filepath.Join(binDir, program+".image.tar")
		files = append(files, file)
		if fileExists(file) {
			continue
		}
		tmp := fmt.Sprintf("%s.%d.new", file, os.Getpid()) // another cluster may be coming up
		if err := writeImage(tmp, ref, filepath.Join(binDir, program)); err != nil {
			return nil, err
		}
		if err := os.Rename(tmp, file); err != nil {
			return nil, fmt.Errorf("writing the image of %s: %w", program, err)
		}
	}
	return files, nil
}

// writeImage writes a docker archive of an image that holds one static program, its entrypoint.
func writeImage(file, ref, program string) error {
	tag, err := name.NewTag(ref)
	if err != nil {
		return fmt.Errorf("image name: %w", err)
	}
	data, err := os.ReadFile(program)
	if err != nil {
		return fmt.Errorf("reading the program of image %s: %w", ref, err)
	}
	base := filepath.Base(program)
	var layerTar bytes.Buffer
	w := tar.NewWriter(&layerTar)
	err = w.WriteHeader(&tar.Header{Name: base, Mode: 0o755, Size: int64(len(data)), ModTime: time.Unix(0, 0), Format: tar.FormatPAX})
	if err == nil {
		_, err = w.Write(data)
	}
	if err := errors.Join(err, w.Close()); err != nil {
		return fmt.Errorf("making the layer of image %s: %w", ref, err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(layerTar.Bytes())), nil })
	if err != nil {
		return fmt.Errorf("making the layer of image %s: %w", ref, err)
	}
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return fmt.Errorf("making image %s: %w", ref, err)
	}
	img, err = mutate.ConfigFile(img, imageConfig(img, base))
	if err != nil {
		return fmt.Errorf("making image %s: %w", ref, err)
	}
	if err := tarball.WriteToFile(file, tag, img); err != nil {
		return fmt.Errorf("writing image %s: %w", ref, err)
	}
	return nil
}

func imageConfig(img v1.Image, program string) *v1.ConfigFile {
	config, err := img.ConfigFile()
	if err != nil {
		config = &v1.ConfigFile{}
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config.Entrypoint = []string{"/" + program}
	return config
}

// loadImage imports an archive (docker or OCI) into one node's containerd.
func (c *Cluster) loadImage(ctx context.Context, node Process, file string) error {
	socket := fmt.Sprintf("/proc/%d/root%s", node.PID, runtimeSocket)
	_, err := run(ctx, "", "ctr", "-a", socket, "-n", "k8s.io", "images", "import", file)
	if err != nil {
		return fmt.Errorf("loading %s into %s: %w", file, node.Name, err)
	}
	return nil
}

// load imports archives into every running node, all nodes at once, and names the nodes that are stopped.
func (c *Cluster) load(ctx context.Context, out io.Writer, files ...string) error {
	for _, f := range files {
		if _, err := os.Stat(f); err != nil {
			return fmt.Errorf("image archive: %w", err)
		}
	}
	var wg sync.WaitGroup
	errs := make([]error, c.Nodes)
	for i := range c.Nodes {
		p, ok := c.process(nodeName(i + 1))
		if !ok || !p.alive() {
			fmt.Fprintf(out, "%s is stopped: it doesn't get the image; `node start %[1]s`, then load again\n", nodeName(i+1))
			continue
		}
		wg.Go(func() {
			for _, f := range files {
				if errs[i] = c.loadImage(ctx, p, f); errs[i] != nil {
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// waitRuntime waits until a node's containerd serves.
func (c *Cluster) waitRuntime(ctx context.Context, node Process) error {
	socket := fmt.Sprintf("/proc/%d/root%s", node.PID, runtimeSocket)
	return waitFor(ctx, 30*time.Second, "containerd of "+node.Name+" (see "+c.path("log", node.Name+"-containerd.log")+")", func() (bool, error) {
		if !node.alive() {
			return false, fmt.Errorf("%s has ended: %s", node.Name, tail(readText(c.path("log", node.Name+".log")), 3))
		}
		if !fileExists(socket) {
			return false, nil
		}
		_, err := run(ctx, "", "ctr", "-a", socket, "--connect-timeout", "1s", "version")
		return err == nil, err
	})
}

func readText(file string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
