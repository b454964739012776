package raft

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/quorum"
)

func TestEqualNotesAreLoggedOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		d := &Driver{cfg: Config{Logger: slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: slog.LevelInfo}))}}
		lines := func() []string {
			defer out.Reset()
			return strings.Split(strings.TrimSpace(out.String()), "\n")
		}
		for range 50 {
			d.note(quorum.Note{Level: quorum.NoteWarn, Text: "again"})
			d.note(quorum.Note{Level: quorum.NoteDebug, Text: "not at this level"})
			time.Sleep(10 * time.Millisecond) //nolint:forbidigo // virtual time
		}
		d.note(quorum.Note{Level: quorum.NoteInfo, Text: "another"})
		got := lines()
		require.Len(t, got, 2)
		require.Contains(t, got[0], "level=WARN msg=again")
		require.NotContains(t, got[0], "suppressed")
		require.Contains(t, got[1], "level=INFO msg=another")

		time.Sleep(500 * time.Millisecond) //nolint:forbidigo // virtual time
		d.note(quorum.Note{Level: quorum.NoteWarn, Text: "again"})
		d.note(quorum.Note{Level: quorum.NoteWarn, Text: "again"})
		got = lines()
		require.Len(t, got, 1)
		require.Contains(t, got[0], "msg=again suppressed=49")
	})
}

func TestTextsOfNotesAreBounded(t *testing.T) {
	var n notes
	now := time.Unix(0, 0)
	for i := range 3 * maxNotes {
		_, ok := n.pass(fmt.Sprint(i), now)
		require.True(t, ok, "different texts are never held back")
	}
	require.Len(t, n.seen, maxNotes)
	_, ok := n.pass("0", now)
	require.False(t, ok)

	now = now.Add(noteInterval)
	_, ok = n.pass("new", now)
	require.True(t, ok)
	require.Len(t, n.seen, 1, "what is old makes room")
	_, ok = n.pass("new", now)
	require.False(t, ok)
}
