package controller

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"math"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/node/auth"
	"github.com/kraft-dev/kraft-operator/internal/node/server"
	"github.com/kraft-dev/kraft-operator/internal/node/wire"
)

func TestApiVersions(t *testing.T) {
	q := newQuorum(t, 1, 1, 2)
	q.start(1)
	for version, features := range map[int16]int{0: 1, 3: 1, 4: len(metadata.Supported())} {
		req := kmsg.NewPtrApiVersionsRequest()
		req.Version, req.ClientSoftwareName, req.ClientSoftwareVersion = version, "franz-go", "1.22.2"
		resp := apiVersions(q.nodes[2].core.committed.stable(), &q.nodes[2].core.cfg, req).(*kmsg.ApiVersionsResponse)
		require.Zero(t, resp.ErrorCode)
		require.Len(t, resp.SupportedFeatures, features, "version %d: a minimum of 0 is left out before 4", version)
		byKey := map[int16]kmsg.ApiVersionsResponseApiKey{}
		for _, k := range resp.ApiKeys {
			byKey[k.ApiKey] = k
		}
		require.EqualValues(t, 4, byKey[62].MaxVersion)
		require.EqualValues(t, 4, byKey[18].MaxVersion, "what Kafka 4.3 serves, not what the codec knows")
		require.NotContains(t, byKey, int16(3), "Metadata is a broker's")
		finalized := map[string]int16{}
		for _, f := range resp.FinalizedFeatures {
			finalized[f.Name] = f.MaxVersionLevel
		}
		require.EqualValues(t, 30, finalized["metadata.version"])
		require.EqualValues(t, 1, finalized["kraft.version"])
		require.Positive(t, resp.FinalizedFeaturesEpoch)
	}
	bad := kmsg.NewPtrApiVersionsRequest()
	bad.Version, bad.ClientSoftwareName, bad.ClientSoftwareVersion = 3, "no spaces", "1"
	require.Equal(t, kerr.InvalidRequest.Code, apiVersions(emptyState(), &q.nodes[1].core.cfg, bad).(*kmsg.ApiVersionsResponse).ErrorCode)
}

func TestDescribeCluster(t *testing.T) {
	q := newQuorum(t, 1, 1, 2)
	c := q.start(1)
	q.join(c, 101)
	q.register(c, 102, 1)
	req := kmsg.NewPtrDescribeClusterRequest()
	req.EndpointType = 2
	req.IncludeClusterAuthorizedOperations = true
	for _, id := range []int32{1, 2} {
		resp := do[*kmsg.DescribeClusterResponse](q, q.nodes[id].core, req)
		require.EqualValues(t, 1, resp.ControllerID)
		require.Equal(t, testCluster, resp.ClusterID)
		require.Len(t, resp.Brokers, 2)
		require.EqualValues(t, 9091, resp.Brokers[1].Port)
		require.NotZero(t, resp.ClusterAuthorizedOperations)
	}
	req = kmsg.NewPtrDescribeClusterRequest()
	req.EndpointType = 1
	resp := do[*kmsg.DescribeClusterResponse](q, c, req)
	require.Len(t, resp.Brokers, 1)
	require.EqualValues(t, math.MinInt32, resp.ClusterAuthorizedOperations)
	req.IncludeFencedBrokers = true
	require.Len(t, do[*kmsg.DescribeClusterResponse](q, c, req).Brokers, 2)
	req.EndpointType = 3
	require.Equal(t, kerr.UnsupportedEndpointType.Code, do[*kmsg.DescribeClusterResponse](q, c, req).ErrorCode)
}

