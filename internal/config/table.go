package config

import (
	_ "embed"
	"iter"
	"slices"
	"strings"
	"sync"
)

//go:embed kafka-configs.tsv
var tsv string

// Scope is what a setting belongs to.
type Scope uint8

const (
	ScopeNode Scope = iota
	ScopeTopic
	ScopeGroup
)

// Type is Kafka's ConfigDef type.
type Type uint8

const (
	String Type = iota
	Boolean
	Short
	Int
	Long
	Double
	List
	Password
	Class
)

var typeNames = []string{"STRING", "BOOLEAN", "SHORT", "INT", "LONG", "DOUBLE", "LIST", "PASSWORD", "CLASS"}

func (t Type) String() string { return typeNames[t] }

// Code is the type's number in DescribeConfigs.
func (t Type) Code() int8 {
	return map[Type]int8{Boolean: 1, String: 2, Int: 3, Short: 4, Long: 5, Double: 6, List: 7, Class: 8, Password: 9}[t]
}

// Dynamic is how widely a setting can be changed at run time.
type Dynamic uint8

const (
	ReadOnly    Dynamic = iota // only in the properties file
	PerBroker                  // for one broker only, not as the cluster default
	ClusterWide                // as the cluster default, or for one broker
)

// Def is one setting.
type Def struct {
	Scope    Scope
	Name     string
	Type     Type
	Default  string // "" together with Null when there is none
	Null     bool   // no default
	Required bool   // must be set
	Rule     string // the validator as Kafka prints it
	Internal bool
	Own      bool // this project's, not Kafka's
	Dynamic  Dynamic
	Synonyms []string // topic settings: the node's settings that a topic falls back to, in order
	Doc      string   // of our own settings
}

type tables struct {
	node, topic, group map[string]*Def
	nodeNames          []string
	topicNames         []string
	groupNames         []string
}

// table is read once; it is never written afterwards.
var table = sync.OnceValue(loadTable)

func loadTable() *tables {
	t := &tables{node: map[string]*Def{}, topic: map[string]*Def{}, group: map[string]*Def{}}
	for line := range strings.SplitSeq(tsv, "\n") {
		f := strings.Split(line, "\t")
		switch f[0] {
		case "node":
			t.add(t.node, &t.nodeNames, f, ScopeNode)
		case "topic":
			t.add(t.topic, &t.topicNames, f, ScopeTopic)
		case "group":
			t.add(t.group, &t.groupNames, f, ScopeGroup)
		case "dynamic":
			t.makeDynamic(f)
		case "synonyms":
			t.topic[f[1]].Synonyms = strings.Fields(f[2])
		}
	}
	for _, o := range own {
		t.add(t.node, &t.nodeNames, []string{"node", o.name, o.typ, o.def, "", ""}, ScopeNode)
		t.node[o.name].Own, t.node[o.name].Doc = true, o.doc
	}
	for _, e := range extra {
		t.add(t.node, &t.nodeNames, []string{"node", e.name, e.typ, e.def, "", ""}, ScopeNode)
	}
	slices.Sort(t.nodeNames)
	return t
}

func (t *tables) add(to map[string]*Def, names *[]string, f []string, scope Scope) {
	d := &Def{Scope: scope, Name: f[1], Type: Type(slices.Index(typeNames, f[2])), Rule: f[4]}
	d.Internal = len(f) > 5 && f[5] == "internal"
	switch text := f[3]; {
	case text == "(required)":
		d.Required, d.Null = true, true
	case text == "null":
		d.Null = true
	case d.Type == List:
		d.Default = strings.ReplaceAll(strings.Trim(text, "[]"), ", ", ",")
	default:
		d.Default = strings.TrimPrefix(text, "class ")
	}
	to[d.Name] = d
	*names = append(*names, d.Name)
}

// makeDynamic marks a setting. Kafka lists a few dynamic settings that it doesn't declare with the node's (the
// replication throttles): they are per-broker rates in bytes a second.
func (t *tables) makeDynamic(f []string) {
	d, ok := t.node[f[1]]
	if !ok {
		t.add(t.node, &t.nodeNames, []string{"node", f[1], "LONG", "9223372036854775807", "[0,...]", ""}, ScopeNode)
		d = t.node[f[1]]
	}
	d.Dynamic = ClusterWide
	if f[2] == "per-broker" {
		d.Dynamic = PerBroker
	}
}

// Lookup returns a node setting, Kafka's or our own.
func Lookup(key string) (*Def, bool) {
	d, ok := table().node[key]
	return d, ok
}

// LookupTopic returns a topic setting.
func LookupTopic(key string) (*Def, bool) {
	d, ok := table().topic[key]
	return d, ok
}

// LookupGroup returns a group setting.
func LookupGroup(key string) (*Def, bool) {
	d, ok := table().group[key]
	return d, ok
}

// NodeKeys yields every node setting by name, internal ones included.
func NodeKeys() iter.Seq[string] { return slices.Values(table().nodeNames) }

// TopicKeys yields every topic setting by name, internal ones included.
func TopicKeys() iter.Seq[string] { return slices.Values(table().topicNames) }

// GroupKeys yields every group setting by name.
func GroupKeys() iter.Seq[string] { return slices.Values(table().groupNames) }

// Known tells whether key may stand in a node's properties file: one of Kafka's, one of ours, or one under a
// prefix whose rest Kafka passes on (listener.name.<listener>.<key> and plugins' own).
func Known(key string) bool {
	if _, ok := table().node[key]; ok {
		return true
	}
	return slices.ContainsFunc(passThrough, func(p string) bool {
		return strings.HasPrefix(key, p) && len(key) > len(p)
	})
}

// Sensitive tells whether a value must not be shown: passwords, and whatever isn't known.
func Sensitive(key string) bool {
	d, ok := table().node[key]
	if !ok {
		if i := strings.LastIndex(key, ".ssl."); i >= 0 {
			d, ok = table().node[key[i+1:]]
		} else if i := strings.LastIndex(key, ".sasl."); i >= 0 {
			d, ok = table().node[key[i+1:]]
		}
	}
	return !ok || d.Type == Password
}

// Nearest returns the known node setting that key most resembles, "" if none is near.
func Nearest(key string) string { return nearest(key, table().nodeNames) }

// NearestTopic is Nearest among the topic settings.
func NearestTopic(key string) string { return nearest(key, table().topicNames) }

func nearest(key string, names []string) string {
	if len(key) > 256 {
		return ""
	}
	best, least := "", len(key)/3+2
	for _, n := range names {
		if d := distance(key, n, least); d < least {
			best, least = n, d
		}
	}
	return best
}

// distance is Levenshtein's, given up at limit.
func distance(a, b string, limit int) int {
	if max(len(a)-len(b), len(b)-len(a)) >= limit {
		return limit
	}
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diag := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diag
			if a[i] != b[j] {
				cost = min(diag, row[j], row[j+1]) + 1
			}
			diag, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}
