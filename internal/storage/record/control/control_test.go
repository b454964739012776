package control_test

import (
	"encoding/hex"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/storage/record"
	"github.com/kraft-dev/kraft-operator/internal/storage/record/control"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

var voters = control.Voters{Voters: []control.Voter{
	{ID: 1, DirectoryID: uuid.UUID{9, 9}, Endpoints: []control.Endpoint{{Name: "CONTROLLER", Host: "localhost", Port: 9093}}, MaxVersion: 1},
	{ID: 3000000, DirectoryID: uuid.UUID{15: 200}, Endpoints: []control.Endpoint{{Name: "A", Host: "::1", Port: 65535}, {Name: "B", Host: "", Port: 0}}, MinVersion: 1, MaxVersion: 2},
}}

// Values that Apache Kafka 4.3.1's DumpLogSegments prints as expected.
func TestEncodings(t *testing.T) {
	for _, tc := range []struct {
		rec        control.Record
		key, value string
	}{
		{control.LeaderChange{LeaderID: 1, Voters: []int32{1}, GrantingVoters: []int32{1}}, "00000002", "00000000000102000000010002000000010000"},
		{control.SnapshotHeader{LastContainedLogTimestamp: 0x0102}, "00000003", "0000000000000000010200"},
		{control.SnapshotFooter{}, "00000004", "000000"},
		{control.KRaftVersion{Level: 1}, "00000005", "0000000100"},
		{control.Voters{Voters: voters.Voters[:1]}, "00000006", "0000020000000109090000000000000000000000000000020b434f4e54524f4c4c45520a6c6f63616c686f7374238500000000010000" + "00"},
	} {
		key, value := control.Encode(tc.rec)
		require.Equal(t, tc.key, hex.EncodeToString(key))
		require.Equal(t, tc.value, hex.EncodeToString(value))
		got, err := control.Decode(key, value)
		require.NoError(t, err)
		require.Equal(t, tc.rec, got)
		for cut := range value {
			_, err := control.Decode(key, value[:cut])
			require.ErrorIs(t, err, control.ErrMalformed, "cut at %d", cut)
		}
		_, err = control.Decode(key, append(value, 0))
		require.ErrorIs(t, err, control.ErrMalformed)
	}
}

func TestBatch(t *testing.T) {
	recs := []control.Record{control.LeaderChange{LeaderID: 1, Voters: []int32{1, 2}, GrantingVoters: []int32{2}}, control.KRaftVersion{Level: 1}, voters}
	raw := control.AppendBatch([]byte("before"), 40, 7, 123, recs...)
	b, rest, err := record.Split(raw[len("before"):])
	require.NoError(t, err)
	require.Empty(t, rest)
	require.NoError(t, b.Validate())
	require.True(t, b.IsControl())
	require.EqualValues(t, 7, b.Epoch())
	require.EqualValues(t, 123, b.MaxTimestamp())
	got, err := control.DecodeBatch(b)
	require.NoError(t, err)
	require.Equal(t, []control.Offset{{Offset: 40, Record: recs[0]}, {Offset: 41, Record: recs[1]}, {Offset: 42, Record: recs[2]}}, got)
}

func TestHostileCounts(t *testing.T) {
	key := control.AppendKey(nil, control.TypeVoters)
	for _, v := range []string{"0000ffffffff0f", "0000ffffffffffffffffff01", "000000", "0000020000000109090000000000000000000000000000ffffffff0f", "0000" + "01" + "ffffffff0f"} {
		value, err := hex.DecodeString(v)
		require.NoError(t, err)
		_, err = control.Decode(key, value)
		require.ErrorIs(t, err, control.ErrMalformed, v)
	}
	r, err := control.Decode([]byte{0, 0, 0, 99}, []byte("later"))
	require.NoError(t, err)
	require.Equal(t, control.Unknown{T: 99, Value: []byte("later")}, r)
	_, err = control.Decode([]byte{0, 0, 1}, nil)
	require.ErrorIs(t, err, control.ErrMalformed)
}

func FuzzDecode(f *testing.F) {
	for _, r := range []control.Record{control.LeaderChange{LeaderID: 1, Voters: []int32{1}}, control.SnapshotHeader{}, control.SnapshotFooter{}, control.KRaftVersion{Level: 1}, voters} {
		key, value := control.Encode(r)
		f.Add(key, value)
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		r, err := control.Decode(key, value)
		if _, unknown := r.(control.Unknown); unknown || err != nil {
			return
		}
		k, v := control.Encode(r)
		again, err := control.Decode(k, v)
		require.NoError(t, err)
		require.Equal(t, r, again)
	})
}
