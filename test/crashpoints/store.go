package crashpoints

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/kraft-dev/kraft-operator/api/v1alpha1"
)

// key names an object of the one namespace.
type key struct{ kind, name string }

func (k key) String() string { return k.kind + " " + k.name }

// change is one write as a watch tells it; obj is nil when the object is gone.
type change struct {
	at       time.Time
	key      key
	obj, was client.Object
}

// store holds the objects. One that is in it is never changed: a write puts another in its place.
type store struct {
	namespace string
	now       time.Time
	objs      map[key]client.Object
	applied   map[key]map[string]any // what the operator applied last, as JSON
	log       []change
	version   int
	uids      int
	ports     int32
}

func newStore() *store {
	return &store{namespace: "play-0", objs: map[key]client.Object{}, applied: map[key]map[string]any{}, version: 1, ports: 30000} // 1: as etcd's revisions begin
}

func (s *store) clone() *store {
	c := *s
	c.objs, c.applied, c.log = maps.Clone(s.objs), maps.Clone(s.applied), slices.Clip(s.log)
	return &c
}

// kindOf is the kind of a typed object; a kind that the model lacks is an error of the model.
func kindOf(obj runtime.Object) string {
	switch obj.(type) {
	case *v1alpha1.KRaftCluster, *v1alpha1.KRaftClusterList:
		return "KRaftCluster"
	case *appsv1.StatefulSet, *appsv1.StatefulSetList:
		return "StatefulSet"
	case *appsv1.ControllerRevision, *appsv1.ControllerRevisionList:
		return "ControllerRevision"
	case *corev1.Pod, *corev1.PodList:
		return "Pod"
	case *corev1.PersistentVolumeClaim, *corev1.PersistentVolumeClaimList:
		return "PersistentVolumeClaim"
	case *corev1.Service, *corev1.ServiceList:
		return "Service"
	case *corev1.ConfigMap, *corev1.ConfigMapList:
		return "ConfigMap"
	case *corev1.ServiceAccount, *corev1.ServiceAccountList:
		return "ServiceAccount"
	case *policyv1.PodDisruptionBudget, *policyv1.PodDisruptionBudgetList:
		return "PodDisruptionBudget"
	case *networkingv1.NetworkPolicy, *networkingv1.NetworkPolicyList:
		return "NetworkPolicy"
	}
	panic(fmt.Sprintf("the model has no %T: add it to kindOf and newObject", obj))
}

func newObject(kind string) client.Object {
	switch kind {
	case "KRaftCluster":
		return &v1alpha1.KRaftCluster{}
	case "StatefulSet":
		return &appsv1.StatefulSet{}
	case "ControllerRevision":
		return &appsv1.ControllerRevision{}
	case "Pod":
		return &corev1.Pod{}
	case "PersistentVolumeClaim":
		return &corev1.PersistentVolumeClaim{}
	case "Service":
		return &corev1.Service{}
	case "ConfigMap":
		return &corev1.ConfigMap{}
	case "ServiceAccount":
		return &corev1.ServiceAccount{}
	case "PodDisruptionBudget":
		return &policyv1.PodDisruptionBudget{}
	case "NetworkPolicy":
		return &networkingv1.NetworkPolicy{}
	}
	panic("the model has no kind " + kind)
}

func keyOf(obj client.Object) key { return key{kindOf(obj), obj.GetName()} }

func resource(kind string) schema.GroupResource { return schema.GroupResource{Resource: kind} }

func notFound(k key) error { return apierrors.NewNotFound(resource(k.kind), k.name) }

func conflict(k key, format string, args ...any) error {
	return apierrors.NewConflict(resource(k.kind), k.name, fmt.Errorf(format, args...))
}

// all are the objects of a kind, by name. They must not be changed.
func all[T client.Object](s *store) []T {
	var out []T
	for _, obj := range s.objs {
		if o, ok := obj.(T); ok {
			out = append(out, o)
		}
	}
	slices.SortFunc(out, func(a, b T) int {
		if a.GetName() < b.GetName() {
			return -1
		}
		return 1
	})
	return out
}

// get is the object of that name; nil while there is none. It must not be changed.
func get[T client.Object](s *store, name string) T {
	var zero T
	obj, ok := s.objs[key{kindOf(zero), name}].(T)
	if !ok {
		return zero
	}
	return obj
}

// put stores obj as the next version, unless that changes nothing. obj becomes the store's.
func (s *store) put(k key, obj client.Object) client.Object {
	was := s.objs[k]
	if was != nil {
		obj.SetGeneration(was.GetGeneration())
		obj.SetResourceVersion(was.GetResourceVersion())
		if equality.Semantic.DeepEqual(was, obj) {
			return was
		}
		if !equality.Semantic.DeepEqual(specOf(was), specOf(obj)) {
			obj.SetGeneration(was.GetGeneration() + 1)
		}
	}
	s.version++
	obj.SetResourceVersion(fmt.Sprint(s.version))
	s.objs[k] = obj
	s.log = append(s.log, change{s.now, k, obj, was})
	return obj
}

// specOf is what a generation counts.
func specOf(obj client.Object) any {
	switch o := obj.(type) {
	case *v1alpha1.KRaftCluster:
		return o.Spec
	case *appsv1.StatefulSet:
		return o.Spec
	case *policyv1.PodDisruptionBudget:
		return o.Spec
	}
	return nil
}

