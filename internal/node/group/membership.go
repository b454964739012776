package group

import (
	"errors"
	"time"

	"github.com/google/uuid"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/node/server"
)

const consumerProtocol = "consumer"

func millis(ms int32) time.Duration { return time.Duration(ms) * time.Millisecond }

// joinGroup serves JoinGroup v0–9: known member ids from v4 (KIP-394), static members from v5 (KIP-345),
// skipping the assignment from v9 (KIP-814).
func (c *Coordinator) joinGroup(r *server.Request, req *kmsg.JoinGroupRequest) {
	answer := func(j JoinReply) {
		resp := kmsg.NewPtrJoinGroupResponse()
		resp.ErrorCode, resp.Generation, resp.MemberID, resp.LeaderID = code(j.Err), j.Generation, j.MemberID, j.Leader
		resp.SkipAssignment = j.SkipAssignment
		if j.Err == nil {
			resp.ProtocolType, resp.Protocol = &j.ProtocolType, &j.Protocol
		} else if r.Version < 7 {
			resp.Protocol = new(string) // null is allowed from v7 on
		}
		for _, m := range j.Members {
			resp.Members = append(resp.Members, kmsg.JoinGroupResponseMember{MemberID: m.ID, InstanceID: m.InstanceID, ProtocolMetadata: m.Metadata(j.Protocol)})
		}
		r.Reply(resp)
	}
	if req.Group == "" {
		answer(JoinReply{Err: kerr.InvalidGroupID, MemberID: req.MemberID, Generation: -1})
		return
	}
	s, e, err := c.lookup(req.Group)
	if err != nil {
		answer(JoinReply{Err: err, MemberID: req.MemberID, Generation: -1})
		return
	}
	if e == nil {
		if req.MemberID != "" {
			answer(JoinReply{Err: kerr.UnknownMemberID, MemberID: req.MemberID, Generation: -1})
			return
		}
		e = newEntry(req.Group, c.cfg.Group)
		s.groups[req.Group] = e
	}
	join := JoinRequest{
		MemberID: req.MemberID, InstanceID: req.InstanceID, NewMemberID: newMemberID(r.ClientID, req.InstanceID),
		ClientID: r.ClientID, ClientHost: "/" + r.Conn.RemoteAddr.Addr().Unmap().String(),
		RequireKnownMemberID: r.Version >= 4 && req.InstanceID == nil, SkipAssignment: r.Version >= 9,
		SessionTimeout: millis(req.SessionTimeoutMillis), RebalanceTimeout: millis(req.RebalanceTimeoutMillis),
		ProtocolType: req.ProtocolType,
	}
	if r.Version == 0 {
		join.RebalanceTimeout = join.SessionTimeout
	}
	for _, p := range req.Protocols {
		join.Protocols = append(join.Protocols, Protocol{Name: p.Name, Metadata: p.Metadata})
	}
	c.apply(s, e, e.Join(c.now(), join, func(reply Reply) { answer(*reply.Join) }))
}

// newMemberID is what Kafka calls a member: client id or instance id, a dash and a random uuid.
func newMemberID(clientID string, instanceID *string) string {
	if instanceID != nil {
		return *instanceID + "-" + uuid.NewString()
	}
	return clientID + "-" + uuid.NewString()
}

// syncGroup serves SyncGroup v0–5.
func (c *Coordinator) syncGroup(r *server.Request, req *kmsg.SyncGroupRequest) {
	answer := func(s SyncReply) {
		resp := kmsg.NewPtrSyncGroupResponse()
		resp.ErrorCode, resp.MemberAssignment = code(s.Err), s.Assignment
		if resp.MemberAssignment == nil {
			resp.MemberAssignment = []byte{}
		}
		if s.Err == nil {
			resp.ProtocolType, resp.Protocol = &s.ProtocolType, &s.Protocol
		}
		r.Reply(resp)
	}
	s, e, err := c.lookup(req.Group)
	if errors.Is(err, kerr.CoordinatorLoadInProgress) {
		err = kerr.RebalanceInProgress // makes the member join again; loading is not in SyncGroup's vocabulary
	}
	if err == nil && e == nil {
		err = kerr.UnknownMemberID
	}
	if err != nil {
		answer(SyncReply{Err: err})
		return
	}
	sync := SyncRequest{MemberID: req.MemberID, InstanceID: req.InstanceID, Generation: req.Generation, ProtocolType: req.ProtocolType, Protocol: req.Protocol, Assignments: map[string][]byte{}}
	for _, a := range req.GroupAssignment {
		sync.Assignments[a.MemberID] = a.MemberAssignment
	}
	c.apply(s, e, e.Sync(c.now(), sync, func(reply Reply) { answer(*reply.Sync) }))
}

