package controller

import (
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/config"
	"github.com/kraft-dev/kraft-operator/internal/metadata"
)

// Topic settings that decide elections.
const (
	minISRConfig          = config.MinInsyncReplicas
	uncleanElectionConfig = config.UncleanLeaderElection
)

// configValue is one setting in force and where it comes from.
type configValue struct {
	name   string // of the setting that gave the value: the topic's own, or the node's it falls back to
	value  *string
	source kmsg.ConfigSource
}

// configLayers are the settings that a topic falls back to, strongest first.
type configLayers struct {
	node    map[string]string // this node's dynamic ones
	cluster map[string]string // the cluster's dynamic defaults
	static  map[string]string // this node's properties file
}

func (tx *tx) layers(s *state) configLayers { return layersOf(s, tx.cfg) }

func layersOf(s *state, cfg *Config) configLayers {
	return configLayers{
		node:    s.img.Config(metadata.ResourceBroker, strconv.Itoa(int(cfg.NodeID))),
		cluster: s.img.Config(metadata.ResourceBroker, ""),
		static:  cfg.Static,
	}
}

// topicValues lists where a topic setting could come from, strongest first; the first is in force.
func (l configLayers) topicValues(def *config.Def, topic map[string]string) []configValue {
	var out []configValue
	if v, ok := topic[def.Name]; ok {
		out = append(out, configValue{def.Name, &v, kmsg.ConfigSourceDynamicTopicConfig})
	}
	for _, layer := range []struct {
		from   map[string]string
		source kmsg.ConfigSource
	}{
		{l.node, kmsg.ConfigSourceDynamicBrokerConfig},
		{l.cluster, kmsg.ConfigSourceDynamicDefaultBrokerConfig},
		{l.static, kmsg.ConfigSourceStaticBrokerConfig},
	} {
		for _, name := range def.Synonyms {
			if v, ok := layer.from[name]; ok {
				v = inMilliseconds(name, v)
				out = append(out, configValue{name, &v, layer.source})
				break
			}
		}
	}
	name := def.Name
	if len(def.Synonyms) > 0 {
		name = def.Synonyms[0]
	}
	return append(out, configValue{name, defaultValue(def), kmsg.ConfigSourceDefaultConfig})
}

func defaultValue(def *config.Def) *string {
	if def.Null {
		return nil
	}
	v := def.Default
	return &v
}

// inMilliseconds converts a node setting in hours or minutes, to which a topic's in milliseconds falls back; -1 is no limit.
func inMilliseconds(name, value string) string {
	unit := int64(1)
	switch {
	case strings.HasSuffix(name, ".hours"):
		unit = 60 * 60 * 1000
	case strings.HasSuffix(name, ".minutes"):
		unit = 60 * 1000
	}
	n, err := strconv.ParseInt(strings.TrimSpace(value), 10, 64)
	if unit == 1 || err != nil || n < 0 {
		return value
	}
	return strconv.FormatInt(n*unit, 10)
}

// topicConfig is one topic setting in force, "" for none.
func (tx *tx) topicConfig(s *state, topic, name string) string {
	def, ok := config.LookupTopic(name)
	if !ok {
		return ""
	}
	v := tx.layers(s).topicValues(def, s.img.Config(metadata.ResourceTopic, topic))[0].value
	if v == nil {
		return ""
	}
	return strings.TrimSpace(*v)
}

// effectiveTopicConfigs lists all settings of a topic that is being created with these config records.
func (tx *tx) effectiveTopicConfigs(s *state, recs []metadata.Record) []kmsg.CreateTopicsResponseTopicConfig {
	own := map[string]string{}
	for _, rec := range recs {
		if c, ok := rec.(*metadata.ConfigRecord); ok && c.Value != nil {
			own[c.Name] = *c.Value
		}
	}
	layers := tx.layers(s)
	var out []kmsg.CreateTopicsResponseTopicConfig
	for name := range config.TopicKeys() {
		def, _ := config.LookupTopic(name)
		if def.Internal {
			continue
		}
		v := layers.topicValues(def, own)[0]
		c := kmsg.NewCreateTopicsResponseTopicConfig()
		c.Name, c.Value, c.Source, c.IsSensitive = name, v.value, int8(v.source), def.Type == config.Password
		if c.IsSensitive {
			c.Value = nil
		}
		out = append(out, c)
	}
	return out
}
