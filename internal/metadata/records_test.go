package metadata

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"os"
	"reflect"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kraft-dev/kraft-operator/internal/metadata/gen/layout"
)

type vector struct {
	Record  string
	ID      int
	Version int16
	JSON    json.RawMessage
	Hex     string
}

func readVectors(t testing.TB) []vector {
	f, err := os.Open("testdata/metadata-records.jsonl")
	require.NoError(t, err)
	defer f.Close()
	var out []vector
	for s := bufio.NewScanner(f); s.Scan(); {
		var v vector
		require.NoError(t, json.Unmarshal(s.Bytes(), &v))
		out = append(out, v)
	}
	return out
}

func TestGeneratedRecordsAreCurrent(t *testing.T) {
	recs, err := layout.Parse(layout.Text)
	require.NoError(t, err)
	want, err := layout.Generate(recs)
	require.NoError(t, err)
	got, err := os.ReadFile("records_gen.go")
	require.NoError(t, err)
	require.Equal(t, string(want), string(got), "run go generate ./internal/metadata")
}

// The vectors were written by Apache Kafka 4.3.1's own serializer: both directions must agree byte for byte,
// and the decoded record must print the JSON that Kafka's converter prints.
func TestGoldenVectorsEncodeAndDecode(t *testing.T) {
	recs, err := layout.Parse(layout.Text)
	require.NoError(t, err)
	vectors := readVectors(t)
	covered := map[[2]int]bool{}
	for _, v := range vectors {
		want, err := hex.DecodeString(v.Hex)
		require.NoError(t, err)

		fromJSON := newRecord(RecordType(v.ID))
		require.NotNil(t, fromJSON, v.Record)
		require.NoError(t, json.Unmarshal(v.JSON, fromJSON), v.Record)
		require.Equal(t, want, Encode(fromJSON, v.Version), "%s v%d %s", v.Record, v.Version, v.JSON)

		rec, version, err := Decode(want)
		require.NoError(t, err)
		require.Equal(t, v.Version, version)
		require.Equal(t, v.Record, reflect.TypeOf(rec).Elem().Name())
		require.Equal(t, want, Encode(rec, version))
		i := slices.IndexFunc(recs, func(r layout.Record) bool { return r.ID == v.ID })
		got, err := json.Marshal(kafkaJSON(recs[i], rec, v.Version))
		require.NoError(t, err)
		require.JSONEq(t, string(v.JSON), string(got), "%s v%d", v.Record, v.Version)
		covered[[2]int{v.ID, int(v.Version)}] = true
	}
	for _, r := range recs {
		for version := range r.MaxVersion + 1 {
			require.True(t, covered[[2]int{r.ID, version}], "%s v%d has no vector", r.Name, version)
		}
	}
	t.Logf("vectors=%d", len(vectors))
	require.Len(t, vectors, 111)
}

// kafkaJSON is Kafka's JSON form of a record: the fields of the version, tagged ones only if not the default.
func kafkaJSON(l layout.Record, rec Record, version int16) map[string]any {
	v, defaults := reflect.ValueOf(rec).Elem(), reflect.ValueOf(newRecord(rec.Type())).Elem()
	out := map[string]any{}
	for _, f := range l.Fields {
		field := v.FieldByName(f.GoName())
		if f.Min > int(version) {
			continue
		}
		if f.Tag >= 0 {
			def := defaults.FieldByName(f.GoName())
			if reflect.DeepEqual(field.Interface(), def.Interface()) {
				continue
			}
			if field.Kind() == reflect.Slice && field.Len() == 0 && !f.Type.Nullable {
				continue
			}
		}
		out[f.JSONName()] = field.Interface()
	}
	return out
}

func TestDecodeRefusesHostileBytes(t *testing.T) {
	for name, value := range map[string]string{
		"an empty value":                           "",
		"frame version 0":                          "001400",
		"frame version 2":                          "02140000",
		"an unknown type":                          "011d0000",
		"a type beyond 32 bits":                    "01ffffffffff0100",
		"a version beyond the highest":             "01140100",
		"trailing bytes":                           "0114000000",
		"a tag count beyond the value":             "011400ffffffff0f",
		"a tag size beyond the value":              "011400010affffffff0f",
		"an array beyond the value":                "010300ffffffff00000000000000000000000000000000ffffffff0f",
		"null where the layout has none":           "011a000000",
		"a string beyond the value":                "011a00ffffffff0f",
		"a tagged field shorter than its size":     "011100000000000000000000000000010002" + "0101",
		"a varint that never ends":                 "01ffffffffffffffffffff",
		"a cut body":                               "010700000000",
		"a null tagged array that can't be (dirs)": "011102000000000000000000000000010201" + "00",
	} {
		t.Run(name, func(t *testing.T) {
			b, err := hex.DecodeString(value)
			require.NoError(t, err)
			_, _, err = Decode(b)
			require.ErrorIs(t, err, ErrMalformed)
			t.Log(err)
		})
	}
}

func TestDecodeSkipsUnknownTaggedFields(t *testing.T) {
	b, err := hex.DecodeString("011400" + "02" + "0a03aabbcc" + "0b00")
	require.NoError(t, err)
	rec, _, err := Decode(b)
	require.NoError(t, err)
	require.Equal(t, &NoOpRecord{}, rec)
}

// Invariants: no panic; a record that decodes encodes and decodes to the same again; memory stays in
// proportion to the input.
func FuzzDecode(f *testing.F) {
	for _, v := range readVectors(f) {
		b, _ := hex.DecodeString(v.Hex)
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		rec, version, err := Decode(value)
		if err != nil {
			require.ErrorIs(t, err, ErrMalformed)
			return
		}
		again := Encode(rec, version)
		rec2, version2, err := Decode(again)
		require.NoError(t, err)
		require.Equal(t, version, version2)
		require.Equal(t, again, Encode(rec2, version2))
	})
}
