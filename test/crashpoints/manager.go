package crashpoints

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
	"github.com/kraft-dev/kraft-operator/controllers"
)

// clusterName is the one cluster of a world.
const clusterName = "demo"

// cacheLag is that of the model's watches.
const cacheLag = 50 * time.Millisecond

// manager is one process of the operator: a Reconciler with its own cache, work queue and back-off.
type manager struct {
	w        *world
	name     string
	r        *controllers.Reconciler
	failures int
	passes   int
	mayRest  bool // the spec that its pass read is hibernated; a hand may have changed it since

	// A pass runs in a goroutine of its own, and never at the same time as the world: it hands over by these.
	ended chan passEnd
	wake  chan bool // to a frozen pass: go on, or die

	queue           // of the model
	process process // on the real platform
}

// queue is what a manager has in the model for its informers and its work queue.
type queue struct {
	cache map[key]client.Object
	seen  int // of the store's log
	due   time.Time
}

// passEnd is how a pass handed over.
type passEnd struct {
	result ctrl.Result
	err    error
	killed bool // by the fault
	frozen bool // in the middle of a call
	panics any
}

// killed is thrown by a call in which the process dies.
type killed struct{}

func (killed) String() string { return "the process is killed" }

func (w *world) newManager() *manager {
	w.managers++
	m := &manager{w: w, name: fmt.Sprintf("manager-%d", w.managers), ended: make(chan passEnd), wake: make(chan bool)}
	m.r = &controllers.Reconciler{
		Recorder: recorder{}, Metrics: controllers.NewMetrics(prometheus.NewRegistry()), NodeImage: w.nodeImage, Workers: 1,
	}
	w.platform.launch(m)
	return m
}

// stand puts the manager's calls on what is under them: a client that reads from a cache, one that doesn't, and the cluster.
func (m *manager) stand(cached, live client.Client, cluster controllers.Admin) {
	m.r.Client, m.r.Live, m.r.Admin = &api{cached, m, true}, &api{live, m, false}, &asker{cluster, m}
}

func (v virtual) launch(m *manager) {
	m.queue = queue{cache: maps.Clone(v.w.objs), seen: len(v.w.log), due: v.w.now}
	m.stand(&memory{m: m, cached: true}, &memory{m: m}, leader(v))
	m.r.Now = func() time.Time { return v.w.now }
	m.r.NewID = func() (string, error) { return v.w.fleet.newID(), nil }
}

func (virtual) turn(m *manager) (passEnd, bool) {
	m.watch()
	if m.w.now.Before(m.due) {
		return passEnd{}, false
	}
	end := m.pass()
	if end.panics == nil && !end.killed && !end.frozen {
		m.again(end)
		return end, false
	}
	return end, true
}

// watch brings the cache up to date and wakes the queue as the predicates of SetupWithManager do.
func (m *manager) watch() {
	for ; m.seen < len(m.w.log); m.seen++ {
		c := m.w.log[m.seen]
		if m.w.now.Sub(c.at) < cacheLag {
			return
		}
		if c.obj == nil {
			delete(m.cache, c.key)
		} else {
			m.cache[c.key] = c.obj
		}
		if m.wakes(c) && m.failures == 0 {
			m.due = m.w.now
		}
	}
}

func (m *manager) wakes(c change) bool {
	switch c.key.kind {
	case "KRaftCluster":
		return c.obj == nil || c.was == nil || c.obj.GetGeneration() != c.was.GetGeneration() ||
			!maps.Equal(c.obj.GetAnnotations(), c.was.GetAnnotations())
	case "PodDisruptionBudget":
		return c.obj == nil || c.was == nil || c.obj.GetGeneration() != c.was.GetGeneration()
	case "Pod", "PersistentVolumeClaim", "StatefulSet", "Service", "ConfigMap":
		ours := func(obj client.Object) bool { return obj != nil && obj.GetLabels()["kraft.dev/cluster"] == clusterName }
		return ours(c.obj) || ours(c.was)
	}
	return false
}

// pass starts a pass and waits until it hands over.
func (m *manager) pass() passEnd {
	m.passes++
	go func() {
		var end passEnd
		defer func() {
			if p := recover(); p != nil {
				if _, dies := p.(killed); dies {
					end.killed = true
				} else {
					end.panics = p
				}
			}
			m.ended <- end
		}()
		end.result, end.err = m.r.Reconcile(context.Background(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: m.w.namespace, Name: clusterName}})
	}()
	return <-m.ended
}

// freeze stops a pass in the middle of a call until it is woken.
func (m *manager) freeze() {
	goesOn := false
	m.w.platform.outside(func() {
		m.ended <- passEnd{frozen: true}
		goesOn = <-m.wake
	})
	if !goesOn {
		panic(killed{})
	}
}

// again decides when the next pass is due.
func (m *manager) again(end passEnd) {
	if end.err != nil {
		m.w.note("%s: error: %v", m.name, end.err)
		m.due = m.w.now.Add(min(15*time.Second, 100*time.Millisecond<<min(m.failures, 10)))
		m.failures++
		return
	}
	m.failures = 0
	m.due = m.w.now.Add(24 * time.Hour)
	if end.result.RequeueAfter > 0 {
		m.due = m.w.now.Add(end.result.RequeueAfter)
	}
}

// recorder takes the operator's events for the trace.
type recorder struct{}

func (recorder) Eventf(runtime.Object, runtime.Object, string, string, string, string, ...any) {}

// cluster is the KRaftCluster as it stands in the API; nil when it is gone.
func (w *world) cluster() *v1alpha1.KRaftCluster {
	return get[*v1alpha1.KRaftCluster](w.store, clusterName)
}