func (s *store) create(obj client.Object) (client.Object, error) {
	k := keyOf(obj)
	if s.objs[k] != nil {
		return nil, apierrors.NewAlreadyExists(resource(k.kind), k.name)
	}
	if err := validOwners(k, obj); err != nil {
		return nil, err
	}
	obj.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	s.uids++
	obj.SetUID(types.UID(fmt.Sprintf("uid-%d", s.uids)))
	obj.SetGeneration(1)
	obj.SetNamespace(s.namespace)
	obj.SetCreationTimestamp(metav1.NewTime(s.now.Truncate(time.Second)))
	s.admit(obj)
	return s.put(k, obj), nil
}

// admit fills in what an API server does.
func (s *store) admit(obj client.Object) {
	svc, ok := obj.(*corev1.Service)
	if !ok {
		return
	}
	if svc.Spec.ClusterIP == "" {
		svc.Spec.ClusterIP = "10.0.0.1"
	}
	for i := range svc.Spec.Ports {
		if svc.Spec.Type == corev1.ServiceTypeNodePort && svc.Spec.Ports[i].NodePort == 0 {
			s.ports++
			svc.Spec.Ports[i].NodePort = s.ports
		}
	}
}

func validOwners(k key, obj client.Object) error {
	controllers := 0
	for _, ref := range obj.GetOwnerReferences() {
		if ref.Controller != nil && *ref.Controller {
			controllers++
		}
	}
	if controllers > 1 {
		return apierrors.NewInvalid(schema.GroupKind{Kind: k.kind}, k.name, nil)
	}
	return nil
}

// replace writes a whole object; checked is compared with what is there: UID and resource version, where they are set.
func (s *store) replace(obj client.Object, checked client.Object) (client.Object, error) {
	k := keyOf(obj)
	was := s.objs[k]
	switch {
	case was == nil:
		return nil, notFound(k)
	case checked.GetUID() != "" && checked.GetUID() != was.GetUID():
		return nil, conflict(k, "precondition failed: UID %s, not %s", was.GetUID(), checked.GetUID())
	case checked.GetResourceVersion() != "" && checked.GetResourceVersion() != was.GetResourceVersion():
		return nil, conflict(k, "the object has been modified")
	}
	if err := validOwners(k, obj); err != nil {
		return nil, err
	}
	obj.SetUID(was.GetUID())
	obj.SetNamespace(s.namespace)
	obj.SetCreationTimestamp(was.GetCreationTimestamp())
	obj.SetDeletionTimestamp(was.GetDeletionTimestamp())
	s.admit(obj)
	return s.put(k, obj), nil
}

// remove deletes an object: pods gracefully, claims when no pod uses them, the rest at once.
func (s *store) remove(k key, p *metav1.Preconditions) error {
	was := s.objs[k]
	switch {
	case was == nil:
		return notFound(k)
	case p != nil && p.UID != nil && *p.UID != was.GetUID():
		return conflict(k, "precondition failed: UID %s, not %s", was.GetUID(), *p.UID)
	case p != nil && p.ResourceVersion != nil && *p.ResourceVersion != was.GetResourceVersion():
		return conflict(k, "precondition failed: resource version")
	}
	pod, isPod := was.(*corev1.Pod)
	switch {
	case !isPod && (k.kind != "PersistentVolumeClaim" || !s.inUse(k.name)):
		s.drop(k)
		return nil
	case was.GetDeletionTimestamp() != nil:
		return nil
	}
	going := was.DeepCopyObject().(client.Object)
	now := metav1.NewTime(s.now.Truncate(time.Second))
	going.SetDeletionTimestamp(&now)
	if isPod {
		going.SetDeletionGracePeriodSeconds(pod.Spec.TerminationGracePeriodSeconds)
	}
	s.put(k, going)
	return nil
}

func (s *store) inUse(claim string) bool {
	return slices.ContainsFunc(all[*corev1.Pod](s), func(p *corev1.Pod) bool { return claimOf(p) == claim })
}

func claimOf(p *corev1.Pod) string {
	for _, v := range p.Spec.Volumes {
		if v.PersistentVolumeClaim != nil {
			return v.PersistentVolumeClaim.ClaimName
		}
	}
	return ""
}

// drop takes an object out.
func (s *store) drop(k key) {
	s.version++
	s.log = append(s.log, change{s.now, k, nil, s.objs[k]})
	delete(s.objs, k)
	delete(s.applied, k)
}

// merge applies a JSON merge patch (RFC 7386). Metadata of the patch are preconditions.
func (s *store) merge(k key, patch []byte, status bool) (client.Object, error) {
	was := s.objs[k]
	if was == nil {
		return nil, notFound(k)
	}
	var p map[string]any
	if err := json.Unmarshal(patch, &p); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	checked := conditions(k.kind, p)
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(was)
	if err != nil {
		return nil, err
	}
	before := content["status"]
	mergeInto(content, p)
	if !status {
		content["status"] = before
	}
	obj, err := typed(k.kind, content)
	if err != nil {
		return nil, err
	}
	return s.replace(obj, checked)
}

func mergeInto(have, patch map[string]any) {
	for name, v := range patch {
		inner, isMap := v.(map[string]any)
		switch at, was := have[name].(map[string]any); {
		case v == nil:
			delete(have, name)
		case isMap && was:
			mergeInto(at, inner)
		case isMap:
			at = map[string]any{}
			mergeInto(at, inner)
			have[name] = at
		default:
			have[name] = v
		}
	}
}

func typed(kind string, content map[string]any) (client.Object, error) {
	obj := newObject(kind)
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(content, obj); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	obj.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	return obj, nil
}

// copyInto leaves in out what the API answers.
func copyInto(out, from client.Object) {
	reflect.ValueOf(out).Elem().Set(reflect.ValueOf(from.DeepCopyObject()).Elem())
}
