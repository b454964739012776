// Package ports hands out loopback ports for tests whose servers open a port after it was chosen, or close it and open it
// again. A port that the system chose (port 0) won't do for them: as soon as it is closed it may be given to whoever asks
// next, and the tests of other packages ask all the time.
package ports

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
)

// Ports below those that systems give away themselves, and below Kubernetes' node ports.
const (
	first = 11000
	last  = 29999
	block = 1000 // so many belong to one process
)

var (
	mu   sync.Mutex
	next int // guarded by mu; 0: no block is held
	held []*os.File
)

// Take returns n ports of 127.0.0.1 on which nobody listens. Nobody else gets them while this process lives: it holds a lock
// on each block of ports that it has used.
func Take(n int) ([]int, error) {
	mu.Lock()
	defer mu.Unlock()
	var out []int
	for len(out) < n {
		if next == 0 || next%block == 0 {
			if err := lockBlock(); err != nil {
				return nil, err
			}
		}
		if free(next) {
			out = append(out, next)
		}
		next++
	}
	return out, nil
}

func free(port int) bool {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
	return err == nil && l.Close() == nil
}

// lockBlock takes the first block that no other process holds, and sets next to its beginning. The locks go with the process.
func lockBlock() error {
	dir := filepath.Join(os.TempDir(), fmt.Sprintf("kraft-test-ports-%d", os.Getuid()))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for begin := first; begin+block-1 <= min(last, lastUnassigned()); begin += block {
		f, err := os.OpenFile(filepath.Join(dir, strconv.Itoa(begin)), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			held, next = append(held, f), begin
			return nil
		}
		if err := errors.Join(f.Close(), ignoreTaken(err)); err != nil {
			return err
		}
	}
	return fmt.Errorf("every block of %d ports from %d is held by another process, or was used by this one: see the locks in %s", block, first, dir)
}

func ignoreTaken(err error) error {
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil
	}
	return err
}

// lastUnassigned is the last port that the system never chooses itself.
func lastUnassigned() int {
	data, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	fields := bytes.Fields(data)
	if err != nil || len(fields) != 2 {
		return last
	}
	low, err := strconv.Atoi(string(fields[0]))
	if err != nil {
		return last
	}
	return low - 1
}