func TestUpdateFeatures(t *testing.T) {
	type update = kmsg.UpdateFeaturesRequestFeatureUpdate
	for name, tc := range map[string]struct {
		in    []update
		want  *kerr.Error
		text  string
		level map[string]int16
	}{
		"off": {in: []update{{Feature: "group.version", MaxVersionLevel: 0, UpgradeType: 2}}, level: map[string]int16{"group.version": 0}},
		"several at once": {in: []update{{Feature: "share.version", MaxVersionLevel: 0, UpgradeType: 2}, {Feature: "transaction.version", MaxVersionLevel: 1, UpgradeType: 2}},
			level: map[string]int16{"share.version": 0, "transaction.version": 1}},
		"all or none": {in: []update{{Feature: "share.version", MaxVersionLevel: 0, UpgradeType: 2}, {Feature: "transaction.version", MaxVersionLevel: 9, UpgradeType: 1}},
			want: kerr.InvalidUpdateVersion, text: "only supports versions 0-2", level: map[string]int16{"share.version": 1}},
		"down without saying so": {in: []update{{Feature: "group.version", MaxVersionLevel: 0, UpgradeType: 1}}, want: kerr.InvalidUpdateVersion,
			text: "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade."},
		"unknown feature":      {in: []update{{Feature: "x", MaxVersionLevel: 1, UpgradeType: 1}}, want: kerr.InvalidUpdateVersion, text: "does not support this feature"},
		"unknown upgrade type": {in: []update{{Feature: "group.version", MaxVersionLevel: 0, UpgradeType: 7}}, want: kerr.InvalidUpdateVersion, text: "does not support the given upgrade type"},
		"metadata.version down across a change": {in: []update{{Feature: "metadata.version", MaxVersionLevel: 29, UpgradeType: 2}}, want: kerr.InvalidUpdateVersion,
			text: "might delete metadata information"},
		"metadata.version down unsafely": {in: []update{{Feature: "metadata.version", MaxVersionLevel: 29, UpgradeType: 3}}, want: kerr.InvalidUpdateVersion,
			text: "Unsafe metadata downgrade"},
		"metadata.version off": {in: []update{{Feature: "metadata.version", MaxVersionLevel: 0, UpgradeType: 3}}, want: kerr.InvalidUpdateVersion, text: "only supports versions 7-30"},
		"twice":                {in: []update{{Feature: "group.version"}, {Feature: "group.version"}}, want: kerr.InvalidRequest, text: "more than once"},
	} {
		t.Run(name, func(t *testing.T) {
			q := newQuorum(t, 1, 1)
			c := q.start(1)
			q.join(c, 101)
			req := kmsg.NewPtrUpdateFeaturesRequest()
			req.FeatureUpdates = tc.in
			dry := *req
			dry.ValidateOnly = true
			do[*kmsg.UpdateFeaturesResponse](q, c, &dry)
			require.EqualValues(t, 1, c.committed.stable().img.Feature("group.version"))
			resp := do[*kmsg.UpdateFeaturesResponse](q, c, req)
			want := int16(0)
			if tc.want != nil {
				want = tc.want.Code
			}
			require.Equal(t, want, resp.ErrorCode, strOf(resp.ErrorMessage))
			require.Contains(t, strOf(resp.ErrorMessage), tc.text)
			for f, level := range tc.level {
				require.Equal(t, level, c.committed.stable().img.Feature(f), f)
			}
		})
	}
}

func TestUpgradesAskEveryBrokerAndController(t *testing.T) {
	q := newQuorum(t, 1, 1, 2)
	for _, n := range q.nodes {
		n.core.cfg.BootstrapRecords = []metadata.Record{featureLevel("metadata.version", 25)}
	}
	c := q.start(1)
	old := registration(101, 1)
	old.Features[0].MaxSupportedVersion = 28
	require.Zero(t, do[*kmsg.BrokerRegistrationResponse](q, c, old).ErrorCode)
	up := func(level int16) string {
		req := kmsg.NewPtrUpdateFeaturesRequest()
		req.FeatureUpdates = []kmsg.UpdateFeaturesRequestFeatureUpdate{{Feature: "metadata.version", MaxVersionLevel: level, UpgradeType: 1}}
		return strOf(do[*kmsg.UpdateFeaturesResponse](q, c, req).ErrorMessage)
	}
	require.Contains(t, up(30), "Broker 101 only supports versions 7-28")
	require.Contains(t, up(28), "controller 2 has not registered")
	reg := kmsg.NewPtrControllerRegistrationRequest()
	reg.ControllerID = 2
	reg.Features = []kmsg.ControllerRegistrationRequestFeature{{Name: "metadata.version", MinSupportedVersion: 7, MaxSupportedVersion: 27}}
	require.Zero(t, do[*kmsg.ControllerRegistrationResponse](q, c, reg).ErrorCode)
	require.Contains(t, up(28), "Controller 2 only supports versions 7-27")
	require.Empty(t, up(27))
	require.EqualValues(t, 27, c.committed.stable().img.MetadataVersion())

	elr := kmsg.NewPtrUpdateFeaturesRequest()
	elr.FeatureUpdates = []kmsg.UpdateFeaturesRequestFeatureUpdate{{Feature: metadata.FeatureELRVersion, MaxVersionLevel: 1, UpgradeType: 1}}
	require.Contains(t, strOf(do[*kmsg.UpdateFeaturesResponse](q, c, elr).ErrorMessage), "does not support this feature")
}

