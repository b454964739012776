package follow

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/node/rpc"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// fake is a follower that notes what it is told.
type fake struct {
	id    uuid.UUID
	index int32

	mu    sync.Mutex
	pos   Position
	gone  bool
	told  []string
	times []time.Time
	err   error
}

func (p *fake) ID() (string, uuid.UUID, int32) { return "t", p.id, p.index }

func (p *fake) Position() (Position, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pos, !p.gone
}

func (p *fake) note(what string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.told, p.times = append(p.told, what), append(p.times, time.Now())
	return p.err
}

func (p *fake) AppendFetched(_ int32, records []byte, _, _ int64) error {
	if len(records) == 0 {
		return nil
	}
	p.mu.Lock()
	p.pos.FetchOffset++
	p.mu.Unlock()
	return p.note("append " + string(records))
}

func (p *fake) Diverged(int32, int32, int64) error         { return p.note("diverged") }
func (p *fake) OutOfRange(_ int32, start, end int64) error { return p.note("out of range") }
func (p *fake) Failed(int32, error)                        { _ = p.note("failed") }
func (p *fake) heard() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]string{}, p.told...)
}

// leader answers fetches by a function; without one it parks them for their max wait.
type leader struct {
	mu      sync.Mutex
	answer  func(n int, r *kmsg.FetchRequest) *kmsg.FetchResponse
	asked   []*kmsg.FetchRequest
	clients int
	drops   int
}

func (l *leader) Drop(string) { l.mu.Lock(); l.drops++; l.mu.Unlock() }
func (l *leader) Close()      { l.mu.Lock(); l.clients--; l.mu.Unlock() }

func (l *leader) Do(ctx context.Context, addr string, req kmsg.Request, _ ...rpc.Option) (kmsg.Response, error) {
	if r, ok := req.(*kmsg.ListOffsetsRequest); ok {
		resp := kmsg.NewPtrListOffsetsResponse()
		resp.Topics = []kmsg.ListOffsetsResponseTopic{{Partitions: []kmsg.ListOffsetsResponseTopicPartition{{Offset: 100 + r.Topics[0].Partitions[0].Timestamp}}}}
		return resp, nil
	}
	r, _ := req.(*kmsg.FetchRequest)
	l.mu.Lock()
	l.asked = append(l.asked, r)
	answer, n := l.answer, len(l.asked)
	l.mu.Unlock()
	if answer != nil {
		if resp := answer(n, r); resp != nil {
			return resp, nil
		}
	}
	timer := time.NewTimer(time.Duration(r.MaxWaitMillis) * time.Millisecond)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return nil, &rpc.Error{Addr: addr, Kind: rpc.ErrTimeout}
	case <-timer.C:
		return &kmsg.FetchResponse{Version: 17}, nil
	}
}

func (l *leader) count() int { l.mu.Lock(); defer l.mu.Unlock(); return len(l.asked) }

func answerWith(r *kmsg.FetchRequest, edit func(p *kmsg.FetchResponseTopicPartition)) *kmsg.FetchResponse {
	p := kmsg.NewFetchResponseTopicPartition()
	p.Partition = r.Topics[0].Partitions[0].Partition
	edit(&p)
	return &kmsg.FetchResponse{Version: 17, Topics: []kmsg.FetchResponseTopic{{TopicID: r.Topics[0].TopicID, Partitions: []kmsg.FetchResponseTopicPartition{p}}}}
}

func fetchers(l *leader, s Settings) *Fetchers {
	return New(Config{
		Local: 1, BrokerEpoch: func() int64 { return 77 }, Settings: func() Settings { return s },
		Address:   func(int32) (string, bool) { return "leader:1", true },
		NewClient: func() Client { l.mu.Lock(); l.clients++; l.mu.Unlock(); return l },
		Logger:    slog.New(slog.DiscardHandler),
	})
}

func TestFetchesCarryWhoAsks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &leader{}
		f := fetchers(l, Settings{})
		defer f.Close()
		p := &fake{id: uuid.UUID{1}, index: 3, pos: Position{LeaderEpoch: 5, FetchOffset: 9, LastFetchedEpoch: 4, LogStartOffset: 2}}
		f.Follow(p, 2)
		<-time.After(1100 * time.Millisecond)
		require.Equal(t, 3, l.count(), "one parked fetch after the other, 500 ms each")
		r := l.asked[0]
		require.Equal(t, kmsg.FetchRequestReplicaState{ID: 1, Epoch: 77}, r.ReplicaState)
		require.EqualValues(t, -1, r.SessionEpoch, "no session")
		fp := r.Topics[0].Partitions[0]
		require.EqualValues(t, 5, fp.CurrentLeaderEpoch)
		require.EqualValues(t, 9, fp.FetchOffset)
		require.EqualValues(t, 4, fp.LastFetchedEpoch)
		require.EqualValues(t, 2, fp.LogStartOffset)
		f.Unfollow(p)
		synctest.Wait()
		require.Zero(t, f.Count())
		require.Zero(t, l.clients, "the loop ended with its last partition, and its client")
	})
}

