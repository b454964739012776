package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"

	"github.com/kraft-dev/kraft-operator/internal/config"
)

// oneAddress tells whether a combined node runs, or is about to start, with settings of a time when its listeners were
// advertised at its controller's Service.
func (r *Reconciler) oneAddress(ctx context.Context, s *scope, n *node) (bool, error) {
	if !n.controller || !n.broker {
		return false, nil
	}
	var names []string
	if set := s.sets[n.name]; set != nil {
		names = append(names, configMapOf(set.Spec.Template.Spec.Volumes))
	}
	if p := s.pods[podName(n.name)]; p != nil {
		names = append(names, configMapOf(p.Spec.Volumes))
	}
	for _, name := range slices.Compact(names) {
		var cm corev1.ConfigMap
		err := r.Get(ctx, types.NamespacedName{Namespace: s.cluster.Namespace, Name: name}, &cm)
		if apierrors.IsNotFound(err) {
			continue
		} else if err != nil {
			return false, fmt.Errorf("settings %s: %w", name, err)
		}
		if s.advertisesOneAddress(n, cm.Data[configFile]) {
			return true, nil
		}
	}
	return false, nil
}

// advertisesOneAddress tells whether settings name a combined node's Internal listeners by its controller's Service.
func (s *scope) advertisesOneAddress(n *node, settings string) bool {
	p, err := config.Parse([]byte(settings))
	if err != nil {
		return false // not ours: no node starts with it
	}
	for addr := range strings.SplitSeq(p[config.AdvertisedListeners], ",") {
		name, host, _ := strings.Cut(addr, "://")
		if name != controllerListener && strings.HasPrefix(host, fmt.Sprintf("%s.%s.svc:", n.name, s.cluster.Namespace)) {
			return true
		}
	}
	return false
}
