package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// file is one static binary in the image.
type file struct{ source, target string }

// user is who the image runs as: no name is needed, and restricted pod security wants a number.
const user = "65532:65532"

// epoch is the time of everything in the image: the real ones would make each build another image.
var epoch = time.Unix(0, 0).UTC()

// machines are the platforms' marks in a binary.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// build makes an image from scratch: a layer a file, so that what didn't change isn't sent again.
func build(files []file, entrypoint string, platform *v1.Platform) (v1.Image, error) {
	var add []mutate.Addendum
	found := false
	for _, f := range files {
		found = found || f.target == entrypoint
		layer, err := layerOf(f, platform)
		if err != nil {
			return nil, err
		}
		add = append(add, mutate.Addendum{Layer: layer, History: v1.History{Created: v1.Time{Time: epoch}, CreatedBy: "add " + f.target}})
	}
	if !found {
		return nil, fmt.Errorf("entrypoint %s isn't in the image", entrypoint)
	}
	img, err := mutate.Append(empty.Image, add...)
	if err != nil {
		return nil, fmt.Errorf("putting the image together: %w", err)
	}
	config, err := img.ConfigFile()
	if err != nil {
		return nil, fmt.Errorf("putting the image together: %w", err)
	}
	config = config.DeepCopy()
	config.OS, config.Architecture, config.Variant = platform.OS, platform.Architecture, platform.Variant
	config.Created = v1.Time{Time: epoch}
	config.Config = v1.Config{
		User: user, Entrypoint: []string{entrypoint}, Env: []string{"PATH=/"}, WorkingDir: "/",
		Labels: map[string]string{
			"org.opencontainers.image.title":    path.Base(entrypoint),
			"org.opencontainers.image.licenses": "Apache-2.0",
		},
	}
	if img, err = mutate.ConfigFile(img, config); err != nil {
		return nil, fmt.Errorf("putting the image together: %w", err)
	}
	return img, nil
}

// layerOf packs one binary, owned by root and writable by nobody else.
func layerOf(f file, platform *v1.Platform) (v1.Layer, error) {
	data, err := os.ReadFile(f.source)
	if err != nil {
		return nil, fmt.Errorf("reading what becomes %s: %w", f.target, err)
	}
	if err := checkStatic(data, platform); err != nil {
		return nil, fmt.Errorf("%s: %w", f.source, err)
	}
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	target := strings.TrimPrefix(path.Clean(f.target), "/")
	// Folders above it aren't listed: who unpacks the layer makes them.
	err = w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: target, Mode: 0o755, Size: int64(len(data)), ModTime: epoch, Format: tar.FormatPAX})
	if err == nil {
		_, err = w.Write(data)
	}
	if err := errors.Join(err, w.Close()); err != nil {
		return nil, fmt.Errorf("packing %s: %w", f.target, err)
	}
	layer, err := tarball.LayerFromOpener(
		func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buf.Bytes())), nil },
		tarball.WithCompressionLevel(gzip.BestSpeed))
	if err != nil {
		return nil, fmt.Errorf("packing %s: %w", f.target, err)
	}
	return layer, nil
}

// checkStatic refuses what an image from scratch can't run: nothing is in it that could load a dynamic binary.
func checkStatic(data []byte, platform *v1.Platform) error {
	bin, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("not a Linux program: %w; build it with GOOS=linux", err)
	}
	for _, p := range bin.Progs {
		if p.Type == elf.PT_INTERP {
			return errors.New("it needs a dynamic loader, and the image has none: build it with CGO_ENABLED=0")
		}
	}
	if want, known := machines[platform.Architecture]; known && bin.Machine != want {
		return fmt.Errorf("it is built for %s, the image for %s: build it with GOARCH=%[2]s, or give --platform", bin.Machine, platform.Architecture)
	}
	return nil
}
