package auth

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestPrincipals(t *testing.T) {
	require.Equal(t, "User:ANONYMOUS", Anonymous.String())
	p, err := ParsePrincipal("User:CN=a:b,O=c")
	require.NoError(t, err)
	require.Equal(t, Principal{Type: "User", Name: "CN=a:b,O=c"}, p)
	for _, bad := range []string{"", "User", "User:", ":name"} {
		_, err := ParsePrincipal(bad)
		require.Error(t, err, bad)
	}
	require.True(t, Principal{}.IsZero())
	require.True(t, AllowAll{}.Authorize(Subject{}, Action{}))
}

func TestSerializedPrincipals(t *testing.T) {
	// DefaultPrincipalData v0 of Apache Kafka: version, "User", "ANONYMOUS", false, no tags.
	golden := append([]byte{0, 0, 5, 'U', 's', 'e', 'r', 10}, append([]byte("ANONYMOUS"), 0, 0)...)
	b, err := Anonymous.AppendBinary(nil)
	require.NoError(t, err)
	require.Equal(t, golden, b)
	var p Principal
	require.NoError(t, p.UnmarshalBinary(golden))
	require.Equal(t, Anonymous, p)
	for n := range golden {
		require.ErrorIs(t, p.UnmarshalBinary(golden[:n]), ErrPrincipalData, "cut to %d", n)
	}
	require.ErrorIs(t, p.UnmarshalBinary(append(golden, 0)), ErrPrincipalData)
	require.ErrorIs(t, p.UnmarshalBinary([]byte{0, 1, 1, 1, 0, 0}), ErrPrincipalData)
	later := append(append([]byte{}, golden[:len(golden)-1]...), 1, 7, 2, 'h', 'i') // an unknown tag
	require.NoError(t, p.UnmarshalBinary(later))
}

func FuzzPrincipal(f *testing.F) {
	b, _ := Principal{Type: "User", Name: "alice", TokenAuthenticated: true}.AppendBinary(nil)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		var p Principal
		if p.UnmarshalBinary(b) != nil {
			return
		}
		again, err := p.AppendBinary(nil)
		require.NoError(t, err)
		var q Principal
		require.NoError(t, q.UnmarshalBinary(again))
		require.Equal(t, p, q)
	})
}
