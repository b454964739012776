package uuid

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPrintedForm(t *testing.T) {
	require.Equal(t, "AAAAAAAAAAAAAAAAAAAAAQ", MetadataTopicID.String())
	got, err := Parse("8ntdsOk0DPzv5J2pfLHCOw")
	require.NoError(t, err)
	require.Equal(t, "8ntdsOk0DPzv5J2pfLHCOw", got.String())
}

func TestParseRefuses(t *testing.T) {
	for _, s := range []string{"", "AAAAAAAAAAAAAAAAAAAAA", "AAAAAAAAAAAAAAAAAAAAAQ==", "AAAAAAAAAAAAAAAAAAAAA+", "AAAAAAAAAAAAAAAAAAAAAR"} {
		_, err := Parse(s)
		require.Error(t, err, "%q", s)
	}
}

func TestNewSkipsLeadingDash(t *testing.T) {
	dash := append([]byte{0xf8}, make([]byte, 15)...) // prints as "-A…"
	plain := bytes.Repeat([]byte{7}, 16)
	u, err := New(bytes.NewReader(append(dash, plain...)))
	require.NoError(t, err)
	require.NotEqual(t, byte('-'), u.String()[0])
	require.Equal(t, byte(0x47), u[6], "version 4")
	require.False(t, u.Reserved())
	require.True(t, MetadataTopicID.Reserved())
}
