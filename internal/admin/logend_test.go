package admin

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestLogEndIsReadFromMetrics(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		want       LogEnd
		wrong      bool
	}{
		{name: "as a node writes it", text: "# TYPE kraft_raft_current_epoch gauge\nkraft_raft_current_epoch 7\nkraft_raft_log_end_offset 1.23456e+06\nother 3\n", want: LogEnd{Epoch: 7, Offset: 1234560}},
		{name: "a broker's", text: "kraft_broker_leaders_count 3\n", wrong: true},
		{name: "half", text: "kraft_raft_current_epoch 7\n", wrong: true},
		{name: "negative", text: "kraft_raft_current_epoch -1\nkraft_raft_log_end_offset 5\n", wrong: true},
		{name: "no number", text: "kraft_raft_current_epoch x\nkraft_raft_log_end_offset 5\n", wrong: true},
		{name: "too large", text: "kraft_raft_current_epoch 1e300\nkraft_raft_log_end_offset NaN\n", wrong: true},
		{name: "not a number", text: "kraft_raft_current_epoch 1\nkraft_raft_log_end_offset NaN\n", wrong: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := readLogEnd(strings.NewReader(tc.text))
			require.Equal(t, tc.wrong, err != nil, "%+v", got)
			if !tc.wrong {
				require.Equal(t, tc.want, got)
			}
		})
	}
}

func TestLogEndsLeaveOutWhoDoesntAnswer(t *testing.T) {
	node := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, err := w.Write([]byte("kraft_raft_current_epoch 7\nkraft_raft_log_end_offset 42\n"))
		require.NoError(t, err)
	}))
	defer node.Close()
	broken := httptest.NewServer(http.NotFoundHandler())
	defer broken.Close()
	addr := strings.TrimPrefix(node.URL, "http://")
	got := Client{}.LogEnds(t.Context(), []string{addr, strings.TrimPrefix(broken.URL, "http://"), "127.0.0.1:1"})
	require.Equal(t, map[string]LogEnd{addr: {Epoch: 7, Offset: 42}}, got)
}
