package admin

import (
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestDynamicDefaultsAreThoseOfTheNamelessBroker(t *testing.T) {
	leader := serve(t, func(req kmsg.Request) kmsg.Response {
		d, ok := req.(*kmsg.DescribeConfigsRequest)
		if !ok {
			return nil
		}
		resp := kmsg.NewPtrDescribeConfigsResponse()
		r := kmsg.NewDescribeConfigsResponseResource()
		if len(d.Resources) != 1 || d.Resources[0].ResourceType != kmsg.ConfigResourceTypeBroker || d.Resources[0].ResourceName != "" {
			r.ErrorCode = kerr.InvalidRequest.Code
		}
		for _, name := range []string{"min.insync.replicas", "ssl.key.password"} {
			c := kmsg.NewDescribeConfigsResponseResourceConfig()
			c.Name = name
			if name == "min.insync.replicas" {
				c.Value = kmsg.StringPtr("2")
			}
			r.Configs = append(r.Configs, c)
		}
		resp.Resources = append(resp.Resources, r)
		return resp
	})
	got, err := Client{}.DynamicDefaults(t.Context(), leader)
	require.NoError(t, err)
	require.Equal(t, map[string]string{"min.insync.replicas": "2", "ssl.key.password": ""}, got)
}

// TestAChangeOfSettingsOrBrokersSaysWhatBecameOfIt: made, not made, or perhaps.
func TestAChangeOfSettingsOrBrokersSaysWhatBecameOfIt(t *testing.T) {
	for _, tc := range []struct {
		name    string
		code    int16
		is      error
		perhaps bool
		gone    bool // no error for a broker that isn't registered
	}{
		{name: "made"},
		{name: "refused", code: kerr.InvalidConfig.Code, is: kerr.InvalidConfig},
		{name: "not the leader", code: kerr.NotController.Code, is: ErrNoLeader},
		{name: "not in time", code: kerr.RequestTimedOut.Code, is: kerr.RequestTimedOut, perhaps: true},
		{name: "not registered", code: kerr.BrokerIDNotRegistered.Code, is: kerr.BrokerIDNotRegistered, gone: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var altered *kmsg.IncrementalAlterConfigsRequest
			var unregistered *kmsg.UnregisterBrokerRequest
			leader := serve(t, func(req kmsg.Request) kmsg.Response {
				switch req := req.(type) {
				case *kmsg.IncrementalAlterConfigsRequest:
					altered = req
					resp := kmsg.NewPtrIncrementalAlterConfigsResponse()
					resp.Resources = append(resp.Resources, kmsg.IncrementalAlterConfigsResponseResource{ErrorCode: tc.code})
					return resp
				case *kmsg.UnregisterBrokerRequest:
					unregistered = req
					resp := kmsg.NewPtrUnregisterBrokerResponse()
					resp.ErrorCode = tc.code
					return resp
				}
				return nil
			})
			alter := Client{}.AlterDynamicDefaults(t.Context(), leader, map[string]string{"b": "2", "a": "1"}, []string{"c"})
			unregister := Client{}.UnregisterBroker(t.Context(), leader, 1003)
			require.ErrorIs(t, alter, tc.is)
			require.Equal(t, tc.perhaps, MayBeMade(alter))
			if tc.gone {
				require.NoError(t, unregister)
			} else {
				require.ErrorIs(t, unregister, tc.is)
			}
			require.Equal(t, int32(1003), unregistered.BrokerID)
			var ops []string
			for _, c := range altered.Resources[0].Configs {
				ops = append(ops, c.Op.String()+" "+c.Name)
			}
			require.Equal(t, []string{"SET a", "SET b", "DELETE c"}, ops)
			require.Equal(t, kmsg.ConfigResourceTypeBroker, altered.Resources[0].ResourceType)
			require.Empty(t, altered.Resources[0].ResourceName)
		})
	}
}
