package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kraft-dev/kraft-operator/controllers/plan/planted"
)

// Identity is what makes a cluster this cluster: recorded in status before the first pod exists, and repeated on the
// claims.
type Identity struct {
	ClusterID string
	Voters    []Voter // the initial voters, ascending by id
	Formed    bool    // the first epoch was committed
}

// Voter is a node on one disk.
type Voter struct {
	ID          int32
	DirectoryID string
}

// Claim is what a claim's annotations say.
type Claim struct {
	Name      string
	Identity  // Voters as written when the claim was made
	NodeID    int32
	Directory string // "" while not known
	Left      bool   // its node left the pool
	Roles     Roles  // of the node that it was made for
	Going     bool   // it terminates, or is owned by a deleted cluster and will
	Elsewhere string // namespace/name of another KRaftCluster that it says it is of; "" of this one, or it does not say
}

// Roles are a node's.
type Roles struct{ Controller, Broker bool }

// FormationStep says how a cluster without an identity in status comes to one.
type FormationStep struct {
	Do       FormationAction
	Identity Identity // of Adopt
	Why      string   // of Refuse: what is wrong and the way out; of Wait: for what
}

// FormationAction is what a step does.
type FormationAction int

// The ways to an identity.
const (
	FormationSettled FormationAction = iota // status has it, and no claim contradicts
	FormationNew                            // no claim exists: draw new ids
	FormationAdopt                          // claims of one cluster exist: it is that cluster
	FormationRefuse                         // claims contradict each other, the status or spec.adopt
	FormationWait                           // every claim is about to go with the cluster that was here before
)

// Form compares the recorded identity with the claims that carry this cluster's name. New ids are never made beside
// claims: a second cluster on half of the first one's disks is what must not be.
func Form(recorded Identity, claims []Claim, adopt string) FormationStep {
	byID := map[string][]string{}
	var unmarked []string
	for _, c := range claims {
		if c.ClusterID == "" {
			unmarked = append(unmarked, c.Name)
			continue
		}
		byID[c.ClusterID] = append(byID[c.ClusterID], c.Name)
	}
	if len(unmarked) > 0 {
		return refuse("claims without a cluster id: %s: annotate them with the cluster id of their disk, or delete them", strings.Join(unmarked, ", "))
	}
	if recorded.ClusterID != "" {
		for id, names := range byID {
			if id != recorded.ClusterID {
				return refuse("claims of cluster %s: %s: this is cluster %s; move them away or delete them", id, strings.Join(names, ", "), recorded.ClusterID)
			}
		}
		return FormationStep{Do: FormationSettled}
	}
	if len(claims) > 0 && !slices.ContainsFunc(claims, func(c Claim) bool { return !c.Going }) && planted.Bug != planted.DyingAdopted {
		return FormationStep{Do: FormationWait, Why: fmt.Sprintf("waits for %d claims of the deleted cluster to go, the first %s", len(claims), claims[0].Name)}
	}
	switch {
	case len(byID) == 0 && adopt != "":
		return refuse("no claim of cluster %s is here: move its claims to this namespace, or unset spec.adopt.clusterID", adopt)
	case len(byID) == 0 || planted.Bug == planted.NewBesideClaims:
		return FormationStep{Do: FormationNew}
	case len(byID) > 1:
		return refuse("claims of %d clusters: %s: keep those of one", len(byID), describe(byID))
	}
	return adopted(claims, adopt)
}

func adopted(claims []Claim, adopt string) FormationStep {
	id := Identity{ClusterID: claims[0].ClusterID}
	if adopt != "" && adopt != id.ClusterID {
		return refuse("the claims are of cluster %s, spec.adopt.clusterID is %s: set it to that, or remove the claims", id.ClusterID, adopt)
	}
	if away := elsewhere(claims); away != "" && adopt == "" && planted.Bug != planted.MovedTaken {
		return refuse("claims were moved here from %s: if that is gone, or never runs again, set spec.adopt.clusterID to %s to take them over; else move them away", away, id.ClusterID)
	}
	for _, c := range claims {
		id.Formed = id.Formed || c.Formed && planted.Bug != planted.FormedForgotten
		if len(id.Voters) == 0 {
			id.Voters = c.Voters
		} else if len(c.Voters) > 0 && !slices.Equal(id.Voters, c.Voters) && planted.Bug != planted.AnyVoters {
			return refuse("claim %s names other initial voters than the rest of cluster %s: restore its annotation", c.Name, id.ClusterID)
		}
	}
	if len(id.Voters) == 0 {
		return refuse("no claim of cluster %s names its initial voters: restore the annotation on one of them", id.ClusterID)
	}
	return FormationStep{Do: FormationAdopt, Identity: id}
}

// OtherRoles says which claim is of a node with another set of roles than the spec gives nodes, and the way out; "" none is. Combined
// nodes would leave the data of brokers alone, and controllers that of combined ones. A claim that doesn't say its roles is none.
func OtherRoles(claims []Claim, combined bool) string {
	for _, c := range claims {
		switch {
		case c.Left || !c.Roles.Broker:
		case combined && !c.Roles.Controller:
			return fmt.Sprintf("claim %s is of a broker of its own: delete this KRaftCluster (its claims stay), and apply it with spec.controllers.roles [controller] and spec.brokers, as this cluster had them", c.Name)
		case !combined && c.Roles.Controller:
			return fmt.Sprintf("claim %s is of a combined node: delete this KRaftCluster (its claims stay), and apply it with spec.controllers.roles [controller, broker] and without spec.brokers, as this cluster had them", c.Name)
		}
	}
	return ""
}

// elsewhere names the other KRaftClusters whose claims stand here: "KRaftCluster a/demo (data-x, data-y)".
func elsewhere(claims []Claim) string {
	byHome := map[string][]string{}
	for _, c := range claims {
		if c.Elsewhere != "" {
			byHome[c.Elsewhere] = append(byHome[c.Elsewhere], c.Name)
		}
	}
	if len(byHome) == 0 {
		return ""
	}
	return "KRaftCluster " + describe(byHome)
}

func refuse(format string, args ...any) FormationStep {
	return FormationStep{Do: FormationRefuse, Why: fmt.Sprintf(format, args...)}
}

func describe(byID map[string][]string) string {
	ids := make([]string, 0, len(byID))
	for id, names := range byID {
		slices.Sort(names)
		ids = append(ids, id+" ("+strings.Join(names, ", ")+")")
	}
	slices.Sort(ids)
	return strings.Join(ids, "; ")
}

// HasFormed tells whether a quorum's answer proves that it has formed: a leader whose high watermark passed its own
// leader change, voted for by the recorded set.
func HasFormed(q *Quorum, initial []Voter) bool {
	if q == nil || q.Leader < 0 || q.Epoch < 1 || q.HighWatermark < 1 && planted.Bug != planted.FormedUnproved {
		return false
	}
	for _, v := range initial {
		if !q.Voter(v.ID) {
			return false
		}
	}
	return true
}
