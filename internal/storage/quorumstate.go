package storage

import (
	"bytes"
	"encoding/json"
	"fmt"
	"path"

	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// ElectionState is quorum-state: what a voter must not forget. -1 is "none".
type ElectionState struct {
	LeaderID         int32
	LeaderEpoch      int32
	VotedID          int32
	VotedDirectoryID uuid.UUID // zero with KRaftVersion 0, where the file can't hold it
	KRaftVersion     int16     // 0 writes data_version 0, otherwise 1
	CurrentVoters    []int32   // data_version 0 only
}

// quorumStateJSON has Kafka's keys in Kafka's order (KIP-595, KIP-853).
type quorumStateJSON struct {
	ClusterID        *string      `json:"clusterId,omitempty"`
	LeaderID         *int32       `json:"leaderId"`
	LeaderEpoch      *int32       `json:"leaderEpoch"`
	VotedID          *int32       `json:"votedId"`
	VotedDirectoryID *string      `json:"votedDirectoryId,omitempty"`
	AppliedOffset    *int64       `json:"appliedOffset,omitempty"`
	CurrentVoters    *[]voterJSON `json:"currentVoters,omitempty"`
	DataVersion      *int16       `json:"data_version"`
}

type voterJSON struct {
	VoterID *int32 `json:"voterId"`
}

// ReadQuorumState reads the metadata partition's. Errors: fs.ErrNotExist (epoch 0, no leader); wrapping ErrCorrupt.
func ReadQuorumState(fsys FS, dir string) (ElectionState, error) {
	name := path.Join(dir, QuorumStateFile)
	data, err := readWhole(fsys, name, 1<<20)
	if err != nil {
		return ElectionState{}, err
	}
	s, err := parseQuorumState(data)
	if err != nil {
		return ElectionState{}, corruptFile(name, "%w; it holds this voter's vote and can't be guessed: replace this voter "+
			"under a new directory id (remove the old voter, move the data directory away, add the new one)", err)
	}
	return s, nil
}

func parseQuorumState(data []byte) (s ElectionState, err error) {
	line, _, _ := bytes.Cut(data, []byte{'\n'})
	var j quorumStateJSON
	if err := json.Unmarshal(line, &j); err != nil {
		return s, fmt.Errorf("line 1: %w", err)
	}
	switch {
	case j.DataVersion == nil:
		return s, fmt.Errorf("no data_version")
	case j.LeaderID == nil:
		return s, fmt.Errorf("no leaderId")
	case j.LeaderEpoch == nil:
		return s, fmt.Errorf("no leaderEpoch")
	case j.VotedID == nil:
		return s, fmt.Errorf("no votedId")
	case *j.LeaderID < -1 || *j.VotedID < -1 || *j.LeaderEpoch < 0:
		return s, fmt.Errorf("leaderId %d, leaderEpoch %d, votedId %d: out of range", *j.LeaderID, *j.LeaderEpoch, *j.VotedID)
	}
	s = ElectionState{LeaderID: *j.LeaderID, LeaderEpoch: *j.LeaderEpoch, VotedID: *j.VotedID, KRaftVersion: *j.DataVersion}
	switch *j.DataVersion {
	case 0:
		if j.CurrentVoters == nil {
			return s, fmt.Errorf("no currentVoters")
		}
		for _, v := range *j.CurrentVoters {
			if v.VoterID == nil {
				return s, fmt.Errorf("a current voter has no voterId")
			}
			s.CurrentVoters = append(s.CurrentVoters, *v.VoterID)
		}
	case 1:
		if j.VotedDirectoryID == nil {
			return s, fmt.Errorf("no votedDirectoryId")
		}
		if s.VotedDirectoryID, err = uuid.Parse(*j.VotedDirectoryID); err != nil {
			return s, fmt.Errorf("votedDirectoryId: %w", err)
		}
		if s.VotedID == -1 && !s.VotedDirectoryID.IsZero() {
			return s, fmt.Errorf("votedDirectoryId %s without votedId", s.VotedDirectoryID)
		}
	default:
		return s, fmt.Errorf("data_version %d, this release reads 0 and 1", *j.DataVersion)
	}
	return s, nil
}

// WriteQuorumState replaces it; when it returns nil the state is durable.
func WriteQuorumState(fsys FS, dir string, s ElectionState) error {
	data, err := formatQuorumState(s)
	if err != nil {
		return err
	}
	return replaceFile(fsys, path.Join(dir, QuorumStateFile), data)
}

func formatQuorumState(s ElectionState) ([]byte, error) {
	version := min(s.KRaftVersion, 1)
	j := quorumStateJSON{LeaderID: &s.LeaderID, LeaderEpoch: &s.LeaderEpoch, VotedID: &s.VotedID, DataVersion: &version}
	if version == 0 {
		none, applied := "", int64(0)
		voters := make([]voterJSON, len(s.CurrentVoters))
		for i := range voters {
			voters[i].VoterID = &s.CurrentVoters[i]
		}
		j.ClusterID, j.AppliedOffset, j.CurrentVoters = &none, &applied, &voters
	} else {
		id := s.VotedDirectoryID.String()
		j.VotedDirectoryID = &id
	}
	data, err := json.Marshal(j)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", QuorumStateFile, err)
	}
	if _, err := parseQuorumState(data); err != nil {
		return nil, fmt.Errorf("%s: %+v can't be written: %w", QuorumStateFile, s, err)
	}
	return data, nil
}
