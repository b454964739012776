package node

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/node/broker/channel"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// controllerRegistration is what this controller registers as (KIP-919): its endpoints, the features that it supports, and
// an incarnation of this process.
func (n *Node) controllerRegistration() (*kmsg.ControllerRegistrationRequest, error) {
	incarnation, err := uuid.New(rand.Reader)
	if err != nil {
		return nil, err
	}
	req := kmsg.NewPtrControllerRegistrationRequest()
	req.ControllerID, req.IncarnationID = n.cfg.NodeID(), incarnation
	for _, l := range n.listeners.ControllerAdvertised() {
		rl := kmsg.NewControllerRegistrationRequestListener()
		rl.Name, rl.Host, rl.Port, rl.SecurityProtocol = l.Name, advertisedHost(l.Host), uint16(l.Port), l.ProtocolCode()
		req.Listeners = append(req.Listeners, rl)
	}
	for _, f := range metadata.Supported() {
		rf := kmsg.NewControllerRegistrationRequestFeature()
		rf.Name, rf.MinSupportedVersion, rf.MaxSupportedVersion = f.Name, f.Min, f.Max
		req.Features = append(req.Features, rf)
	}
	return req, nil
}

// sendToActiveController sends one request over a connection of its own: on the quorum's it would hold up the very fetches
// that commit what it asks for.
func (n *Node) sendToActiveController(ctx context.Context, req kmsg.Request) (kmsg.Response, error) {
	client := n.newClient(fmt.Sprintf("controller-%d", n.cfg.NodeID()), 0)
	defer client.Close()
	return channel.New(client, controllerFinder{n.raft}, n.opt.Logger).Do(ctx, req)
}
