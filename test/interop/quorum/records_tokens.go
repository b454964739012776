package main

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/kraft-dev/kraft-operator/internal/config"
	"github.com/kraft-dev/kraft-operator/internal/metadata"
)

// Who makes delegation tokens, and how it says so.
const (
	tokenOwner  = "admin"
	tokenSecret = "only-for-tests"
)

// addTokenListener gives a Java controller a second listener, with SASL: without it nobody gets a delegation token. Its voter entry then has
// two endpoints, of which a Go node knows one.
func (n *node) addTokenListener(props map[string]string) {
	props[config.ControllerListenerNames] += ",TOKENS"
	props[config.Listeners] += fmt.Sprintf(",TOKENS://127.0.0.1:%d", n.tokenPort)
	props[config.ListenerSecurityProtocolMap] += ",TOKENS:SASL_PLAINTEXT"
	props["listener.name.tokens.sasl.enabled.mechanisms"] = "PLAIN"
	props["listener.name.tokens.plain.sasl.jaas.config"] = fmt.Sprintf(`org.apache.kafka.common.security.plain.PlainLoginModule required user_%s="%s";`, tokenOwner, tokenSecret)
	props["delegation.token.secret.key"] = tokenSecret
}

// tokenKind is apart as aclKind is: a Go controller replays tokens without acting on them.
var tokenKind = recordKind{"delegation tokens", []metadata.RecordType{metadata.TypeDelegationToken, metadata.TypeRemoveDelegationToken}, (*subject).makeTokens, nil}

// makeTokens makes two tokens and lets one expire.
func (s *subject) makeTokens() {
	ctx, cancel := context.WithTimeout(context.Background(), electsWithin)
	defer cancel()
	leader := s.w.elected().leader
	cl, err := kgo.NewClient(kgo.SeedBrokers(fmt.Sprintf("127.0.0.1:%d", leader.tokenPort)), kgo.SASL(plain.Auth{User: tokenOwner, Pass: tokenSecret}.AsMechanism()))
	need(err, "a client")
	defer cl.Close()
	controller := cl.SeedBrokers()[0]
	var last []byte
	for range 2 {
		req := kmsg.NewPtrCreateDelegationTokenRequest()
		req.MaxLifetimeMillis = -1
		resp, err := controller.RetriableRequest(ctx, req)
		need(err, "make a token at %s", leader)
		token := resp.(*kmsg.CreateDelegationTokenResponse)
		need(kerr.ErrorForCode(token.ErrorCode), "make a token at %s", leader)
		last = token.HMAC
	}
	req := kmsg.NewPtrExpireDelegationTokenRequest()
	req.HMAC, req.ExpiryPeriodMillis = last, -1
	eventually(electsWithin, "expire a token", func() error { // the controller takes note of a token a little after it answered
		resp, err := controller.RetriableRequest(ctx, req)
		if err != nil {
			return err
		}
		return kerr.ErrorForCode(resp.(*kmsg.ExpireDelegationTokenResponse).ErrorCode)
	})
}
