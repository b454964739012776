package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/storage/record"
	"github.com/kraft-dev/kraft-operator/internal/storage/record/control"
)

// logOf makes a log of one control batch an offset, from base on.
func logOf(base int64, epochs ...int32) (out []byte) {
	for i, epoch := range epochs {
		out = control.AppendBatch(out, base+int64(i), epoch, 1, control.LeaderChange{LeaderID: 1})
	}
	return out
}

func TestLogsAreCompared(t *testing.T) {
	read := func(data []byte, below int64) ([]record.Batch, error) {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "00000000000000000000.log"), data, 0o600))
		return readBatches(dir, below)
	}
	a, err := read(logOf(0, 1, 1, 2, 2), 4)
	require.NoError(t, err)
	for name, row := range map[string]struct {
		other []byte
		same  int
		err   string
	}{
		"equal logs":                      {logOf(0, 1, 1, 2, 2), 4, ""},
		"one that starts later":           {logOf(2, 2, 2), 2, ""},
		"more above the high watermark":   {logOf(0, 1, 1, 2, 2, 3), 4, ""},
		"a batch of another epoch":        {logOf(0, 1, 1, 2, 3), 0, "offset 3"},
		"a tail of garbage above it":      {append(logOf(0, 1, 1, 2, 2), 0, 0, 0), 4, ""},
		"one that ends below the others'": {logOf(0, 1, 1, 2), 0, "ends at 3"},
		"a hole":                          {append(logOf(0, 1, 1), logOf(3, 2)...), 0, "offset 3 follows 1"},
		"a flipped bit":                   {flip(logOf(0, 1, 1, 2, 2)), 0, "CRC-32C mismatch"},
	} {
		b, err := read(row.other, 4)
		same := 0
		if err == nil {
			same, err = sameBytes(a, b)
		}
		if row.err != "" {
			require.ErrorContains(t, err, row.err, name)
			continue
		}
		require.NoError(t, err, name)
		require.Equal(t, row.same, same, name)
	}
}

func flip(data []byte) []byte {
	data[len(data)-1] ^= 1
	return data
}

func TestTemplatesOfJavaLines(t *testing.T) {
	file := filepath.Join(t.TempDir(), "java.log")
	require.NoError(t, os.WriteFile(file, []byte(`@INFO 06:00:00,001 Kafka fine
@WARN 06:00:00,001 NetworkClient [RaftManager id=1] Connection to node 2 (/127.0.0.1:25000) could not be established. Node may not be available.
@WARN 06:00:09,001 NetworkClient [RaftManager id=3] Connection to node -2 (/127.0.0.1:25001) could not be established. Node may not be available.
@ERROR 06:00:00,001 EventPerformanceMonitor [QuorumController id=1] Exceptionally slow controller event alterClientQuotas(12) took 2300 ms.
@ERROR 06:00:00,001 ProcessTerminatingFaultHandler Encountered fatal fault: /tmp/quorum1/3Java/node-1/data is gone, ReplicaKey(id=1, directoryId=A_Moy3DNQti9B9aA95VOeg)
java.lang.NullPointerException: no line of the log
`), 0o600))
	l := newLines()
	require.NoError(t, l.read(file))
	known := parseLines(knownLines)
	require.Equal(t, []string{"ERROR ProcessTerminatingFaultHandler Encountered fatal fault: PATH is gone, ReplicaKey(id=N, directoryId=UUID)"}, l.without(known))
	require.Equal(t, 2, l.seen["WARN NetworkClient [RaftManager id=N] Connection to node N (/N:N) could not be established. Node may not be available."])
}

func TestTheLastComplaintOfANode(t *testing.T) {
	file := filepath.Join(t.TempDir(), "java.log")
	require.NoError(t, os.WriteFile(file, []byte(`@ERROR 06:00:00,001 KafkaRaftClient [RaftManager id=11] Unexpected error POSITION_OUT_OF_RANGE in FETCH_SNAPSHOT response
@WARN 06:00:00,002 NetworkClient [RaftManager id=1] Connection to node 2 (/127.0.0.1:25000) could not be established. Node may not be available.
@INFO 06:00:00,003 Kafka fine
`), 0o600))
	n := &node{w: &world{h: &harness{allowed: parseLines(knownLines)}}}
	require.Empty(t, n.complaint(), "one that never ran")
	n.proc = &process{log: file}
	require.Contains(t, n.complaint(), "POSITION_OUT_OF_RANGE", "what Java nodes say among their own is passed over")
}

func TestChecksCountAndFail(t *testing.T) {
	var c checks
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	require.NoError(t, err)
	c.out = out
	require.Error(t, c.close(), "nothing ran")
	require.True(t, c.check("passes", func() {}))
	require.NoError(t, c.close())
	require.False(t, c.check("fails", func() { want(1 > 2, "1 is %d", 1) }))
	require.Error(t, c.close())
	require.Equal(t, []string{"fails"}, c.failures)
	require.Panics(t, func() { c.check("a bug", func() { panic("a bug") }) })
}
