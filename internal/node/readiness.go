package node

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
)

// electionGrace is how long a controller stays ready without a leader: an election must not flip it.
const electionGrace = 10 * time.Second

// controllerReadiness decides whether a controller may be called ready (decision 10).
//
// It is when it leads and a majority fetched from it lately, or when it fetched from the leader within twice the fetch
// timeout; the own high watermark proves nothing when the node is cut off. Once ready, an election shorter than
// electionGrace doesn't flip it.
//
// And it must once have replayed the log: until then it could be elected, but would serve nobody.
type controllerReadiness struct {
	mu       sync.Mutex
	lastGood time.Duration
	good     bool
	replayed bool
}

// replayLag is how many records below the high watermark count as replayed: those of the moment.
const replayLag = 1000

// check looks at the log's state, and at the exclusive end of what the controller has replayed.
func (r *controllerReadiness) check(now time.Duration, st quorum.Status, applied int64, fetchTimeout time.Duration) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := inTouch(now, st, fetchTimeout)
	if r.replayed = r.replayed || err == nil && applied+replayLag >= int64(st.HighWatermark); err == nil && !r.replayed {
		err = fmt.Errorf("has replayed the metadata log up to %d, the high watermark is %d", applied, st.HighWatermark)
	}
	if err == nil {
		r.good, r.lastGood = true, now
		return nil
	}
	if r.good && now-r.lastGood < electionGrace {
		return nil
	}
	r.good = false
	return err
}

func inTouch(now time.Duration, st quorum.Status, fetchTimeout time.Duration) error {
	age := now - st.LastFetch
	switch {
	case st.Role == quorum.Leader && st.HighWatermark < 0:
		return errors.New("leads, but has not committed in its epoch yet")
	case st.Role == quorum.Leader && st.Voters.Len() == 1 && st.Voter:
		return nil
	case st.Role == quorum.Leader && st.LastFetch > 0 && age > 2*fetchTimeout:
		return fmt.Errorf("leads, but no majority has fetched for %s", age)
	case st.Role == quorum.Leader:
		return nil
	case st.Role != quorum.Follower:
		return fmt.Errorf("no leader is known, this node is %s in epoch %d", st.Role, st.Epoch)
	case st.LastFetch == 0:
		return fmt.Errorf("has not fetched from leader %d yet", st.LeaderID)
	case age > 2*fetchTimeout:
		return fmt.Errorf("last fetched from leader %d %s ago", st.LeaderID, age)
	case st.HighWatermark < 0:
		return errors.New("does not know the high watermark yet")
	}
	return nil
}
