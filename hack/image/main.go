// Command image makes the product's container image without a container engine: static binaries in an image from
// scratch, run by a user that isn't root. It writes an archive that `docker load`, `kind load image-archive`,
// `ctr images import` and localkube take, and pushes to a registry with the credentials that the user has logged in
// with. The same binaries make the same image, byte for byte.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := newCommand().ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "image:", err)
		stop()
		os.Exit(1)
	}
}

// options is what the image is to hold and where it goes.
type options struct {
	kraftd, manager string
	files           []string // SOURCE:/TARGET
	entrypoint      string
	platform        string
	tag             string
	out, push       string
}

func newCommand() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "image --tag NAME:TAG [--kraftd FILE] [--manager FILE] [--file SOURCE:/TARGET]... {--out FILE.tar | --push REPOSITORY:TAG}",
		Short: "Make a container image out of static binaries, without a container engine",
		Args:  cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			said, err := o.run(cmd.Context())
			if err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), said)
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.kraftd, "kraftd", "", "the node's binary: /kraftd in the image, its entrypoint")
	f.StringVar(&o.manager, "manager", "", "the operator's binary: /manager in the image")
	f.StringArrayVar(&o.files, "file", nil, "another static binary, as SOURCE:/TARGET")
	f.StringVar(&o.entrypoint, "entrypoint", "", "what the image runs (default: its first file)")
	f.StringVar(&o.platform, "platform", "linux/"+runtime.GOARCH, "what the binaries run on")
	f.StringVar(&o.tag, "tag", "", "the image's name in the archive")
	f.StringVar(&o.out, "out", "", "write a docker archive to this file")
	f.StringVar(&o.push, "push", "", "push to this repository and tag, with the credentials of `docker login` or a credential helper")
	return cmd
}

// contents lists what the image holds, the entrypoint's file first.
func (o options) contents() ([]file, error) {
	var files []file
	if o.kraftd != "" {
		files = append(files, file{source: o.kraftd, target: "/kraftd"})
	}
	if o.manager != "" {
		files = append(files, file{source: o.manager, target: "/manager"})
	}
	for _, f := range o.files {
		source, target, ok := strings.Cut(f, ":")
		if !ok || source == "" || len(target) < 2 || !strings.HasPrefix(target, "/") {
			return nil, fmt.Errorf("--file %q: give SOURCE:/TARGET", f)
		}
		files = append(files, file{source: source, target: target})
	}
	if len(files) == 0 {
		return nil, errors.New("nothing to put into the image: give --kraftd, --manager or --file")
	}
	return files, nil
}

// run makes the image and returns a line that says what it is.
func (o options) run(ctx context.Context) (string, error) {
	if o.out == "" && o.push == "" {
		return "", errors.New("nowhere to put the image: give --out FILE.tar or --push REPOSITORY:TAG")
	}
	if o.out != "" && o.tag == "" {
		return "", errors.New("--out needs --tag NAME:TAG: an archive names its image")
	}
	files, err := o.contents()
	if err != nil {
		return "", err
	}
	entrypoint := o.entrypoint
	if entrypoint == "" {
		entrypoint = files[0].target
	}
	platform, err := v1.ParsePlatform(o.platform)
	if err != nil {
		return "", fmt.Errorf("--platform %q: %w", o.platform, err)
	}
	img, err := build(files, entrypoint, platform)
	if err != nil {
		return "", err
	}
	var said []string
	if o.out != "" {
		if err := writeArchive(o.out, o.tag, img); err != nil {
			return "", err
		}
		said = append(said, fmt.Sprintf("%s in %s", o.tag, o.out))
	}
	if o.push != "" {
		if err := push(ctx, o.push, img); err != nil {
			return "", err
		}
		said = append(said, "pushed "+o.push)
	}
	digest, err := img.Digest()
	if err != nil {
		return "", fmt.Errorf("digesting the image: %w", err)
	}
	return strings.Join(said, ", ") + " (" + digest.String() + ")", nil
}

// writeArchive writes a docker archive, whole or not at all.
func writeArchive(path, tag string, img v1.Image) error {
	ref, err := name.NewTag(tag, name.StrictValidation)
	if err != nil {
		return fmt.Errorf("--tag %q: %w", tag, err)
	}
	tmp := path + ".new"
	defer func() { _ = os.Remove(tmp) }()
	if err := tarball.WriteToFile(tmp, ref, img); err != nil {
		return fmt.Errorf("writing the archive: %w", err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("writing the archive: %w", err)
	}
	return nil
}

// push uploads the image with whatever credentials the user's tools have for that registry.
func push(ctx context.Context, to string, img v1.Image) error {
	ref, err := name.NewTag(to)
	if err != nil {
		return fmt.Errorf("--push %q: %w", to, err)
	}
	if err := remote.Write(ref, img, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
		return fmt.Errorf("pushing %s: %w", ref, err)
	}
	return nil
}
