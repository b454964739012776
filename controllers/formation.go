package controllers

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
	"github.com/kraft-dev/kraft-operator/controllers/plan"
	"github.com/kraft-dev/kraft-operator/internal/config"
)

// findIdentity gives the cluster its ids, or takes up those of the claims it finds; see plan.Form. They are recorded
// before the first pod exists.
func (r *Reconciler) findIdentity(ctx context.Context, s *scope) (ctrl.Result, error) {
	st := &s.cluster.Status
	if st.ClusterID == "" { // the cache may not have seen claims that stand
		if err := s.observe(ctx, r.Live); err != nil {
			return ctrl.Result{}, err
		}
	}
	adopt := ""
	if s.spec.Adopt != nil {
		adopt = s.spec.Adopt.ClusterID
	}
	step := plan.Form(s.identity(), s.planClaims(), adopt)
	switch step.Do {
	case plan.FormationRefuse:
		s.refused = step.Why
		return ctrl.Result{RequeueAfter: steadily}, nil
	case plan.FormationWait:
		s.succeeds = step.Why
		return ctrl.Result{RequeueAfter: soon}, nil
	case plan.FormationNew:
		if err := r.drawIdentity(s); err != nil {
			return ctrl.Result{}, err
		}
		r.event(s, nil, corev1.EventTypeNormal, "ClusterIdentified", "Form", "cluster id %s, %d initial voters", st.ClusterID, len(st.InitialVoters))
	case plan.FormationAdopt:
		if s.refused = plan.OtherRoles(s.planClaims(), s.combined()); s.refused != "" {
			return ctrl.Result{RequeueAfter: steadily}, nil
		}
		s.takeIdentity(step.Identity)
		r.event(s, nil, corev1.EventTypeNormal, "ClusterAdopted", "Adopt", "cluster id %s, by %d claims that stand here (formed: %t)", st.ClusterID, len(s.claims), st.Formed)
	}
	return ctrl.Result{}, nil
}

func (s *scope) identity() plan.Identity {
	st := s.cluster.Status
	id := plan.Identity{ClusterID: st.ClusterID, Formed: st.Formed}
	for _, v := range st.InitialVoters {
		id.Voters = append(id.Voters, plan.Voter{ID: v.ID, DirectoryID: v.DirectoryID})
	}
	return id
}

func (r *Reconciler) drawIdentity(s *scope) error {
	st := &s.cluster.Status
	id, err := r.NewID()
	if err != nil {
		return fmt.Errorf("drawing a cluster id: %w", err)
	}
	voters := make([]v1alpha1.InitialVoter, voterCount(&s.spec))
	for i := range voters {
		dir, err := r.NewID()
		if err != nil {
			return fmt.Errorf("drawing a directory id: %w", err)
		}
		voters[i] = v1alpha1.InitialVoter{ID: firstController + int32(i), DirectoryID: dir}
	}
	st.ClusterID, st.InitialVoters, st.Formed = id, voters, false
	st.Defaults = defaultsFor(brokerCount(&s.spec))
	return nil
}

func (s *scope) takeIdentity(id plan.Identity) {
	st := &s.cluster.Status
	st.ClusterID, st.Formed, st.InitialVoters = id.ClusterID, id.Formed, nil
	for _, v := range id.Voters {
		st.InitialVoters = append(st.InitialVoters, v1alpha1.InitialVoter{ID: v.ID, DirectoryID: v.DirectoryID})
		if p := s.pool(poolControllers); !id.Formed { // it forms with all of them, also where the claim of one was never made
			p.NodeIDs = insert(p.NodeIDs, v.ID)
		}
	}
	st.Defaults = defaultsFor(brokerCount(&s.spec))
	for _, c := range s.planClaims() { // their nodes are the cluster's
		pool := s.pool(poolControllers)
		if c.NodeID >= firstBroker {
			pool = s.pool(poolBrokers)
		}
		if c.NodeID >= 0 && !c.Left {
			pool.NodeIDs = insert(pool.NodeIDs, c.NodeID)
		}
	}
}

// defaultsFor are the replication settings of a cluster formed with so many brokers. They are kept: a cluster that
// grows doesn't roll for them.
func defaultsFor(brokers int32) map[string]string {
	factor := fmt.Sprint(min(3, brokers))
	inSync := fmt.Sprint(min(2, brokers))
	return map[string]string{
		config.DefaultReplicationFactor:                    factor,
		config.OffsetsTopicReplication:                     factor,
		config.TransactionTopicReplication:                 factor,
		config.TransactionTopicMinISR:                      inSync,
		"share.coordinator.state.topic.replication.factor": factor,
		"share.coordinator.state.topic.min.isr":            inSync,
	}
}

// markFormed records that the first epoch was committed. From then on the permit to form is withdrawn (the live
// settings follow) and an empty disk joins as an observer.
func (r *Reconciler) markFormed(ctx context.Context, s *scope) (ctrl.Result, error) {
	if s.cluster.Status.Formed || !plan.HasFormed(s.quorum, s.identity().Voters) {
		return ctrl.Result{}, nil
	}
	s.cluster.Status.Formed = true
	if result, err := r.record(ctx, s); err != nil {
		return result, err
	}
	r.event(s, nil, corev1.EventTypeNormal, "QuorumFormed", "Form", "epoch %d, leader %d", s.quorum.Epoch, s.quorum.Leader)
	return ctrl.Result{}, nil
}
