package crashpoints

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/kraft-dev/kraft-operator/internal/config"
	"github.com/kraft-dev/kraft-operator/test/controlplane"
	"github.com/kraft-dev/kraft-operator/test/kubelet"
)

// theatre is the stage of the real ones: one API server, etcd, kube-controller-manager and kubelet, and a namespace a play.
type theatre struct {
	control *controlplane.ControlPlane
	kube    client.Client // straight to the API
	cache   cache.Cache
	mapper  meta.RESTMapper
	kubelet *kubelet.Kubelet
	dir     string
	worlds  int
	tenth   bool // of verbs that aren't whole each tenth play
	plays   atomic.Int32

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu    sync.Mutex
	cries []string // what the kubelet couldn't do
}

// MainReal is Main on the real ones, with so many worlds at once. Files go to a folder of their own below dir ("" is the
// system's for temporary ones).
func MainReal(out io.Writer, dir, only string, every, lines, worlds int) bool {
	ctrl.SetLogger(logr.Discard())
	t, err := openTheatre(dir, worlds)
	t.tenth = only == ""
	ok := err == nil
	if ok {
		ok = hunt(out, t, only, every, lines)
	} else {
		fmt.Fprintln(out, err)
	}
	if err := t.close(); err != nil {
		fmt.Fprintln(out, err)
		return false
	}
	return ok
}

func openTheatre(dir string, worlds int) (*theatre, error) {
	t := &theatre{worlds: worlds}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	var err error
	if t.dir, err = os.MkdirTemp(dir, "crashpoints-"); err != nil {
		return t, err
	}
	if t.control, err = controlplane.Start(); err != nil {
		return t, err
	}
	if err := t.control.StartControllerManager(t.dir); err != nil {
		return t, err
	}
	if t.kube, err = client.New(t.control.Config, client.Options{Scheme: t.control.Scheme}); err != nil {
		return t, err
	}
	http, err := clientFor(t.control)
	if err != nil {
		return t, err
	}
	if t.mapper, err = apiutil.NewDynamicRESTMapper(t.control.Config, http); err != nil {
		return t, err
	}
	if t.cache, err = cache.New(t.control.Config, cache.Options{
		Scheme: t.control.Scheme, Mapper: t.mapper, DefaultTransform: cache.TransformStripManagedFields(),
	}); err != nil {
		return t, err
	}
	t.wg.Go(func() { t.cry(t.cache.Start(t.ctx)) })
	for _, list := range lists() {
		if _, err := t.cache.GetInformer(t.ctx, newObject(kindOf(list))); err != nil {
			return t, err
		}
	}
	t.kubelet = kubelet.New(kubelet.Config{
		Client: t.kube, Cache: t.cache, Dir: t.dir, BadImage: badImage,
		// No endpoint is left behind here that a broker would have to outlive.
		Settings: map[string]string{config.KraftShutdownLingerMs: "0"},
	}, t.cry)
	if err := t.kubelet.Prepare(t.ctx); err != nil {
		return t, err
	}
	t.wg.Go(func() { t.kubelet.Run(t.ctx) })
	return t, nil
}

// cry keeps what befalls what stands around the plays, for the next story that is told.
func (t *theatre) cry(err error) {
	if err == nil || t.ctx.Err() != nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cries = append(t.cries, err.Error())
}

// cried are the cries since the last time.
func (t *theatre) cried() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := t.cries
	t.cries = nil
	return out
}

func (t *theatre) close() error {
	t.cancel()
	t.wg.Wait()
	return errors.Join(t.control.Stop(), os.RemoveAll(t.dir))
}

func (t *theatre) atOnce() int        { return t.worlds }
func (t *theatre) sameEachTime() bool { return false }

// whole are the verbs of which every point is played on the real ones.
var whole = []string{"form", "roll-config", "delete"}

func (t *theatre) part(verb string) int {
	if t.tenth && !slices.Contains(whole, verb) {
		return 10
	}
	return 1
}

func (t *theatre) set(v verb) func() *world {
	return func() *world {
		w := t.newWorld()
		if v.from != nil {
			v.from(w)
		}
		t.kubelet.ForgetStarts(w.namespace)
		return w
	}
}

// newWorld is a new namespace.
func (t *theatre) newWorld() *world {
	w := newWorld()
	w.namespace = fmt.Sprintf("play-%d", t.plays.Add(1))
	w.now, w.began, w.tracing = time.Now(), time.Now(), true
	a := &actual{w: w, t: t, ready: map[string]bool{}, counted: map[string]bool{}, byHand: map[string]bool{}}
	a.ctx, a.cancel = context.WithCancel(t.ctx)
	w.platform = a
	a.mu.Lock() // the world acts; moment lets others
	w.must(t.kube.Create(a.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}}))
	a.wg.Go(a.ask)
	return w
}

// strike ends a play: its processes are abandoned, and its namespace goes.
func (t *theatre) strike(w *world) {
	a := w.platform.(*actual)
	a.cancel()
	a.mu.Unlock()
	a.wg.Wait()
	t.kubelet.Discard(w.namespace)
	t.cry(client.IgnoreNotFound(t.kube.Delete(t.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}})))
}
