package quorum

import "fmt"

// UpgradeVersion asks the leader of Epoch to finalize a level of kraft.version. From 0 to 1 the static voters become
// records: their directory ids and versions are what they told this leader by UpdateRaftVoter (which they send once an epoch, a
// fetch timeout after they followed). The answer is VersionUpgraded with the same Token, before anything is committed.
type UpgradeVersion struct {
	Token        uint64
	Epoch        Epoch
	Level        int16
	ValidateOnly bool
}

// VersionUpgraded answers UpgradeVersion. Error NoError: asked for, or with ValidateOnly possible; Changed is false where the
// level is in force already.
type VersionUpgraded struct {
	Token   uint64
	Error   ErrorCode
	Text    string
	Changed bool
}

func (UpgradeVersion) event()   {}
func (VersionUpgraded) effect() {}

func (q *Quorum) upgradeVersion(ev UpgradeVersion) {
	code, text := q.upgradeRefused(ev)
	changed := code == NoError && ev.Level != q.history.kraftVersion()
	if changed && (!ev.ValidateOnly || planted == upgradeValidates) {
		q.note(NoteInfo, "upgrading kraft.version from %d to %d with voters %s", q.history.kraftVersion(), ev.Level, q.leader.told)
		level, set := ev.Level, q.leader.told
		records := []ControlRecord{{KRaftVersion: &level}, {Voters: &set}}
		if planted == upgradeWithoutVoters {
			records = records[:1]
		}
		q.proposeControl(records...)
	}
	q.out.emit(VersionUpgraded{ev.Token, code, text, changed})
}

func (q *Quorum) upgradeRefused(ev UpgradeVersion) (ErrorCode, string) {
	level := q.history.kraftVersion()
	switch {
	case q.role != Leader || ev.Epoch != q.election.Epoch || q.leader.handover:
		return NotLeaderOrFollower, "the leader has changed"
	case ev.Level == level:
		return NoError, ""
	case ev.Level < level && planted != downgradeTaken:
		return InvalidUpdateVersion, fmt.Sprintf("kraft.version %d is in force and can't go back to %d", level, ev.Level)
	case q.leader.proposed != nil:
		return InvalidUpdateVersion, "another change of kraft.version or of the voters is under way"
	case level > 0 && planted != downgradeTaken:
		return InvalidUpdateVersion, fmt.Sprintf("kraft.version %d is not known", ev.Level)
	}
	for _, v := range q.leader.told.Voters() {
		switch {
		case planted == upgradeUntold:
		case v.Key.DirectoryID.IsZero():
			return InvalidUpdateVersion, fmt.Sprintf("voter %d has not told this leader its directory id and versions yet: it must run, and support kraft.version", v.Key.ID)
		case !v.Supported.Contains(ev.Level):
			return InvalidUpdateVersion, fmt.Sprintf("voter %d supports kraft.version %d to %d only", v.Key.ID, v.Supported.Min, v.Supported.Max)
		}
	}
	return NoError, ""
}
