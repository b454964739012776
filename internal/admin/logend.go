package admin

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// LogEnd is what one controller says of its own metadata log, whether or not there is a leader.
type LogEnd struct {
	Epoch  int32 // leader epoch it is in
	Offset int64 // exclusive end of its log
}

// metricsBound is the most that is read of a node's metrics.
const metricsBound = 4 << 20

// LogEnds asks controllers where their logs end. DescribeQuorum is for leaders only, and no request of the protocol tells
// a follower's own log end, so this reads the nodes' metrics: addrs are host:port of those. Who doesn't answer within a
// second is left out.
func (Client) LogEnds(ctx context.Context, addrs []string) map[string]LogEnd {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	var mu sync.Mutex
	var wg sync.WaitGroup
	out := map[string]LogEnd{}
	for _, addr := range addrs {
		wg.Go(func() {
			if end, err := logEnd(ctx, addr); err == nil {
				mu.Lock()
				defer mu.Unlock()
				out[addr] = end
			}
		})
	}
	wg.Wait()
	return out
}

func logEnd(ctx context.Context, addr string) (LogEnd, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+"/metrics", nil)
	if err != nil {
		return LogEnd{}, fmt.Errorf("%s: %w", addr, err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return LogEnd{}, err
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	if resp.StatusCode != http.StatusOK {
		return LogEnd{}, fmt.Errorf("%s: %s", addr, resp.Status)
	}
	return readLogEnd(io.LimitReader(resp.Body, metricsBound))
}

// readLogEnd finds kraft_raft_current_epoch and kraft_raft_log_end_offset in Prometheus' text format.
func readLogEnd(r io.Reader) (LogEnd, error) {
	found := map[string]float64{}
	for sc := bufio.NewScanner(r); sc.Scan(); {
		name, value, _ := strings.Cut(sc.Text(), " ")
		if name != "kraft_raft_current_epoch" && name != "kraft_raft_log_end_offset" {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil || !(v >= 0 && v <= 1<<53) { // NaN is neither
			return LogEnd{}, fmt.Errorf("%s: %.40q is not an offset", name, value)
		}
		found[name] = v
	}
	if len(found) != 2 {
		return LogEnd{}, fmt.Errorf("the metrics don't tell epoch and log end")
	}
	return LogEnd{Epoch: int32(min(found["kraft_raft_current_epoch"], 1<<31-1)), Offset: int64(found["kraft_raft_log_end_offset"])}, nil
}
