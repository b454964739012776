package raft

import (
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/node/rpc"
	"github.com/kraft-dev/kraft-operator/internal/quorum"
)

// AddRaftVoter v0 and 1, RemoveRaftVoter v0 (KIP-853, KIP-1186), and the ApiVersions by which a leader asks a voter to be
// for its range of kraft.version. TimeoutMillis is not used, as in Kafka: the request timeout of the quorum is.

func fromVoterRequest(body kmsg.Request) quorum.Message {
	switch req := body.(type) {
	case *kmsg.AddRaftVoterRequest:
		m := &quorum.AddVoterRequest{ClusterID: req.ClusterID, Voter: replicaKey(req.VoterID, req.VoterDirectoryID),
			AckWhenCommitted: req.Version < 1 || req.AckWhenCommitted}
		for _, l := range req.Listeners {
			m.Endpoints = append(m.Endpoints, quorum.Endpoint{Listener: l.Name, Host: l.Host, Port: l.Port})
		}
		return m
	case *kmsg.ElectLeadersRequest:
		m, _ := fromTransfer(req)
		return m
	case *kmsg.RemoveRaftVoterRequest:
		return &quorum.RemoveVoterRequest{ClusterID: req.ClusterID, Voter: replicaKey(req.VoterID, req.VoterDirectoryID)}
	}
	return nil
}

func toVoterRequest(m quorum.Message) (kmsg.Request, []rpc.Option) {
	switch m := m.(type) {
	case *quorum.ApiVersionsRequest:
		req := kmsg.NewPtrApiVersionsRequest()
		req.ClientSoftwareName, req.ClientSoftwareVersion = "kraftd", "0"
		return req, nil
	case *quorum.AddVoterRequest:
		req := kmsg.NewPtrAddRaftVoterRequest()
		req.ClusterID = m.ClusterID
		req.VoterID, req.VoterDirectoryID, req.AckWhenCommitted = int32(m.Voter.ID), m.Voter.DirectoryID, m.AckWhenCommitted
		for _, e := range m.Endpoints {
			l := kmsg.NewAddRaftVoterRequestListener()
			l.Name, l.Host, l.Port = e.Listener, e.Host, e.Port
			req.Listeners = append(req.Listeners, l)
		}
		if !m.AckWhenCommitted {
			return req, []rpc.Option{rpc.MinVersion(1)} // the flag can't be dropped
		}
		return req, nil
	case *quorum.RemoveVoterRequest:
		req := kmsg.NewPtrRemoveRaftVoterRequest()
		req.ClusterID, req.VoterID, req.VoterDirectoryID = m.ClusterID, int32(m.Voter.ID), m.Voter.DirectoryID
		return req, nil
	}
	return nil, nil
}

func fromVoterResponse(resp kmsg.Response) quorum.Message {
	switch r := resp.(type) {
	case *kmsg.ApiVersionsResponse:
		m := &quorum.ApiVersionsResponse{Error: quorum.ErrorCode(r.ErrorCode)}
		for _, f := range r.SupportedFeatures {
			if f.Name == metadata.FeatureKRaftVersion {
				m.KRaftVersion = &quorum.VersionRange{Min: f.MinVersion, Max: f.MaxVersion}
			}
		}
		return m
	case *kmsg.AddRaftVoterResponse:
		return &quorum.AddVoterResponse{Error: quorum.ErrorCode(r.ErrorCode), Text: textOf(r.ErrorMessage)}
	case *kmsg.RemoveRaftVoterResponse:
		return &quorum.RemoveVoterResponse{Error: quorum.ErrorCode(r.ErrorCode), Text: textOf(r.ErrorMessage)}
	}
	return nil
}

func toVoterResponse(body kmsg.Request, m quorum.Message) kmsg.Response {
	switch m := m.(type) {
	case *quorum.TransferResponse:
		return toTransfer(body, m)
	case *quorum.AddVoterResponse:
		resp := kmsg.NewPtrAddRaftVoterResponse()
		resp.ErrorCode, resp.ErrorMessage = int16(m.Error), textTo(m.Text)
		return resp
	case *quorum.RemoveVoterResponse:
		resp := kmsg.NewPtrRemoveRaftVoterResponse()
		resp.ErrorCode, resp.ErrorMessage = int16(m.Error), textTo(m.Text)
		return resp
	}
	return nil
}

func textOf(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func textTo(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