// heartbeat serves Heartbeat v0–4.
func (c *Coordinator) heartbeat(r *server.Request, req *kmsg.HeartbeatRequest) {
	resp := kmsg.NewPtrHeartbeatResponse()
	_, e, err := c.lookup(req.Group)
	switch {
	case errors.Is(err, kerr.CoordinatorLoadInProgress):
		err = nil // the group may still be there: don't frighten its members
	case err == nil && e == nil:
		err = kerr.UnknownMemberID
	case err == nil:
		err = e.Heartbeat(c.now(), req.MemberID, req.InstanceID, req.Generation)
	}
	resp.ErrorCode = code(err)
	r.Reply(resp)
}

// leaveGroup serves LeaveGroup v0–5; several members from v3.
func (c *Coordinator) leaveGroup(r *server.Request, req *kmsg.LeaveGroupRequest) {
	resp := kmsg.NewPtrLeaveGroupResponse()
	s, e, err := c.lookup(req.Group)
	if err != nil {
		resp.ErrorCode = code(err)
		r.Reply(resp)
		return
	}
	leave := func(memberID string, instanceID *string) error {
		if e == nil {
			return kerr.UnknownMemberID
		}
		fx, err := e.Leave(c.now(), memberID, instanceID)
		c.apply(s, e, fx)
		return err
	}
	if r.Version < 3 {
		resp.ErrorCode = code(leave(req.MemberID, nil))
	}
	for _, m := range req.Members {
		resp.Members = append(resp.Members, kmsg.LeaveGroupResponseMember{MemberID: m.MemberID, InstanceID: m.InstanceID, ErrorCode: code(leave(m.MemberID, m.InstanceID))})
	}
	r.Reply(resp)
}

// describeGroups serves DescribeGroups v0–6.
func (c *Coordinator) describeGroups(r *server.Request, req *kmsg.DescribeGroupsRequest) {
	resp := kmsg.NewPtrDescribeGroupsResponse()
	for _, id := range req.Groups {
		g := kmsg.NewDescribeGroupsResponseGroup()
		g.Group, g.State = id, Dead.String()
		_, e, err := c.lookup(id)
		switch {
		case err != nil:
			g.ErrorCode = code(err)
		case e == nil && r.Version >= 6: // before that an unknown group is a dead one (KIP-1043)
			g.ErrorCode, g.ErrorMessage = kerr.GroupIDNotFound.Code, kmsg.StringPtr("Group "+id+" not found.")
		case e != nil:
			describe(&g, e)
		}
		resp.Groups = append(resp.Groups, g)
	}
	r.Reply(resp)
}

func describe(g *kmsg.DescribeGroupsResponseGroup, e *entry) {
	g.State, g.ProtocolType = e.State.String(), e.ProtocolType
	if e.State == Stable {
		g.Protocol = e.Protocol
	}
	for _, m := range e.Ordered() {
		d := kmsg.NewDescribeGroupsResponseGroupMember()
		d.MemberID, d.InstanceID, d.ClientID, d.ClientHost = m.ID, m.InstanceID, m.ClientID, m.ClientHost
		d.ProtocolMetadata, d.MemberAssignment = []byte{}, []byte{}
		if e.State == Stable {
			d.ProtocolMetadata, d.MemberAssignment = append(d.ProtocolMetadata, m.Metadata(e.Protocol)...), append(d.MemberAssignment, m.Assignment...)
		}
		g.Members = append(g.Members, d)
	}
}

// listGroups serves ListGroups v0–5: the groups that this broker coordinates.
func (c *Coordinator) listGroups(r *server.Request, req *kmsg.ListGroupsRequest) {
	resp := kmsg.NewPtrListGroupsResponse()
	for _, s := range c.shards {
		if s.loading {
			resp.ErrorCode = kerr.CoordinatorLoadInProgress.Code
			resp.Groups = nil
			r.Reply(resp)
			return
		}
		for id, e := range s.groups {
			if !listed(req.StatesFilter, e.State.String()) || !listed(req.TypesFilter, "classic") {
				continue
			}
			g := kmsg.NewListGroupsResponseGroup()
			g.Group, g.ProtocolType, g.GroupState, g.GroupType = id, e.ProtocolType, e.State.String(), "classic"
			resp.Groups = append(resp.Groups, g)
		}
	}
	r.Reply(resp)
}
