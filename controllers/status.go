package controllers

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
	"github.com/kraft-dev/kraft-operator/controllers/plan"
)

// offsetsEvery bounds how often moving offsets alone make a status write.
const offsetsEvery = 10 * time.Second

// hold adds a part of the spec that isn't carried out; the first reason for a field stands.
func (s *scope) hold(field, reason, format string, args ...any) {
	st := &s.cluster.Status
	if slices.ContainsFunc(st.HeldBack, func(h v1alpha1.HeldBack) bool { return h.Field == field }) {
		return
	}
	st.HeldBack = append(st.HeldBack, v1alpha1.HeldBack{Field: field, Reason: reason, Message: fmt.Sprintf(format, args...)})
}

// report fills the status with what this pass saw, whether or not it got to its end.
func (s *scope) report(err error) {
	st := &s.cluster.Status
	st.ObservedGeneration = s.cluster.Generation
	if s.nodes != nil {
		st.Version = s.spec.Version
		s.reportPools()
		s.reportListeners()
		s.reportQuorum()
		surplus := s.cluster.Spec.Brokers != nil && int(s.cluster.Spec.Brokers.Replicas) < len(s.pool(poolBrokers).NodeIDs)
		if err == nil && len(st.HeldBack) == 0 && s.refused == "" && !surplus && !s.changedPaused {
			st.AcceptedGeneration = s.cluster.Generation
		}
	}
	v := s.verdict(err)
	s.setCondition(v1alpha1.ConditionReady, v.ready, v.reason, v.message)
	s.setCondition(v1alpha1.ConditionStalled, v.stalled, v.reason, v.message)
	reconciling := !v.ready && !v.stalled && !s.cluster.Spec.Paused
	reason := v.reason
	if s.cluster.Spec.Paused {
		reason = reasonPaused
		if s.midway() {
			reason = reasonPausedMidway
		}
	}
	s.setCondition(v1alpha1.ConditionReconciling, reconciling, reason, v.message)
	s.reportServing()
	s.reportRolling()
	st.NextCommand = s.nextCommand(v)
}

// verdict is whether the cluster is as the spec says, and if not, what is first in the way.
type verdict struct {
	ready, stalled  bool
	reason, message string
}

