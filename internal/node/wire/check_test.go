package wire

import (
	"encoding/binary"
	"math/rand/v2"
	"runtime"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// heapAllocated is the number of bytes ever allocated.
func heapAllocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

// quickest runs f up to ten times, until it took less than limit, and says how long it took then and how much it allocated: a
// machine that is busy with other tests may stall any one run.
func quickest(limit time.Duration, f func()) (took time.Duration, bytes uint64) {
	for range 10 {
		if took, bytes = cost(f); took < limit {
			break
		}
	}
	return took, bytes
}

// cost runs f and says how long it took and how much it allocated.
func cost(f func()) (time.Duration, uint64) {
	before, start := heapAllocated(), time.Now()
	f()
	return time.Since(start), heapAllocated() - before
}

// maxParse bounds the time for a small message, however bad.
const maxParse = 50 * time.Millisecond

func TestMessagesOfEveryVersionPassAndDecode(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	versions := 0
	eachVersion(func(a API, v int16) {
		versions++
		for range 20 {
			_, body := randomRequest(r, a.Key, v)
			require.NoError(t, CheckRequest(a.Key, v, body), "%s v%d", a.Name, v)
			got, err := DecodeRequest(RequestHeader{Key: a.Key, Version: v}, body)
			require.NoError(t, err)
			require.Equal(t, body, got.AppendTo(nil), "%s v%d", a.Name, v)

			_, body = randomResponse(r, a.Key, v)
			require.NoError(t, CheckResponse(a.Key, v, body), "%s response v%d", a.Name, v)
			resp := kmsg.ResponseForKey(a.Key)
			resp.SetVersion(v)
			require.NoError(t, DecodeResponse(resp, body))
			require.Equal(t, body, resp.AppendTo(nil), "%s response v%d", a.Name, v)
		}
	})
	t.Logf("versions=%d", versions)
}

func TestCutAndPaddedMessagesAreRefused(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	eachVersion(func(a API, v int16) {
		for range 3 {
			_, body := randomRequest(r, a.Key, v)
			for n := range len(body) {
				require.ErrorIs(t, CheckRequest(a.Key, v, body[:n]), ErrMalformed, "%s v%d cut to %d of %d", a.Name, v, n, len(body))
			}
			require.ErrorIs(t, CheckRequest(a.Key, v, append(body, 0)), ErrMalformed, "%s v%d", a.Name, v)
			_, body = randomResponse(r, a.Key, v)
			for n := range len(body) {
				require.ErrorIs(t, CheckResponse(a.Key, v, body[:n]), ErrMalformed, "%s v%d cut to %d of %d", a.Name, v, n, len(body))
			}
		}
	})
}

func tagged(prefix []byte, count uint32) []byte {
	return binary.AppendUvarint(prefix, uint64(count))
}

func TestTraps(t *testing.T) {
	// A Heartbeat v4 body that keeps kmsg busy for a minute: group "", generation, member "", no instance, 2^32-1 tags.
	heartbeat := tagged([]byte{2, 'g', 0, 0, 0, 1, 2, 'm', 0}, 0xffffffff)
	require.Len(t, heartbeat, 14)
	manyElements := binary.AppendUvarint(nil, 1<<20) // as many one-byte elements as there are bytes
	manyElements = append(manyElements, make([]byte, 1<<20)...)
	unknownTags := binary.AppendUvarint([]byte{1, 1}, 200_000)
	for i := range 200_000 {
		unknownTags = append(binary.AppendUvarint(unknownTags, uint64(i)), 0)
	}
	cases := []struct {
		name         string
		key, version int16
		body         []byte
		want         error
	}{
		{"heartbeat with 2^32-1 tags in 14 bytes", 12, 4, heartbeat, errTagCount},
		{"api versions with 2^32-1 tags before authentication", 18, 4, tagged([]byte{1, 1}, 0xffffffff)[:7], errTagCount},
		{"api versions with a tag count that ends early", 18, 4, []byte{1, 1, 0xff, 0xff, 0xff, 0xff}, errShort},
		{"api versions with 2^28-1 tags in 6 bytes", 18, 4, []byte{1, 1, 0xff, 0xff, 0xff, 0x7f}, errTagCount},
		{"api versions with two hundred thousand unknown tags", 18, 4, unknownTags, errMemory},
		{"metadata with a million topics in a megabyte", 3, 12, manyElements, errCount},
		{"find coordinator with a negative count", 10, 4, []byte{0, 0xff, 0xff, 0xff, 0xff, 0x0f, 0}, errCount},
		{"metadata v0 with a negative count", 3, 0, []byte{0xff, 0xff, 0xff, 0xfe}, errCount},
		{"metadata v0 with a count of two thousand million", 3, 0, []byte{0x7f, 0xff, 0xff, 0xff, 0, 0}, errCount},
		{"a null list where there must be one", 3, 0, []byte{0xff, 0xff, 0xff, 0xff}, errNull},
		{"a null string where there must be one", 17, 1, []byte{0xff, 0xff}, errNull},
		{"a string longer than the body", 17, 1, []byte{0x7f, 0xff, 'a'}, errLength},
		{"a length varint of six bytes", 18, 4, []byte{0x80, 0x80, 0x80, 0x80, 0x80, 0x01, 1, 0}, errShort},
		{"tags out of order", 18, 4, []byte{1, 1, 2, 5, 0, 4, 0}, errTagOrder},
		{"the same tag twice", 18, 4, []byte{1, 1, 2, 5, 0, 5, 0}, errTagOrder},
		{"a tag larger than the body", 18, 4, []byte{1, 1, 1, 5, 9}, errLength},
		{"trailing bytes", 18, 0, []byte{0}, errTrailing},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var err error
			took, bytes := quickest(maxParse, func() { _, err = DecodeRequest(RequestHeader{Key: c.key, Version: c.version}, c.body) })
			require.ErrorIs(t, err, c.want)
			require.Less(t, took, maxParse)
			require.Less(t, bytes, uint64(64<<10), "bytes allocated")
		})
	}
}

