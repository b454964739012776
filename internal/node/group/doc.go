// Package group coordinates classic consumer groups: who is a member, which generation runs, what was committed.
//
// A [Group] is a pure state machine. The [Coordinator] owns all groups of the __consumer_offsets partitions that this
// broker leads in one goroutine; it turns requests into transitions, keeps their outcome in the log in Kafka's own record
// formats, and answers when the records are replicated (Kafka's group-coordinator module).
package group
