package controller

import (
	"regexp"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/node/wire"
)

// clientSoftware is what a client may call itself (KIP-511).
var clientSoftware = regexp.MustCompile(`^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?$`)

// apiVersions serves ApiVersions v0 to 4 on a controller's listener: what this node serves, whoever leads.
func apiVersions(s *state, cfg *Config, req *kmsg.ApiVersionsRequest) kmsg.Response {
	resp := kmsg.NewPtrApiVersionsResponse()
	if req.Version >= 3 && (!clientSoftware.MatchString(req.ClientSoftwareName) || !clientSoftware.MatchString(req.ClientSoftwareVersion)) {
		resp.ErrorCode = kerr.InvalidRequest.Code
		return resp
	}
	for _, api := range wire.APIsFor(wire.ControllerListener) {
		k := kmsg.NewApiVersionsResponseApiKey()
		k.ApiKey, k.MinVersion, k.MaxVersion = api.Key, api.Min, api.Max
		resp.ApiKeys = append(resp.ApiKeys, k)
	}
	for _, f := range metadata.Supported() {
		if f.Min == 0 && req.Version < 4 {
			continue // older clients refuse a minimum of 0 (KIP-1022)
		}
		sf := kmsg.NewApiVersionsResponseSupportedFeature()
		sf.Name, sf.MinVersion, sf.MaxVersion = f.Name, f.Min, f.Max
		resp.SupportedFeatures = append(resp.SupportedFeatures, sf)
	}
	finalized := s.img.Features()
	if v := cfg.KRaftVersion(); v > 0 {
		finalized[metadata.FeatureKRaftVersion] = v
	}
	resp.FinalizedFeaturesEpoch = s.featuresOffset
	for _, name := range sortedKeys(finalized) {
		ff := kmsg.NewApiVersionsResponseFinalizedFeature()
		ff.Name, ff.MinVersionLevel, ff.MaxVersionLevel = name, finalized[name], finalized[name]
		resp.FinalizedFeatures = append(resp.FinalizedFeatures, ff)
	}
	return resp
}
