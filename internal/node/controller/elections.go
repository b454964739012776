package controller

import (
	"slices"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// electionKind says how far an election may go to find a leader.
type electionKind uint8

const (
	electOnline    electionKind = iota // keep the leader if it is valid, else any valid replica
	electPreferred                     // the first replica if valid, else as electOnline
	electUnclean                       // as electOnline, else any acceptable replica: records may be lost
)

// election decides one partition's next ISR, ELR and leader (KIP-631, KIP-704, KIP-966).
//
// acceptable says whether a replica may lead at all: its broker is active and its directory online. minISR is the
// effective min.insync.replicas, at most the replica count. elr says whether eligible leader replicas are on. What
// isn't targeted stays as it is.
type election struct {
	id         metadata.PartitionRef
	part       *metadata.Partition
	acceptable func(replica int32) bool
	minISR     int
	elr        bool
	kind       electionKind
	// bumpOnShrink keeps old brokers right: before 3.6-IV0 an ISR shrink alone bumped the leader epoch (KAFKA-15021).
	bumpOnShrink bool

	isr             []int32
	replicas        []int32
	adding          []int32
	removing        []int32
	directories     []uuid.UUID // of replicas
	newDirectory    func(replica int32) uuid.UUID
	recovery        int8
	uncleanReplicas []int32 // came back without what they had: no longer eligible
	lost            []int32 // came back with another disk: having led last says nothing of them
}

func newElection(id metadata.PartitionRef, part *metadata.Partition) *election {
	return &election{
		id: id, part: part, isr: part.ISR, replicas: part.Replicas, adding: part.Adding, removing: part.Removing,
		directories: part.Directories, recovery: part.LeaderRecoveryState,
		newDirectory: func(int32) uuid.UUID { return metadata.DirUnassigned },
	}
}

// withoutISR targets the ISR less these brokers.
func (e *election) withoutISR(brokers ...int32) {
	e.isr = without(e.part.ISR, brokers...)
}

// decide returns the record of what changes, or nil if nothing does.
//
// Any leader in the record, even the same one, bumps the leader epoch; the record itself bumps the partition epoch.
// With ELR off the last member of an ISR is never removed; with it on the ISR may become empty.
func (e *election) decide() *metadata.PartitionChangeRecord {
	e.completeReassignment()
	elr := e.nextELR()
	leader, unclean := e.elect(elr)
	isr := e.isr
	rec := metadata.NewPartitionChangeRecord()
	rec.PartitionID, rec.TopicID = e.id.Partition, e.id.TopicID
	recovery := e.recovery
	if leader != e.part.Leader {
		rec.Leader = leader
		switch {
		case unclean:
			isr, elr = []int32{leader}, nil
			recovery = metadata.LeaderRecovering
		case slices.Contains(elr, leader):
			isr, elr = []int32{leader}, without(elr, leader)
		}
	}
	if !e.elr {
		elr = nil
		if len(isr) == 0 {
			isr = e.part.ISR
		}
	}
	if rec.Leader == metadata.UnchangedLeader && len(without(e.part.Replicas, e.replicas...)) > 0 {
		rec.Leader = e.part.Leader // a removed replica must learn that its epoch is over
	}
	if rec.Leader == metadata.UnchangedLeader && e.bumpOnShrink && len(without(e.part.ISR, isr...)) > 0 {
		rec.Leader = e.part.Leader
	}
	changed := rec.Leader != metadata.UnchangedLeader
	changed = setReplicas(&rec.ISR, isr, e.part.ISR) || changed
	changed = setReplicas(&rec.EligibleLeaderReplicas, elr, e.part.ELR) || changed
	changed = setReplicas(&rec.LastKnownELR, e.nextLastKnown(leader, isr), e.part.LastKnownELR) || changed
	changed = setReplicas(&rec.Replicas, e.replicas, e.part.Replicas) || changed
	changed = setReplicas(&rec.AddingReplicas, e.adding, e.part.Adding) || changed
	changed = setReplicas(&rec.RemovingReplicas, e.removing, e.part.Removing) || changed
	if !slices.Equal(e.directories, e.part.Directories) {
		rec.Directories, changed = e.directories, true
	}
	if recovery != e.part.LeaderRecoveryState {
		rec.LeaderRecoveryState, changed = recovery, true
	}
	if !changed {
		return nil
	}
	return rec
}

// nextELR is the eligible leader replicas after the target ISR: who left it since it fell below min ISR. A full enough
// ISR has none.
func (e *election) nextELR() []int32 {
	if !e.elr || len(e.isr) >= e.minISR {
		return nil
	}
	var out []int32
	for _, r := range slices.Concat(e.part.ELR, e.part.ISR) {
		if !slices.Contains(e.isr, r) && !slices.Contains(e.uncleanReplicas, r) && !slices.Contains(out, r) && slices.Contains(e.replicas, r) {
			out = append(out, r)
		}
	}
	return out
}

// nextLastKnown keeps the last leader of a partition that lost it with an empty ISR, until there is a leader again.
func (e *election) nextLastKnown(leader int32, isr []int32) []int32 {
	switch {
	case leader != noLeader || !e.elr:
		return nil
	case len(isr) == 0 && e.part.Leader != noLeader:
		return []int32{e.part.Leader}
	default:
		return without(e.part.LastKnownELR, e.lost...)
	}
}

// elect returns the leader and whether it had to be chosen outside ISR and ELR.
func (e *election) elect(elr []int32) (leader int32, unclean bool) {
	valid := func(r int32) bool {
		in := slices.Contains(e.isr, r) || len(e.isr) == 0 && slices.Contains(elr, r)
		return in && e.acceptable(r)
	}
	if e.kind == electPreferred && len(e.replicas) > 0 && valid(e.replicas[0]) {
		return e.replicas[0], false
	}
	if e.part.Leader != noLeader && valid(e.part.Leader) {
		return e.part.Leader, false
	}
	if i := slices.IndexFunc(e.replicas, valid); i >= 0 {
		return e.replicas[i], false
	}
	if last := without(e.part.LastKnownELR, e.lost...); e.elr && len(e.isr) == 0 && len(elr) == 0 && len(last) == 1 && e.acceptable(last[0]) {
		return last[0], true
	}
	if e.kind == electUnclean {
		if i := slices.IndexFunc(e.replicas, e.acceptable); i >= 0 {
			return e.replicas[i], true
		}
	}
	return noLeader, false
}

// completeReassignment ends a reassignment once its target replicas are all in sync (KIP-455).
func (e *election) completeReassignment() {
	if len(e.adding) == 0 && len(e.removing) == 0 {
		return
	}
	for _, r := range e.adding {
		if !slices.Contains(e.isr, r) {
			return
		}
	}
	replicas := without(e.replicas, e.removing...)
	isr := without(e.isr, e.removing...)
	if len(replicas) == 0 || len(isr) == 0 {
		return
	}
	e.setReplicas(replicas)
	e.isr, e.adding, e.removing = isr, nil, nil
}

// setReplicas targets other replicas; those that stay keep their directories.
func (e *election) setReplicas(replicas []int32) {
	dirs := make([]uuid.UUID, len(replicas))
	for i, r := range replicas {
		if j := slices.Index(e.replicas, r); j >= 0 && j < len(e.directories) {
			dirs[i] = e.directories[j]
		} else {
			dirs[i] = e.newDirectory(r)
		}
	}
	e.replicas, e.directories = replicas, dirs
}

// setReplicas puts next into a nullable field of a record if it differs, and says so.
func setReplicas(field *[]int32, next, old []int32) bool {
	if slices.Equal(next, old) {
		return false
	}
	if next == nil {
		next = []int32{}
	}
	*field = next
	return true
}

// without copies s less the values.
func without(s []int32, values ...int32) []int32 {
	out := make([]int32, 0, len(s))
	for _, v := range s {
		if !slices.Contains(values, v) {
			out = append(out, v)
		}
	}
	return out
}
