package wire

import (
	"math/rand/v2"
	"reflect"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// fill sets every field of a message to something random: lists of 0 to 3, optional things mostly there.
func fill(r *rand.Rand, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		if r.IntN(4) == 0 && v.Type().Elem().Kind() == reflect.Struct {
			return
		}
		v.Set(reflect.New(v.Type().Elem()))
		fill(r, v.Elem())
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[kmsg.Tags]() {
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).Name != "Version" || v.Type().Field(i).Type.Kind() != reflect.Int16 {
				fill(r, v.Field(i))
			}
		}
	case reflect.Slice:
		n := r.IntN(4)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			fill(r, v.Index(i))
		}
	case reflect.Array:
		for i := range v.Len() {
			fill(r, v.Index(i))
		}
	case reflect.String:
		v.SetString(strings.Repeat("x", r.IntN(6)))
	case reflect.Bool:
		v.SetBool(r.IntN(2) == 0)
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		v.SetInt(int64(r.IntN(100)) + 1)
	case reflect.Uint8, reflect.Uint16, reflect.Uint32:
		v.SetUint(uint64(r.IntN(100)) + 1)
	case reflect.Float64:
		v.SetFloat(r.Float64())
	default:
		panic(v.Type().String())
	}
}

// randomRequest is a request of a version, filled at random, and its body.
func randomRequest(r *rand.Rand, key, version int16) (kmsg.Request, []byte) {
	req := kmsg.RequestForKey(key)
	fill(r, reflect.ValueOf(req).Elem())
	req.SetVersion(version)
	return req, req.AppendTo(nil)
}

func randomResponse(r *rand.Rand, key, version int16) (kmsg.Response, []byte) {
	resp := kmsg.ResponseForKey(key)
	fill(r, reflect.ValueOf(resp).Elem())
	resp.SetVersion(version)
	return resp, resp.AppendTo(nil)
}

// eachVersion calls f for every key and version in the table.
func eachVersion(f func(a API, version int16)) {
	for _, a := range apiTable {
		for v := a.Min; v <= a.Max; v++ {
			f(a, v)
		}
	}
}
