// Package differential_test gives the same state machine and the same seeded histories to this project's engine and to
// hashicorp/raft, and expects the same answers.
package differential_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/test/engine"
	"github.com/kraft-dev/kraft-operator/test/ports"
)

const (
	replicas = 3
	clients  = 4
	commands = 60 // of each client
	patience = 3 * time.Minute
)

// fast: the quorums of this test share the machine with other tests, so these are not as short as loopback would bear.
var fast = engine.Timeouts{Election: 200 * time.Millisecond, Fetch: 400 * time.Millisecond}

// history is what the clients of one seed ask, each in order, and after how many answers (of all clients) the leader goes.
type history struct {
	commands [clients][]command
	leave    int // gracefully
	crash    int
}

func newHistory(seed uint64) history {
	rng := rand.New(rand.NewPCG(seed, 4))
	var h history
	for c := range clients {
		values := map[string]string{}
		for seq := range commands {
			k := fmt.Sprintf("%d/%d", c, rng.IntN(4))
			cmd := command{Client: c, Seq: seq, Key: k, Value: fmt.Sprint(rng.IntN(100)), Op: []string{"put", "append", "cas", "delete", "get", "add"}[rng.IntN(6)]}
			if cmd.Op == "cas" && rng.IntN(2) == 0 {
				cmd.Old = values[k] // one that is likely to succeed
			}
			if cmd.Op == "put" {
				values[k] = cmd.Value
			}
			h.commands[c] = append(h.commands[c], cmd)
		}
	}
	h.leave = clients * commands * (1 + rng.IntN(3)) / 8
	h.crash = h.leave + clients*commands*(1+rng.IntN(3))/8
	return h
}

// expected are the answers and the state by definition: each client's commands, one after the other.
func (h history) expected() (answers [clients][]string, state string) {
	s := newStore()
	for c := range clients {
		for _, cmd := range h.commands[c] {
			record, _ := json.Marshal(cmd)
			answers[c] = append(answers[c], string(s.Apply(record)))
		}
	}
	return answers, s.state()
}

// quorum is three replicas of either engine.
type quorum struct {
	t       *testing.T
	members []engine.Member
	start   func(i int, m engine.Machine) (engine.Replica, error)

	mu       sync.Mutex
	replicas []engine.Replica // nil: down
	stores   []*store
}

func newQuorum(t *testing.T, kind string, seed uint64) *quorum {
	q := &quorum{t: t, replicas: make([]engine.Replica, replicas), stores: make([]*store, replicas)}
	var dirs []string
	var memory []engine.Stores
	free, err := ports.Take(replicas)
	require.NoError(t, err)
	for i := range replicas {
		q.members = append(q.members, engine.Member{ID: i, Addr: fmt.Sprintf("127.0.0.1:%d", free[i]), Voter: true})
		dirs, memory = append(dirs, t.TempDir()), append(memory, engine.MemoryStores())
	}
	q.start = func(i int, m engine.Machine) (engine.Replica, error) {
		cfg := engine.Config{Self: q.members[i], Voters: q.members, Dir: dirs[i], Machine: m, Timeouts: fast, Seed: seed<<8 + uint64(i)}
		if kind == "pull" {
			return engine.StartPull(cfg)
		}
		return engine.StartPush(cfg, memory[i], nil)
	}
	for i := range replicas {
		q.up(i)
	}
	t.Cleanup(func() {
		for i := range replicas {
			q.down(i, false)
		}
	})
	return q
}

func (q *quorum) up(i int) {
	q.t.Helper()
	s := newStore()
	r, err := q.start(i, s)
	require.NoError(q.t, err)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.replicas[i], q.stores[i] = r, s
}

func (q *quorum) down(i int, graceful bool) {
	q.t.Helper()
	q.mu.Lock()
	r := q.replicas[i]
	q.replicas[i] = nil
	q.mu.Unlock()
	if r != nil {
		if err := r.Stop(graceful); err != nil {
			q.t.Logf("replica %d stopped: %v", i, err)
		}
	}
}

