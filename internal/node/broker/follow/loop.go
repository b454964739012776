package follow

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// firstPause is the shortest pause of a partition or of a loop after a failure; see grow.
const firstPause = 20 * time.Millisecond

// notYetPause bounds the pause after an answer that says that the leader doesn't know its part yet: it has not read as much metadata as this
// broker. That takes it milliseconds, and until it is fetched from, nothing that its clients write with acks=all is acknowledged.
const notYetPause = 40 * time.Millisecond

// settle is how long a loop lets more partitions gather before it gives up a parked fetch for their sake.
const settle = 5 * time.Millisecond

// loop fetches some partitions from one leader. Its goroutine is the only caller of their methods.
type loop struct {
	f      *Fetchers
	key    loopKey
	client Client
	ctx    context.Context
	stop   context.CancelFunc
	wake   chan struct{} // capacity 1: partitions were added

	mu    sync.Mutex
	parts map[Partition]*entry
}

// entry is a partition's place in a loop.
type entry struct {
	p     Partition
	until time.Time     // fetch not before; zero: now
	pause time.Duration // the last one; 0: the last fetch brought something
	told  time.Time     // a warning was due, or is from then on
}

func newLoop(f *Fetchers, key loopKey) *loop {
	l := &loop{f: f, key: key, client: f.cfg.NewClient(), wake: make(chan struct{}, 1), parts: map[Partition]*entry{}}
	l.ctx, l.stop = context.WithCancel(f.ctx)
	return l
}

func (l *loop) add(p Partition) {
	l.mu.Lock()
	l.parts[p] = &entry{p: p}
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *loop) remove(p Partition) (left int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.parts, p)
	return len(l.parts)
}

// asked is a partition as it stands in a request in flight.
type asked struct {
	e   *entry
	pos Position
}

type askedKey struct {
	id    uuid.UUID
	index int32
}

func (l *loop) run() {
	defer l.client.Close()
	pause := time.Duration(0)
	for l.ctx.Err() == nil {
		select {
		case <-l.wake: // what woke it is in what is built now
		default:
		}
		req, in, wait := l.build(time.Now())
		if len(in) == 0 {
			l.rest(wait)
			continue
		}
		err := l.round(req, in)
		if err == nil || l.ctx.Err() != nil {
			pause = 0
			continue
		}
		pause = grow(pause, l.f.cfg.Settings().withDefaults().Backoff)
		l.f.cfg.Logger.Debug("Fetching from the leader again", "leader", l.key.leader, "pause", pause, "cause", err)
		l.rest(pause)
	}
}

// grow makes a pause longer by a quarter, up to limit, Settings.Backoff: it stays about a fifth of the time since the first failure. If it doubled,
// whoever is back after a time would be asked after twice that time; nothing that clients write with acks=all is acknowledged so long.
func grow(pause, limit time.Duration) time.Duration {
	return min(max(pause+pause/4, firstPause), limit)
}

// rest waits for d (0: without end), for a new partition, or for the end.
func (l *loop) rest(d time.Duration) {
	var timeout <-chan time.Time
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		timeout = timer.C
	}
	select {
	case <-l.ctx.Done():
	case <-l.wake:
	case <-timeout:
	}
}

