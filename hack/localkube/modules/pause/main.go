// Command pause is the process that holds a pod's namespaces: it sleeps, and ends when told to.
package main

import (
	"os"
	"os/signal"
	"syscall"
)

func main() {
	// A pod with a shared process namespace hands its orphans to this process: ignoring SIGCHLD reaps them.
	signal.Ignore(syscall.SIGCHLD)
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM, syscall.SIGINT)
	<-stop
}
