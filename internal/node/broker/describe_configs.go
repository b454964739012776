package broker

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/config"
	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/node/server"
)

// DescribeConfigs v1 to 4 (KIP-133, KIP-226, KIP-569): topics, this broker, the brokers' dynamic default and groups, with sources and synonyms.
// Left out: broker loggers and client metrics (INVALID_REQUEST); documentation, but of this project's own settings.

func (b *Broker) describeConfigs(r *server.Request, req *kmsg.DescribeConfigsRequest) {
	img := b.cfg.Loader.Current()
	resp := kmsg.NewPtrDescribeConfigsResponse()
	for i := range req.Resources {
		in := &req.Resources[i]
		out := kmsg.NewDescribeConfigsResponseResource()
		out.ResourceType, out.ResourceName = in.ResourceType, in.ResourceName
		entries, err, detail := b.configsOf(r, img, in)
		if err != nil {
			out.ErrorCode = err.Code
			if detail != "" {
				out.ErrorMessage = kmsg.StringPtr(detail)
			}
		}
		for _, e := range entries {
			if len(in.ConfigNames) == 0 || slices.Contains(in.ConfigNames, e.Name) {
				out.Configs = append(out.Configs, configEntry(e, req))
			}
		}
		resp.Resources = append(resp.Resources, out)
	}
	r.Reply(resp)
}

func (b *Broker) configsOf(r *server.Request, img *metadata.Image, in *kmsg.DescribeConfigsRequestResource) (entries []config.Entry, err *kerr.Error, detail string) {
	resolver := b.settings.Load().resolver
	switch in.ResourceType {
	case kmsg.ConfigResourceTypeTopic:
		if !b.topicAllowed(r, kmsg.ACLOperationDescribeConfigs, in.ResourceName) {
			return nil, kerr.TopicAuthorizationFailed, ""
		}
		if !validTopicName(in.ResourceName) {
			return nil, kerr.InvalidTopicException, ""
		}
		if _, ok := img.TopicByName(in.ResourceName); !ok {
			return nil, kerr.UnknownTopicOrPartition, ""
		}
		return resolver.DescribeTopic(img.Config(metadata.ResourceTopic, in.ResourceName)), nil, ""
	case kmsg.ConfigResourceTypeBroker:
		if !b.clusterAllowed(r, kmsg.ACLOperationDescribeConfigs) {
			return nil, kerr.ClusterAuthorizationFailed, ""
		}
		if in.ResourceName == "" {
			return resolver.DescribeDynamicDefault(), nil, ""
		}
		if in.ResourceName != strconv.Itoa(int(b.cfg.NodeID)) {
			return nil, kerr.InvalidRequest, fmt.Sprintf("Unexpected broker id, expected %d or empty string, but received %s", b.cfg.NodeID, in.ResourceName)
		}
		return resolver.DescribeBroker(), nil, ""
	case kmsg.ConfigResourceTypeGroupConfig:
		if !b.allowed(r, kmsg.ACLOperationDescribeConfigs, kmsg.ACLResourceTypeGroup, in.ResourceName) {
			return nil, kerr.GroupAuthorizationFailed, ""
		}
		return resolver.DescribeGroup(img.Config(metadata.ResourceGroup, in.ResourceName)), nil, ""
	}
	return nil, kerr.InvalidRequest, fmt.Sprintf("Resource type %d is not described by this broker", in.ResourceType)
}

func configEntry(e config.Entry, req *kmsg.DescribeConfigsRequest) kmsg.DescribeConfigsResponseResourceConfig {
	c := kmsg.NewDescribeConfigsResponseResourceConfig()
	c.Name, c.Value, c.ReadOnly, c.IsSensitive = e.Name, e.Value, e.ReadOnly, e.Sensitive
	c.Source, c.ConfigType = kmsg.ConfigSource(e.Source), kmsg.ConfigType(e.Type.Code())
	c.IsDefault = e.Source == config.SourceDefault
	if req.IncludeSynonyms {
		for _, s := range e.Synonyms {
			c.ConfigSynonyms = append(c.ConfigSynonyms, kmsg.DescribeConfigsResponseResourceConfigConfigSynonym{
				Name: s.Name, Value: s.Value, Source: kmsg.ConfigSource(s.Source),
			})
		}
	}
	if req.IncludeDocumentation && e.Doc != "" {
		c.Documentation = kmsg.StringPtr(e.Doc)
	}
	return c
}
