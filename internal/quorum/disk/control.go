package disk

import (
	"github.com/kraft-dev/kraft-operator/internal/quorum"
	"github.com/kraft-dev/kraft-operator/internal/storage/record"
	"github.com/kraft-dev/kraft-operator/internal/storage/record/control"
)

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

// DescribeBatches checks fetched bytes and describes each batch. A batch cut at the end is left out.
func DescribeBatches(data []byte) (batches []quorum.BatchInfo, whole []byte, err error) {
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

// ControlRecords are the engine's records for the log.
func ControlRecords(in []quorum.ControlRecord) []control.Record {
	out := make([]control.Record, 0, len(in))
	for _, r := range in {
		switch {
		case r.LeaderChange != nil:
			out = append(out, control.LeaderChange{LeaderID: int32(r.LeaderChange.LeaderID), Voters: int32s(r.LeaderChange.Voters), GrantingVoters: int32s(r.LeaderChange.GrantingVoters)})
		case r.KRaftVersion != nil:
			out = append(out, control.KRaftVersion{Level: *r.KRaftVersion})
		case r.Voters != nil:
			out = append(out, VotersRecord(*r.Voters))
		}
	}
	return out
}

func int32s(ids []quorum.NodeID) []int32 {
	out := make([]int32, len(ids))
	for i, id := range ids {
		out[i] = int32(id)
	}
	return out
}
