// Package raft drives internal/quorum for one node: it owns the clock, the network, the metadata log's disk and
// quorum-state, and hands committed batches to the state machines above (KIP-595, KIP-853).
//
// Goroutines, all of them started and waited for by [Driver.Run]:
//
//	loop       owns the engine, appends to, truncates and reads the log; everything reaches it as an event
//	flusher    fsyncs the log; what is appended meanwhile goes out with the next fsync
//	persister  writes quorum-state
//	delivery   reads committed batches and calls the listeners, in order
//	send       one for each request to a peer that has no connection yet; other answers come on the client's goroutines
//
// The order of effects is the engine's (see package quorum); this package adds no rule of its own.
package raft
