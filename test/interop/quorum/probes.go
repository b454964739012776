package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// probes ask every voter of a mixed quorum the same questions; Go nodes have to answer what Java nodes answer.
func (w *world) probes(leader kind) {
	under := fmt.Sprintf(" under a %s leader", leader)
	var s *quorumState
	if !w.check(fmt.Sprintf("a %s node leads for the probes", leader), func() { s = w.lead(leader) }) {
		return
	}
	for _, p := range raftProbes {
		voter := "voter"
		if p.goOnly {
			voter = "Go voter"
		}
		w.check(fmt.Sprintf("%s: the answer names the leader, its epoch and its endpoint on every %s%s", p.name, voter, under), func() { w.probe(s, p) })
	}
	w.check(fmt.Sprintf("asked in the name of a %s leader, no Go follower says that it leads: a node that doesn't know it would exit", leader), func() { w.tellsNobodyThatItLeads(s) })
}

// raftAnswer is what every raft answer has to say.
type raftAnswer struct {
	code     int16
	leader   int32
	epoch    int32
	endpoint string
}

// raftProbe is a request that changes nothing: its epoch is old, or it asks for what isn't there.
type raftProbe struct {
	name     string
	follower int16 // error code of a follower's answer
	leads    int16 // of the leader's
	goOnly   bool
	ask      func(w *world, n, from *node, s *quorumState) (raftAnswer, error)
}

// fenced is the answer to an epoch of the past, whoever answers.
var fenced = kerr.FencedLeaderEpoch.Code

var raftProbes = []raftProbe{
	{"Vote", fenced, fenced, false, func(w *world, n, from *node, s *quorumState) (raftAnswer, error) {
		return probeVote(w, n, from, s, false)
	}},
	{"Vote, as a pre-vote", fenced, fenced, false, func(w *world, n, from *node, s *quorumState) (raftAnswer, error) {
		return probeVote(w, n, from, s, true)
	}},
	{"BeginQuorumEpoch", fenced, fenced, false, probeBegin},
	{"EndQuorumEpoch", fenced, fenced, false, probeEnd},
	{"Fetch", kerr.NotLeaderForPartition.Code, 0, false, probeFetch},
	// Apache Kafka 4.3.1 can't write an answer to FetchSnapshot that holds an error: it has no bytes, and that fails (UNKNOWN_SERVER_ERROR).
	{"FetchSnapshot", kerr.NotLeaderForPartition.Code, kerr.SnapshotNotFound.Code, true, probeFetchSnapshot},
	{"UpdateRaftVoter", fenced, fenced, false, probeUpdateVoter},
}

func (w *world) probe(s *quorumState, p raftProbe) {
	for _, n := range w.voters {
		if p.goOnly && n.kind != goKind {
			continue
		}
		got, err := p.ask(w, n, w.sender(n, s), s)
		need(err, "%s", n)
		code := p.follower
		if n == s.leader {
			code = p.leads
		}
		expected := raftAnswer{code, s.leader.id, s.epoch, s.leader.addr()}
		want(got == expected, "%s answers %+v, expected %+v", n, got, expected)
	}
}

// sender is a voter in whose name n is asked: neither n nor the leader, which knows that it leads.
func (w *world) sender(n *node, s *quorumState) *node {
	for _, v := range w.voters {
		if v != n && v != s.leader {
			return v
		}
	}
	failf("no third voter")
	return nil
}

// tellsNobodyThatItLeads asks Go followers in the name of the leader, as if that had lost its disk and all it knew with it.
func (w *world) tellsNobodyThatItLeads(s *quorumState) {
	for _, n := range w.of(goKind) {
		if n == s.leader {
			continue
		}
		for _, p := range raftProbes {
			if p.leads != fenced {
				continue // a fetch in the name of a voter would count
			}
			_, err := p.ask(w, n, s.leader, s)
			var unnamed *unnamedError
			want(errors.As(err, &unnamed), "%s: %s tells %s of a leader (%v)", p.name, n, s.leader, err)
			want(unnamed.code == fenced && unnamed.epoch == s.epoch, "%s: %s answers %+v, expected epoch %d", p.name, n, *unnamed, s.epoch)
		}
	}
}