func TestProducerIDBlocksNeverOverlapAcrossFailovers(t *testing.T) {
	q := newQuorum(t, 1, 1, 2)
	c := q.start(1)
	epochs := q.join(c, 101)
	next := int64(0)
	for i := range 6 {
		req := kmsg.NewPtrAllocateProducerIDsRequest()
		req.BrokerID, req.BrokerEpoch = 101, epochs[101]
		resp := do[*kmsg.AllocateProducerIDsResponse](q, c, req)
		require.Zero(t, resp.ErrorCode)
		require.Equal(t, next, resp.ProducerIDStart)
		require.EqualValues(t, 1000, resp.ProducerIDLen)
		next += 1000
		c = q.start(int32(1 + i%2))
	}
	req := kmsg.NewPtrAllocateProducerIDsRequest()
	req.BrokerID = 101
	require.Equal(t, kerr.StaleBrokerEpoch.Code, do[*kmsg.AllocateProducerIDsResponse](q, c, req).ErrorCode)
}

func TestClientQuotas(t *testing.T) {
	q := newQuorum(t, 1, 1, 2)
	c := q.start(1)
	alter := func(key string, value float64, remove bool, entity ...kmsg.AlterClientQuotasRequestEntryEntity) int16 {
		req := kmsg.NewPtrAlterClientQuotasRequest()
		req.Entries = []kmsg.AlterClientQuotasRequestEntry{{Entity: entity, Ops: []kmsg.AlterClientQuotasRequestEntryOp{{Key: key, Value: value, Remove: remove}}}}
		return do[*kmsg.AlterClientQuotasResponse](q, c, req).Entries[0].ErrorCode
	}
	user := kmsg.AlterClientQuotasRequestEntryEntity{Type: "user", Name: ptr("alice")}
	ip := kmsg.AlterClientQuotasRequestEntryEntity{Type: "ip", Name: ptr("10.0.0.1")}
	require.Zero(t, alter("producer_byte_rate", 1024, false, user))
	require.Equal(t, map[string]float64{"producer_byte_rate": 1024}, c.committed.stable().img.Quota([]metadata.QuotaEntity{{EntityType: "user", EntityName: ptr("alice")}}))
	for _, bad := range []int16{
		alter("nope", 1, false, user), alter("producer_byte_rate", 0, false, user), alter("producer_byte_rate", 1.5, false, user),
		alter("producer_byte_rate", 1, false, ip), alter("connection_creation_rate", 1, false, ip, user), alter("producer_byte_rate", 1, false),
		alter("producer_byte_rate", 1, false, kmsg.AlterClientQuotasRequestEntryEntity{Type: "x"}), alter("producer_byte_rate", 1, false, user, user),
	} {
		require.Equal(t, kerr.InvalidRequest.Code, bad)
	}
	require.Zero(t, alter("producer_byte_rate", 0, true, user))
	require.Nil(t, c.committed.stable().img.Quota([]metadata.QuotaEntity{{EntityType: "user", EntityName: ptr("alice")}}))
	q.requireConverged()
}

