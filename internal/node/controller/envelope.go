package controller

import (
	"net/netip"

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
	for _, c := range topicCodes(resp) {
		if c == code {
			return true
		}
	}
	for _, c := range resourceCodes(resp) {
		if c == code {
			return true
		}
	}
	switch resp := resp.(type) {
	case *kmsg.ElectLeadersResponse:
		return resp.ErrorCode == code
	case *kmsg.AlterPartitionAssignmentsResponse:
		return resp.ErrorCode == code
	case *kmsg.ListPartitionReassignmentsResponse:
		return resp.ErrorCode == code
	case *kmsg.UnregisterBrokerResponse:
		return resp.ErrorCode == code
	case *kmsg.UpdateFeaturesResponse:
		return resp.ErrorCode == code
	case *kmsg.AllocateProducerIDsResponse:
		return resp.ErrorCode == code
	case *kmsg.DescribeQuorumResponse:
		return resp.ErrorCode == code
	case *kmsg.AddRaftVoterResponse:
		return resp.ErrorCode == code
	case *kmsg.RemoveRaftVoterResponse:
		return resp.ErrorCode == code
	case *kmsg.CreateDelegationTokenResponse:
		return resp.ErrorCode == code
	case *kmsg.RenewDelegationTokenResponse:
		return resp.ErrorCode == code
	case *kmsg.ExpireDelegationTokenResponse:
		return resp.ErrorCode == code
	}
	return false
}

func topicCodes(resp kmsg.Response) (codes []int16) {
	switch resp := resp.(type) {
	case *kmsg.CreateTopicsResponse:
		for _, t := range resp.Topics {
			codes = append(codes, t.ErrorCode)
		}
	case *kmsg.DeleteTopicsResponse:
		for _, t := range resp.Topics {
			codes = append(codes, t.ErrorCode)
		}
	case *kmsg.CreatePartitionsResponse:
		for _, t := range resp.Topics {
			codes = append(codes, t.ErrorCode)
		}
	}
	return codes
}

func resourceCodes(resp kmsg.Response) (codes []int16) {
	switch resp := resp.(type) {
	case *kmsg.AlterConfigsResponse:
		for _, r := range resp.Resources {
			codes = append(codes, r.ErrorCode)
		}
	case *kmsg.IncrementalAlterConfigsResponse:
		for _, r := range resp.Resources {
			codes = append(codes, r.ErrorCode)
		}
	case *kmsg.AlterClientQuotasResponse:
		for _, e := range resp.Entries {
			codes = append(codes, e.ErrorCode)
		}
	case *kmsg.AlterUserSCRAMCredentialsResponse:
		for _, r := range resp.Results {
			codes = append(codes, r.ErrorCode)
		}
	case *kmsg.CreateACLsResponse:
		for _, r := range resp.Results {
			codes = append(codes, r.ErrorCode)
		}
	case *kmsg.DeleteACLsResponse:
		for _, r := range resp.Results {
			codes = append(codes, r.ErrorCode)
		}
	}
	return codes
}
