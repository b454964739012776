package broker

import (
	"regexp"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/node/server"
)

// ApiVersions v0 to 4 (KIP-35, KIP-511, KIP-584): the APIs that this broker serves. The versions of forwarded APIs are this build's own, not
// intersected with the active controller's.

// produceToldMin is the least version of Produce that clients are told, although 3 is the least that is served: librdkafka takes a broker
// without v0 for one that knows no compression but zstd, and sends everything else uncompressed (KAFKA-18659; Kafka does the same).
const (
	produceKey     = 0
	produceToldMin = 0
)

// softwareName is what a client may call itself (KIP-511).
var softwareName = regexp.MustCompile(`^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?$`)

func (b *Broker) apiVersions(r *server.Request, req *kmsg.ApiVersionsRequest) {
	resp := kmsg.NewPtrApiVersionsResponse()
	if req.Version >= 3 && (!softwareName.MatchString(req.ClientSoftwareName) || !softwareName.MatchString(req.ClientSoftwareVersion)) {
		resp.ErrorCode = kerr.InvalidRequest.Code
		r.Reply(resp)
		return
	}
	for _, a := range b.APIs() {
		if a.Key == produceKey {
			a.Min = produceToldMin
		}
		resp.ApiKeys = append(resp.ApiKeys, kmsg.ApiVersionsResponseApiKey{ApiKey: a.Key, MinVersion: a.Min, MaxVersion: a.Max})
	}
	for _, f := range metadata.Supported() {
		if f.Min == 0 && req.Version < 4 {
			continue // older clients take a minimum of 0 for an error
		}
		resp.SupportedFeatures = append(resp.SupportedFeatures, kmsg.ApiVersionsResponseSupportedFeature{Name: f.Name, MinVersion: f.Min, MaxVersion: f.Max})
	}
	img := b.cfg.Loader.Current()
	resp.FinalizedFeaturesEpoch = -1
	if img.Offset >= 0 {
		resp.FinalizedFeaturesEpoch = b.featuresEpoch.Load()
	}
	for name, level := range img.Features() {
		resp.FinalizedFeatures = append(resp.FinalizedFeatures, kmsg.ApiVersionsResponseFinalizedFeature{Name: name, MaxVersionLevel: level, MinVersionLevel: level})
	}
	if b.cfg.KRaftVersion != nil {
		if v := b.cfg.KRaftVersion(); v > 0 {
			resp.FinalizedFeatures = append(resp.FinalizedFeatures, kmsg.ApiVersionsResponseFinalizedFeature{Name: metadata.FeatureKRaftVersion, MaxVersionLevel: v, MinVersionLevel: v})
		}
	}
	r.Reply(resp)
}