func (s *scope) verdict(err error) verdict {
	st := &s.cluster.Status
	switch broken := s.brokenNodes(); {
	case s.refused != "":
		return verdict{stalled: true, reason: "Refused", message: s.refused}
	case err != nil:
		return verdict{reason: "Error", message: err.Error()}
	case s.succeeds != "":
		return verdict{reason: "Waiting", message: s.succeeds}
	case s.hibernates() && s.changedPaused:
		return verdict{reason: reasonPaused, message: changedWhilePaused}
	case s.hibernates():
		return s.restVerdict()
	case s.lost():
		return verdict{stalled: true, reason: reasonQuorumLost, message: s.lossMessage()}
	case s.roll.Stopped:
		return verdict{stalled: true, reason: "RolloutStopped", message: "waits for " + s.roll.Why + "; the other nodes keep their templates: " + s.toGoOn(s.roll.Node)}
	case len(broken) > 0:
		return verdict{stalled: true, reason: "NodesBroken", message: strings.Join(broken, ", ")}
	case s.waking():
		return verdict{reason: "Waking", message: s.wakingMessage()}
	case !st.Formed:
		return verdict{reason: "Forming", message: fmt.Sprintf("%d initial voters are to form the quorum; %s", len(st.InitialVoters), s.notUp())}
	case s.roll.Do != plan.RollDone:
		return verdict{reason: reasonRolling, message: "waits for " + s.roll.Why}
	case s.loss != nil:
		return verdict{reason: "NoLeader", message: s.lossMessage()}
	case s.settingsWait != "" && !s.cluster.Spec.Paused:
		return verdict{reason: "ApplyingSettings", message: "settings of spec.config that need no restart wait for " + s.settingsWait}
	case s.waitsForRefused():
		return s.heldVerdict()
	case s.voters.Do != plan.VotersDone:
		return verdict{reason: "ChangingVoters", message: s.votersMessage()}
	case s.brokers.Do != plan.BrokersDone && s.brokers.Do != plan.BrokersHeld:
		return verdict{reason: "ChangingBrokers", message: s.brokersMessage()}
	case s.lostNodes() != "":
		return verdict{reason: "NodeLost", message: s.lostNodes()}
	case s.notUp() != "":
		return verdict{reason: "NodesNotReady", message: s.notUp()}
	case s.shownQuorum == nil || s.shownQuorum.Leader < 0:
		return verdict{reason: "NoLeader", message: "no controller says that it leads the quorum"}
	case s.shownQuorum.KeepingUp() < len(s.shownQuorum.Voters):
		return verdict{reason: "VotersLag", message: s.lagging()}
	case s.shownTopics == nil:
		return verdict{reason: reasonNoBrokerAnswers, message: noBrokerAnswers}
	case s.shownTopics.Offline > 0:
		return verdict{reason: "PartitionsOffline", message: fmt.Sprintf("%d partitions have no leader", s.shownTopics.Offline)}
	case len(st.HeldBack) > 0:
		return s.heldVerdict()
	case s.changedPaused:
		return verdict{reason: reasonPaused, message: changedWhilePaused}
	case !s.rolled && !s.cluster.Spec.Paused && !s.stillReady():
		return verdict{reason: reasonRolling, message: "the nodes' templates are still to be compared with the spec"}
	case s.cluster.Spec.Paused && s.midway():
		return verdict{reason: reasonPaused, message: "it was paused before all was as the spec says: unset spec.paused"}
	}
	if s.turn != "" {
		return verdict{ready: true, reason: "AsSpecified", message: s.summary() + "; a roll waits for " + s.turn}
	}
	return verdict{ready: true, reason: "AsSpecified", message: s.summary()}
}

func (s *scope) heldVerdict() verdict {
	held := s.cluster.Status.HeldBack[0]
	return verdict{stalled: true, reason: "HeldBack", message: held.Field + ": " + held.Message}
}

// refusesChanges tells whether the API refuses what the spec asks of nodes that there are.
func (s *scope) refusesChanges() bool {
	return slices.ContainsFunc(s.cluster.Status.HeldBack, func(h v1alpha1.HeldBack) bool { return h.Reason == reasonChangeRefused })
}

// refusesNodes tells whether the API refuses nodes that the spec asks for.
func (s *scope) refusesNodes() bool {
	return slices.ContainsFunc(s.nodes, func(n *node) bool { return n.refused && !n.leaving })
}

// waitsForRefused tells whether the voters or the brokers wait, with nothing under way, while nodes are refused: those don't come.
func (s *scope) waitsForRefused() bool {
	voters := s.voters.Do == plan.VotersWait && !s.voters.Busy
	brokers := s.voters.Do == plan.VotersDone && s.brokers.Do == plan.BrokersWait && !s.brokers.Busy
	return s.refusesNodes() && len(s.cluster.Status.HeldBack) > 0 && (voters || brokers)
}

const reasonRolling = "Rolling"

// Why a paused cluster isn't reconciling: it had nothing to do, or is stopped in the middle of it.
const (
	reasonPaused       = "Paused"
	reasonPausedMidway = "PausedMidway"
	changedWhilePaused = "the spec is another than was accepted before the pause, and that waits: unset spec.paused"
)

// midway tells whether a paused cluster was paused before it was as its spec says: nobody looks any further until it is unpaused.
func (s *scope) midway() bool {
	was := meta.FindStatusCondition(s.written.Conditions, v1alpha1.ConditionReconciling)
	if was != nil && (was.Reason == reasonPaused || was.Reason == reasonPausedMidway) {
		return was.Reason == reasonPausedMidway
	}
	return !s.wasReady()
}

