package replica

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/kraft-dev/kraft-operator/internal/node/broker/partition"
	"github.com/kraft-dev/kraft-operator/internal/storage"
)

// FollowerFetch is what a follower's fetch says of the follower.
type FollowerFetch struct {
	Broker      int32
	BrokerEpoch int64 // -1: not sent (KIP-903)
	LogStart    int64
}

// ReadRequest asks a leader for records.
type ReadRequest struct {
	LeaderEpoch      int32 // the reader's idea of the current epoch, -1: none
	Offset           int64
	LastFetchedEpoch int32 // epoch of the record before Offset, -1: don't check (KIP-595)
	MaxBytes         int
	MinOneBatch      bool           // one batch even if it is larger than MaxBytes (KIP-74)
	Follower         *FollowerFetch // nil: a consumer, who reads up to the high watermark
	Parked           bool           // the second read of a fetch that waited: it says nothing new of the follower
}

// EpochEnd is a leader epoch and where it ends, exclusive.
type EpochEnd struct {
	Epoch     int32
	EndOffset int64
}

// ReadResult is what a partition answered. Bytes are read when the answer is written.
type ReadResult struct {
	Err                     error // nil or a *kerr.Error
	Records                 storage.Slice
	HighWatermark, LogStart int64 // -1 on errors but OFFSET_OUT_OF_RANGE
	Diverging               *EpochEnd
	Leader, LeaderEpoch     int32 // who leads, for errors (KIP-951)
	Seen                    Seen
}

// Read reads whole batches from a partition that this broker leads. A follower's fetch acknowledges everything below its offset.
//
// Errors in the result: NOT_LEADER_OR_FOLLOWER, FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH, OFFSET_OUT_OF_RANGE, KAFKA_STORAGE_ERROR.
func (p *Partition) Read(r ReadRequest) ReadResult {
	var fx effects
	p.mu.Lock()
	res, limit := p.admitLocked(r, &fx)
	p.mu.Unlock()
	p.run(fx)
	if res.Err != nil || res.Diverging != nil || r.Offset >= limit {
		return res
	}
	data, _, err := p.log.Read(r.Offset, limit, r.MaxBytes, r.MinOneBatch)
	if err != nil {
		res.Err = p.readError(r.Offset, err)
		return res
	}
	res.Records = data
	return res
}

// admitLocked checks a read, applies what a follower's fetch says, and returns the exclusive end of what may be read.
func (p *Partition) admitLocked(r ReadRequest, fx *effects) (res ReadResult, limit int64) {
	s := p.state
	res = ReadResult{HighWatermark: -1, LogStart: -1, Leader: s.Leader(), LeaderEpoch: s.LeaderEpoch()}
	res.Seen = p.seenLocked(r.Follower != nil)
	if res.Err = p.checkLeaderLocked(r.LeaderEpoch); res.Err != nil {
		return res, 0
	}
	if f := r.Follower; f != nil {
		if _, ok := s.Follower(f.Broker); !ok {
			res.Err = kerr.UnknownLeaderEpoch // the follower knows a newer assignment than this leader
			return res, 0
		}
	}
	res.HighWatermark, res.LogStart = s.HighWatermark(), s.LogStartOffset()
	if r.LastFetchedEpoch >= 0 && r.Offset >= s.LogStartOffset() {
		epoch, end := p.log.EndOffsetFor(r.LastFetchedEpoch)
		if epoch < 0 || end < 0 {
			res.Err = kerr.OffsetOutOfRange
			return res, 0
		}
		if epoch < r.LastFetchedEpoch || end < r.Offset {
			res.Diverging = &EpochEnd{Epoch: epoch, EndOffset: end}
			return res, 0
		}
	}
	if r.Offset < s.LogStartOffset() || r.Offset > s.LogEndOffset() {
		res.Err = kerr.OffsetOutOfRange
		return res, 0
	}
	if r.Follower == nil {
		return res, s.HighWatermark()
	}
	if !r.Parked {
		p.fetchedLocked(r, fx)
	}
	res.HighWatermark = s.HighWatermark()
	return res, s.LogEndOffset()
}

// fetchedLocked notes a follower's position: it may raise the high watermark and bring the follower into the ISR.
func (p *Partition) fetchedLocked(r ReadRequest, fx *effects) {
	now := time.Now().UnixMilli()
	f := r.Follower
	if err := p.state.Fetched(now, f.Broker, r.Offset, f.LogStart, f.BrokerEpoch); err != nil {
		return
	}
	fx.isr = p.state.Expand(f.Broker, p.m.cfg.Eligible)
	p.advanceLocked(now, fx)
	p.lowWatermarkLocked(fx)
}

