//go:build e2e

package e2e_test

import (
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// startRegistry serves an empty image registry at localhost:PORT, on the host and on every node: what the host pushes there,
// the nodes pull from there. It ends with the test.
func startRegistry(t *testing.T) (address string) {
	t.Helper()
	server := &http.Server{Handler: registry.New(registry.Logger(log.New(io.Discard, "", 0)))}
	listener, err := net.Listen("tcp", "localhost:0")
	require.NoError(t, err)
	port := listener.Addr().(*net.TCPAddr).Port
	listeners := []net.Listener{listener}
	for _, node := range strings.Fields(kubectl(t, "get", "nodes", "-o", "jsonpath={.items[*].metadata.name}")) {
		l, err := listenOn(networkOf(t, node), fmt.Sprintf("127.0.0.1:%d", port))
		require.NoError(t, err, node)
		listeners = append(listeners, l)
	}
	done := make(chan error, len(listeners))
	for _, l := range listeners {
		go func() { done <- server.Serve(l) }()
	}
	t.Cleanup(func() {
		_ = server.Close()
		for range listeners {
			require.ErrorIs(t, <-done, http.ErrServerClosed)
		}
	})
	return fmt.Sprintf("localhost:%d", port)
}

// networkOf finds a process in a node's network namespace and returns the path of that namespace.
func networkOf(t *testing.T, node string) string {
	t.Helper()
	want := localkube(t, "node", "exec", node, "--", "/usr/bin/readlink", "/proc/self/ns/net")
	paths, err := filepath.Glob("/proc/[0-9]*/ns/net")
	require.NoError(t, err)
	for _, path := range paths {
		if got, err := os.Readlink(path); err == nil && got == want {
			return path
		}
	}
	require.FailNow(t, "no process in the network of "+node, want)
	return ""
}

// listenOn opens a listener in another network namespace. Its thread belongs to that namespace from then on, so it ends with
// the goroutine that is locked to it.
func listenOn(namespace, address string) (net.Listener, error) {
	type opened struct {
		net.Listener
		error
	}
	out := make(chan opened)
	go func() {
		runtime.LockOSThread()
		fd, err := unix.Open(namespace, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			out <- opened{error: fmt.Errorf("%s: %w", namespace, err)}
			return
		}
		defer func() { _ = unix.Close(fd) }()
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			out <- opened{error: fmt.Errorf("entering %s: %w", namespace, err)}
			return
		}
		l, err := net.Listen("tcp", address)
		out <- opened{l, err}
	}()
	o := <-out
	return o.Listener, o.error
}
