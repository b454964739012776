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
// The same verbs, faults and rules are played on the real ones, too (make crashpoints-real): see platform. There, theatre has one
// kube-apiserver, etcd and kube-controller-manager and a kubelet that runs kraftds in this process (test/kubelet); a play has
// a namespace of its own, and the operator is a manager of controller-runtime. What there is, is brought into store and fleet
// (observe.go), where scripts and rules look for it. No two plays go the same way there: points are those that came in two plays without
// a fault, they are known by which of its kind a write is, or after which write a read comes, and a play whose point doesn't
// come is played again, then another in its place, then counted as missed. A frozen process is taken over from after 1.5 s, not when a lease has run out.
// What the operator writes and asks for without a fault must be the same on both (likeness.go).
//
// What the model leaves out: admission by CEL and defaulting (clusters are written out in full), events, several
// namespaces, endpoints and DNS, volumes that can't be bound or grown, API priority and fairness, watches that break.
package crashpoints
