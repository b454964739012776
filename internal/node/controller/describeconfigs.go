package controller

import (
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/config"
	"github.com/kraft-dev/kraft-operator/internal/metadata"
)

// describeConfigs serves DescribeConfigs v1 to 4 from what is committed. A controller knows its own settings as a
// broker's, topics', groups' and client metrics' settings.
func describeConfigs(s *state, cfg *Config, who access, req *kmsg.DescribeConfigsRequest) kmsg.Response {
	resp := kmsg.NewPtrDescribeConfigsResponse()
	for _, r := range req.Resources {
		res := metadata.ConfigResource{Type: int8(r.ResourceType), Name: r.ResourceName}
		out := kmsg.NewDescribeConfigsResponseResource()
		out.ResourceType, out.ResourceName = r.ResourceType, r.ResourceName
		e := who.config(kmsg.ACLOperationDescribeConfigs, res)
		var entries []configEntry
		if e == nil {
			entries, e = configEntries(s, cfg, res)
		}
		out.ErrorCode, out.ErrorMessage = codeOf(e), e.text()
		for _, entry := range entries {
			if len(r.ConfigNames) == 0 || slices.Contains(r.ConfigNames, entry.name) {
				out.Configs = append(out.Configs, entry.answer(req))
			}
		}
		resp.Resources = append(resp.Resources, out)
	}
	return resp
}

// configEntry is one setting with all the values it could take, the one in force first.
type configEntry struct {
	name      string
	typ       config.Type
	sensitive bool
	readOnly  bool
	doc       string
	values    []configValue
}

func (c configEntry) answer(req *kmsg.DescribeConfigsRequest) kmsg.DescribeConfigsResponseResourceConfig {
	out := kmsg.NewDescribeConfigsResponseResourceConfig()
	out.Name, out.ReadOnly, out.IsSensitive = c.name, c.readOnly, c.sensitive
	out.ConfigType = kmsg.ConfigType(c.typ.Code())
	out.Source = c.values[0].source
	out.IsDefault = out.Source == kmsg.ConfigSourceDefaultConfig
	if !c.sensitive {
		out.Value = c.values[0].value
	}
	if req.IncludeDocumentation && c.doc != "" {
		out.Documentation = &c.doc
	}
	if !req.IncludeSynonyms {
		return out
	}
	for _, v := range c.values {
		syn := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
		syn.Name, syn.Source = v.name, v.source
		if !c.sensitive {
			syn.Value = v.value
		}
		out.ConfigSynonyms = append(out.ConfigSynonyms, syn)
	}
	return out
}

func configEntries(s *state, cfg *Config, res metadata.ConfigResource) ([]configEntry, *apiError) {
	switch res.Type {
	case metadata.ResourceTopic:
		if e := checkTopicName(res.Name); e != nil {
			return nil, e
		}
		if _, ok := s.img.TopicByName(res.Name); !ok {
			return nil, failCode(kerr.UnknownTopicOrPartition)
		}
		return topicEntries(s, cfg, res.Name), nil
	case metadata.ResourceBroker:
		switch res.Name {
		case "":
			return dynamicEntries(s.img.Config(res.Type, ""), kmsg.ConfigSourceDynamicDefaultBrokerConfig), nil
		case strconv.Itoa(int(cfg.NodeID)):
			return nodeEntries(s, cfg), nil
		}
		return nil, fail(kerr.InvalidRequest, "Unexpected broker id, expected %d or empty string, but received %s", cfg.NodeID, res.Name)
	case metadata.ResourceGroup:
		if res.Name == "" {
			return nil, fail(kerr.InvalidRequest, "Group name must not be empty")
		}
		return groupEntries(s, cfg, res.Name), nil
	case metadata.ResourceClientMetrics:
		if res.Name == "" {
			return nil, fail(kerr.InvalidRequest, "Client metrics subscription name must not be empty")
		}
		return dynamicEntries(s.img.Config(res.Type, res.Name), kmsg.ConfigSourceClientMetricsConfig), nil
	}
	return nil, fail(kerr.InvalidRequest, "Unsupported resource type: %s", resourceTypeName(res.Type))
}

func topicEntries(s *state, cfg *Config, topic string) []configEntry {
	layers, own := layersOf(s, cfg), s.img.Config(metadata.ResourceTopic, topic)
	var out []configEntry
	for name := range config.TopicKeys() {
		def, _ := config.LookupTopic(name)
		if !def.Internal {
			out = append(out, configEntry{name: name, typ: def.Type, doc: def.Doc, values: layers.topicValues(def, own)})
		}
	}
	return out
}

func groupEntries(s *state, cfg *Config, group string) []configEntry {
	own := s.img.Config(metadata.ResourceGroup, group)
	var out []configEntry
	for name := range config.GroupKeys() {
		def, _ := config.LookupGroup(name)
		e := configEntry{name: name, typ: def.Type, doc: def.Doc}
		if v, ok := own[name]; ok {
			e.values = append(e.values, configValue{name, &v, kmsg.ConfigSourceGroupConfig})
		}
		e.values = append(e.values, configValue{name, defaultValue(def), kmsg.ConfigSourceDefaultConfig})
		out = append(out, e)
	}
	return out
}

// dynamicEntries are settings of which only the dynamic values are asked.
func dynamicEntries(m map[string]string, source kmsg.ConfigSource) []configEntry {
	var out []configEntry
	for _, name := range sortedKeys(m) {
		e := configEntry{name: name, values: []configValue{{name, ptr(m[name]), source}}}
		if source == kmsg.ConfigSourceDynamicDefaultBrokerConfig {
			e.sensitive = config.Sensitive(name)
			if def, ok := config.Lookup(name); ok {
				e.typ, e.doc = def.Type, def.Doc
			}
		}
		out = append(out, e)
	}
	return out
}

// nodeEntries are all of this node's settings.
func nodeEntries(s *state, cfg *Config) []configEntry {
	layers := layersOf(s, cfg)
	var out []configEntry
	for name := range config.NodeKeys() {
		def, _ := config.Lookup(name)
		if def.Internal {
			continue
		}
		e := configEntry{name: name, typ: def.Type, doc: def.Doc, sensitive: config.Sensitive(name), readOnly: def.Dynamic == config.ReadOnly}
		for _, layer := range []struct {
			from   map[string]string
			source kmsg.ConfigSource
		}{
			{layers.node, kmsg.ConfigSourceDynamicBrokerConfig},
			{layers.cluster, kmsg.ConfigSourceDynamicDefaultBrokerConfig},
			{layers.static, kmsg.ConfigSourceStaticBrokerConfig},
		} {
			if v, ok := layer.from[name]; ok {
				e.values = append(e.values, configValue{name, &v, layer.source})
			}
		}
		e.values = append(e.values, configValue{name, defaultValue(def), kmsg.ConfigSourceDefaultConfig})
		out = append(out, e)
	}
	return out
}
