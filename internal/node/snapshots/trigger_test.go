package snapshots

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestTrigger: each row is a history of what was committed, and the reason that the last of it gives.
func TestTrigger(t *testing.T) {
	type commit struct {
		at      time.Duration
		bytes   int64
		aligned bool
		busy    bool
	}
	ok := func(at time.Duration, bytes int64) commit { return commit{at, bytes, true, false} }
	for name, tc := range map[string]struct {
		interval time.Duration
		history  []commit
		want     string
	}{
		"too few bytes, too early":               {time.Hour, []commit{ok(time.Minute, 99)}, ""},
		"enough bytes":                           {time.Hour, []commit{ok(time.Minute, 60), ok(2*time.Minute, 40)}, "bytes"},
		"counted anew after a snapshot":          {time.Hour, []commit{ok(time.Minute, 100), ok(2*time.Minute, 99)}, ""},
		"a batch larger than the bound":          {time.Hour, []commit{ok(0, 5000)}, "bytes"},
		"an hour has passed":                     {time.Hour, []commit{ok(59*time.Minute, 1), ok(time.Hour, 1)}, "interval"},
		"an hour since the last, not since ever": {time.Hour, []commit{ok(30*time.Minute, 100), ok(61*time.Minute, 1)}, ""},
		"the interval is off":                    {0, []commit{ok(1000*time.Hour, 1)}, ""},
		"inside a batch or a transaction":        {time.Hour, []commit{{time.Minute, 100, false, false}}, ""},
		"and when it has ended":                  {time.Hour, []commit{{time.Minute, 100, false, false}, ok(2*time.Minute, 1)}, "bytes"},
		"one is being written":                   {time.Hour, []commit{{time.Minute, 100, true, true}}, ""},
		"and when it is done":                    {time.Hour, []commit{{time.Minute, 100, true, true}, ok(2*time.Minute, 0)}, "bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			tr := trigger{maxBytes: 100, interval: tc.interval}
			got := ""
			for _, c := range tc.history {
				got = tr.committed(c.at, c.bytes, c.aligned, c.busy)
			}
			require.Equal(t, tc.want, got)
		})
	}
}