func TestKnownTagMustFillItsSize(t *testing.T) {
	req := kmsg.NewPtrFetchRequest()
	req.Version = 17
	part := kmsg.NewFetchRequestTopicPartition()
	part.ReplicaDirectoryID = [16]byte{1}
	req.Topics = []kmsg.FetchRequestTopic{{Partitions: []kmsg.FetchRequestTopicPartition{part}}}
	body := req.AppendTo(nil)
	require.NoError(t, CheckRequest(1, 17, body))
	at := 0
	for i := range body[:len(body)-2] {
		if body[i] == 1 && body[i+1] == 0 && body[i+2] == 16 { // one tag, number 0, 16 bytes
			at = i + 2
		}
	}
	require.NotZero(t, at)
	long := append(append(append([]byte{}, body[:at]...), 17, 9), body[at+1:]...)
	require.ErrorIs(t, CheckRequest(1, 17, long), errTagSize)
	short := append([]byte{}, body...)
	short[at] = 15
	require.ErrorIs(t, CheckRequest(1, 17, short), ErrMalformed)
}

func TestDecodingStaysInItsBudget(t *testing.T) {
	// The most memory that a frame of a megabyte can be made to cost, over all requests:
	// every list as long as its bytes allow.
	runtime.GC()
	worst := struct {
		ratio float64
		name  string
	}{}
	eachVersion(func(a API, v int16) {
		body := hungryBody(a.Key, v, 1<<20)
		if body == nil {
			return
		}
		var err error
		took, bytes := quickest(2*time.Second, func() { _, err = DecodeRequest(RequestHeader{Key: a.Key, Version: v}, body) })
		if err == nil {
			if ratio := float64(bytes) / float64(len(body)); ratio > worst.ratio {
				worst.ratio, worst.name = ratio, a.Name
			}
		} else {
			require.Less(t, bytes, uint64(1<<20), "%s v%d: %v", a.Name, v, err)
		}
		require.LessOrEqual(t, float64(bytes), float64(baseMemory+requestMemoryRatio*len(body))*1.25, "%s v%d", a.Name, v)
		require.Less(t, took, 2*time.Second, "%s v%d", a.Name, v)
	})
	t.Logf("worst amplification of a valid request: %.1f (%s)", worst.ratio, worst.name)
}

// hungryBody is a request with its first list of structures as long as size allows, of the
// smallest elements; all else is zero. Nil where there is no such list.
func hungryBody(key, version int16, size int) []byte {
	m := requestSchemas[key]
	c := checker{version: version, flexible: m.flexibleFrom != never && version >= int16(m.flexibleFrom)}
	s := structures[m.root]
	var body []byte
	grown := false
	for _, f := range fields[s.first : s.first+s.count] {
		if f.tag != untagged || !f.in(version) {
			continue
		}
		if f.kind == kindArrayOfStructs && !grown {
			grown = true
			elem := c.leastBytes(f.elem)
			n := size / len(elem)
			if c.flexible {
				body = binary.AppendUvarint(body, uint64(n)+1)
			} else {
				body = binary.BigEndian.AppendUint32(body, uint32(n))
			}
			for range n {
				body = append(body, elem...)
			}
			continue
		}
		body = c.leastField(body, &f)
	}
	if !grown {
		return nil
	}
	if c.flexible {
		body = append(body, 0)
	}
	return body
}

func (c *checker) leastBytes(i uint16) []byte {
	s := structures[i]
	var b []byte
	for _, f := range fields[s.first : s.first+s.count] {
		if f.tag == untagged && f.in(c.version) {
			b = c.leastField(b, &f)
		}
	}
	if c.flexible {
		b = append(b, 0)
	}
	return b
}

func (c *checker) leastField(b []byte, f *field) []byte {
	switch f.kind {
	case kindFixed:
		return append(b, make([]byte, f.elem)...)
	case kindStruct:
		return append(b, c.leastBytes(f.elem)...)
	case kindOptional:
		return append(b, 0xff)
	case kindString:
		if c.flexible {
			return append(b, 1)
		}
		return append(b, 0, 0)
	default:
		if c.flexible {
			return append(b, 1)
		}
		return append(b, 0, 0, 0, 0)
	}
}

func BenchmarkCheckFetch1000Partitions(b *testing.B) {
	req := kmsg.NewPtrFetchRequest()
	req.Version = 17
	req.Topics = make([]kmsg.FetchRequestTopic, 1)
	req.Topics[0].Partitions = make([]kmsg.FetchRequestTopicPartition, 1000)
	body := req.AppendTo(nil)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if err := CheckRequest(1, 17, body); err != nil {
			b.Fatal(err)
		}
	}
}