func TestANewPartitionDoesNotWaitForAParkedFetch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &leader{}
		f := fetchers(l, Settings{})
		defer f.Close()
		f.Follow(&fake{id: uuid.UUID{1}}, 2)
		synctest.Wait()
		f.Follow(&fake{id: uuid.UUID{2}}, 2)
		<-time.After(2 * settle)
		require.Equal(t, 2, l.count())
		require.Len(t, l.asked[1].Topics, 2)
		require.Equal(t, 1, l.drops)
	})
}

func TestAnswersReachTheirPartition(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &leader{}
		l.answer = func(n int, r *kmsg.FetchRequest) *kmsg.FetchResponse {
			switch n {
			case 1:
				return answerWith(r, func(p *kmsg.FetchResponseTopicPartition) { p.RecordBatches = []byte("x") })
			case 2:
				return answerWith(r, func(p *kmsg.FetchResponseTopicPartition) { p.DivergingEpoch.Epoch, p.DivergingEpoch.EndOffset = 3, 4 })
			case 3:
				return answerWith(r, func(p *kmsg.FetchResponseTopicPartition) { p.ErrorCode = kerr.OffsetOutOfRange.Code })
			}
			return nil
		}
		f := fetchers(l, Settings{})
		defer f.Close()
		p := &fake{id: uuid.UUID{1}}
		f.Follow(p, 2)
		synctest.Wait()
		require.Equal(t, []string{"append x", "diverged", "out of range"}, p.heard())
	})
}

// A leader that has older metadata is asked again soon; after other refusals the pauses grow.
func TestARefusedPartitionPausesAndTheOthersGoOn(t *testing.T) {
	for _, c := range []struct {
		name    string
		refusal *kerr.Error
		asked   float64
		why     string
	}{
		{"another failure", kerr.KafkaStorageError, 24, "20 ms, then longer by a quarter each time, up to a second"},
		{"not the leader yet", kerr.NotLeaderForPartition, 245, "each 40 ms"},
		{"an older leader epoch", kerr.UnknownLeaderEpoch, 245, "each 40 ms"},
		{"the topic not known yet", kerr.UnknownTopicID, 245, "each 40 ms"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &leader{}
				var refused atomic.Int64
				l.answer = func(_ int, r *kmsg.FetchRequest) *kmsg.FetchResponse {
					for _, topic := range r.Topics {
						if topic.TopicID == (uuid.UUID{2}) {
							refused.Add(1)
							return &kmsg.FetchResponse{Version: 17, Topics: []kmsg.FetchResponseTopic{{TopicID: topic.TopicID,
								Partitions: []kmsg.FetchResponseTopicPartition{{ErrorCode: c.refusal.Code}}}}}
						}
					}
					return nil
				}
				f := fetchers(l, Settings{Backoff: time.Second})
				defer f.Close()
				f.Follow(&fake{id: uuid.UUID{1}}, 2)
				f.Follow(&fake{id: uuid.UUID{2}}, 2)
				<-time.After(10 * time.Second)
				require.InDelta(t, c.asked, refused.Load(), 4, c.why)
				require.Greater(t, l.count(), int(refused.Load())+10, "the other one is fetched meanwhile")
			})
		})
	}
}

func TestALeaderThatRefusesConnectionsIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &leader{}
		var up atomic.Bool
		f := New(Config{
			Local: 1, BrokerEpoch: func() int64 { return 1 }, Settings: func() Settings { return Settings{} },
			Address:   func(int32) (string, bool) { return "x", up.Load() },
			NewClient: func() Client { return l }, Logger: slog.New(slog.DiscardHandler),
		})
		defer f.Close()
		f.Follow(&fake{id: uuid.UUID{1}}, 2)
		<-time.After(5 * time.Second)
		require.Zero(t, l.count())
		up.Store(true)
		<-time.After(1100 * time.Millisecond)
		require.NotZero(t, l.count())
	})
}

func TestPartitionsSpreadOverFetchers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &leader{}
		f := fetchers(l, Settings{FetchersByLeader: 3})
		defer f.Close()
		for i := range int32(30) {
			f.Follow(&fake{id: uuid.UUID{1}, index: i}, 2)
			f.Follow(&fake{id: uuid.UUID{2}, index: i}, 3)
		}
		require.Equal(t, 60, f.Count())
		require.Len(t, f.loops, 6)
		moved := &fake{id: uuid.UUID{3}}
		f.Follow(moved, 2)
		f.Follow(moved, 3)
		require.Equal(t, 61, f.Count())
		require.EqualValues(t, 3, f.of[moved].key.leader)
	})
}
