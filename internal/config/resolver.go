package config

import (
	"slices"
	"strconv"
	"strings"
)

// Source is where a value comes from, as DescribeConfigs numbers it.
type Source int8

const (
	SourceTopic                Source = 1
	SourceDynamicBroker        Source = 2
	SourceDynamicDefaultBroker Source = 3
	SourceStaticBroker         Source = 4
	SourceDefault              Source = 5
	SourceGroup                Source = 8
)

// Synonym is one of the places where a setting's value is looked for.
type Synonym struct {
	Name   string
	Value  *string // nil for null and for what must not be shown
	Source Source
}

// Entry is one setting as DescribeConfigs shows it.
type Entry struct {
	Name      string
	Value     *string // nil for null and for what must not be shown
	Source    Source
	ReadOnly  bool
	Sensitive bool
	Type      Type
	Synonyms  []Synonym // every place that has a value, the one that counts first
	Doc       string
}

// Resolver answers what a setting's value is, from the narrowest place that has one: the topic's or the
// broker's own dynamic value, the cluster's dynamic default, the properties file, Kafka's default. It holds
// the maps of one metadata image and is cheap to make again for the next. Broker is nil on a controller.
type Resolver struct {
	Static  *Config
	Default map[string]string // dynamic, broker resource ""
	Broker  map[string]string // dynamic, this broker's resource
}

// unitMs are the node settings that a topic's milliseconds come from in another unit.
var unitMs = map[string]int64{
	"log.retention.minutes": 60_000, "log.retention.hours": 3_600_000,
	"log.roll.hours": 3_600_000, "log.roll.jitter.hours": 3_600_000,
}

// layered returns the node setting's value and source without the settings it falls back to; ok is false for
// null.
func (r *Resolver) layered(key string) (value string, source Source, ok bool) {
	if v, set := r.Broker[key]; set {
		return v, SourceDynamicBroker, true
	}
	if v, set := r.Default[key]; set {
		return v, SourceDynamicDefaultBroker, true
	}
	if v, set := r.Static.props[key]; set {
		return strings.TrimSpace(v), SourceStaticBroker, true
	}
	if d, known := table().node[key]; known && !d.Null {
		return d.Default, SourceDefault, true
	}
	return "", SourceDefault, false
}

// Value is a node setting's text in force, dynamic values included; "" for null.
func (r *Resolver) Value(key string) string { v, _, _ := r.layered(key); return v }

// Int64 is Value as a number.
func (r *Resolver) Int64(key string) int64 { return parseInt64(r.Value(key)) }

// Int is Value as a number.
func (r *Resolver) Int(key string) int { return int(r.Int64(key)) }

// Bool is Value as a boolean.
func (r *Resolver) Bool(key string) bool { return strings.EqualFold(r.Value(key), "true") }

// TopicDefault is the value of a topic setting for a topic that doesn't set it: the first of its synonyms that
// has a value, in the topic's unit.
func (r *Resolver) TopicDefault(key string) string {
	d := table().topic[key]
	for _, syn := range d.Synonyms {
		if v, _, ok := r.layered(syn); ok {
			return inTopicUnit(syn, v)
		}
	}
	return d.Default
}

func inTopicUnit(key, value string) string {
	unit := unitMs[key]
	if unit == 0 {
		return value
	}
	n := parseInt64(value)
	if n < 0 {
		return value // -1: without limit
	}
	return strconv.FormatInt(n*unit, 10)
}

// TopicValue is a topic setting in force for a topic whose own settings are overrides.
func (r *Resolver) TopicValue(overrides map[string]string, key string) string {
	if v, ok := overrides[key]; ok {
		return strings.TrimSpace(v)
	}
	return r.TopicDefault(key)
}

// DescribeTopic is every topic setting for a topic whose own settings are overrides, by name.
func (r *Resolver) DescribeTopic(overrides map[string]string) []Entry {
	var out []Entry
	for _, name := range table().topicNames {
		d := table().topic[name]
		if d.Internal {
			continue
		}
		e := Entry{Name: name, Type: d.Type, Source: SourceDefault}
		if len(d.Synonyms) > 0 {
			e.Synonyms = r.synonyms(d.Synonyms[0])
		}
		if v, ok := overrides[name]; ok {
			e.Synonyms = slices.Insert(e.Synonyms, 0, Synonym{name, &v, SourceTopic})
		}
		if len(e.Synonyms) > 0 {
			e.Source = e.Synonyms[0].Source
		}
		v := r.TopicValue(overrides, name)
		e.Value = &v
		out = append(out, e)
	}
	return out
}

