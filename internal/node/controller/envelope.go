package controller

import (
	"net/netip"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/node/auth"
	"github.com/kraft-dev/kraft-operator/internal/node/server"
	"github.com/kraft-dev/kraft-operator/internal/node/wire"
)

// unwrap opens an Envelope v0 (KIP-590): the request that a broker forwards, with its sender's principal and address.
// Its answer goes back inside the envelope's. An inner NOT_CONTROLLER becomes the envelope's own error, so that the
// broker tries another controller instead of passing it on.
func unwrap(outer *server.Request, req *kmsg.EnvelopeRequest) (*server.Request, *apiError) {
	var principal auth.Principal
	if err := principal.UnmarshalBinary(req.RequestPrincipal); err != nil {
		return nil, fail(kerr.PrincipalDeserializationFailure, "client principal from envelope: %v", err)
	}
	host, ok := netip.AddrFromSlice(req.ClientHostAddress)
	if !ok {
		return nil, fail(kerr.InvalidRequest, "client address from envelope has %d bytes", len(req.ClientHostAddress))
	}
	h, raw, err := wire.ParseRequestHeader(req.RequestData)
	if err != nil {
		return nil, fail(kerr.UnsupportedVersion, "request header from envelope: %v", err)
	}
	if api, ok := wire.Lookup(h.Key); !ok || !api.Forwardable {
		return nil, fail(kerr.InvalidRequest, "API %d is not enabled or is not eligible for forwarding", h.Key)
	}
	body, err := wire.DecodeRequest(h, raw)
	if err != nil {
		return nil, fail(kerr.UnsupportedVersion, "request from envelope: %v", err)
	}
	conn := outer.Conn
	conn.Principal = principal
	conn.RemoteAddr = netip.AddrPortFrom(host, 0)
	return server.Detached(h, body, conn, req.RequestData, outer.Received, func(a server.Answer) { rewrap(outer, h, a) }), nil
}

func rewrap(outer *server.Request, h wire.RequestHeader, a server.Answer) {
	resp := kmsg.NewPtrEnvelopeResponse()
	switch {
	case a.Closed != nil || a.Response == nil:
		resp.ErrorCode = kerr.UnknownServerError.Code
	case hasError(a.Response, kerr.NotController.Code):
		resp.ErrorCode = kerr.NotController.Code
	default:
		a.Response.SetVersion(h.Version)
		resp.ResponseData = wire.AppendResponse(nil, h.CorrelationID, a.Response)
	}
	outer.Reply(resp)
}

// hasError says whether a code stands anywhere in the answer to a request that may be forwarded.
func hasError(resp kmsg.Response, code int16) bool {
	switch resp := resp.(type) {
	case *kmsg.CreateTopicsResponse:
		return slices.ContainsFunc(resp.Topics, func(t kmsg.CreateTopicsResponseTopic) bool { return t.ErrorCode == code })
	case *kmsg.DeleteTopicsResponse:
		return slices.ContainsFunc(resp.Topics, func(t kmsg.DeleteTopicsResponseTopic) bool { return t.ErrorCode == code })
	case *kmsg.CreatePartitionsResponse:
		return slices.ContainsFunc(resp.Topics, func(t kmsg.CreatePartitionsResponseTopic) bool { return t.ErrorCode == code })
	case *kmsg.AlterConfigsResponse:
		return slices.ContainsFunc(resp.Resources, func(r kmsg.AlterConfigsResponseResource) bool { return r.ErrorCode == code })
	case *kmsg.IncrementalAlterConfigsResponse:
		return slices.ContainsFunc(resp.Resources, func(r kmsg.IncrementalAlterConfigsResponseResource) bool { return r.ErrorCode == code })
	case *kmsg.AlterClientQuotasResponse:
		return slices.ContainsFunc(resp.Entries, func(e kmsg.AlterClientQuotasResponseEntry) bool { return e.ErrorCode == code })
	case *kmsg.AlterUserSCRAMCredentialsResponse:
		return slices.ContainsFunc(resp.Results, func(r kmsg.AlterUserSCRAMCredentialsResponseResult) bool { return r.ErrorCode == code })
	case *kmsg.CreateACLsResponse:
		return slices.ContainsFunc(resp.Results, func(r kmsg.CreateACLsResponseResult) bool { return r.ErrorCode == code })
	case *kmsg.DeleteACLsResponse:
		return slices.ContainsFunc(resp.Results, func(r kmsg.DeleteACLsResponseResult) bool { return r.ErrorCode == code })
	}
	top, has := topLevelCode(resp)
	return has && top == code
}

// topLevelCode is the error of answers that have one for the whole request.
func topLevelCode(resp kmsg.Response) (code int16, has bool) {
	switch resp := resp.(type) {
	case *kmsg.ElectLeadersResponse:
		return resp.ErrorCode, true
	case *kmsg.AlterPartitionAssignmentsResponse:
		return resp.ErrorCode, true
	case *kmsg.ListPartitionReassignmentsResponse:
		return resp.ErrorCode, true
	case *kmsg.UnregisterBrokerResponse:
		return resp.ErrorCode, true
	case *kmsg.UpdateFeaturesResponse:
		return resp.ErrorCode, true
	case *kmsg.AllocateProducerIDsResponse:
		return resp.ErrorCode, true
	case *kmsg.DescribeQuorumResponse:
		return resp.ErrorCode, true
	case *kmsg.AddRaftVoterResponse:
		return resp.ErrorCode, true
	case *kmsg.RemoveRaftVoterResponse:
		return resp.ErrorCode, true
	case *kmsg.CreateDelegationTokenResponse:
		return resp.ErrorCode, true
	case *kmsg.RenewDelegationTokenResponse:
		return resp.ErrorCode, true
	case *kmsg.ExpireDelegationTokenResponse:
		return resp.ErrorCode, true
	}
	return 0, false
}
