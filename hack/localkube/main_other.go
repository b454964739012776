//go:build !linux

package main

import (
	"fmt"
	"os"
	"runtime"
)

func main() {
	fmt.Fprintf(os.Stderr, "localkube: needs Linux, and this is %s: its nodes are namespaces of the Linux kernel; use a cluster that you have (DEMO_KUBECONFIG=current)\n", runtime.GOOS)
	os.Exit(1)
}
