package load

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAuditCountsLostAndDuplicated(t *testing.T) {
	var l Ledger
	now := time.Unix(0, 0)
	l.Start(now)
	for seq := range int64(100) {
		now = now.Add(time.Millisecond)
		l.Acked("go", seq, now)
	}
	seen, done := l.Audit()
	for seq := range int64(100) {
		if seq == 17 {
			continue // lost
		}
		seen(Value("go", seq, 40))
	}
	seen(Value("go", 3, 40))   // a second time
	seen(Value("go", 100, 40)) // never acknowledged
	seen([]byte("something else"))
	a := done()
	require.Equal(t, Audit{Acked: 100, Lost: 1, Duplicated: 1, Unknown: 2}, a)
	require.False(t, a.Clean())
	require.Equal(t, "acked=100 lost=1 duplicated=1", a.String())
	require.Equal(t, time.Millisecond, l.LongestGap())
}

func TestValueRoundTrip(t *testing.T) {
	p, s, err := ParseValue(Value("kcat", 42, 100))
	require.NoError(t, err)
	require.Equal(t, "kcat", p)
	require.EqualValues(t, 42, s)
	_, _, err = ParseValue([]byte("x:-1 "))
	require.Error(t, err)
}
