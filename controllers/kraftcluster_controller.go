// Package controllers reconciles KRaftClusters. A pass observes, lets the planners decide (package plan), and carries
// out the first step that isn't done; a crash after any write converges, as the next pass observes again.
package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
	"github.com/kraft-dev/kraft-operator/controllers/plan/planted"
)

// +kubebuilder:rbac:groups=kraft.dev,resources=kraftclusters,verbs=get;list;watch
// +kubebuilder:rbac:groups=kraft.dev,resources=kraftclusters/status,verbs=get;update
// +kubebuilder:rbac:groups=kraft.dev,resources=kraftclusters/finalizers,verbs=update
// +kubebuilder:rbac:groups=apps,resources=statefulsets,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups=apps,resources=controllerrevisions,verbs=get;list;watch;create;delete
// +kubebuilder:rbac:groups="",resources=pods,verbs=get;list;watch;patch;delete
// +kubebuilder:rbac:groups="",resources=pods/eviction,verbs=create
// +kubebuilder:rbac:groups="",resources=persistentvolumeclaims,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups="",resources=services,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=configmaps,verbs=get;list;watch;create;patch;delete
// +kubebuilder:rbac:groups="",resources=serviceaccounts,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups=policy,resources=poddisruptionbudgets,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups=networking.k8s.io,resources=networkpolicies,verbs=get;list;watch;create;patch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// How soon a cluster is looked at again.
const (
	shortly  = 50 * time.Millisecond  // another controller has to see a write
	soon     = 300 * time.Millisecond // something is under way
	careful  = 2 * time.Second        // something waits for others
	steadily = 5 * time.Second        // nothing to do
	apart    = 100 * time.Millisecond // of looks where there is nothing to do: more than 50 clusters are looked at less often
	seldom   = 20 * time.Second       // but not less often than that

	patient  = 4                // so many questions in a row that nobody answers are asked at the usual pace
	silently = 10 * time.Second // and then less and less often, down to this
)

// Reconciler reconciles KRaftClusters.
type Reconciler struct {
	client.Client               // cached
	Live          client.Reader // straight to the API
	Admin         Admin
	Recorder      events.EventRecorder
	Metrics       *Metrics
	// NodeImage runs nodes whose spec.image is unset.
	NodeImage string
	// Version of this operator, by which its templates are told from another's.
	Version string
	// AtOnce is how many clusters a new NodeImage or Version rolls at once; less than 1 is 1.
	AtOnce int
	// OperatorNamespace may reach the controllers' port; "" when the operator runs outside of the cluster.
	OperatorNamespace string
	Workers           int // passes at once; a pass of a cluster that doesn't answer waits for admin.QuestionTimeout
	Now               func() time.Time
	// NewID draws a cluster or directory id.
	NewID func() (string, error)

	views views
	turns turns
}

// Reconcile is one pass.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (_ ctrl.Result, err error) {
	var cluster v1alpha1.KRaftCluster
	// Not from the cache: what was recorded in the last pass (formed, ids, an intent) must not be unseen in this one.
	if err := r.Live.Get(ctx, req.NamespacedName, &cluster); err != nil {
		if apierrors.IsNotFound(err) {
			r.views.forget(req.NamespacedName)
			r.turns.end(req.NamespacedName)
			r.Metrics.forget(req.Namespace, req.Name)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !cluster.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil // owner references do the rest; there is no finalizer
	}
	s := &scope{
		cluster: &cluster, written: *cluster.Status.DeepCopy(), spec: *cluster.Spec.DeepCopy(),
		now: r.Now(), operatorNamespace: r.OperatorNamespace,
	}
	if err := s.observe(ctx, r.Client); err != nil {
		return ctrl.Result{}, err
	}
	result, err := r.run(ctx, s,
		r.findIdentity,
		r.acceptSpec,
		r.chooseNodes,
		r.restOrWake,
		r.record,
		r.describeCluster,
		r.markFormed,
		r.restWherePaused,
		r.ensureShared,
		r.ensureNodes,
		r.findStrays,
		r.hurryStarts,
		r.ensureClaims,
		r.ensureBudgets,
		r.removeLeft,
		r.hibernate,
		r.applySettings,
		r.changeVoters,
		r.mindBrokers,
		r.rollOne,
		r.tidy,
	)
	if taken := (*takenError)(nil); errors.As(err, &taken) {
		s.refused = taken.Error()
	}
	if !apierrors.IsConflict(err) {
		s.report(err)
		r.Metrics.report(&cluster)
		err = errors.Join(err, r.writeStatus(ctx, s))
	}
	if apierrors.IsConflict(err) {
		return ctrl.Result{RequeueAfter: shortly}, nil // someone else wrote: look again, before saying anything
	}
	if err != nil {
		return result, err
	}
	return s.pace(result, r.views.count()), nil
}

