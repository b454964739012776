// Package admin asks a running cluster questions over the Kafka protocol, each within a time limit.
//
// Requests go to the given addresses themselves, never to a leader or an advertised name: the questions can be asked
// from where those names don't resolve, and of a cluster that is half down.
package admin

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Limits of one question.
const (
	DialTimeout     = time.Second
	QuestionTimeout = 3 * time.Second
	secondOpinion   = 200 * time.Millisecond // a leader that was deposed may answer first
	nextBroker      = time.Second            // one that hasn't answered by then isn't waited for alone
)

// ErrNobody is returned when no address answered.
var ErrNobody = errors.New("nobody answered")

// Quorum is DescribeQuorum of the metadata log, as the active controller sees it (KIP-595, KIP-836, KIP-853).
type Quorum struct {
	Leader        int32 // node id, -1 none
	LeaderEpoch   int32
	HighWatermark int64 // exclusive, -1 unknown
	Voters        []Replica
	Observers     []Replica
}

// Replica is a voter or an observer.
type Replica struct {
	ID           int32
	DirectoryID  [16]byte
	LogEndOffset int64 // exclusive, -1 unknown to this leader
	// SinceFetch is the time since its last fetch on the leader's clock; negative when it has not fetched in this epoch.
	SinceFetch time.Duration
	// SinceCaughtUp is the time since it had all of the leader's log, likewise.
	SinceCaughtUp time.Duration
}

// Partition is one partition as a broker's metadata has it.
type Partition struct {
	Topic         string
	Partition     int32
	Leader        int32 // -1 none
	Replicas, ISR []int32
	// MinISR is min.insync.replicas of the topic.
	MinISR int
}

// Topics is what a broker says of the cluster.
type Topics struct {
	Unfenced   []int32 // brokers that are registered and not fenced
	Partitions []Partition
}

// Client asks. The zero value works; it keeps no connections.
type Client struct{}

// each asks every address at once and returns the answers of those that gave one. After an answer that is enough, the
// others have a moment more: one that is unreachable doesn't hold up what a leader has said.
func each(ctx context.Context, addrs []string, req func() kmsg.Request, enough func(kmsg.Response) bool) ([]kmsg.Response, error) {
	ctx, cancel := context.WithTimeout(ctx, QuestionTimeout)
	defer cancel()
	type answer struct {
		resp kmsg.Response
		err  error
	}
	answers := make(chan answer, len(addrs)) // so that late ones end
	for _, a := range addrs {
		go func() {
			resp, err := ask(ctx, a, req())
			answers <- answer{resp, err}
		}()
	}
	var got []kmsg.Response
	var moment <-chan time.Time
	errs := []error{ErrNobody}
	for range addrs {
		select {
		case a := <-answers:
			if a.err != nil {
				errs = append(errs, a.err)
				continue
			}
			got = append(got, a.resp)
			if moment == nil && enough(a.resp) {
				moment = time.After(secondOpinion)
			}
		case <-moment:
			return got, nil
		}
	}
	if len(got) == 0 {
		return nil, errors.Join(errs...)
	}
	return got, nil
}

// ask sends one request to one address on a connection of its own.
func ask(ctx context.Context, addr string, req kmsg.Request) (kmsg.Response, error) {
	cl, err := open(addr)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	resp, err := cl.SeedBrokers()[0].Request(ctx, req)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", addr, kmsg.NameForKey(req.Key()), err)
	}
	return resp, nil
}

func open(addr string) (*kgo.Client, error) {
	cl, err := kgo.NewClient(
		kgo.SeedBrokers(addr), kgo.ClientID("kraft-operator"), kgo.DialTimeout(DialTimeout),
		kgo.RequestTimeoutOverhead(QuestionTimeout), kgo.RequestRetries(0), kgo.DisableClientMetrics(),
	)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", addr, err)
	}
	return cl, nil
}
