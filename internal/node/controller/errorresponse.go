package controller

import (
	"github.com/twmb/franz-go/pkg/kmsg"
)

// errorResponse answers a whole request with one error, in the place where its API carries errors. APIs without an
// error of their own get it once for each thing asked. An API that isn't known here gives its bare response.
func errorResponse(req kmsg.Request, e *apiError) kmsg.Response {
	resp := topicErrorResponse(req, e)
	if resp == nil {
		resp = resourceErrorResponse(req, e)
	}
	if resp == nil {
		resp = plainErrorResponse(req, e)
	}
	resp.SetVersion(req.GetVersion())
	return resp
}

func topicErrorResponse(req kmsg.Request, e *apiError) kmsg.Response {
	switch req := req.(type) {
	case *kmsg.CreateTopicsRequest:
		resp := kmsg.NewPtrCreateTopicsResponse()
		for _, t := range req.Topics {
			resp.Topics = append(resp.Topics, createTopicError(t.Topic, e))
		}
		return resp
	case *kmsg.DeleteTopicsRequest:
		resp := kmsg.NewPtrDeleteTopicsResponse()
		for _, n := range req.TopicNames {
			resp.Topics = append(resp.Topics, kmsg.DeleteTopicsResponseTopic{Topic: kmsg.StringPtr(n), ErrorCode: e.code, ErrorMessage: e.text()})
		}
		for _, t := range req.Topics {
			resp.Topics = append(resp.Topics, kmsg.DeleteTopicsResponseTopic{Topic: t.Topic, TopicID: t.TopicID, ErrorCode: e.code, ErrorMessage: e.text()})
		}
		return resp
	case *kmsg.CreatePartitionsRequest:
		resp := kmsg.NewPtrCreatePartitionsResponse()
		for _, t := range req.Topics {
			resp.Topics = append(resp.Topics, kmsg.CreatePartitionsResponseTopic{Topic: t.Topic, ErrorCode: e.code, ErrorMessage: e.text()})
		}
		return resp
	case *kmsg.ElectLeadersRequest:
		resp := kmsg.NewPtrElectLeadersResponse()
		resp.ErrorCode = e.code
		for _, t := range req.Topics {
			rt := kmsg.ElectLeadersResponseTopic{Topic: t.Topic}
			for _, p := range t.Partitions {
				rt.Partitions = append(rt.Partitions, kmsg.ElectLeadersResponseTopicPartition{Partition: p, ErrorCode: e.code, ErrorMessage: e.text()})
			}
			resp.Topics = append(resp.Topics, rt)
		}
		return resp
	case *kmsg.AlterPartitionRequest:
		resp := kmsg.NewPtrAlterPartitionResponse()
		resp.ErrorCode = e.code
		return resp
	case *kmsg.AlterPartitionAssignmentsRequest:
		resp := kmsg.NewPtrAlterPartitionAssignmentsResponse()
		resp.ErrorCode, resp.ErrorMessage = e.code, e.text()
		return resp
	case *kmsg.ListPartitionReassignmentsRequest:
		resp := kmsg.NewPtrListPartitionReassignmentsResponse()
		resp.ErrorCode, resp.ErrorMessage = e.code, e.text()
		return resp
	}
	return nil
}