func (q *quorum) leader() (int, engine.Replica) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, r := range q.replicas {
		if r != nil && r.Leads() {
			return i, r
		}
	}
	return -1, nil
}

func wait(t *testing.T, what string, cond func() bool) {
	t.Helper()
	require.Eventually(t, cond, patience, 2*time.Millisecond, what)
}

// apply asks one replica, no longer than ctx. hashicorp/raft forgets requests that it hasn't looked at when it is shut down:
// their callers would wait for ever.
func apply(ctx context.Context, r engine.Replica, record []byte) ([]byte, error) {
	type result struct {
		answer []byte
		err    error
	}
	done := make(chan result, 1)
	go func() { // not waited for: it may never end
		answer, err := r.Apply(ctx, record)
		done <- result{answer, err}
	}()
	select {
	case got := <-done:
		return got.answer, got.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// ask repeats a command until it is answered, whoever leads.
func (q *quorum) ask(ctx context.Context, cmd command) (string, error) {
	record, err := json.Marshal(cmd)
	if err != nil {
		return "", err
	}
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for {
		if _, r := q.leader(); r != nil {
			attempt, cancel := context.WithTimeout(ctx, 3*time.Second)
			answer, err := apply(attempt, r, record)
			cancel()
			if err == nil {
				return string(answer), nil
			}
			if !errors.Is(err, engine.ErrNotLeader) && !errors.Is(err, engine.ErrLost) && !errors.Is(err, context.DeadlineExceeded) {
				return "", err
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
}

// run plays a history and returns every answer and the state that all replicas came to.
func run(t *testing.T, kind string, seed uint64, h history) (answers [clients][]string, state string) {
	q := newQuorum(t, kind, seed)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var answered atomic.Int64
	var wg sync.WaitGroup
	failed := make(chan error, clients)
	for c := range clients {
		wg.Go(func() {
			for _, cmd := range h.commands[c] {
				a, err := q.ask(ctx, cmd)
				if err != nil {
					failed <- fmt.Errorf("client %d, command %d: %w", c, cmd.Seq, err)
					return
				}
				answers[c] = append(answers[c], a)
				answered.Add(1)
			}
		})
	}
	for _, fault := range []struct {
		after    int
		graceful bool
	}{{h.leave, true}, {h.crash, false}} {
		wait(t, fmt.Sprintf("%d answers", fault.after), func() bool { return answered.Load() >= int64(fault.after) || len(failed) > 0 })
		var i int
		wait(t, "a leader", func() bool { i, _ = q.leader(); return i >= 0 })
		q.down(i, fault.graceful)
		wait(t, "another leader", func() bool { j, _ := q.leader(); return j >= 0 })
		q.up(i)
	}
	wg.Wait()
	close(failed)
	for err := range failed {
		t.Fatal(err)
	}
	_, leader := q.leader()
	wait(t, "a leader at the end", func() bool { _, leader = q.leader(); return leader != nil })
	for i, s := range q.stores {
		wait(t, fmt.Sprintf("replica %d has everything", i), func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			done := 0
			for _, last := range s.sessions {
				done += last.seq + 1
			}
			return done == clients*commands
		})
		require.Equal(t, q.stores[0].state(), s.state(), "replica %d", i)
	}
	return answers, q.stores[0].state()
}

// TestSameAnswers plays each history, a graceful leave of the leader and a crash of the next included, on both engines.
func TestSameAnswers(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			h := newHistory(seed)
			answers, state := h.expected()
			for _, kind := range []string{"pull", "push"} {
				began := time.Now()
				got, end := run(t, kind, seed, h)
				t.Logf("%s: %d answers in %s", kind, clients*commands, time.Since(began).Round(time.Millisecond))
				require.Equal(t, answers, got, kind)
				require.Equal(t, state, end, kind)
			}
		})
	}
}
