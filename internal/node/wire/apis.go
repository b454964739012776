// Package wire is the pure edge between bytes and messages: frames, headers, the
// table of APIs and versions that are served, and a bounded check that runs over
// every message before kmsg decodes it.
//
// kmsg's decoders trust their input: a tag count of 0xffffffff keeps one busy for
// a minute, and an array count is checked only against the bytes left, so that a
// 1 MiB frame becomes 80 MiB of structs. Nothing outside this package may call
// ReadFrom on bytes that came from a socket; use [DecodeRequest] and
// [DecodeResponse].
package wire

import (
	_ "embed"
	"fmt"
	"strconv"
	"strings"
)

// API is one Kafka API and the versions of it that Apache Kafka 4.3.1 serves.
type API struct {
	Key, Min, Max int16 // Max is -1 where the API was removed
	Name          string
	Broker        bool // served on a broker's listeners
	Controller    bool // served on a controller's listeners
	ClusterAction bool // needs CLUSTER_ACTION on the cluster
	Forwardable   bool // a broker may wrap it in an Envelope (KIP-590)
}

// Supports says whether version is one that is served.
func (a API) Supports(version int16) bool { return version >= a.Min && version <= a.Max }

// Listener kinds for [APIsFor].
const (
	BrokerListener     = "broker"
	ControllerListener = "controller"
)

//go:embed kafka-apis.tsv
var apisTSV string

var apiTable = mustParseAPIs(apisTSV)

// Lookup returns the API of a key; removed and unknown keys give false.
func Lookup(key int16) (API, bool) {
	if key < 0 || int(key) >= len(apiTable) {
		return API{}, false
	}
	a := apiTable[key]
	return a, a.Name != "" && a.Max >= 0
}

// APIsFor lists what a listener of this kind serves, by key. The slice is the
// caller's: narrow it to what is really implemented before advertising it.
func APIsFor(kind string) []API {
	var out []API
	for _, a := range apiTable {
		if a.Max < 0 || a.Name == "" {
			continue
		}
		if kind == BrokerListener && a.Broker || kind == ControllerListener && a.Controller {
			out = append(out, a)
		}
	}
	return out
}

// Narrow keeps the APIs whose keys are listed, in the order of apis.
func Narrow(apis []API, keys ...int16) []API {
	var out []API
	for _, a := range apis {
		for _, k := range keys {
			if a.Key == k {
				out = append(out, a)
				break
			}
		}
	}
	return out
}

func mustParseAPIs(tsv string) []API {
	apis, err := parseAPIs(tsv)
	if err != nil {
		panic(fmt.Sprintf("wire: embedded kafka-apis.tsv: %v", err))
	}
	return apis
}

// parseAPIs reads the table: key, name, min-max, listeners, cluster action, forwardable.
// The result is indexed by key.
func parseAPIs(tsv string) ([]API, error) {
	var out []API
	for i, line := range strings.Split(tsv, "\n") {
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		f := strings.Split(line, "\t")
		if len(f) != 6 {
			return nil, fmt.Errorf("line %d: %d columns, want 6", i+1, len(f))
		}
		key, err := strconv.ParseInt(f[0], 10, 16)
		if err != nil || int(key) != len(out) {
			return nil, fmt.Errorf("line %d: key %q, want %d", i+1, f[0], len(out))
		}
		lo, hi, found := strings.Cut(f[2], "-")
		minV, errMin := strconv.ParseInt(lo, 10, 16)
		maxV, errMax := strconv.ParseInt(hi, 10, 16)
		if !found || errMin != nil || errMax != nil {
			return nil, fmt.Errorf("line %d: versions %q, want min-max", i+1, f[2])
		}
		on := " " + f[3] + " "
		out = append(out, API{
			Key: int16(key), Min: int16(minV), Max: int16(maxV), Name: f[1],
			Broker:        strings.Contains(on, " broker "),
			Controller:    strings.Contains(on, " controller "),
			ClusterAction: f[4] == "cluster_action",
			Forwardable:   f[5] == "forwardable",
		})
	}
	return out, nil
}