func TestScramCredentials(t *testing.T) {
	q := newQuorum(t, 1, 1)
	c := q.start(1)
	// RFC 7677: user "user", password "pencil".
	salt := []byte{0x5b, 0x6d, 0x99, 0x68, 0x9d, 0x12, 0x35, 0x8e, 0xec, 0xa0, 0x4b, 0x14, 0x12, 0x36, 0xfa, 0x81}
	salted, err := pbkdf2.Key(sha256.New, "pencil", salt, 4096, 32)
	require.NoError(t, err)
	alter := func(ups []kmsg.AlterUserSCRAMCredentialsRequestUpsertion, dels ...kmsg.AlterUserSCRAMCredentialsRequestDeletion) int16 {
		req := kmsg.NewPtrAlterUserSCRAMCredentialsRequest()
		req.Upsertions, req.Deletions = ups, dels
		return do[*kmsg.AlterUserSCRAMCredentialsResponse](q, c, req).Results[0].ErrorCode
	}
	good := kmsg.AlterUserSCRAMCredentialsRequestUpsertion{Name: "user", Mechanism: 1, Iterations: 4096, Salt: salt, SaltedPassword: salted}
	few, many, odd := good, good, good
	few.Iterations, many.Iterations, odd.Mechanism = 4095, 16385, 3
	type ups = []kmsg.AlterUserSCRAMCredentialsRequestUpsertion
	require.Equal(t, kerr.UnacceptableCredential.Code, alter(ups{few}))
	require.Equal(t, kerr.UnacceptableCredential.Code, alter(ups{many}))
	require.Equal(t, kerr.UnsupportedSaslMechanism.Code, alter(ups{odd}))
	require.Equal(t, kerr.DuplicateResource.Code, alter(ups{good, good}))
	require.Equal(t, kerr.ResourceNotFound.Code, alter(nil, kmsg.AlterUserSCRAMCredentialsRequestDeletion{Name: "user", Mechanism: 1}))
	require.Zero(t, alter(ups{good}))
	cred, ok := c.committed.stable().img.ScramCredential(1, "user")
	require.True(t, ok)
	require.EqualValues(t, 4096, cred.Iterations)
	require.Len(t, cred.StoredKey, 32)
	require.NotEqual(t, cred.StoredKey, salted)
	require.Zero(t, alter(nil, kmsg.AlterUserSCRAMCredentialsRequestDeletion{Name: "user", Mechanism: 1}))
}

func TestWhatAClusterWithoutSecurityRefuses(t *testing.T) {
	q := newQuorum(t, 1, 1)
	c := q.start(1)
	require.Equal(t, kerr.SecurityDisabled.Code, do[*kmsg.DescribeACLsResponse](q, c, kmsg.NewPtrDescribeACLsRequest()).ErrorCode)
	create := kmsg.NewPtrCreateACLsRequest()
	create.Creations = make([]kmsg.CreateACLsRequestCreation, 2)
	require.Len(t, do[*kmsg.CreateACLsResponse](q, c, create).Results, 2)
	require.Equal(t, kerr.DelegationTokenAuthDisabled.Code, do[*kmsg.CreateDelegationTokenResponse](q, c, kmsg.NewPtrCreateDelegationTokenRequest()).ErrorCode)
	require.Equal(t, kerr.IllegalSaslState.Code, do[*kmsg.SASLHandshakeResponse](q, c, kmsg.NewPtrSASLHandshakeRequest()).ErrorCode)
}

// only lets one operation on one topic through.
type only struct {
	op    kmsg.ACLOperation
	topic string
}

func (o only) Authorize(_ auth.Subject, a auth.Action) bool {
	return a.Operation == o.op && a.ResourceName == o.topic
}

func TestAuthorization(t *testing.T) {
	q := newQuorum(t, 1, 1)
	c := q.start(1)
	q.join(c, 101)
	q.create(c, newTopic("mine", 1, 1))
	c.cfg.Authorizer = only{kmsg.ACLOperationCreate, "new"}
	req := newTopic("new", 1, 1)
	req.Topics = append(req.Topics, newTopic("other", 1, 1).Topics...)
	resp := do[*kmsg.CreateTopicsResponse](q, c, req)
	require.Zero(t, resp.Topics[0].ErrorCode)
	require.Equal(t, kerr.TopicAuthorizationFailed.Code, resp.Topics[0].ConfigErrorCode, "its settings may not be seen")
	require.Equal(t, kerr.TopicAuthorizationFailed.Code, resp.Topics[1].ErrorCode)
	require.Equal(t, kerr.ClusterAuthorizationFailed.Code, do[*kmsg.BrokerRegistrationResponse](q, c, registration(102, 1)).ErrorCode)
	del := kmsg.NewPtrDeleteTopicsRequest()
	id := c.committed.stable().img
	topic, _ := id.TopicByName("mine")
	del.Topics = []kmsg.DeleteTopicsRequestTopic{{TopicID: topic.ID}, {Topic: ptr("mine")}, {Topic: ptr("nope")}}
	for _, rt := range do[*kmsg.DeleteTopicsResponse](q, c, del).Topics {
		require.Equal(t, kerr.TopicAuthorizationFailed.Code, rt.ErrorCode)
		if rt.TopicID != ([16]byte{}) {
			require.Nil(t, rt.Topic, "an id is no way to learn a name")
		}
	}
	alter := do[*kmsg.IncrementalAlterConfigsResponse](q, c, incremental(opOf{kmsg.ConfigResourceTypeTopic, "mine", "retention.ms", 0, ptr("1")}))
	require.Equal(t, kerr.TopicAuthorizationFailed.Code, alter.Resources[0].ErrorCode)
}

