// Package sim runs whole quorums of internal/quorum in virtual time, from a seed.
//
// A run has two phases. In the first, messages are lost, repeated, delayed and reordered, links are cut one way or
// both, nodes crash (losing what was not synced, or any prefix of it), freeze, restart, leave gracefully, and disks are
// wiped; snapshots are made, and logs cleaned, while others fetch them; after every event the safety rules of check.go are tested. In the second everything is healed, and the
// quorum must elect a leader and commit on every node within a bound.
//
// Everything follows from the seed: a violation is replayed by its number.
package sim
