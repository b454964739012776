// Package quorum is KRaft as a pure state machine: Kafka's Raft variant in which followers pull
// (KIP-595), with pre-vote (KIP-996), voters known by replica key (KIP-853) and observers.
//
// It has no clock, socket, disk, goroutine or global. Time comes in as an argument, randomness as a
// seed, and everything that happened as an [Event]; what to do goes out as [Effects]:
//
//	fx := q.Step(now, event)   // carry these out in slice order
//	q.Deadline()               // and call Step(now, Tick{}) when this instant has come
//
// # The driver's contract
//
// One goroutine owns a Quorum. After each Step it carries out the effects strictly in slice order,
// then waits for the next event or for Deadline. Effects that touch the log (Append, Truncate, Flush,
// Read, DropPrefix) see the log as all earlier effects left it. Only these need an answer, and other events may come
// before it:
//
//	effect            completion            meaning of the completion
//	PersistElection   ElectionPersisted     quorum-state is on disk (write, fsync, rename, directory fsync)
//	Flush             Flushed               every Append and Truncate before it is on disk
//	Read              ReadDone              the bytes; Step checks again that they may still be sent
//	ReadSnapshot      SnapshotRead          the bytes of a complete snapshot, or that it is gone
//	InstallSnapshot   SnapshotInstalled     snapshot and empty log are on disk, or the download was damaged
//	Send              Response, SendFailed  the peer's answer, or why there is none
//	ReplaceDirectory  DirectoryReplaced     meta.properties holds the new directory id, durably
//	ProposeControl    Propose               the records, as one control batch, have their offsets
//
// Completions carry the effect's own number. PersistElection and Flush may be combined: carrying out
// number 7 and reporting only 7 reports everything below it as well. A log or quorum-state write that fails
// stops the node: there is no event for it, because no answer would be safe.
//
// # Durable first, by construction
//
// Effects leave through one queue. Whatever is emitted after a PersistElection that changes the epoch or
// the vote, or that makes this node leader, stays in that queue, in order, until ElectionPersisted arrives.
// So a vote is on disk before it is asked for or given, an epoch before it is spoken of, and "leader = self"
// before the first record of that epoch reaches the log. The log's own rules are kept apart: a leader counts
// itself only up to what is Flushed (though followers may read further), and a replica that may vote sends
// its next fetch only when everything it has appended is Flushed. The driver needs no rule of its own but order.
//
// # Snapshots
//
// The state machine makes snapshots and the driver decides when to clean (SnapshotCreated, CleanTo); the engine decides
// whether they fit the log, who is sent to one, and when a downloaded one replaces the log. A download is dropped with the
// role it began in; an install is waited for, and until it is done the node fetches nothing and begins no election.
//
// # Voter changes
//
// Offsets have one allocator, the driver's accumulator, and control records pass through it: for a change of the voters
// the leader emits ProposeControl, and the records come back inside a Propose, behind whatever was prepared before
// them, with BatchInfo.Control set. Only then are they in the log and the new set in force. The driver must not drop
// them while this node leads in that epoch: the engine begins no other change before they are back. (The first records of
// an epoch, LeaderChange among them, need no allocator: they precede LeaderChanged, which opens it.)
//
// An instance id, where a process runs many, belongs to the driver: one Quorum is one instance.
package quorum
