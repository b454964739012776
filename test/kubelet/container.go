package kubelet

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kraft-dev/kraft-operator/internal/config"
	"github.com/kraft-dev/kraft-operator/internal/node"
)

// container is one run of a pod's kraftd.
type container struct {
	ip, httpPort string
	http         *http.Client
	cancel       context.CancelCauseFunc
	done         chan struct{}
	err          error // why it ended, once done is closed
	folders      []folder
}

// folder is a volume that is mounted: at is its place in the container, host on this machine.
type folder struct {
	at, host  string
	configMap string // "" for a claim's
	version   string // of the ConfigMap that was written
}

// run starts the pod's kraftd; nil while a volume isn't there.
func (p *pod) run(ctx context.Context, obj *corev1.Pod, ip string) (*container, error) {
	c := &container{ip: ip, done: make(chan struct{}), http: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	process := Process{Pod: p.key.Name, UID: p.uid, IP: ip, Started: time.Now()}
	for _, m := range obj.Spec.Containers[0].VolumeMounts {
		i := slices.IndexFunc(obj.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == m.Name })
		if i < 0 {
			return nil, fmt.Errorf("volume %s is mounted and isn't there", m.Name)
		}
		v := obj.Spec.Volumes[i]
		switch {
		case v.PersistentVolumeClaim != nil:
			claim, err := p.claim(ctx, v.PersistentVolumeClaim.ClaimName)
			if claim == nil || err != nil {
				return nil, err
			}
			process.Claim = claim.UID
			c.folders = append(c.folders, folder{at: m.MountPath, host: p.k.disk(claim.UID)})
		case v.ConfigMap != nil:
			c.folders = append(c.folders, folder{at: m.MountPath, host: filepath.Join(p.k.mounts(p.uid), m.Name), configMap: v.ConfigMap.Name})
		default:
			return nil, fmt.Errorf("volume %s is neither a claim nor a ConfigMap", m.Name)
		}
	}
	if err := c.mount(ctx, p); err != nil {
		return nil, err
	}
	if slices.ContainsFunc(c.folders, func(f folder) bool { return f.configMap != "" && f.version == "" }) {
		return nil, nil // a ConfigMap isn't there yet
	}
	cfg, err := c.settings(obj, p.k.cfg.Settings)
	if err != nil {
		return nil, err
	}
	process.NodeID, process.Controller, process.Broker = cfg.NodeID(), cfg.IsController(), cfg.IsBroker()
	c.launch(ctx, p, cfg)
	p.k.mu.Lock()
	defer p.k.mu.Unlock()
	p.process = &process
	p.k.starts[p.key]++
	return c, nil
}

// launch runs the node in a goroutine of its own.
func (c *container) launch(ctx context.Context, p *pod, cfg *config.Config) {
	_, c.httpPort, _ = strings.Cut(cfg.String(config.KraftHTTPListener), ":")
	var run context.Context
	run, c.cancel = context.WithCancelCause(context.WithoutCancel(ctx))
	p.k.wg.Go(func() {
		defer close(c.done)
		c.err = node.Run(run, node.Options{Config: cfg, Logger: slog.New(slog.DiscardHandler), Version: "test", Dial: p.dial})
	})
}

// mount writes what the ConfigMaps say where it is news.
func (c *container) mount(ctx context.Context, p *pod) error {
	for i := range c.folders {
		f := &c.folders[i]
		var cm corev1.ConfigMap
		if f.configMap != "" {
			key := types.NamespacedName{Namespace: p.key.Namespace, Name: f.configMap}
			if err := p.k.cfg.Cache.Get(ctx, key, &cm, client.UnsafeDisableDeepCopy); apierrors.IsNotFound(err) {
				continue // what is mounted stays
			} else if err != nil {
				return err
			}
			if f.version == cm.ResourceVersion {
				continue
			}
		}
		if err := os.MkdirAll(f.host, 0o755); err != nil {
			return err
		}
		for name, text := range cm.Data {
			if err := replaceFile(filepath.Join(f.host, name), text); err != nil {
				return err
			}
		}
		f.version = cm.ResourceVersion
	}
	return nil
}

// replaceFile writes a file that is read at any time.
func replaceFile(name, text string) error {
	if err := os.WriteFile(name+".new", []byte(text), 0o644); err != nil {
		return err
	}
	return os.Rename(name+".new", name)
}

// settings are those of the file that the container's command names, with the environment filled in, paths as they are on this
// machine, and the pod's address for every address.
func (c *container) settings(obj *corev1.Pod, over map[string]string) (*config.Config, error) {
	command := obj.Spec.Containers[0].Command
	at := slices.Index(command, "--config")
	if at < 0 || at+1 == len(command) {
		return nil, fmt.Errorf("the container's command %q names no --config", command)
	}
	text, err := os.ReadFile(c.host(command[at+1]))
	if err != nil {
		return nil, err
	}
	props, err := config.Parse(bytes.TrimSpace(text))
	if err != nil {
		return nil, err
	}
	if props, err = config.Expand(props, c.environment(obj)); err != nil {
		return nil, err
	}
	for key, value := range props {
		switch key {
		case config.Listeners, config.KraftHTTPListener:
			props[key] = strings.ReplaceAll(value, "0.0.0.0", c.ip)
		default:
			props[key] = c.host(value)
		}
	}
	for key, value := range over {
		props[key] = value
	}
	return config.Load(props)
}

// host is a path of the container on this machine; what is no such path stays.
func (c *container) host(path string) string {
	for _, f := range c.folders {
		if rest, inside := strings.CutPrefix(path, f.at+"/"); inside {
			return filepath.Join(f.host, rest)
		}
	}
	return path
}

// environment is the container's, as its template says.
func (c *container) environment(obj *corev1.Pod) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for _, e := range obj.Spec.Containers[0].Env {
			switch {
			case e.Name != name:
			case e.ValueFrom == nil || e.ValueFrom.FieldRef == nil:
				return e.Value, true
			default:
				return c.field(obj, e.ValueFrom.FieldRef.FieldPath), true
			}
		}
		return "", false
	}
}

// field is what the downward API says.
func (c *container) field(obj *corev1.Pod, path string) string {
	switch path {
	case "metadata.name":
		return obj.Name
	case "metadata.namespace":
		return obj.Namespace
	case "status.podIP":
		return c.ip
	case "status.hostIP":
		return hostIP
	}
	if label, ok := strings.CutPrefix(path, "metadata.labels['"); ok {
		return obj.Labels[strings.TrimSuffix(label, "']")]
	}
	return ""
}

// stop is SIGTERM.
func (c *container) stop() { c.cancel(context.Canceled) }

// kill is SIGKILL.
func (c *container) kill() { c.cancel(node.ErrAbandon) }
