// Package interop holds Apache Kafka's own tools, and clients of other families, against our clusters and our disks. Its tests need the
// build tag interop and what hack/interop.sh installs: kcat, confluent-kafka for Python, Kafka's jars and Java 17. They fail where
// something is missing.
package interop