// Brokers are Ready, and none of those that the leader says are current answers the operator: whether they serve others isn't known.
const (
	reasonNoBrokerAnswers = "NoBrokerAnswers"
	noBrokerAnswers       = "no broker that keeps up with the quorum answers for the topics"
)

func (s *scope) votersMessage() string {
	d := s.votersDoing()
	if d.WaitsFor != "" {
		return d.What + ": waits for " + d.WaitsFor
	}
	return d.What + ": " + d.Reason
}

func (s *scope) isReady() bool { return s.verdict(nil).ready }

func (s *scope) wasReady() bool {
	return meta.IsStatusConditionTrue(s.written.Conditions, v1alpha1.ConditionReady)
}

// stillReady: it was Ready for this very spec.
func (s *scope) stillReady() bool {
	c := meta.FindStatusCondition(s.written.Conditions, v1alpha1.ConditionReady)
	return s.wasReady() && c.ObservedGeneration == s.cluster.Generation
}

func (s *scope) summary() string {
	controllers, brokers := 0, 0
	for _, n := range s.nodes {
		if n.controller {
			controllers++
		}
		if n.broker {
			brokers++
		}
	}
	if s.combined() {
		return count(controllers, "combined node") + ready(controllers)
	}
	return count(controllers, "controller") + " and " + count(brokers, "broker") + " are ready"
}

