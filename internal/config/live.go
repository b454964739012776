package config

import "strings"

// restarts are settings that Kafka changes at run time and this project's nodes read when they start.
var restarts = map[string]bool{
	MaxConnections: true, MaxConnectionsPerIP: true, // read when a listener opens
	"num.recovery.threads.per.data.dir": true,                           // logs are recovered before there is metadata to read
	"config.providers":                  true, "metric.reporters": true, // Java classes
}

// TakenLive tells whether running nodes take a setting from the cluster's dynamic default (the broker resource ""), as
// the operator sets it there. A value that names the node's environment is each node's own: it is not.
func TakenLive(key, value string) bool {
	d, ok := table().node[key]
	return ok && d.Dynamic == ClusterWide && !restarts[key] && !strings.Contains(value, "${")
}