// fallbacks are the node settings that share one meaning, in Kafka's order.
var fallbacks = [][]string{
	{"log.retention.ms", "log.retention.minutes", "log.retention.hours"},
	{"log.roll.ms", "log.roll.hours"},
	{"log.roll.jitter.ms", "log.roll.jitter.hours"},
	{"log.flush.interval.ms", "log.flush.scheduler.interval.ms"},
}

func nodeSynonyms(key string) []string {
	for _, f := range fallbacks {
		if i := slices.Index(f, key); i >= 0 {
			return f[i:]
		}
	}
	return []string{key}
}

// synonyms lists the places that have a value for a node setting: by source first, then by name. As in Kafka
// the list starts with key itself: what a fallback alone says is left out.
func (r *Resolver) synonyms(key string) []Synonym {
	var out []Synonym
	names := nodeSynonyms(key)
	add := func(source Source, from map[string]string) {
		for _, n := range names {
			if v, ok := from[n]; ok {
				out = append(out, Synonym{n, shown(n, v), source})
			}
		}
	}
	add(SourceDynamicBroker, r.Broker)
	add(SourceDynamicDefaultBroker, r.Default)
	add(SourceStaticBroker, r.Static.props)
	for _, n := range names {
		if d, ok := table().node[n]; ok && !d.Null {
			out = append(out, Synonym{n, shown(n, d.Default), SourceDefault})
		}
	}
	start := slices.IndexFunc(out, func(s Synonym) bool { return s.Name == key })
	if start < 0 {
		return nil
	}
	return out[start:]
}

func shown(key, value string) *string {
	if Sensitive(key) {
		return nil
	}
	return &value
}

// DescribeBroker is every node setting, by name, and what else the layers hold.
func (r *Resolver) DescribeBroker() []Entry {
	names := slices.Clone(table().nodeNames)
	for _, layer := range []map[string]string{r.Broker, r.Default, r.Static.props} {
		for k := range layer {
			if _, ok := table().node[k]; !ok {
				names = append(names, k)
			}
		}
	}
	slices.Sort(names)
	var out []Entry
	for _, name := range slices.Compact(names) {
		if d, ok := table().node[name]; ok && d.Internal {
			continue
		}
		out = append(out, r.describeNode(name))
	}
	return out
}

func (r *Resolver) describeNode(name string) Entry {
	e := Entry{Name: name, Sensitive: Sensitive(name), Source: SourceDefault, Synonyms: r.synonyms(name)}
	if d, ok := table().node[name]; ok {
		e.Type, e.ReadOnly, e.Doc = d.Type, d.Dynamic == ReadOnly, d.Doc
	}
	if len(e.Synonyms) > 0 {
		e.Source = e.Synonyms[0].Source
	}
	if v, _, ok := r.layered(name); ok && !e.Sensitive {
		e.Value = &v
	}
	return e
}

// DescribeDynamicDefault is the cluster's dynamic default: only what is set there.
func (r *Resolver) DescribeDynamicDefault() []Entry {
	var out []Entry
	for _, name := range sortedKeys(r.Default) {
		v := shown(name, r.Default[name])
		e := Entry{Name: name, Value: v, Sensitive: Sensitive(name), Source: SourceDynamicDefaultBroker,
			Synonyms: []Synonym{{name, v, SourceDynamicDefaultBroker}}}
		if d, ok := table().node[name]; ok {
			e.Type = d.Type
		}
		out = append(out, e)
	}
	return out
}

// DescribeGroup is every group setting for a group whose own settings are overrides. Where the group sets
// none, the node's group.<setting> counts.
func (r *Resolver) DescribeGroup(overrides map[string]string) []Entry {
	var out []Entry
	for _, name := range table().groupNames {
		d := table().group[name]
		e := Entry{Name: name, Type: d.Type, Source: SourceDefault}
		v := d.Default
		if _, ok := table().node["group."+name]; ok {
			e.Synonyms = r.synonyms("group." + name)
			v, e.Source, _ = r.layered("group." + name)
		}
		if own, ok := overrides[name]; ok {
			v, e.Source = own, SourceGroup
			e.Synonyms = slices.Insert(e.Synonyms, 0, Synonym{name, &own, SourceGroup})
		}
		e.Value = &v
		out = append(out, e)
	}
	return out
}
