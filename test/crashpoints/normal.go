package crashpoints

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// What differs between two plays that ended alike.
var (
	// dropped are fields that are times, counters, or follow from when something happened.
	dropped = []string{
		"uid", "resourceVersion", "generation", "creationTimestamp", "lastTransitionTime", "observedTime", "since", "observedGeneration",
		"acceptedGeneration", "highWatermark", "logEndOffset", "lag", "leader", "leaderEpoch", "message", "podIP", "hostIP", "nodePort", "since",
		"kraft.dev/hurried", "deletionTimestamp", "observers", "clusterIP", "clusterIPs", "controller-revision-hash",
	}
)

// normal is the state at the end of a play: every object without what differs by chance, the voters, and how often each node
// was started.
func (w *world) normal() map[string]string {
	names := map[string]string{w.namespace: "<namespace>"}
	for _, claim := range all[*corev1.PersistentVolumeClaim](w.store) {
		if d := w.fleet.disks[claim.UID]; d != nil && d.formatted {
			names[d.dir], names[d.cluster] = fmt.Sprintf("<directory of %d>", d.id), "<cluster>"
		}
	}
	if c := w.cluster(); c != nil {
		names[c.Status.ClusterID] = "<cluster>"
		for _, v := range c.Status.InitialVoters {
			switch {
			case names[v.DirectoryID] != "":
			case w.byChance: // whose disk is lost may be
				names[v.DirectoryID] = fmt.Sprintf("<directory of %d>", v.ID)
			default:
				names[v.DirectoryID] = fmt.Sprintf("<first directory of %d>", v.ID)
			}
		}
	}
	for _, svc := range all[*corev1.Service](w.store) {
		for _, p := range svc.Spec.Ports {
			names[fmt.Sprint(p.NodePort)] = "<node port>"
		}
	}
	delete(names, "0")
	delete(names, "")
	var pairs []string
	for from, to := range names {
		pairs = append(pairs, from, to)
	}
	byName := strings.NewReplacer(pairs...)
	clean := func(s string) string { return withoutHashes(byName.Replace(s)) }
	out := map[string]string{}
	for k, obj := range w.objs {
		raw, err := json.Marshal(obj)
		must(err)
		var content map[string]any
		must(json.Unmarshal(raw, &content))
		drop(content)
		if obj.GetAnnotations()["kraft.dev/left"] == "true" { // whether its node was seen fetching before it left is chance
			delete(content["metadata"].(map[string]any)["annotations"].(map[string]any), "kraft.dev/directory-id")
		}
		if k.kind != "KRaftCluster" {
			delete(content, "status")
		}
		text, err := json.MarshalIndent(content, "", " ")
		must(err)
		out[clean(k.String())] = clean(string(text))
	}
	told := !w.byChance || len(w.fleet.run) > 0 // what a cluster that is gone said last is chance
	if w.fleet.q != nil && told {
		out["voters"] = clean(fmt.Sprint(w.fleet.q.voters))
	}
	switch {
	case w.varies:
	case w.byChance:
		out["starts"] = fmt.Sprint(slices.Sorted(maps.Values(w.fleet.starts)))
	default:
		for id, n := range w.fleet.starts {
			out[fmt.Sprintf("starts of node %d", id)] = fmt.Sprint(n)
		}
	}
	out["dynamic settings"] = fmt.Sprint(w.fleet.configs)
	if told {
		out["registered brokers"] = fmt.Sprint(slices.Sorted(maps.Keys(w.fleet.registered)))
	}
	return out
}

func drop(v any) {
	switch v := v.(type) {
	case map[string]any:
		for _, name := range dropped {
			delete(v, name)
		}
		for _, inner := range v {
			drop(inner)
		}
	case []any:
		for _, inner := range v {
			drop(inner)
		}
	}
}

// compare says where two ends differ; "" nowhere.
func compare(want, got map[string]string) string {
	if want == nil || maps.Equal(want, got) {
		return ""
	}
	var out []string
	names := maps.Clone(want)
	maps.Copy(names, got)
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if want[name] == got[name] {
			continue
		}
		a, b := strings.Split(want[name], "\n"), strings.Split(got[name], "\n")
		if want[name] == "" || got[name] == "" {
			out = append(out, fmt.Sprintf("%s: there %t, without the fault %t", name, got[name] != "", want[name] != ""))
			continue
		}
		for _, line := range a {
			if !slices.Contains(b, line) {
				out = append(out, name+": - "+strings.TrimSpace(line))
			}
		}
		for _, line := range b {
			if !slices.Contains(a, line) {
				out = append(out, name+": + "+strings.TrimSpace(line))
			}
		}
		if len(out) == 0 {
			out = append(out, name+": another order of lines")
		}
	}
	const most, wide = 12, 200
	for i, line := range out {
		if len(line) > wide {
			out[i] = line[:wide] + "…"
		}
	}
	if len(out) > most {
		out = append(out[:most], fmt.Sprintf("and %d more", len(out)-most))
	}
	return strings.Join(out, "\n")
}

// withoutHashes puts <hash> for every word of ten hexadecimal digits.
func withoutHashes(s string) string {
	var out strings.Builder
	word := func(c byte) bool {
		return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_'
	}
	for i := 0; i < len(s); {
		j, hex := i, true
		for j < len(s) && word(s[j]) {
			hex = hex && (s[j] <= '9' || s[j] >= 'a' && s[j] <= 'f')
			j++
		}
		switch {
		case j-i == 10 && hex:
			out.WriteString("<hash>")
		case j == i:
			j++
			fallthrough
		default:
			out.WriteString(s[i:j])
		}
		i = j
	}
	return out.String()
}