// envelope wraps a request as a broker forwards it.
func envelope(t *testing.T, inner kmsg.Request) *kmsg.EnvelopeRequest {
	env := kmsg.NewPtrEnvelopeRequest()
	api, _ := wire.Lookup(inner.Key())
	inner.SetVersion(api.Max)
	env.RequestData = wire.AppendRequest(nil, ptr("client"), 77, inner)[4:] // header and body, without the size
	var err error
	env.RequestPrincipal, err = auth.Principal{Type: "User", Name: "alice"}.AppendBinary(nil)
	require.NoError(t, err)
	env.ClientHostAddress = netip.MustParseAddr("10.1.2.3").AsSlice()
	return env
}

func TestEnvelope(t *testing.T) {
	q := newQuorum(t, 1, 1, 2)
	c := q.start(1)
	q.join(c, 101)
	send := func(core *core, env *kmsg.EnvelopeRequest) *kmsg.EnvelopeResponse {
		var got kmsg.Response
		outer := q.request(env, func(a server.Answer) { got = a.Response })
		inner, e := unwrap(outer, env)
		if e != nil {
			return errorResponse(env, e).(*kmsg.EnvelopeResponse)
		}
		require.Equal(t, "User:alice", inner.Conn.Principal.String())
		require.Equal(t, "10.1.2.3", inner.Conn.Subject().Host.String())
		core.handle(inner, q.now)
		q.commit()
		return got.(*kmsg.EnvelopeResponse)
	}
	create := newTopic("a", 1, 1)
	create.TimeoutMillis = 1000
	resp := send(c, envelope(t, create))
	require.Zero(t, resp.ErrorCode)
	correlation, body, err := wire.ParseResponseHeader(19, 7, resp.ResponseData)
	require.NoError(t, err)
	require.EqualValues(t, 77, correlation)
	created := kmsg.NewPtrCreateTopicsResponse()
	created.Version = 7
	require.NoError(t, wire.DecodeResponse(created, body))
	require.Zero(t, created.Topics[0].ErrorCode)

	require.Equal(t, kerr.NotController.Code, send(q.nodes[2].core, envelope(t, newTopic("b", 1, 1))).ErrorCode, "the broker looks for another")
	require.Equal(t, kerr.InvalidRequest.Code, send(c, envelope(t, heartbeat(101, 1, 1))).ErrorCode, "not forwardable")
	bad := envelope(t, create)
	bad.RequestPrincipal = []byte{1}
	require.Equal(t, kerr.PrincipalDeserializationFailure.Code, send(c, bad).ErrorCode)
	bad = envelope(t, create)
	bad.ClientHostAddress = []byte{1}
	require.Equal(t, kerr.InvalidRequest.Code, send(c, bad).ErrorCode)
	bad = envelope(t, create)
	bad.RequestData = bad.RequestData[:len(bad.RequestData)-2]
	require.Equal(t, kerr.UnsupportedVersion.Code, send(c, bad).ErrorCode)
}

func TestEveryAPIHasItsErrorAnswer(t *testing.T) {
	for _, api := range wire.APIsFor(wire.ControllerListener) {
		req := kmsg.RequestForKey(api.Key)
		req.SetVersion(api.Max)
		resp := errorResponse(req, errNotController)
		require.Equal(t, api.Key, resp.Key(), api.Name)
		require.Equal(t, api.Max, resp.GetVersion())
		require.IsType(t, req.ResponseKind(), resp)
	}
}

func TestLateRequestsTimeOutAndLateHeartbeatsOnlyCount(t *testing.T) {
	q := newQuorum(t, 1, 1)
	c := q.start(1)
	epoch := q.register(c, 101, 1)
	hb := q.request(heartbeat(101, epoch, 99), func(a server.Answer) {
		require.Equal(t, kerr.RequestTimedOut.Code, a.Response.(*kmsg.BrokerHeartbeatResponse).ErrorCode)
	})
	q.now = q.now.Add(1100 * time.Millisecond)
	c.handle(hb, q.now)
	require.EqualValues(t, 99, c.hb.brokers[101].metadataOffset)
	require.True(t, c.hb.brokers[101].fenced)
}