func ready(n int) string {
	if n == 1 {
		return " is ready"
	}
	return " are ready"
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// notUp names the nodes that aren't Ready; "" when all are.
func (s *scope) notUp() string {
	var names []string
	for _, n := range s.snapshot().Nodes {
		if !n.Up() && !n.Leaving && !n.Refused { // status.heldBack speaks of those that are refused
			names = append(names, n.Name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "not Ready: " + strings.Join(names, ", ")
}

// lostNodes names the Kubernetes nodes that pods don't stop on, and what a person may do; "" for none.
func (s *scope) lostNodes() string {
	var names []string
	for _, n := range s.snapshot().Nodes {
		if n.Stuck(s.now) && !n.Leaving {
			names = append(names, fmt.Sprintf("%s on %s", n.Name, s.hostOf(n)))
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "pods don't stop: " + strings.Join(names, ", ") + ": " + ifHostIsGone
}

// ifHostIsGone is the way on for a pod that doesn't stop. It is never deleted by force: two may then run on one identity.
const ifHostIsGone = "it starts again when that Kubernetes node is back; if it is gone for good, delete the Node, or taint it node.kubernetes.io/out-of-service"

func (s *scope) hostOf(n plan.Node) string {
	if p := s.pods[podName(n.Name)]; p != nil && p.Spec.NodeName != "" {
		return "Kubernetes node " + p.Spec.NodeName
	}
	return "no Kubernetes node"
}

// toGoOn is what a person may do about the node that a roll is stopped at.
func (s *scope) toGoOn(n plan.Node) string {
	switch {
	case n.Stuck(s.now):
		return s.hostOf(n) + " doesn't stop its pod; " + ifHostIsGone
	case n.Pod == nil:
		return "the events of its StatefulSet say why it has no pod"
	case n.Pod.Broken == plan.Unschedulable:
		return "make a place for it, or mend the spec"
	}
	return "mend the spec to go on"
}

func (s *scope) brokenNodes() (out []string) {
	for _, n := range s.snapshot().Nodes {
		if n.Pod != nil && n.Pod.Broken != "" && !n.Pod.Terminating {
			out = append(out, fmt.Sprintf("%s (%s)", n.Name, n.Pod.Broken))
		}
	}
	for _, n := range s.nodes {
		if n.place != "" {
			out = append(out, fmt.Sprintf("%s (%s)", n.name, n.place))
		}
	}
	return out
}

func (s *scope) lagging() string {
	var out []string
	for _, v := range s.shownQuorum.Voters {
		if !s.shownQuorum.KeepsUp(v) {
			out = append(out, fmt.Sprintf("%d (lag %d, last fetch %s ago)", v.ID, s.shownQuorum.Lag(v), v.SinceFetch.Round(time.Second)))
		}
	}
	return "voters that don't keep up: " + strings.Join(out, ", ")
}

func (s *scope) setCondition(kind string, is bool, reason, message string) {
	status := metav1.ConditionFalse
	if is {
		status = metav1.ConditionTrue
	}
	s.setStatus(kind, status, reason, message)
}

func (s *scope) setStatus(kind string, status metav1.ConditionStatus, reason, message string) {
	const most = 32768
	if len(message) > most {
		message = message[:most]
	}
	meta.SetStatusCondition(&s.cluster.Status.Conditions, metav1.Condition{
		Type: kind, Status: status, Reason: reason, Message: message, ObservedGeneration: s.cluster.Generation,
		LastTransitionTime: metav1.NewTime(s.now),
	})
}

func (s *scope) reportPools() {
	st := &s.cluster.Status
	snap := s.snapshot()
	for i := range st.Pools {
		p := &st.Pools[i]
		before, known := p.Updated, true
		p.Ready, p.Updated = 0, 0
		for _, n := range snap.Nodes {
			if !slices.Contains(p.NodeIDs, n.ID) {
				continue
			}
			if n.Up() {
				p.Ready++
			}
			if !n.Stale() && n.Pod != nil {
				p.Updated++
			}
			known = known && (n.Want != "" || n.Refused)
		}
		if !known { // this pass ended before it came to the templates
			p.Updated = min(before, int32(len(p.NodeIDs)))
		}
	}
	all := 0
	b := &v1alpha1.BrokersStatus{Selector: labels.SelectorFromSet(s.brokerSelector()).String()}
	for _, n := range snap.Nodes {
		if !n.Broker {
			continue
		}
		all++
		if !n.Stopped || n.Pod != nil {
			b.Replicas++
		}
		if n.Up() {
			b.Ready++
		}
	}
	b.ReadyOfAll = fmt.Sprintf("%d/%d", b.Ready, all)
	st.Brokers = b
}

func (s *scope) reportQuorum() {
	st := &s.cluster.Status
	q := s.shownQuorum
	if !s.asked {
		return
	}
	if q == nil || q.Leader < 0 {
		if st.Quorum != nil {
			st.Quorum.Leader = "" // what else is known stays, as of its time
			st.Quorum.VotersReady = fmt.Sprintf("0/%d", len(st.Quorum.Voters))
		}
		return
	}
	convert := func(in []plan.Replica) (out []v1alpha1.ReplicaStatus) {
		for _, r := range in {
			out = append(out, v1alpha1.ReplicaStatus{ID: r.ID, DirectoryID: r.DirectoryID, LogEndOffset: r.LogEndOffset, Lag: q.Lag(r)})
		}
		return out
	}
	now := &v1alpha1.QuorumStatus{
		Leader: strconv.Itoa(int(q.Leader)), LeaderEpoch: q.Epoch, HighWatermark: q.HighWatermark,
		VotersReady: fmt.Sprintf("%d/%d", q.KeepingUp(), len(q.Voters)),
		Voters:      convert(q.Voters), Observers: convert(q.Observers), ObservedTime: metav1.NewTime(s.now),
	}
	if old := st.Quorum; old != nil && s.now.Sub(old.ObservedTime.Time) < offsetsEvery && equality.Semantic.DeepEqual(shape(old), shape(now)) {
		return
	}
	st.Quorum = now
}

// shape is a quorum without what moves all the time.
func shape(q *v1alpha1.QuorumStatus) *v1alpha1.QuorumStatus {
	c := q.DeepCopy()
	c.HighWatermark, c.ObservedTime = 0, metav1.Time{}
	for _, rs := range [][]v1alpha1.ReplicaStatus{c.Voters, c.Observers} {
		for i := range rs {
			rs[i].LogEndOffset, rs[i].Lag = 0, 0
		}
	}
	return c
}

func (s *scope) reportListeners() {
	var out []v1alpha1.ListenerStatus
	for _, l := range s.spec.Listeners {
		ls := v1alpha1.ListenerStatus{Name: l.Name, Type: l.Type}
		if l.Type == v1alpha1.ListenerNodePort {
			ls.BootstrapServers = s.nodePortServers(l)
		} else {
			ls.BootstrapServers = fmt.Sprintf("%s.%s.svc:%d", bootstrapName(s.cluster.Name), s.cluster.Namespace, l.Port)
		}
		out = append(out, ls)
	}
	s.cluster.Status.Listeners = out
}

// nodePortServers are up to three Kubernetes nodes with brokers, at the port that leads to any Ready broker: a client that
// starts, or has lost a broker, finds one that serves.
func (s *scope) nodePortServers(l v1alpha1.ListenerSpec) string {
	port := s.bootstrapPorts[l.Name]
	if s.bootstrapPorts == nil { // this pass ended before it came to the Services
		i := slices.IndexFunc(s.written.Listeners, func(was v1alpha1.ListenerStatus) bool { return was.Name == l.Name && was.Type == l.Type })
		if i < 0 {
			return ""
		}
		return s.written.Listeners[i].BootstrapServers
	}
	if port == 0 {
		return ""
	}
	var out []string
	add := func(host string) {
		server := net.JoinHostPort(host, strconv.Itoa(int(port)))
		if host != "" && len(out) < 3 && !slices.Contains(out, server) {
			out = append(out, server)
		}
	}
	add(l.AdvertisedHost)
	for _, n := range s.nodes {
		if p := s.pods[podName(n.name)]; n.broker && p != nil && l.AdvertisedHost == "" {
			add(p.Status.HostIP)
		}
	}
	return strings.Join(out, ",")
}

func (s *scope) reportServing() {
	st := &s.cluster.Status
	if st.Formed {
		s.setCondition(v1alpha1.ConditionQuorumFormed, true, "Formed", "the first epoch was committed: an empty disk joins as an observer")
	} else {
		s.setCondition(v1alpha1.ConditionQuorumFormed, false, "NotFormed", "no epoch was committed yet")
	}
	if s.nodes == nil || !s.asked { // nothing new is known: what was seen last stands, and Ready says what is in the way
		for _, kind := range []string{v1alpha1.ConditionQuorumHealthy, v1alpha1.ConditionAvailable} {
			if meta.FindStatusCondition(st.Conditions, kind) == nil {
				s.setCondition(kind, false, "NotLooked", "no pass has asked the cluster yet")
			}
		}
		return
	}
	if s.rests() && s.lost() {
		s.setCondition(v1alpha1.ConditionQuorumHealthy, false, reasonQuorumLost, s.lossMessage())
		s.setCondition(v1alpha1.ConditionAvailable, false, reasonHibernated, restText)
		return
	}
	if s.rests() {
		s.setCondition(v1alpha1.ConditionQuorumHealthy, false, reasonHibernated, restText)
		s.setCondition(v1alpha1.ConditionAvailable, false, reasonHibernated, restText)
		return
	}
	q := s.shownQuorum
	leads := q != nil && q.Leader >= 0
	switch {
	case s.lost():
		s.setCondition(v1alpha1.ConditionQuorumHealthy, false, reasonQuorumLost, s.lossMessage())
	case !leads && s.loss != nil:
		s.setCondition(v1alpha1.ConditionQuorumHealthy, false, "NoLeader", s.lossMessage())
	case !leads:
		s.setCondition(v1alpha1.ConditionQuorumHealthy, false, "NoLeader", "no controller says that it leads")
	case q.KeepingUp() < len(q.Voters):
		s.setCondition(v1alpha1.ConditionQuorumHealthy, false, "VotersLag", s.lagging())
	default:
		s.setCondition(v1alpha1.ConditionQuorumHealthy, true, "Healthy", fmt.Sprintf("%d voters keep up with leader %d in epoch %d", len(q.Voters), q.Leader, q.Epoch))
	}
	switch {
	case !leads:
		s.setCondition(v1alpha1.ConditionAvailable, false, "NoLeader", "no controller says that it leads")
	case st.Brokers.Ready == 0:
		s.setCondition(v1alpha1.ConditionAvailable, false, "NoBroker", "no broker is Ready")
	case s.shownTopics == nil:
		s.setStatus(v1alpha1.ConditionAvailable, metav1.ConditionUnknown, reasonNoBrokerAnswers, noBrokerAnswers)
	case s.shownTopics.Offline > 0:
		s.setCondition(v1alpha1.ConditionAvailable, false, "PartitionsOffline", fmt.Sprintf("%d partitions have no leader", s.shownTopics.Offline))
	default:
		s.setCondition(v1alpha1.ConditionAvailable, true, "Serving", "brokers serve")
	}
}

func (s *scope) reportRolling() {
	written := meta.FindStatusCondition(s.written.Conditions, v1alpha1.ConditionRolling)
	switch {
	case !s.rolled && !s.hibernates() && written != nil: // this pass ended before it compared templates
	case s.turn != "":
		s.setCondition(v1alpha1.ConditionRolling, true, reasonTurn, "waits for "+s.turn)
	case s.roll.Stopped:
		s.setCondition(v1alpha1.ConditionRolling, true, "Stopped", "waits for "+s.roll.Why)
	case s.roll.Do != plan.RollDone && s.roll.Why != "":
		s.setCondition(v1alpha1.ConditionRolling, true, "Waiting", "waits for "+s.roll.Why)
	case s.roll.Do != plan.RollDone:
		s.setCondition(v1alpha1.ConditionRolling, true, "Restarting", "restarts "+s.roll.Node.Name)
	default:
		s.setCondition(v1alpha1.ConditionRolling, false, "UpToDate", "no node waits for a new template")
	}
}

// nextCommand is what a person would try next.
func (s *scope) nextCommand(v verdict) string {
	ns, name := s.cluster.Namespace, s.cluster.Name
	if s.lost() {
		return s.afterLoss()
	}
	for _, n := range s.nodes {
		if p := s.pods[podName(n.name)]; p != nil && brokenPod(p, s.now) != "" {
			return fmt.Sprintf("kubectl -n %s describe pod %s", ns, p.Name)
		}
		if n.place != "" {
			return fmt.Sprintf("kubectl -n %s describe pod %s", ns, podName(n.name))
		}
	}
	if n := s.roll.Node; s.roll.Stopped && n.Pod == nil {
		return fmt.Sprintf("kubectl -n %s describe statefulset %s", ns, n.Name)
	}
	for _, n := range s.snapshot().Nodes {
		if p := s.pods[podName(n.Name)]; n.Stuck(s.now) && p.Spec.NodeName != "" {
			return "kubectl describe node " + p.Spec.NodeName
		}
	}
	if v.ready && v.reason == reasonHibernated {
		return fmt.Sprintf(`kubectl -n %s patch kraftcluster %s --type merge -p '{"spec":{"hibernated":false}}'`, ns, name)
	}
	if !v.ready {
		return fmt.Sprintf("kubectl -n %s describe kraftcluster %s", ns, name)
	}
	for _, n := range s.nodes {
		if n.broker {
			return fmt.Sprintf("kubectl -n %s exec %s -- /kraftd topic create hello --bootstrap-server %s:%d", ns, podName(n.name), bootstrapName(name), s.internalPort())
		}
	}
	return ""
}