func resourceErrorResponse(req kmsg.Request, e *apiError) kmsg.Response {
	switch req := req.(type) {
	case *kmsg.AlterConfigsRequest:
		resp := kmsg.NewPtrAlterConfigsResponse()
		for _, r := range req.Resources {
			resp.Resources = append(resp.Resources, kmsg.AlterConfigsResponseResource{ResourceType: r.ResourceType, ResourceName: r.ResourceName, ErrorCode: e.code, ErrorMessage: e.text()})
		}
		return resp
	case *kmsg.IncrementalAlterConfigsRequest:
		resp := kmsg.NewPtrIncrementalAlterConfigsResponse()
		for _, r := range req.Resources {
			resp.Resources = append(resp.Resources, kmsg.IncrementalAlterConfigsResponseResource{ResourceType: r.ResourceType, ResourceName: r.ResourceName, ErrorCode: e.code, ErrorMessage: e.text()})
		}
		return resp
	case *kmsg.DescribeConfigsRequest:
		resp := kmsg.NewPtrDescribeConfigsResponse()
		for _, r := range req.Resources {
			resp.Resources = append(resp.Resources, kmsg.DescribeConfigsResponseResource{ResourceType: r.ResourceType, ResourceName: r.ResourceName, ErrorCode: e.code, ErrorMessage: e.text()})
		}
		return resp
	case *kmsg.AlterClientQuotasRequest:
		resp := kmsg.NewPtrAlterClientQuotasResponse()
		for _, entry := range req.Entries {
			resp.Entries = append(resp.Entries, quotaAnswer(entry, e))
		}
		return resp
	case *kmsg.AlterUserSCRAMCredentialsRequest:
		resp := kmsg.NewPtrAlterUserSCRAMCredentialsResponse()
		for _, name := range scramUsers(req) {
			resp.Results = append(resp.Results, kmsg.AlterUserSCRAMCredentialsResponseResult{User: name, ErrorCode: e.code, ErrorMessage: e.text()})
		}
		return resp
	case *kmsg.CreateACLsRequest:
		resp := kmsg.NewPtrCreateACLsResponse()
		for range req.Creations {
			resp.Results = append(resp.Results, kmsg.CreateACLsResponseResult{ErrorCode: e.code, ErrorMessage: e.text()})
		}
		return resp
	case *kmsg.DeleteACLsRequest:
		resp := kmsg.NewPtrDeleteACLsResponse()
		for range req.Filters {
			resp.Results = append(resp.Results, kmsg.DeleteACLsResponseResult{ErrorCode: e.code, ErrorMessage: e.text()})
		}
		return resp
	}
	return nil
}

func plainErrorResponse(req kmsg.Request, e *apiError) kmsg.Response {
	resp := req.ResponseKind()
	switch resp := resp.(type) {
	case *kmsg.ApiVersionsResponse:
		resp.ErrorCode = e.code
	case *kmsg.BrokerRegistrationResponse:
		resp.ErrorCode, resp.BrokerEpoch = e.code, -1
	case *kmsg.BrokerHeartbeatResponse:
		resp.ErrorCode, resp.IsFenced = e.code, true
	case *kmsg.UnregisterBrokerResponse:
		resp.ErrorCode, resp.ErrorMessage = e.code, e.text()
	case *kmsg.AllocateProducerIDsResponse:
		resp.ErrorCode = e.code
	case *kmsg.UpdateFeaturesResponse:
		resp.ErrorCode, resp.ErrorMessage = e.code, e.text()
	case *kmsg.ControllerRegistrationResponse:
		resp.ErrorCode, resp.ErrorMessage = e.code, e.text()
	case *kmsg.AssignReplicasToDirsResponse:
		resp.ErrorCode = e.code
	case *kmsg.DescribeClusterResponse:
		resp.ErrorCode, resp.ErrorMessage = e.code, e.text()
	case *kmsg.DescribeACLsResponse:
		resp.ErrorCode, resp.ErrorMessage = e.code, e.text()
	case *kmsg.CreateDelegationTokenResponse:
		resp.ErrorCode = e.code
	case *kmsg.RenewDelegationTokenResponse:
		resp.ErrorCode, resp.ExpiryTimestamp = e.code, -1
	case *kmsg.ExpireDelegationTokenResponse:
		resp.ErrorCode, resp.ExpiryTimestamp = e.code, -1
	case *kmsg.DescribeDelegationTokenResponse:
		resp.ErrorCode = e.code
	case *kmsg.DescribeUserSCRAMCredentialsResponse:
		resp.ErrorCode, resp.ErrorMessage = e.code, e.text()
	case *kmsg.SASLHandshakeResponse:
		resp.ErrorCode = e.code
	case *kmsg.SASLAuthenticateResponse:
		resp.ErrorCode, resp.ErrorMessage = e.code, e.text()
	case *kmsg.EnvelopeResponse:
		resp.ErrorCode = e.code
	}
	return resp
}

func createTopicError(name string, e *apiError) kmsg.CreateTopicsResponseTopic {
	t := kmsg.NewCreateTopicsResponseTopic()
	t.Topic = name
	t.ErrorCode, t.ErrorMessage = e.code, e.text()
	t.NumPartitions, t.ReplicationFactor = -1, -1
	return t
}
