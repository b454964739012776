package kubelet

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// reserve takes a /16 of the loopback addresses for this kubelet, against others on this machine: it holds a port of it.
func (k *Kubelet) reserve() error {
	var err error
	for k.block = 64; k.block < 128; k.block++ {
		if k.held, err = net.Listen("tcp", fmt.Sprintf("127.%d.255.254:9093", k.block)); err == nil {
			return nil
		}
	}
	return fmt.Errorf("no loopback addresses are left for pods: %w", err)
}

// nextIP is an address that no other pod had.
func (k *Kubelet) nextIP() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.addr++
	return fmt.Sprintf("127.%d.%d.%d", k.block, k.addr/250%250, k.addr%250+1)
}

// Dial connects to an address of a pod, or to a Service by its name (<service>.<namespace>.svc), as one inside Kubernetes does.
func (k *Kubelet) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	if name, ok := strings.CutSuffix(host, ".svc"); ok {
		service, namespace, _ := strings.Cut(name, ".")
		if addr, err = k.endpoint(ctx, types.NamespacedName{Namespace: namespace, Name: service}, port); err != nil {
			return nil, &net.OpError{Op: "dial", Net: network, Err: err}
		}
	}
	return (&net.Dialer{}).DialContext(ctx, network, addr)
}

// dial connects as the pod does: what it is answered comes late while it is slow.
func (p *pod) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	c, err := p.k.Dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return lateConn{Conn: c, p: p}, nil
}

// lateConn hands out what it reads when the pod's delay has passed.
type lateConn struct {
	net.Conn
	p *pod
}

func (c lateConn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	time.Sleep(c.p.k.delay(c.p.key))
	return n, err
}

// endpoint is one of the addresses behind a Service's port. A Service with none refuses.
func (k *Kubelet) endpoint(ctx context.Context, service types.NamespacedName, port string) (string, error) {
	var svc corev1.Service
	if err := k.cfg.Cache.Get(ctx, service, &svc); err != nil {
		return "", &net.DNSError{Err: "no such host", Name: service.String(), IsNotFound: true}
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return "", err
	}
	at := slices.IndexFunc(svc.Spec.Ports, func(p corev1.ServicePort) bool { return int(p.Port) == number })
	var pods corev1.PodList
	err = k.cfg.Cache.List(ctx, &pods, client.InNamespace(service.Namespace), client.UnsafeDisableDeepCopy,
		client.MatchingLabelsSelector{Selector: labels.SelectorFromSet(svc.Spec.Selector)})
	if err != nil {
		return "", err
	}
	var addrs []string
	for i := range pods.Items {
		p := &pods.Items[i]
		if p.Status.PodIP != "" && (svc.Spec.PublishNotReadyAddresses || isReady(p) && p.DeletionTimestamp == nil) && at >= 0 {
			addrs = append(addrs, net.JoinHostPort(p.Status.PodIP, svc.Spec.Ports[at].TargetPort.String()))
		}
	}
	if len(addrs) == 0 {
		return "", syscall.ECONNREFUSED
	}
	return addrs[rand.IntN(len(addrs))], nil
}

func isReady(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}