func (p *Partition) readError(offset int64, err error) error {
	switch {
	case errors.Is(err, storage.ErrOffsetOutOfRange): // retention passed by meanwhile
		return kerr.OffsetOutOfRange
	case errors.Is(err, storage.ErrClosed), errors.Is(err, fs.ErrClosed):
		return kerr.NotLeaderForPartition
	}
	p.m.cfg.Logger.Error("Reading a log", "partition", p.String(), "offset", offset, "cause", err)
	return kerr.KafkaStorageError
}

// ListedOffset is an answer of ListOffsets.
type ListedOffset struct {
	Timestamp, Offset int64
	LeaderEpoch       int32
}

// Special timestamps of ListOffsets.
const (
	Latest        = -1
	Earliest      = -2
	MaxTimestamp  = -3 // KIP-734
	EarliestLocal = -4 // KIP-405: without tiered storage the same as Earliest
	LatestTiered  = -5 // KIP-1005: nothing is tiered
	// EarliestPending is KIP-1023's earliest offset that is not tiered yet: without tiered storage the same as Earliest.
	EarliestPending = -6
)

// ListOffset finds an offset by time on the leader. Consumers see nothing past the high watermark; replicas see the log end.
func (p *Partition) ListOffset(timestamp int64, leaderEpoch int32, replica bool) (ListedOffset, error) {
	p.mu.Lock()
	err := p.checkLeaderLocked(leaderEpoch)
	start, hw, leo, epoch := p.state.LogStartOffset(), p.state.HighWatermark(), p.state.LogEndOffset(), p.state.LeaderEpoch()
	behind := p.state.HighWatermark() < p.state.EpochStart()
	p.mu.Unlock()
	none := ListedOffset{Timestamp: -1, Offset: -1, LeaderEpoch: -1}
	if err != nil {
		return none, err
	}
	limit := hw
	if replica {
		limit = leo
	} else if behind && timestamp == Latest {
		// A new leader doesn't know yet how far its predecessor told consumers (KIP-207).
		return none, kerr.OffsetNotAvailable
	}
	switch timestamp {
	case Latest:
		return ListedOffset{Timestamp: -1, Offset: limit, LeaderEpoch: epoch}, nil
	case Earliest, EarliestLocal, EarliestPending:
		return ListedOffset{Timestamp: -1, Offset: start, LeaderEpoch: p.epochAt(start, epoch)}, nil
	case LatestTiered:
		return none, nil
	case MaxTimestamp:
		return p.byTime(none, limit, p.log.MaxTimestamp)
	}
	return p.byTime(none, limit, func() (storage.TimestampOffset, bool, error) { return p.log.OffsetForTimestamp(timestamp, limit) })
}

func (p *Partition) byTime(none ListedOffset, limit int64, find func() (storage.TimestampOffset, bool, error)) (ListedOffset, error) {
	t, ok, err := find()
	if err != nil {
		return none, p.readError(limit, err)
	}
	if !ok || t.Offset >= limit {
		return none, nil
	}
	return ListedOffset{Timestamp: t.Timestamp, Offset: t.Offset, LeaderEpoch: t.Epoch}, nil
}

// epochAt is the epoch of the record at offset; of an empty log, the current one's.
func (p *Partition) epochAt(offset int64, current int32) int32 {
	if e := p.log.EpochAt(offset); e >= 0 {
		return e
	}
	return current
}

// EndOfEpoch answers OffsetForLeaderEpoch (KIP-101, KIP-279): the largest epoch known up to the asked one, and where it ends.
func (p *Partition) EndOfEpoch(current, asked int32) (EpochEnd, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.checkLeaderLocked(current); err != nil {
		return EpochEnd{-1, -1}, err
	}
	if asked == p.state.LeaderEpoch() {
		return EpochEnd{asked, p.state.LogEndOffset()}, nil
	}
	epoch, end := p.log.EndOffsetFor(asked)
	return EpochEnd{epoch, end}, nil
}

// Load returns whole batches of a led partition from offset, at most maxBytes unless the first is larger: what a coordinator loads
// from. Nothing is left when it returns none.
func (p *Partition) Load(offset int64, maxBytes int) (data []byte, err error) {
	p.mu.Lock()
	leo, role := p.state.LogEndOffset(), p.state.Role()
	p.mu.Unlock()
	if role != partition.Leader {
		return nil, kerr.NotLeaderForPartition
	}
	if offset >= leo {
		return nil, nil
	}
	s, _, err := p.log.Read(offset, leo, maxBytes, true)
	if err != nil {
		return nil, fmt.Errorf("%s: loading from offset %d: %w", p, offset, err)
	}
	return s.AppendTo(nil)
}
