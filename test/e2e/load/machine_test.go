package load

import (
	"context"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAGapKnowsWhatStoodMeanwhile(t *testing.T) {
	began := time.Unix(100, 0)
	at := func(from, took int) Gap {
		return Gap{From: began.Add(time.Duration(from) * time.Millisecond), Took: time.Duration(took) * time.Millisecond}
	}
	var m Machine
	for _, g := range []Gap{at(0, 60), at(100, 40), at(150, 90), at(300, 25)} { // the last is none yet
		m.book(&m.disk, g)
	}
	m.book(&m.processor, at(120, 30))
	for _, c := range []struct {
		name            string
		of              Gap
		disk, processor time.Duration
	}{
		{"before all", at(-50, 50), 0, 0},
		{"in the first", at(10, 10), 60 * time.Millisecond, 0},
		{"between two", at(60, 40), 0, 0},
		{"over two, the longer counts", at(130, 30), 90 * time.Millisecond, 30 * time.Millisecond},
		{"over all", at(0, 1000), 90 * time.Millisecond, 30 * time.Millisecond},
		{"in what is too short", at(301, 10), 0, 0},
	} {
		disk, processor := m.During(c.of)
		require.Equal(t, c.disk, disk, c.name)
		require.Equal(t, c.processor, processor, c.name)
	}
}

func TestTheMachineIsWatchedUntilTheEnd(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		var m Machine
		require.NoError(t, m.Watch(ctx, dir))
		disk, processor := m.During(Gap{From: time.Now().Add(-5 * time.Second), Took: 5 * time.Second})
		require.Zero(t, disk) // virtual time doesn't pass in an fsync
		require.Zero(t, processor)
	})
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	require.Empty(t, left)
	require.ErrorContains(t, new(Machine).Watch(t.Context(), dir+"/none"), "probe of the disk")
}
