package raft

import (
	"github.com/kraft-dev/kraft-operator/internal/quorum"
	"github.com/kraft-dev/kraft-operator/internal/storage/record"
	"github.com/kraft-dev/kraft-operator/internal/storage/record/control"
)

// Topic is the name of the metadata topic; it has one partition.
const Topic = "__cluster_metadata"

// VotersRecord is a voter set as its control record.
func VotersRecord(s quorum.VoterSet) control.Voters {
	var out control.Voters
	for _, v := range s.Voters() {
		cv := control.Voter{ID: int32(v.Key.ID), DirectoryID: v.Key.DirectoryID, MinVersion: v.Supported.Min, MaxVersion: v.Supported.Max}
		for _, e := range v.Endpoints {
			cv.Endpoints = append(cv.Endpoints, control.Endpoint{Name: e.Listener, Host: e.Host, Port: e.Port})
		}
		out.Voters = append(out.Voters, cv)
	}
	return out
}

// VoterSetOf is a voters record as the engine's set.
func VoterSetOf(r control.Voters) quorum.VoterSet {
	var voters []quorum.Voter
	for _, v := range r.Voters {
		qv := quorum.Voter{Key: quorum.ReplicaKey{ID: quorum.NodeID(v.ID), DirectoryID: v.DirectoryID}, Supported: quorum.VersionRange{Min: v.MinVersion, Max: v.MaxVersion}}
		for _, e := range v.Endpoints {
			qv.Endpoints = append(qv.Endpoints, quorum.Endpoint{Listener: e.Name, Host: e.Host, Port: e.Port})
		}
		voters = append(voters, qv)
	}
	return quorum.NewVoterSet(voters...)
}

// ControlOf decodes a control batch's records for the engine; kinds it doesn't take are left out.
func ControlOf(b record.Batch) ([]quorum.ControlAt, error) {
	recs, err := control.DecodeBatch(b)
	if err != nil {
		return nil, err
	}
	var out []quorum.ControlAt
	for _, r := range recs {
		switch c := r.Record.(type) {
		case control.LeaderChange:
			lc := quorum.LeaderChange{LeaderID: quorum.NodeID(c.LeaderID), Voters: nodeIDs(c.Voters), GrantingVoters: nodeIDs(c.GrantingVoters)}
			out = append(out, quorum.ControlAt{Offset: quorum.Offset(r.Offset), Record: quorum.ControlRecord{LeaderChange: &lc}})
		case control.KRaftVersion:
			out = append(out, quorum.ControlAt{Offset: quorum.Offset(r.Offset), Record: quorum.ControlRecord{KRaftVersion: &c.Level}})
		case control.Voters:
			set := VoterSetOf(c)
			out = append(out, quorum.ControlAt{Offset: quorum.Offset(r.Offset), Record: quorum.ControlRecord{Voters: &set}})
		}
	}
	return out, nil
}

func nodeIDs(ids []int32) []quorum.NodeID {
	out := make([]quorum.NodeID, len(ids))
	for i, id := range ids {
		out[i] = quorum.NodeID(id)
	}
	return out
}

type batchAt struct {
	next    int64
	control []quorum.ControlAt
}

// describeBatchesAt lists the batches of bytes read from the own log, which were checked when it was opened.
func describeBatchesAt(data []byte) (batches []batchAt, err error) {
	for len(data) > 0 {
		b, next, err := record.Split(data)
		if err != nil {
			return batches, err
		}
		recs, err := ControlOf(b)
		if err != nil {
			return batches, err
		}
		batches = append(batches, batchAt{next: b.NextOffset(), control: recs})
		data = next
	}
	return batches, nil
}

// describeBatches checks fetched bytes and describes each batch. A batch cut at the end is left out.
func describeBatches(data []byte) (batches []quorum.BatchInfo, whole []byte, err error) {
	rest := data
	for len(rest) > 0 {
		b, next, err := record.Split(rest)
		if err != nil {
			if len(batches) > 0 {
				break
			}
			return nil, nil, err
		}
		if err := b.Validate(); err != nil {
			return nil, nil, err
		}
		info := quorum.BatchInfo{Base: quorum.Offset(b.BaseOffset()), Last: quorum.Offset(b.LastOffset()), Epoch: quorum.Epoch(b.Epoch()), Size: len(b)}
		recs, err := ControlOf(b)
		if err != nil {
			return nil, nil, err
		}
		for _, r := range recs {
			info.Control = append(info.Control, r.Record)
		}
		batches = append(batches, info)
		rest = next
	}
	return batches, data[:len(data)-len(rest)], nil
}
