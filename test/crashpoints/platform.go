package crashpoints

import (
	"context"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
)

// platform is what a world stands on: the model in virtual time, or the real API server, etcd, kube-controller-manager and
// kraftds. What there is stands in the world's store and fleet: the model keeps it there, the real one brings it there.
type platform interface {
	// moment lets a moment pass, and brings what there is up to date.
	moment()
	// elapse lets time pass in the middle of a call of the operator.
	elapse(d time.Duration)
	// enter is called first in every call of the operator: from then on until the answer to leave nobody else acts.
	// It throws killed where the process is dead already.
	enter(ctx context.Context, m *manager) (leave func())
	// look brings what the rules look at up to date, before p.
	look(p point)
	// later carries out a change of the voters whose answer is lost, when d has passed.
	later(d time.Duration, do func() effect) effect
	// outside waits for another process in the middle of a call, and lets everyone act meanwhile.
	outside(wait func())

	// launch starts a process of the operator; turn lets it work, and tells whether and how it handed over; end ends it.
	launch(m *manager)
	turn(m *manager) (passEnd, bool)
	end(m *manager)

	// What a person does, and what befalls machines.
	create(obj client.Object) error
	update(obj client.Object) error
	remove(k key) error
	cut(pod string, cut bool)
	recover(controller int32)         // it is stopped, and becomes the only voter
	slow(controller int32, slow bool) // it fetches, and falls behind by farBehind records all the same
	makeTopics(ids ...int32)

	pace() pace
}

// pace is how long things take, or may.
type pace struct {
	restart time.Duration // from a kill to the next process
	lease   time.Duration // from a freeze to the next process: the lease has to run out
	rest    time.Duration // all has to be well for so long before a play ends
	long    time.Duration // the same of the play without a fault: one more look at a cluster that is well
	before  time.Duration // the same of what comes before a verb
	miss    time.Duration // the same of a play whose fault's point hasn't come: it is given up
}

// timeout is how long a call is waited for that isn't answered.
const timeout = 2 * time.Second

// virtual is the model.
type virtual struct{ w *world }

func (v virtual) pace() pace {
	return pace{restart: time.Second, lease: 15 * time.Second, rest: 2 * time.Second, long: 12 * time.Second, before: 12 * time.Second, miss: 12 * time.Second}
}

func (v virtual) moment() {
	v.w.now = v.w.now.Add(tick)
	v.w.kubernetesTick()
	v.w.fleet.tick(v.w.now)
	v.w.rules.tick()
}

func (v virtual) elapse(d time.Duration) {
	for range d / tick {
		v.moment()
	}
}

func (virtual) enter(context.Context, *manager) func() { return func() {} }

func (virtual) look(point) {}

func (v virtual) later(d time.Duration, do func() effect) effect {
	v.w.fleet.late = d
	defer func() { v.w.fleet.late = 0 }()
	return do()
}

func (virtual) outside(wait func()) { wait() }

func (virtual) end(*manager) {}

func (v virtual) create(obj client.Object) error {
	_, err := v.w.store.create(obj)
	return err
}

func (v virtual) update(obj client.Object) error {
	v.w.put(keyOf(obj), obj)
	return nil
}

func (v virtual) remove(k key) error { return v.w.store.remove(k, nil) }

func (v virtual) cut(pod string, cut bool) { v.w.cut[pod] = cut }

func (v virtual) recover(controller int32) { v.w.fleet.recover(controller) }

func (v virtual) slow(controller int32, slow bool) { v.w.fleet.slow(controller, slow) }

func (v virtual) makeTopics(ids ...int32) {
	v.w.fleet.partitions = append(v.w.fleet.partitions, topicsOver(ids...)...)
}
