// Package partition holds the rules of one partition replica: who leads, who is in sync, how far records are committed.
//
// It is pure: no clock, log, lock, socket or goroutine. The caller (internal/node/broker/replica) owns the partition's
// lock, passes the time and the log's offsets in, and carries out what comes back.
//
// Offsets count records. HighWatermark and LogEndOffset are exclusive. LogStartOffset <= HighWatermark <= LogEndOffset.
// Sources: KIP-101 and KIP-320 (leader epochs), KIP-497 (AlterPartition), KIP-841 and KIP-903 (who may join the ISR),
// KIP-966 (the high watermark stands still under min.insync.replicas).
package partition