// unnamedError is an answer that names no leader.
type unnamedError struct {
	code  int16
	epoch int32
}

func (e *unnamedError) Error() string {
	return fmt.Sprintf("an answer without a leader: error %d, epoch %d", e.code, e.epoch)
}

func probeVote(w *world, n, from *node, s *quorumState, pre bool) (a raftAnswer, err error) {
	req := newest(kmsg.NewPtrVoteRequest())
	req.ClusterID, req.VoterID = &w.clusterID, n.id
	p := kmsg.NewVoteRequestTopicPartition()
	p.CandidateEpoch, p.CandidateID, p.CandidateDirectoryID, p.VoterDirectoryID = s.epoch-1, from.id, from.directory, n.directory
	p.LastOffset, p.PreVote = 1, pre
	topic := kmsg.NewVoteRequestTopic()
	topic.Topic, topic.Partitions = metadataTopic, append(topic.Partitions, p)
	req.Topics = append(req.Topics, topic)
	resp, err := ask[*kmsg.VoteResponse](n.addr(), req)
	if err != nil {
		return a, err
	}
	if err := shape(resp.ErrorCode, len(resp.Topics)); err != nil {
		return a, err
	}
	got := resp.Topics[0].Partitions[0]
	if got.VoteGranted {
		return a, fmt.Errorf("a vote granted for an epoch of the past")
	}
	if len(resp.NodeEndpoints) != 1 {
		return a, unnamed(got.ErrorCode, got.LeaderID, got.LeaderEpoch, len(resp.NodeEndpoints))
	}
	e := resp.NodeEndpoints[0]
	return answer(got.ErrorCode, got.LeaderID, got.LeaderEpoch, e.NodeID, e.Host, int(e.Port))
}

// shape checks what the answers have in common.
func shape(code int16, topics int) error {
	if err := kerr.ErrorForCode(code); err != nil {
		return err
	}
	if topics != 1 {
		return fmt.Errorf("%d topics", topics)
	}
	return nil
}

// unnamed is the error for an answer that doesn't have exactly one endpoint.
func unnamed(code int16, leader, epoch int32, endpoints int) error {
	if leader >= 0 || endpoints > 0 {
		return fmt.Errorf("leader %d in epoch %d, with %d endpoints", leader, epoch, endpoints)
	}
	return &unnamedError{code, epoch}
}

func answer(code int16, leader, epoch, endpointOf int32, host string, port int) (raftAnswer, error) {
	if endpointOf != leader {
		return raftAnswer{}, fmt.Errorf("leader %d, endpoint of %d", leader, endpointOf)
	}
	return raftAnswer{code, leader, epoch, fmt.Sprintf("%s:%d", host, port)}, nil
}

func probeBegin(w *world, n, from *node, s *quorumState) (a raftAnswer, err error) {
	req := newest(kmsg.NewPtrBeginQuorumEpochRequest())
	req.ClusterID, req.VoterID = &w.clusterID, n.id
	p := kmsg.NewBeginQuorumEpochRequestTopicPartition()
	p.VoterDirectoryID, p.LeaderID, p.LeaderEpoch = n.directory, from.id, s.epoch-1
	topic := kmsg.NewBeginQuorumEpochRequestTopic()
	topic.Topic, topic.Partitions = metadataTopic, append(topic.Partitions, p)
	req.Topics = append(req.Topics, topic)
	resp, err := ask[*kmsg.BeginQuorumEpochResponse](n.addr(), req)
	if err != nil {
		return a, err
	}
	if err := shape(resp.ErrorCode, len(resp.Topics)); err != nil {
		return a, err
	}
	got := resp.Topics[0].Partitions[0]
	if len(resp.NodeEndpoints) != 1 {
		return a, unnamed(got.ErrorCode, got.LeaderID, got.LeaderEpoch, len(resp.NodeEndpoints))
	}
	e := resp.NodeEndpoints[0]
	return answer(got.ErrorCode, got.LeaderID, got.LeaderEpoch, e.NodeID, e.Host, int(e.Port))
}