// build makes the next request of the partitions that don't pause. With none, wait is the shortest pause that is left.
func (l *loop) build(now time.Time) (req *kmsg.FetchRequest, in map[askedKey]asked, wait time.Duration) {
	s := l.f.cfg.Settings().withDefaults()
	l.mu.Lock()
	entries := make([]*entry, 0, len(l.parts))
	for _, e := range l.parts {
		if left := e.until.Sub(now); left > 0 {
			if wait == 0 || left < wait {
				wait = left
			}
			continue
		}
		entries = append(entries, e)
	}
	l.mu.Unlock()
	r := kmsg.NewFetchRequest()
	r.ReplicaID = l.f.cfg.Local
	r.ReplicaState.ID, r.ReplicaState.Epoch = l.f.cfg.Local, l.f.cfg.BrokerEpoch()
	r.MaxWaitMillis, r.MinBytes, r.MaxBytes = s.MaxWaitMs, s.MinBytes, s.ResponseMax
	r.SessionID, r.SessionEpoch = 0, -1
	if wait > 0 { // don't let a parked fetch hold back a partition whose pause ends
		r.MaxWaitMillis = min(s.MaxWaitMs, int32(wait/time.Millisecond)+1)
	}
	in = make(map[askedKey]asked, len(entries))
	topics := map[uuid.UUID]int{}
	for _, e := range entries {
		pos, ok := e.p.Position()
		if !ok {
			continue
		}
		name, id, index := e.p.ID()
		t, ok := topics[id]
		if !ok {
			t = len(r.Topics)
			topics[id] = t
			r.Topics = append(r.Topics, kmsg.FetchRequestTopic{Topic: name, TopicID: id})
		}
		fp := kmsg.NewFetchRequestTopicPartition()
		fp.Partition, fp.CurrentLeaderEpoch, fp.FetchOffset = index, pos.LeaderEpoch, pos.FetchOffset
		fp.LastFetchedEpoch, fp.LogStartOffset, fp.PartitionMaxBytes = pos.LastFetchedEpoch, pos.LogStartOffset, s.PartitionMax
		r.Topics[t].Partitions = append(r.Topics[t].Partitions, fp)
		in[askedKey{id, index}] = asked{e, pos}
	}
	return &r, in, wait
}

// round is one fetch and what follows from its answer. An error means that the leader could not be asked.
func (l *loop) round(req *kmsg.FetchRequest, in map[askedKey]asked) error {
	addr, ok := l.f.cfg.Address(l.key.leader)
	if !ok {
		return fmt.Errorf("broker %d has no address", l.key.leader)
	}
	resp, err := l.fetch(addr, req)
	if err != nil || resp == nil {
		return err
	}
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return err
	}
	for t := range resp.Topics {
		rt := &resp.Topics[t]
		for i := range rt.Partitions {
			if a, ok := in[askedKey{l.topicID(req, resp, t), rt.Partitions[i].Partition}]; ok {
				l.handle(addr, a, &rt.Partitions[i])
			}
		}
	}
	return nil
}

// topicID is the id of a topic of the answer, also where an old leader answers by name.
func (l *loop) topicID(req *kmsg.FetchRequest, resp *kmsg.FetchResponse, t int) uuid.UUID {
	if resp.Version >= 13 {
		return resp.Topics[t].TopicID
	}
	for i := range req.Topics {
		if req.Topics[i].Topic == resp.Topics[t].Topic {
			return req.Topics[i].TopicID
		}
	}
	return uuid.UUID{}
}

// fetch asks the leader. If partitions are added while the fetch is parked there, it is given up and nil is returned: the
// connection is dropped, because its answers come in order.
func (l *loop) fetch(addr string, req *kmsg.FetchRequest) (*kmsg.FetchResponse, error) {
	ctx, cancel := context.WithTimeout(l.ctx, l.f.cfg.Settings().withDefaults().SocketTimeout)
	defer cancel()
	var givenUp bool
	over := make(chan struct{})
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-over:
			return
		case <-l.wake:
		}
		timer := time.NewTimer(settle)
		defer timer.Stop()
		select {
		case <-over:
		case <-timer.C:
			givenUp = true
			cancel()
			l.client.Drop(addr)
		}
	})
	resp, err := l.client.Do(ctx, addr, req)
	close(over)
	watch.Wait()
	switch r, ok := resp.(*kmsg.FetchResponse); {
	case err == nil && ok:
		return r, nil
	case givenUp:
		return nil, nil
	case err == nil:
		return nil, fmt.Errorf("fetch answered with %T", resp)
	}
	return nil, err
}

