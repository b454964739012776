package storage

import (
	"errors"
	"fmt"
)

var (
	// ErrOffsetOutOfRange is wrapped where an offset is outside [StartOffset, EndOffset].
	ErrOffsetOutOfRange = errors.New("offset out of range")
	// ErrCorrupt is wrapped by every *CorruptError and by damaged small files.
	ErrCorrupt = errors.New("corrupt")
	// ErrPoisoned is wrapped by a failed fsync, by every write after it, and by those after a write that could not be undone.
	// The node must stop: what the disk holds is no longer known.
	ErrPoisoned = errors.New("log is poisoned by an earlier disk error")
	// ErrClosed is returned by calls on a closed log.
	ErrClosed = errors.New("log is closed")
	// ErrNotContiguous is wrapped where AppendFollower gets a batch that doesn't begin at EndOffset.
	ErrNotContiguous = errors.New("batch does not continue the log")
	// ErrEpochDecreases is wrapped where a batch's leader epoch is below the log's latest.
	ErrEpochDecreases = errors.New("leader epoch decreases")
	// ErrMessageTooLarge is wrapped where a batch passes MaxMessageBytes or SegmentBytes (wire: MESSAGE_TOO_LARGE 10 or
	// RECORD_LIST_TOO_LARGE 18 for the segment).
	ErrMessageTooLarge = errors.New("batch is too large")
	// ErrOutOfOrderSequence is wrapped where a producer's sequence leaves a gap (wire: OUT_OF_ORDER_SEQUENCE_NUMBER 45).
	ErrOutOfOrderSequence = errors.New("out of order sequence")
	// ErrInvalidProducerEpoch is wrapped where a newer epoch of the producer is known (wire: INVALID_PRODUCER_EPOCH 47).
	ErrInvalidProducerEpoch = errors.New("producer epoch is fenced")
	// ErrLocked is wrapped where another process holds a directory's .lock.
	ErrLocked = errors.New("locked by another process")
)

// CorruptError says which bytes of a log are damaged. It wraps ErrCorrupt and the cause.
type CorruptError struct {
	File     string
	Position int64 // of the damaged batch in File
	Offset   int64 // the log's offset there: everything below it is sound
	// DurableOffset is the first offset that is not known durable: damage below it can't be a torn tail.
	DurableOffset int64
	// ValidAfter is the base offset of a sound batch found behind the damage, -1 for none.
	ValidAfter int64
	Err        error
}

func (e *CorruptError) Error() string {
	why := fmt.Sprintf("records up to offset %d are known to have been durable", e.DurableOffset)
	if e.Offset >= e.DurableOffset {
		why = fmt.Sprintf("a sound batch at offset %d follows it", e.ValidAfter)
	}
	return fmt.Sprintf("%s: corrupt at byte %d, offset %d, and not a torn tail (%s): %v; nothing was changed. "+
		"If other replicas hold this data, replace this one: stop the node, move its data directory away, and start it "+
		"with an empty one under a new directory id (controllers: remove the old voter, add the new one)",
		e.File, e.Position, e.Offset, why, e.Err)
}

func (e *CorruptError) Unwrap() []error { return []error{ErrCorrupt, e.Err} }
