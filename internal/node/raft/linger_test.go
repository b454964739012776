package raft

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// Records go at once into an idle log. During a flush, or while a commit is under way, they wait for each other, never longer than
// append.linger.ms.
func TestLinger(t *testing.T) {
	for _, c := range []struct {
		name                string
		configured          time.Duration
		flushSeq, flushDone uint64
		uncommitted         int
		want                time.Duration
	}{
		{"idle", 25 * time.Millisecond, 7, 7, 0, 0},
		{"flush under way", 25 * time.Millisecond, 8, 7, 1, 25 * time.Millisecond},
		{"commit under way", 25 * time.Millisecond, 8, 8, 2, commitLinger},
		{"commit under way, a shorter linger configured", time.Millisecond, 8, 8, 1, time.Millisecond},
		{"no linger configured", 0, 8, 7, 1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := &Driver{cfg: Config{Linger: c.configured}, flushSeq: c.flushSeq, flushDone: c.flushDone, proposals: make([]proposal, c.uncommitted)}
			require.Equal(t, c.want, d.linger())
		})
	}
}