// handle applies one partition of an answer.
func (l *loop) handle(addr string, a asked, r *kmsg.FetchResponseTopicPartition) {
	err := kerr.ErrorForCode(r.ErrorCode)
	p, epoch := a.e.p, a.pos.LeaderEpoch
	switch {
	case err == nil && r.DivergingEpoch.Epoch >= 0:
		err = p.Diverged(epoch, r.DivergingEpoch.Epoch, r.DivergingEpoch.EndOffset)
	case err == nil:
		err = p.AppendFetched(epoch, r.RecordBatches, r.HighWatermark, r.LogStartOffset)
	case errors.Is(err, kerr.OffsetOutOfRange):
		err = l.realign(addr, a)
	}
	if err == nil || errors.Is(err, ErrStale) {
		a.e.until, a.e.pause = time.Time{}, 0
		return
	}
	topic, _, index := p.ID()
	var ke *kerr.Error
	if !errors.As(err, &ke) && !errors.Is(err, errAsk) {
		p.Failed(epoch, err)
	}
	backoff, now := l.f.cfg.Settings().withDefaults().Backoff, time.Now()
	if a.e.pause == 0 {
		a.e.told = now
	}
	a.e.pause = grow(a.e.pause, backoff)
	if notYet(ke) {
		a.e.pause = min(a.e.pause, notYetPause)
	}
	a.e.until = now.Add(a.e.pause)
	if now.Sub(a.e.told) >= backoff {
		a.e.told = now
		l.f.cfg.Logger.Warn("Partition can't be fetched", "topic", topic, "partition", index, "leader", l.key.leader, "leaderEpoch", epoch, "cause", err)
	}
}

// notYet reports whether an answer says that the leader has older metadata than this broker.
func notYet(err *kerr.Error) bool {
	if err == nil {
		return false
	}
	switch err.Code {
	case kerr.NotLeaderForPartition.Code, kerr.UnknownLeaderEpoch.Code, kerr.UnknownTopicOrPartition.Code, kerr.UnknownTopicID.Code:
		return true
	}
	return false
}

// errAsk wraps a failure to ask the leader for its offsets.
var errAsk = errors.New("asking the leader for its offsets")

// realign asks the leader where its log begins and ends, after OFFSET_OUT_OF_RANGE.
func (l *loop) realign(addr string, a asked) error {
	end, err := l.offset(addr, a, -1)
	if err != nil {
		return err
	}
	start, err := l.offset(addr, a, -2)
	if err != nil {
		return err
	}
	return a.e.p.OutOfRange(a.pos.LeaderEpoch, start, end)
}

// offset asks for the latest (-1) or earliest (-2) offset of the leader's log.
func (l *loop) offset(addr string, a asked, timestamp int64) (int64, error) {
	ctx, cancel := context.WithTimeout(l.ctx, l.f.cfg.Settings().withDefaults().SocketTimeout)
	defer cancel()
	name, _, index := a.e.p.ID()
	req := kmsg.NewListOffsetsRequest()
	req.ReplicaID = l.f.cfg.Local
	part := kmsg.NewListOffsetsRequestTopicPartition()
	part.Partition, part.CurrentLeaderEpoch, part.Timestamp = index, a.pos.LeaderEpoch, timestamp
	req.Topics = []kmsg.ListOffsetsRequestTopic{{Topic: name, Partitions: []kmsg.ListOffsetsRequestTopicPartition{part}}}
	resp, err := l.client.Do(ctx, addr, &req)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errAsk, err)
	}
	r, ok := resp.(*kmsg.ListOffsetsResponse)
	if !ok || len(r.Topics) != 1 || len(r.Topics[0].Partitions) != 1 {
		return 0, fmt.Errorf("%w: answer of another shape", errAsk)
	}
	got := &r.Topics[0].Partitions[0]
	if err := kerr.ErrorForCode(got.ErrorCode); err != nil {
		return 0, err
	}
	return got.Offset, nil
}
