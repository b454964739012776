// Package node is one process: it reads the configuration, owns the disks' identity, and puts roles together in the order in
// which they start and stop. The roles themselves are the packages below it.
package node
