package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
)

// kubernetes is the StatefulSet controller and every kubelet, on an apiserver that has neither.
type kubernetes struct {
	client.WithWatch
	nodes *nodes
}

func name(cluster int) string { return fmt.Sprintf("bench-%03d", cluster) }

func cluster(i int) *v1alpha1.KRaftCluster {
	size := func(s string) v1alpha1.VolumeSpec { return v1alpha1.VolumeSpec{Size: intstr.FromString(s)} }
	return &v1alpha1.KRaftCluster{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name(i)},
		Spec: v1alpha1.KRaftClusterSpec{
			Controllers: v1alpha1.ControllersSpec{Replicas: 3, Storage: size("1Gi")},
			Brokers:     &v1alpha1.BrokersSpec{Replicas: brokers, Storage: size("2Gi")},
			Listeners:   []v1alpha1.ListenerSpec{{Name: "internal", Port: brokerPort, Type: v1alpha1.ListenerInternal}},
		},
	}
}

// run makes a running pod for every StatefulSet that appears, until ctx ends. There is no roll to be played. The API server ends a watch
// that falls behind, as this one may when hundreds appear at once; the next one begins with all there are.
func (k *kubernetes) run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := k.watch(ctx); err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

func (k *kubernetes) watch(ctx context.Context) error {
	w, err := k.Watch(ctx, &appsv1.StatefulSetList{}, client.InNamespace(namespace))
	if err != nil {
		return err
	}
	defer w.Stop()
	for e := range w.ResultChan() {
		set, ok := e.Object.(*appsv1.StatefulSet)
		if !ok || e.Type == watch.Deleted {
			continue
		}
		if err := k.start(ctx, set); err != nil {
			return err
		}
	}
	return nil
}

func (k *kubernetes) start(ctx context.Context, set *appsv1.StatefulSet) error {
	i, err := strconv.Atoi(strings.Split(set.Name, "-")[1])
	if err != nil {
		return fmt.Errorf("StatefulSet %s: %w", set.Name, err)
	}
	if set.Status.ObservedGeneration < set.Generation {
		set.Status.ObservedGeneration, set.Status.Replicas = set.Generation, 1
		if err := k.Status().Update(ctx, set); client.IgnoreNotFound(err) != nil && !apierrors.IsConflict(err) {
			return err
		}
	}
	t := set.Spec.Template
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: set.Name + "-0", Labels: t.Labels, Annotations: t.Annotations}, Spec: t.Spec}
	pod.OwnerReferences = []metav1.OwnerReference{{APIVersion: "apps/v1", Kind: "StatefulSet", Name: set.Name, UID: set.UID, Controller: ptr.To(true)}}
	if err := k.Create(ctx, pod); apierrors.IsAlreadyExists(err) {
		return nil
	} else if err != nil {
		return err
	}
	if err := k.learn(ctx, i); err != nil {
		return err
	}
	created := pod.DeepCopy()
	if pod.Status, err = running(i, pod); err != nil {
		return err
	}
	return k.Status().Patch(ctx, pod, client.MergeFrom(created)) // the operator may have annotated it by now
}

// learn tells the nodes the directory ids that the operator has drawn: it records them before the first StatefulSet.
func (k *kubernetes) learn(ctx context.Context, i int) error {
	var c v1alpha1.KRaftCluster
	if err := k.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name(i)}, &c); err != nil {
		return err
	}
	voters := map[int32]string{}
	for _, v := range c.Status.InitialVoters {
		voters[v.ID] = v.DirectoryID
	}
	return k.nodes.learn(i, voters)
}