func probeEnd(w *world, n, from *node, s *quorumState) (a raftAnswer, err error) {
	req := newest(kmsg.NewPtrEndQuorumEpochRequest())
	req.ClusterID = &w.clusterID
	p := kmsg.NewEndQuorumEpochRequestTopicPartition()
	p.LeaderID, p.LeaderEpoch = from.id, s.epoch-1
	topic := kmsg.NewEndQuorumEpochRequestTopic()
	topic.Topic, topic.Partitions = metadataTopic, append(topic.Partitions, p)
	req.Topics = append(req.Topics, topic)
	resp, err := ask[*kmsg.EndQuorumEpochResponse](n.addr(), req)
	if err != nil {
		return a, err
	}
	if err := shape(resp.ErrorCode, len(resp.Topics)); err != nil {
		return a, err
	}
	got := resp.Topics[0].Partitions[0]
	if len(resp.NodeEndpoints) != 1 {
		return a, unnamed(got.ErrorCode, got.LeaderID, got.LeaderEpoch, len(resp.NodeEndpoints))
	}
	e := resp.NodeEndpoints[0]
	return answer(got.ErrorCode, got.LeaderID, got.LeaderEpoch, e.NodeID, e.Host, int(e.Port))
}

// metadataTopicID is fixed.
var metadataTopicID = [16]byte{15: 1}

func probeFetch(w *world, n, _ *node, s *quorumState) (a raftAnswer, err error) {
	req := newest(kmsg.NewPtrFetchRequest())
	req.ClusterID, req.MaxBytes, req.SessionEpoch = &w.clusterID, 1<<20, -1
	req.ReplicaState.ID, req.ReplicaState.Epoch = -1, -1
	p := kmsg.NewFetchRequestTopicPartition()
	p.CurrentLeaderEpoch, p.LastFetchedEpoch, p.LogStartOffset = s.epoch, 0, -1
	topic := kmsg.NewFetchRequestTopic()
	topic.TopicID, topic.Partitions = metadataTopicID, append(topic.Partitions, p)
	req.Topics = append(req.Topics, topic)
	resp, err := ask[*kmsg.FetchResponse](n.addr(), req)
	if err != nil {
		return a, err
	}
	if err := shape(resp.ErrorCode, len(resp.Topics)); err != nil {
		return a, err
	}
	got := resp.Topics[0].Partitions[0]
	l := got.CurrentLeader
	if len(resp.Brokers) != 1 {
		return a, unnamed(got.ErrorCode, l.LeaderID, l.LeaderEpoch, len(resp.Brokers))
	}
	e := resp.Brokers[0]
	return answer(got.ErrorCode, l.LeaderID, l.LeaderEpoch, e.NodeID, e.Host, int(e.Port))
}

func probeFetchSnapshot(w *world, n, _ *node, s *quorumState) (a raftAnswer, err error) {
	req := newest(kmsg.NewPtrFetchSnapshotRequest())
	req.ClusterID, req.ReplicaID, req.MaxBytes = &w.clusterID, -1, 1<<20
	p := kmsg.NewFetchSnapshotRequestTopicPartition()
	p.CurrentLeaderEpoch, p.SnapshotID.EndOffset, p.SnapshotID.Epoch = s.epoch, 1<<40, s.epoch
	topic := kmsg.NewFetchSnapshotRequestTopic()
	topic.Topic, topic.Partitions = metadataTopic, append(topic.Partitions, p)
	req.Topics = append(req.Topics, topic)
	resp, err := ask[*kmsg.FetchSnapshotResponse](n.addr(), req)
	if err != nil {
		return a, err
	}
	if err := shape(resp.ErrorCode, len(resp.Topics)); err != nil {
		return a, err
	}
	got := resp.Topics[0].Partitions[0]
	l := got.CurrentLeader
	if len(resp.NodeEndpoints) != 1 {
		return a, unnamed(got.ErrorCode, l.LeaderID, l.LeaderEpoch, len(resp.NodeEndpoints))
	}
	e := resp.NodeEndpoints[0]
	return answer(got.ErrorCode, l.LeaderID, l.LeaderEpoch, e.NodeID, e.Host, int(e.Port))
}

