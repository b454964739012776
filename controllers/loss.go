package controllers

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
	"github.com/kraft-dev/kraft-operator/controllers/plan"
	"github.com/kraft-dev/kraft-operator/internal/admin"
)

const reasonQuorumLost = "QuorumLost"

// logEnds is what an Admin may answer too: where controllers' logs end, by the addresses of their HTTP ports.
type logEnds interface {
	LogEnds(ctx context.Context, addrs []string) map[string]admin.LogEnd
}

// lookForLoss gathers the facts of a quorum that has no leader: whether enough of its voters' disks are there for one.
// Nothing is done about it.
func (r *Reconciler) lookForLoss(ctx context.Context, s *scope) {
	s.loss = nil
	if !s.cluster.Status.Formed || s.shownQuorum != nil && s.shownQuorum.Leader >= 0 {
		return
	}
	voters := s.voterDisks()
	if asker, ok := r.Admin.(logEnds); ok && !s.hibernates() {
		s.askLogEnds(ctx, asker, voters)
	}
	loss := plan.Lose(voters)
	s.loss = &loss
	c := meta.FindStatusCondition(s.written.Conditions, v1alpha1.ConditionQuorumHealthy)
	if loss.Lost && (c == nil || c.Reason != reasonQuorumLost) {
		r.event(s, nil, corev1.EventTypeWarning, reasonQuorumLost, "Look", "%.900s", loss.String())
	}
}

// voterDisks are the voters as recorded last, and what stands of them here.
func (s *scope) voterDisks() (out []plan.VoterDisk) {
	st := &s.cluster.Status
	if q := st.Quorum; q != nil && len(q.Voters) > 0 {
		for _, v := range q.Voters {
			out = append(out, plan.VoterDisk{Voter: plan.Voter{ID: v.ID, DirectoryID: v.DirectoryID}, Epoch: q.LeaderEpoch, End: v.LogEndOffset, ByLeader: true})
		}
	} else if s.initialVote() {
		for _, v := range st.InitialVoters {
			out = append(out, plan.VoterDisk{Voter: plan.Voter{ID: v.ID, DirectoryID: v.DirectoryID}, End: -1})
		}
	}
	for i := range out {
		out[i].Gone = s.diskGone(out[i].Voter)
		out[i].Waits = s.podWaits(out[i].ID)
	}
	return out
}

// initialVote tells whether the initial voters are still the ones, in a cluster that was made again over its claims and
// whose leader hasn't spoken yet: no other controller has a claim.
func (s *scope) initialVote() bool {
	for _, c := range s.planClaims() {
		if c.NodeID >= 0 && c.NodeID < firstBroker && !c.Left && s.initialDirectory(c.NodeID) == "" {
			return false
		}
	}
	return true
}

// diskGone says why a voter's disk is gone for good; "" while it may be there. A claim gets its annotation when the
// quorum knows the directory on it, so one without has never held a voter.
func (s *scope) diskGone(v plan.Voter) string {
	claim := s.claims[claimName(nodeName(s.cluster.Name, true, v.ID))]
	if claim == nil {
		return "its claim was deleted"
	}
	dir := claim.Annotations[annotationDirectoryID]
	change := s.cluster.Status.VoterChange
	switch {
	case claim.Status.Phase == corev1.ClaimLost:
		return "the volume of claim " + claim.Name + " is lost"
	case v.DirectoryID == "" || dir == v.DirectoryID:
		return ""
	case change != nil && change.ID == v.ID && change.DirectoryID == dir:
		return "" // its new disk may vote already
	case dir == "":
		return "claim " + claim.Name + " was made anew"
	}
	return "claim " + claim.Name + " holds directory " + dir
}

// podWaits says why a controller doesn't answer; "" when its pod runs.
func (s *scope) podWaits(id int32) string {
	p := s.pods[podName(nodeName(s.cluster.Name, true, id))]
	switch {
	case p == nil && s.hibernates():
		return "hibernated"
	case p == nil:
		return "it has no pod"
	case p.DeletionTimestamp != nil:
		return "its pod terminates"
	case brokenPod(p, s.now) != "":
		return "its pod: " + brokenPod(p, s.now)
	case p.Status.Phase != corev1.PodRunning:
		return "its pod is " + string(p.Status.Phase)
	}
	return ""
}

func (s *scope) askLogEnds(ctx context.Context, asker logEnds, voters []plan.VoterDisk) {
	addrs := map[string]int{}
	var list []string
	for i, v := range voters {
		p := s.pods[podName(nodeName(s.cluster.Name, true, v.ID))]
		if v.Gone == "" && p != nil && p.Status.PodIP != "" && p.Status.Phase == corev1.PodRunning {
			addr := net.JoinHostPort(p.Status.PodIP, strconv.Itoa(httpPort))
			addrs[addr] = i
			list = append(list, addr)
		}
	}
	ends := asker.LogEnds(ctx, list)
	for addr, i := range addrs {
		if end, ok := ends[addr]; ok {
			voters[i].Epoch, voters[i].End, voters[i].ByLeader = end.Epoch, end.Offset, false
		} else if voters[i].Waits == "" {
			voters[i].Waits = "its pod runs and doesn't answer"
		}
	}
}

