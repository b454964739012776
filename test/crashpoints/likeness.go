package crashpoints

import (
	"fmt"
	"slices"
	"strings"
)

// like checks the model against the real ones by the same script: without a fault the operator has to make the same changes.
func (p *prepared) like(s stage) error {
	model, err := prepare(s, p.verb, p.slots)
	if err != nil {
		return err
	}
	if diff := unlike(firstCalls(model.points), firstCalls(p.points), firstCalls(p.came)); diff != "" {
		return fmt.Errorf("%s: the model isn't like the real ones:\n%s", p.name, diff)
	}
	return nil
}

// unlike says where the changes of the model and the real ones differ; "" nowhere. always are those that came in every play on
// the real ones, ever those that came in any. Each kind of call to each object counts once: how often a status is written is a
// matter of how long things take.
func unlike(model, always, ever []string) string {
	var out []string
	for _, c := range model {
		if !slices.Contains(ever, c) {
			out = append(out, "only in the model: "+c)
		}
	}
	for _, c := range always {
		if !slices.Contains(model, c) {
			out = append(out, "not in the model: "+c)
		}
	}
	return strings.Join(out, "\n")
}

// firstCalls are the changes that were asked for, each once, in the order in which they came first. Budgets are left out: whether
// a pass sees a node while it is down is chance.
func firstCalls(points []point) (out []string) {
	for _, p := range points {
		if call := withoutHashes(p.String()); !p.read && !strings.Contains(call, " PodDisruptionBudget ") && !slices.Contains(out, call) {
			out = append(out, call)
		}
	}
	return out
}
