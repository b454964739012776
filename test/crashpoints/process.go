package crashpoints

import (
	"context"
	"crypto/rand"
	"net/http"
	"strings"
	"time"

	"github.com/go-logr/logr/funcr"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/kraft-dev/kraft-operator/internal/admin"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
	"github.com/kraft-dev/kraft-operator/test/controlplane"
)

// process is what a manager has on the real platform: a manager of controller-runtime, with informers and a work queue.
type process struct {
	cancel context.CancelFunc
	done   chan struct{}
	dead   bool
	pass   types.UID // the pass that is under way, or was last
}

func clientFor(p *controlplane.ControlPlane) (*http.Client, error) {
	return rest.HTTPClientFor(p.Config)
}

func (a *actual) launch(m *manager) {
	m.ended = make(chan passEnd, 4) // told also when nobody waits for it
	mgr, err := ctrl.NewManager(a.t.control.Config, ctrl.Options{
		Scheme: a.t.control.Scheme, Metrics: metricsserver.Options{BindAddress: "0"},
		MapperProvider: func(*rest.Config, *http.Client) (meta.RESTMapper, error) { return a.t.mapper, nil },
		Cache:          cache.Options{DefaultNamespaces: map[string]cache.Config{a.w.namespace: {}}},
		// A pass's context ends with it: that is how its end is noticed.
		Controller:              config.Controller{SkipNameValidation: ptr.To(true), ReconciliationTimeout: time.Hour},
		GracefulShutdownTimeout: ptr.To(time.Duration(0)),
		Logger:                  funcr.New(func(_, line string) { a.log(m.name + ": " + line) }, funcr.Options{}),
	})
	if err == nil {
		m.stand(mgr.GetClient(), a.t.kube, admin.Client{})
		m.r.Now = time.Now
		m.r.NewID = func() (string, error) { id, err := uuid.New(rand.Reader); return id.String(), err }
		err = m.r.SetupWithManager(mgr)
	}
	if err != nil {
		a.w.violate("%s doesn't start: %v", m.name, err)
		return
	}
	ctx, cancel := context.WithCancel(a.ctx)
	m.process = process{cancel: cancel, done: make(chan struct{})}
	a.wg.Go(func() {
		defer close(m.process.done)
		if err := mgr.Start(ctx); err != nil && ctx.Err() == nil {
			a.log(m.name + " ends: panic: " + err.Error())
		}
	})
}

// log keeps what the operator logs of errors.
func (a *actual) log(line string) {
	if strings.Contains(line, `"level"=`) {
		return // no error
	}
	a.askedMu.Lock()
	defer a.askedMu.Unlock()
	a.logged = append(a.logged, line)
}

func (a *actual) takeLog() []string {
	a.askedMu.Lock()
	defer a.askedMu.Unlock()
	out := a.logged
	a.logged = nil
	return out
}

// enter lets in calls of a process that lives. One that slept while another took over finishes its pass, and no more.
func (a *actual) enter(ctx context.Context, m *manager) func() {
	a.mu.Lock()
	id := controller.ReconcileIDFromContext(ctx)
	if m.process.dead || m != a.w.active && id != m.process.pass {
		a.mu.Unlock()
		panic(killed{})
	}
	a.w.now = time.Now()
	if id != m.process.pass {
		m.process.pass = id
		m.passes++
		context.AfterFunc(ctx, func() { a.passed(m) })
	}
	return func() {
		if p := recover(); p != nil {
			if p == (killed{}) {
				m.process.dead = true
				m.ended <- passEnd{killed: true}
			}
			a.mu.Unlock()
			panic(p)
		}
		a.mu.Unlock()
	}
}

// passed is called when a pass is over: of a process that slept, it was the last.
func (a *actual) passed(m *manager) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if m != a.w.active && !m.process.dead {
		m.process.dead = true
		m.ended <- passEnd{}
	}
}

func (a *actual) turn(m *manager) (passEnd, bool) {
	select {
	case end := <-m.ended:
		return end, true
	default:
		return passEnd{}, false
	}
}

// end ends a process. What of it still runs dies in its next call.
func (a *actual) end(m *manager) {
	m.process.dead = true
	if m.process.cancel == nil {
		return
	}
	m.process.cancel()
	a.outside(func() { <-m.process.done })
}