// pace is when a cluster is looked at again after a pass without an error: as the step asks that ended it, or else by what the pass saw, and
// less and less often while nobody answers.
func (s *scope) pace(asked ctrl.Result, clusters int) ctrl.Result {
	if asked.IsZero() {
		if asked.RequeueAfter = s.pause(); asked.RequeueAfter == steadily {
			asked.RequeueAfter = steadilyAmong(clusters)
		}
	}
	asked.RequeueAfter = max(asked.RequeueAfter, backOff(s.silence))
	return asked
}

type step func(context.Context, *scope) (ctrl.Result, error)

// run carries out the steps in order; the first that isn't done ends the pass.
func (r *Reconciler) run(ctx context.Context, s *scope, steps ...step) (ctrl.Result, error) {
	for _, do := range steps {
		if result, err := do(ctx, s); err != nil || !result.IsZero() {
			return result, err
		}
	}
	return ctrl.Result{}, nil
}

// record writes the status before anything rests on it: ids before the first pod, an intent before the act. The
// write carries the resource version that was read, so an operator that slept through another's work fails here.
func (r *Reconciler) record(ctx context.Context, s *scope) (ctrl.Result, error) {
	if !s.statusChanged() {
		return ctrl.Result{}, nil
	}
	if planted.Bug == planted.StatusAsIfAlone {
		s.cluster.ResourceVersion = ""
	}
	if err := r.Status().Update(ctx, s.cluster, client.FieldOwner(fieldManager)); err != nil {
		s.cluster.Status = *s.written.DeepCopy() // what wasn't recorded isn't so
		return ctrl.Result{}, fmt.Errorf("recording status: %w", err)
	}
	s.written = *s.cluster.Status.DeepCopy()
	return ctrl.Result{}, nil
}

func (r *Reconciler) writeStatus(ctx context.Context, s *scope) error {
	_, err := r.record(ctx, s)
	return client.IgnoreNotFound(err)
}

// pause is how long a pass that did all its steps lets the cluster alone.
func (s *scope) pause() time.Duration {
	switch {
	case s.isReady() && !s.wasReady():
		return soon // what is left over is removed, and budgets are opened, by the next pass
	case s.isReady() && s.quorum != nil && s.quorum.Leader >= 0 && s.topics != nil:
		return steadily
	case s.refused != "" || s.cluster.Spec.Paused:
		return steadily
	case s.roll.Stopped || s.refusesNodes() || s.refusesChanges() || s.notReadyFor() > time.Minute:
		return careful
	default:
		return soon
	}
}

// steadilyAmong is how long each of so many clusters is let alone when there is nothing to do.
func steadilyAmong(clusters int) time.Duration {
	return min(max(steadily, time.Duration(clusters)*apart), seldom)
}

// backOff is how long a cluster is let alone at least of which so many questions in a row weren't answered: each look at it holds a worker
// until the questions are given up. A change of its objects, such as a pod that becomes Ready, ends the wait.
func backOff(silence int) time.Duration {
	if silence <= patient {
		return 0
	}
	const most = 10 // doublings: no more are needed
	return min(soon<<min(silence-patient, most), silently)
}

// notReadyFor is how long the cluster hasn't been Ready.
func (s *scope) notReadyFor() time.Duration {
	c := meta.FindStatusCondition(s.cluster.Status.Conditions, v1alpha1.ConditionReady)
	if c == nil || c.Status == metav1.ConditionTrue {
		return 0
	}
	return s.now.Sub(c.LastTransitionTime.Time)
}

func (r *Reconciler) event(s *scope, pod *corev1.Pod, kind, reason, action, format string, args ...any) {
	if pod == nil {
		r.Recorder.Eventf(s.cluster, nil, kind, reason, action, format, args...)
		return
	}
	r.Recorder.Eventf(s.cluster, pod, kind, reason, action, format, args...)
	r.Recorder.Eventf(pod, s.cluster, kind, reason, action, format, args...)
}

// SetupWithManager registers the reconciler. Its own status writes don't wake it.
func (r *Reconciler) SetupWithManager(mgr ctrl.Manager) error {
	byLabel := handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
		name := o.GetLabels()[labelCluster]
		if name == "" {
			return nil
		}
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: name}}}
	})
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.KRaftCluster{}, builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}))).
		Watches(&corev1.Pod{}, byLabel).
		Watches(&corev1.PersistentVolumeClaim{}, byLabel).
		Watches(&appsv1.StatefulSet{}, byLabel).
		Watches(&corev1.Service{}, byLabel).
		Watches(&corev1.ConfigMap{}, byLabel).
		Watches(&policyv1.PodDisruptionBudget{}, byLabel, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: r.Workers,
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](100*time.Millisecond, 15*time.Second),
			LogConstructor: func(req *reconcile.Request) logr.Logger {
				log := mgr.GetLogger()
				if req != nil {
					log = log.WithValues("KRaftCluster", req.NamespacedName)
				}
				return log
			},
		}).
		Complete(r)
}
