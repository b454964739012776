package wire

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestRequestHeaders(t *testing.T) {
	cases := []struct {
		name  string
		frame []byte
		want  RequestHeader
		body  []byte
		err   error
	}{
		{"v1 with a client id", []byte{0, 12, 0, 3, 0, 0, 0, 7, 0, 2, 'm', 'e', 9}, RequestHeader{12, 3, 7, "me", true}, []byte{9}, nil},
		{"v1 with a null client id", []byte{0, 12, 0, 3, 0, 0, 0, 7, 0xff, 0xff}, RequestHeader{12, 3, 7, "", false}, []byte{}, nil},
		{"v2 with tags", []byte{0, 12, 0, 4, 0, 0, 0, 7, 0, 1, 'm', 1, 0, 1, 5, 9}, RequestHeader{12, 4, 7, "m", true}, []byte{9}, nil},
		{"api versions v2 has no tags", []byte{0, 18, 0, 2, 0, 0, 0, 1, 0xff, 0xff}, RequestHeader{18, 2, 1, "", false}, []byte{}, nil},
		{"api versions v3 has", []byte{0, 18, 0, 3, 0, 0, 0, 1, 0xff, 0xff, 0, 1, 1, 0}, RequestHeader{18, 3, 1, "", false}, []byte{1, 1, 0}, nil},
		{"a version that doesn't exist yet is flexible", []byte{0, 18, 0x7f, 0, 0, 0, 0, 1, 0xff, 0xff, 0}, RequestHeader{18, 0x7f00, 1, "", false}, []byte{}, nil},
		{"empty", nil, RequestHeader{}, nil, ErrMalformed},
		{"cut before the client id", []byte{0, 12, 0, 3, 0, 0, 0, 7, 0}, RequestHeader{12, 3, 7, "", false}, nil, ErrMalformed},
		{"cut in the client id", []byte{0, 12, 0, 3, 0, 0, 0, 7, 0, 5, 'm'}, RequestHeader{12, 3, 7, "", false}, nil, ErrMalformed},
		{"client id of -2", []byte{0, 12, 0, 3, 0, 0, 0, 7, 0xff, 0xfe}, RequestHeader{12, 3, 7, "", false}, nil, ErrMalformed},
		{"2^32-1 header tags", []byte{0, 12, 0, 4, 0, 0, 0, 7, 0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f}, RequestHeader{12, 4, 7, "", true}, nil, ErrMalformed},
		{"a removed api", []byte{0, 4, 0, 3, 0, 0, 0, 7, 0, 0}, RequestHeader{4, 3, 7, "", false}, nil, ErrUnknownAPI},
		{"a negative key", []byte{0xff, 0xff, 0, 3, 0, 0, 0, 7, 0, 0}, RequestHeader{-1, 3, 7, "", false}, nil, ErrUnknownAPI},
		{"a key past the table", []byte{3, 0xe8, 0, 0, 0, 0, 0, 7, 0, 0}, RequestHeader{1000, 0, 7, "", false}, nil, ErrUnknownAPI},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var h RequestHeader
			var body []byte
			var err error
			took, bytes := quickest(maxParse, func() { h, body, err = ParseRequestHeader(c.frame) })
			require.Equal(t, c.want, h)
			require.Less(t, took, maxParse)
			require.Less(t, bytes, uint64(64<<10))
			if c.err != nil {
				require.ErrorIs(t, err, c.err)
				return
			}
			require.NoError(t, err)
			require.Equal(t, c.body, body)
		})
	}
}

// kmsg's own formatter is the reference for what a client sends.
func TestAppendRequestIsWhatClientsSend(t *testing.T) {
	id := "client"
	eachVersion(func(a API, v int16) {
		req := kmsg.RequestForKey(a.Key)
		req.SetVersion(v)
		for _, clientID := range []*string{nil, &id} {
			f := kmsg.NewRequestFormatter()
			if clientID != nil {
				f = kmsg.NewRequestFormatter(kmsg.FormatterClientID(id))
			}
			want := f.AppendRequest(nil, req, 42)
			got := AppendRequest(nil, clientID, 42, req)
			require.Equal(t, want, got, "%s v%d", a.Name, v)
			h, _, err := ParseRequest(got[4:])
			require.NoError(t, err)
			require.Equal(t, RequestHeader{a.Key, v, 42, h.ClientID, clientID != nil}, h)
		}
	})
}

func TestResponseHeaders(t *testing.T) {
	cases := []struct {
		key, version int16
		want         []byte
	}{
		{3, 8, []byte{0, 0, 0, 9}},
		{3, 9, []byte{0, 0, 0, 9, 0}},
		{18, 0, []byte{0, 0, 0, 9}},
		{18, 4, []byte{0, 0, 0, 9}}, // never v1: the client may not know what we speak
	}
	for _, c := range cases {
		got := AppendResponseHeader(nil, c.key, c.version, 9)
		require.Equal(t, c.want, got)
		id, body, err := ParseResponseHeader(c.key, c.version, append(got, 7))
		require.NoError(t, err)
		require.Equal(t, int32(9), id)
		require.Equal(t, []byte{7}, body)
	}
	_, _, err := ParseResponseHeader(3, 9, []byte{0, 0, 0, 9})
	require.ErrorIs(t, err, ErrMalformed)
	_, _, err = ParseResponseHeader(3, 9, []byte{0, 0})
	require.ErrorIs(t, err, ErrMalformed)
}
