package kubelet

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Process is a kraftd that runs.
type Process struct {
	Pod                string
	UID, Claim         types.UID
	NodeID             int32
	Controller, Broker bool
	IP                 string
	Started            time.Time
	Slow               time.Time // since when; zero: it isn't
	Stopping, Ready    bool
}

const (
	hostIP     = "192.0.2.10"
	restartsIn = 500 * time.Millisecond // a container that ended by itself
)

// pod is one pod, whose life one goroutine leads.
type pod struct {
	k   *Kubelet
	key types.NamespacedName
	uid types.UID
	obj *corev1.Pod // as the cache has it; nil when it is gone

	process *Process // guarded by Kubelet.mu; nil while none runs
}

// errOver ends a pod's life: it is gone, or its namespace is.
var errOver = errors.New("the pod is gone")

// live leads a pod from its creation to its end.
func (p *pod) live(ctx context.Context) error {
	err := p.untilGone(ctx)
	if p.k.isGone(p.key.Namespace) {
		p.k.remove(p.k.mounts(p.uid))
		return client.IgnoreNotFound(p.delete(ctx))
	}
	if errors.Is(err, errOver) {
		p.k.remove(p.k.mounts(p.uid))
		return nil
	}
	return err
}

func (p *pod) untilGone(ctx context.Context) error {
	if err := p.schedule(ctx); err != nil {
		return err
	}
	ip := p.k.nextIP()
	for {
		c, err := p.start(ctx, ip)
		if err != nil {
			return err
		}
		if err := p.attend(ctx, c); err != nil {
			return err
		}
	}
}

// each looks at the pod until done says that this is over. A pod that is deleted while nothing of it runs is gone.
func (p *pod) each(ctx context.Context, done func() (bool, error)) error {
	tick := time.NewTicker(look)
	defer tick.Stop()
	for {
		var obj corev1.Pod
		err := p.k.cfg.Cache.Get(ctx, p.key, &obj, client.UnsafeDisableDeepCopy)
		switch {
		case p.k.isGone(p.key.Namespace):
			return errOver
		case err == nil && obj.UID == p.uid:
			p.obj = &obj
		case err == nil || apierrors.IsNotFound(err):
			p.obj = nil
		default:
			return err
		}
		if over, err := done(); over || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// idle ends the pod where nothing runs and it is to go.
func (p *pod) idle(ctx context.Context) error {
	switch {
	case p.obj == nil:
		return errOver
	case p.obj.DeletionTimestamp != nil && !p.k.isCut(p.key):
		if err := p.delete(ctx); client.IgnoreNotFound(err) != nil {
			return err
		}
		return errOver
	}
	return nil
}

// delete takes the pod's object away: its process has ended.
func (p *pod) delete(ctx context.Context) error {
	obj := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: p.key.Namespace, Name: p.key.Name}}
	err := p.k.cfg.Client.Delete(ctx, obj, client.GracePeriodSeconds(0), client.Preconditions{UID: &p.uid})
	if apierrors.IsConflict(err) {
		return nil // another pod by now
	}
	return err
}

// schedule binds the pod to a Node when its claims are there: a claim that is being deleted takes no new pod.
func (p *pod) schedule(ctx context.Context) error {
	return p.each(ctx, func() (bool, error) {
		if err := p.idle(ctx); err != nil {
			return false, err
		}
		if p.obj.Spec.NodeName != "" {
			return true, nil
		}
		for _, v := range p.obj.Spec.Volumes {
			if v.PersistentVolumeClaim == nil {
				continue
			}
			claim, err := p.claim(ctx, v.PersistentVolumeClaim.ClaimName)
			if claim == nil || err != nil {
				return false, err
			}
		}
		id, err := strconv.Atoi(p.obj.Labels["kraft.dev/node-id"])
		if err != nil {
			return false, fmt.Errorf("label kraft.dev/node-id: %w", err)
		}
		err = p.k.cfg.Client.SubResource("binding").Create(ctx, p.obj.DeepCopy(), &corev1.Binding{
			ObjectMeta: metav1.ObjectMeta{Namespace: p.key.Namespace, Name: p.key.Name, UID: p.uid},
			Target:     corev1.ObjectReference{Kind: "Node", Name: nodeName(id % 10 % zones)},
		})
		if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
			err = nil // bound before the cache saw it, or gone
		}
		return false, err
	})
}

// claim is a bound claim that stays; nil while there is none.
func (p *pod) claim(ctx context.Context, name string) (*corev1.PersistentVolumeClaim, error) {
	var c corev1.PersistentVolumeClaim
	err := p.k.cfg.Cache.Get(ctx, types.NamespacedName{Namespace: p.key.Namespace, Name: name}, &c, client.UnsafeDisableDeepCopy)
	if apierrors.IsNotFound(err) || err == nil && (c.DeletionTimestamp != nil || c.Status.Phase != corev1.ClaimBound) {
		return nil, nil //nolint:nilerr // it may come
	}
	return &c, err
}