func (s *scope) lost() bool { return s.loss != nil && s.loss.Lost }

// lossMessage is the facts and the way out.
func (s *scope) lossMessage() string {
	l := s.loss
	if !l.Lost || len(l.Survivors) == 0 {
		return l.String()
	}
	return l.String() + ". Nothing is done by itself. If a lost volume can be brought back, do that. If not: set spec.hibernated, run status.nextCommand" +
		", then in the same shell `" + recoverFunction(l.Survivors[0].ID) + s.recoverFlags() + "`, and unset spec.hibernated." +
		" Whatever only the lost disks had is lost, acknowledged or not"
}

// recoverFlags are those with which `kraftd quorum recover` goes on with the best survivor.
func (s *scope) recoverFlags() string {
	var b strings.Builder
	best := s.loss.Survivors[0].ID
	for range s.loss.Survivors[1:] {
		b.WriteString(" --survivor POSITION (as another survivor's printed it)")
	}
	for _, v := range slices.Concat(s.loss.Gone, s.loss.Survivors[1:]) {
		if v.ID != best {
			fmt.Fprintf(&b, " --quarantined %d@%s", v.ID, v.DirectoryID)
		}
	}
	return b.String() + " --accept-data-loss"
}

// afterLoss is the next command of a cluster whose quorum is lost: to stop what is left, then to look at each survivor's
// disk. What recovers is for a person to add: see lossMessage.
func (s *scope) afterLoss() string {
	ns, name := s.cluster.Namespace, s.cluster.Name
	if !s.spec.Hibernated {
		return fmt.Sprintf(`kubectl -n %s patch kraftcluster %s --type merge -p '{"spec":{"hibernated":true}}'`, ns, name)
	}
	if !s.rests() {
		return fmt.Sprintf("kubectl -n %s describe kraftcluster %s", ns, name)
	}
	var out []string
	for _, v := range s.loss.Survivors {
		if n := s.node(v.ID); n != nil {
			if c := s.recoverCommand(n); c != "" {
				out = append(out, c)
			}
		}
	}
	return strings.Join(out, "; ")
}

// recoverCommand is a shell function and a call of it: it runs `kraftd quorum recover` on a stopped node's disk, by a pod
// with that command and no probes, and ends as that did. Flags can be added to the call. What the pod printed comes from
// its log after it ended: `kubectl run --attach` loses what a quick container says before it is attached to.
func (s *scope) recoverCommand(n *node) string {
	set := s.sets[n.name]
	if set == nil {
		return ""
	}
	pod := fmt.Sprintf("%s-recover-%d", s.cluster.Name, n.id)
	spec := set.Spec.Template.Spec.DeepCopy()
	spec.RestartPolicy = corev1.RestartPolicyNever
	spec.TopologySpreadConstraints, spec.TerminationGracePeriodSeconds, spec.DeprecatedServiceAccount = nil, nil, ""
	c := &spec.Containers[0]
	c.Name, c.Command, c.Resources, c.Ports = pod, []string{"/kraftd"}, corev1.ResourceRequirements{}, nil
	c.StartupProbe, c.LivenessProbe, c.ReadinessProbe = nil, nil, nil
	overrides, err := json.Marshal(map[string]any{"spec": spec})
	if err != nil {
		panic(fmt.Sprintf("pod of %s: %v", n.name, err)) // Kubernetes' own types: they always marshal
	}
	const terminated = "{.status.containerStatuses[0].state.terminated"
	return strings.NewReplacer(
		"KUBECTL", "kubectl -n "+s.cluster.Namespace,
		"POD", pod,
		"IMAGE", c.Image,
		"OVERRIDES", "'"+strings.ReplaceAll(string(overrides), "'", `'\''`)+"'",
		"CONFIG", configDir+"/"+configFile,
		"FUNCTION", recoverFunction(n.id),
	).Replace(`FUNCTION() { KUBECTL delete pod POD --ignore-not-found && ` +
		`KUBECTL run POD --quiet --restart=Never --image=IMAGE --override-type=strategic --overrides=OVERRIDES -- quorum recover --config CONFIG "$@" && ` +
		`KUBECTL wait pod/POD --for=jsonpath='` + terminated + `}' --timeout=2m >&2; ` +
		`KUBECTL logs POD; ` +
		`code=$(KUBECTL get pod POD -o jsonpath='` + terminated + `.exitCode}'); ` +
		`KUBECTL delete pod POD >&2; return "${code:-1}"; }; FUNCTION`)
}

// recoverFunction is the name of the shell function that recovers a node.
func recoverFunction(id int32) string { return fmt.Sprintf("recover_%d", id) }
