// Package crashpoints kills the operator at every write it makes and every request it puts to a cluster, and sees that the
// next one converges to the same end (make crashpoints).
//
// The operator is controllers.Reconciler itself. Everything around it is a model in virtual time, one goroutine at a
// time, the same on every run:
//
//   - store: an API server's objects: resource versions (a write that changes nothing makes none), UID and
//     resource-version preconditions, generations, merge patches, server-side apply of one forcing manager (fields it no
//     longer sets go; lists of named things are merged by name), status as a subresource, eviction under budgets,
//     graceful deletion of pods, claims held by their pods, node ports. Its cache lags behind.
//   - kubernetes: StatefulSets of OnDelete with 0 or 1 replica, the garbage collector, disruption budgets, and the
//     kubelet of every pod.
//   - fleet: the kraftds behind controllers.Admin. They format their disks by the node's rules (directory ids, permit to
//     form, initial voters), elect leaders, fetch, commit changes of the voters, and hold partitions with in-sync replicas.
//     What a person does to a quorum that is lost for good is a step of a script: nothing runs meanwhile.
//
// A verb is a script: what was there, what a hand does, and when all is well. It is played once without a fault: that
// enumerates its points. Then it is played once for each point and fault; see Fault. While it plays the rules of
// check.go hold at every step, and its end is compared with that of the faultless play.
//
// What the model leaves out: admission by CEL and defaulting (clusters are written out in full), events, several
// namespaces, endpoints and DNS, volumes that can't be bound or grown, API priority and fairness, watches that break.
package crashpoints