// start starts the pod's kraftd when its volumes are there.
func (p *pod) start(ctx context.Context, ip string) (c *container, err error) {
	since := time.Now()
	return c, p.each(ctx, func() (bool, error) {
		if err := p.idle(ctx); err != nil {
			return false, err
		}
		switch {
		case p.k.isCut(p.key):
			return false, nil
		case p.obj.Spec.Containers[0].Image == p.k.cfg.BadImage:
			if time.Since(since) < restartsIn {
				return false, nil
			}
			return false, p.report(ctx, p.waiting("ImagePullBackOff"))
		}
		var obj corev1.Pod // with the labels that binding gave it
		if err := p.k.cfg.Client.Get(ctx, p.key, &obj); err != nil || obj.UID != p.uid {
			return false, client.IgnoreNotFound(err)
		}
		c, err = p.run(ctx, &obj, ip)
		if err != nil {
			return false, errors.Join(p.report(ctx, p.waiting("CreateContainerConfigError")), err)
		}
		return c != nil, nil
	})
}

// attend reports how the container does until it has ended. Nil: it is to be started again.
func (p *pod) attend(ctx context.Context, c *container) error {
	abandon := func() {
		c.kill()
		<-c.done
		p.ended()
	}
	stopping := false
	err := p.each(ctx, func() (bool, error) {
		if p.k.isCut(p.key) {
			return true, nil
		}
		select {
		case <-c.done:
			p.ended()
			return true, c.err
		default:
		}
		if p.obj == nil || p.obj.DeletionTimestamp != nil {
			if !stopping {
				stopping = true
				p.say(func(s *Process) { s.Stopping = true })
				c.stop()
			}
		}
		if err := c.mount(ctx, p); err != nil {
			return false, err
		}
		ready := c.ready(ctx)
		p.say(func(s *Process) { s.Ready = ready })
		if p.obj == nil {
			return false, nil
		}
		return false, p.report(ctx, p.running(c, ready))
	})
	if ctx.Err() != nil || errors.Is(err, errOver) || p.k.isCut(p.key) {
		abandon()
	}
	if p.k.isCut(p.key) && p.obj != nil {
		return p.report(ctx, p.running(c, false))
	}
	if err != nil && !errors.Is(err, errOver) && ctx.Err() == nil { // a kraftd that can't go on: like a real one it is started again
		p.k.complain(fmt.Errorf("pod %s: %w", p.key, err))
		if p.obj != nil {
			if err := p.report(ctx, p.waiting("CrashLoopBackOff")); err != nil {
				return err
			}
		}
		time.Sleep(restartsIn)
		return nil
	}
	return err
}

func (p *pod) say(change func(*Process)) {
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	change(p.process)
}

// ended forgets the process: it has ended.
func (p *pod) ended() {
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	p.process = nil
}

func (p *pod) running(c *container, ready bool) corev1.PodStatus {
	st := corev1.PodStatus{
		Phase: corev1.PodRunning, HostIP: hostIP, HostIPs: []corev1.HostIP{{IP: hostIP}}, PodIP: c.ip, PodIPs: []corev1.PodIP{{IP: c.ip}},
		Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse, LastTransitionTime: metav1.Now()}},
	}
	if ready {
		st.Conditions[0].Status = corev1.ConditionTrue
	}
	return st
}

func (p *pod) waiting(reason string) corev1.PodStatus {
	return corev1.PodStatus{
		Phase: corev1.PodPending, HostIP: hostIP, HostIPs: []corev1.HostIP{{IP: hostIP}},
		Conditions:        []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionFalse}},
		ContainerStatuses: []corev1.ContainerStatus{{Name: "kraftd", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}}},
	}
}

// report writes the pod's status where it is news.
func (p *pod) report(ctx context.Context, st corev1.PodStatus) error {
	was := p.obj.Status
	if was.Phase == st.Phase && was.PodIP == st.PodIP && isReady(p.obj) == isReady(&corev1.Pod{Status: st}) &&
		equality.Semantic.DeepEqual(was.ContainerStatuses, st.ContainerStatuses) {
		return nil
	}
	next := p.obj.DeepCopy()
	next.ResourceVersion = "" // whatever else was written: this is the kubelet's
	for _, c := range was.Conditions {
		if c.Type != corev1.PodReady {
			st.Conditions = append(st.Conditions, c)
		}
	}
	st.QOSClass, st.StartTime = was.QOSClass, was.StartTime
	next.Status = st
	err := p.k.cfg.Client.Status().Update(ctx, next)
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil // another pod, or none
	}
	return err
}

// ready asks the readiness endpoint.
func (c *container) ready(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+c.ip+":"+c.httpPort+"/readyz", nil)
	if err != nil {
		return false
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}