func probeUpdateVoter(w *world, n, from *node, s *quorumState) (a raftAnswer, err error) {
	req := newest(kmsg.NewPtrUpdateRaftVoterRequest())
	req.ClusterID, req.CurrentLeaderEpoch, req.VoterID, req.VoterDirectoryID = &w.clusterID, s.epoch-1, from.id, from.directory
	l := kmsg.NewUpdateRaftVoterRequestListener()
	l.Name, l.Host, l.Port = "CONTROLLER", "127.0.0.1", uint16(from.port)
	req.Listeners = append(req.Listeners, l)
	req.KRaftVersionFeature.MaxSupportedVersion = 1
	resp, err := ask[*kmsg.UpdateRaftVoterResponse](n.addr(), req)
	if err != nil {
		return a, err
	}
	l0 := resp.CurrentLeader
	if l0.LeaderID < 0 {
		return a, &unnamedError{resp.ErrorCode, l0.LeaderEpoch}
	}
	return answer(resp.ErrorCode, l0.LeaderID, l0.LeaderEpoch, l0.LeaderID, l0.Host, int(l0.Port))
}

// apiVersions asks in version 4, as a leader does before it adds a voter: only that version lists features whose minimum is 0.
func (n *node) apiVersions() *kmsg.ApiVersionsResponse {
	req := newest(kmsg.NewPtrApiVersionsRequest())
	req.ClientSoftwareName, req.ClientSoftwareVersion = "interop-quorum", "1"
	resp, err := ask[*kmsg.ApiVersionsResponse](n.addr(), req)
	need(err, "%s", n)
	need(kerr.ErrorForCode(resp.ErrorCode), "%s", n)
	return resp
}

// requireKRaftVersion: the add-voter probe finds kraft.version 0 to 1 on every controller.
func (w *world) requireKRaftVersion() {
	for _, n := range w.voters {
		at := slices.IndexFunc(n.apiVersions().SupportedFeatures, func(f kmsg.ApiVersionsResponseSupportedFeature) bool { return f.Name == "kraft.version" })
		want(at >= 0, "%s doesn't list kraft.version", n)
		f := n.apiVersions().SupportedFeatures[at]
		want(f.MinVersion == 0 && f.MaxVersion == 1, "%s supports kraft.version %d to %d", n, f.MinVersion, f.MaxVersion)
	}
}

// requireSameAPIs compares what Go and Java controllers list.
func (w *world) requireSameAPIs(what string, of func(*kmsg.ApiVersionsResponse) []string) {
	w.caughtUp()
	java := w.of(javaKind)[0]
	expected := of(java.apiVersions())
	slices.Sort(expected)
	want(len(expected) > 3, "%s lists only %v", java, expected)
	for _, n := range w.of(goKind) {
		got := of(n.apiVersions())
		slices.Sort(got)
		for _, x := range expected {
			want(slices.Contains(got, x), "%s lacks %s %s", n, what, x)
		}
		for _, x := range got {
			want(slices.Contains(expected, x), "%s has %s %s, which %s hasn't", n, what, x, java)
		}
	}
}

func apiRanges(r *kmsg.ApiVersionsResponse) (out []string) {
	for _, k := range r.ApiKeys {
		out = append(out, fmt.Sprintf("%s %d-%d", kmsg.NameForKey(k.ApiKey), k.MinVersion, k.MaxVersion))
	}
	return out
}

func supportedFeatures(r *kmsg.ApiVersionsResponse) (out []string) {
	for _, f := range r.SupportedFeatures {
		out = append(out, fmt.Sprintf("%s %d-%d", f.Name, f.MinVersion, f.MaxVersion))
	}
	return out
}

func finalizedFeatures(r *kmsg.ApiVersionsResponse) (out []string) {
	for _, f := range r.FinalizedFeatures {
		out = append(out, fmt.Sprintf("%s %d", f.Name, f.MaxVersionLevel))
	}
	return out // their epoch isn't compared: it is the end of the batches that a node happened to read with the last change
}
