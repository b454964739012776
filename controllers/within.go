package controllers

import (
	"reflect"
	"slices"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// notWanted are fields of an object that want never speaks of: a typed read leaves the kind out, and the rest is the API's.
var notWanted = []string{"TypeMeta", "Status"}

// same tells whether live has every field that want sets; both are of one type. What want leaves out is others' business.
// It is asked of every object in every pass, so nothing is marshalled for it.
func same(want, live client.Object) bool {
	w, l := reflect.ValueOf(want).Elem(), reflect.ValueOf(live).Elem()
	for i := range w.NumField() {
		if !slices.Contains(notWanted, w.Type().Field(i).Name) && !within(w.Field(i), l.Field(i)) {
			return false
		}
	}
	return true
}

// within compares values as they would be written: a field without a value isn't set, every key that want has is in live,
// and lists are equally long. What a pointer leads to is set, be it zero.
func within(want, live reflect.Value) bool {
	if want.IsZero() {
		return true
	}
	switch w := want.Interface().(type) {
	case resource.Quantity:
		return w.Cmp(live.Interface().(resource.Quantity)) == 0
	case metav1.Time:
		return w.Time.Equal(live.Interface().(metav1.Time).Time)
	case intstr.IntOrString:
		return w == live.Interface().(intstr.IntOrString)
	}
	switch want.Kind() {
	case reflect.Pointer:
		if live.IsNil() {
			return want.Elem().Kind() == reflect.Struct && want.Elem().IsZero() && !isAmount(want.Elem())
		}
		return item(want.Elem(), live.Elem())
	case reflect.Struct:
		for i := range want.NumField() {
			if !within(want.Field(i), live.Field(i)) {
				return false
			}
		}
		return true
	case reflect.Map: // an empty one isn't written
		for keys := want.MapRange(); keys.Next(); {
			l := live.MapIndex(keys.Key())
			if !l.IsValid() || !item(keys.Value(), l) {
				return false
			}
		}
		return true
	case reflect.Slice:
		if want.Len() != live.Len() {
			return want.Len() == 0
		}
		for i := range want.Len() {
			if !item(want.Index(i), live.Index(i)) {
				return false
			}
		}
		return true
	default:
		return want.Equal(live)
	}
}

// item is within for what is set even where it is zero: what a pointer leads to, a map's value, a list's item.
func item(want, live reflect.Value) bool {
	if !want.IsZero() {
		return within(want, live)
	}
	return want.Kind() == reflect.Struct && !isAmount(want) || live.IsZero()
}

// isAmount: a struct that is written as one value.
func isAmount(v reflect.Value) bool {
	switch v.Interface().(type) {
	case resource.Quantity, intstr.IntOrString:
		return true
	}
	return false
}
