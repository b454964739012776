package wire

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Slack of the fuzz bounds: the engine's own goroutines allocate too, and a loaded machine stalls.
const (
	fuzzSlackBytes = 2 << 20
	fuzzSlackTime  = time.Second
)

// FuzzRequestFrame: whatever the bytes,
//   - nothing panics;
//   - a frame that is refused costs next to nothing, one that passes at most its budget;
//   - kmsg decodes everything that passes, and what it then writes passes again.
func FuzzRequestFrame(f *testing.F) {
	r := rand.New(rand.NewPCG(5, 6))
	eachVersion(func(a API, v int16) {
		req, _ := randomRequest(r, a.Key, v)
		f.Add(AppendRequest(nil, nil, 1, req)[4:])
	})
	f.Fuzz(func(t *testing.T, frame []byte) {
		var h RequestHeader
		var req kmsg.Request
		var err error
		took, bytes := cost(func() { h, req, err = ParseRequest(frame) })
		require.Less(t, took, fuzzSlackTime+time.Duration(len(frame))*time.Microsecond)
		require.Less(t, bytes, uint64(fuzzSlackBytes+baseMemory+2*requestMemoryRatio*len(frame)))
		if err != nil {
			return
		}
		again := req.AppendTo(nil)
		require.NoError(t, CheckRequest(h.Key, h.Version, again))
	})
}

// FuzzResponseBody: the same for what another node answers.
func FuzzResponseBody(f *testing.F) {
	r := rand.New(rand.NewPCG(7, 8))
	eachVersion(func(a API, v int16) {
		_, body := randomResponse(r, a.Key, v)
		f.Add(a.Key, v, body)
	})
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		a, ok := Lookup(key)
		if !ok || !a.Supports(version) {
			return
		}
		resp := kmsg.ResponseForKey(key)
		resp.SetVersion(version)
		var err error
		took, bytes := cost(func() { err = DecodeResponse(resp, body) })
		require.Less(t, took, fuzzSlackTime+time.Duration(len(body))*time.Microsecond)
		require.Less(t, bytes, uint64(fuzzSlackBytes+baseMemory+2*responseMemoryRatio*len(body)))
		if err != nil {
			return
		}
		require.NoError(t, CheckResponse(key, version, resp.AppendTo(nil)))
	})
}
