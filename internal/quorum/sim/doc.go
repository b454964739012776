// Package sim runs whole quorums of internal/quorum in virtual time, from a seed.
//
// A run has two phases. In the first, messages are lost, repeated, delayed and reordered, links are cut one way or
// both, nodes crash (losing what was not synced, or any prefix of it), freeze, restart, leave gracefully, and disks are
// wiped; snapshots are made, and logs cleaned, while others fetch them; after every event the safety rules of check.go are tested. In the second everything is healed, and the
// quorum must elect a leader and commit on every node within a bound.
//
// A seed's disks are fake or real. A fake one is a model of what is synced and what is not; it is fast. A real one is
// internal/quorum/disk over storage.Log on a file system in memory that loses and tears what was not synced; the model goes
// along and says what must be there after a crash.
//
// Everything follows from the seed: a violation is replayed by its number.
package sim
