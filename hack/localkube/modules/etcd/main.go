// Command etcd is etcd itself, built from its module: the archive has no main package of that name to build
// without the repository's workspace.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() {
	etcdmain.Main(os.Args)
}
