//go:build mutants

package quorum

import "fmt"

// planted is the bug in this process.
var planted = none

// Mutant describes a planted bug.
type Mutant struct {
	Name    string
	Pitfall string // what of the protocol it stands for
	Bug     string // what the engine does wrong, in a sentence
}

// Plant makes the engine wrong as the mutant of this name says; "" mends it. Not while an engine runs.
func Plant(name string) error {
	for i, m := range mutants {
		if m.Name == name {
			planted = mutation(i)
			return nil
		}
	}
	return fmt.Errorf("no mutant is called %q", name)
}

// Mutants lists all there are.
func Mutants() []Mutant { return mutants[none+1:] }

func init() {
	for i, m := range mutants[none+1:] {
		if m.Name == "" || m.Pitfall == "" || m.Bug == "" {
			panic(fmt.Sprintf("mutation %d is not described", i+1))
		}
	}
}

var mutants = [mutations]Mutant{
	voteNotSynced: {"vote-not-synced", "fsync before answering a vote",
		"A vote is answered before it is on disk."},
	ownVoteNotSynced: {"own-vote-not-synced", "fsync before asking for votes",
		"A candidate asks for votes before its own is on disk."},
	epochNotSynced: {"epoch-not-synced", "fsync before speaking of an epoch",
		"A new epoch is spoken of before it is on disk."},
	leaderNotSynced: {"leader-not-synced", "two leaders in one epoch",
		"A leader takes office, and appends its first record, before that is on disk."},
	voteForgotten: {"vote-forgotten", "one vote an epoch, across restarts",
		"A restart forgets the vote that quorum-state holds."},
	fetchBeforeFlush: {"fetch-before-flush", "fsync before counting",
		"A voter fetches, and so acknowledges, what it has not flushed."},
	unflushedCounted: {"unflushed-counted", "the leader's own unflushed log",
		"The leader counts its own bytes before they are on its disk."},

	lengthOnly: {"length-only", "up-to-date check",
		"A candidate's log is judged by its length alone."},
	epochOnly: {"epoch-only", "up-to-date check",
		"A candidate's log is judged by its last epoch alone."},
	halfElects: {"half-elects", "majorities intersect",
		"Half of an even number of voters elects a leader."},
	secondVote: {"second-vote", "one vote an epoch",
		"A node that has voted votes again in the same epoch."},
	restartedLeaderLeads: {"restarted-leader-leads", "resigned leader on restart",
		"A leader that was restarted leads on in its epoch."},
	lateAnswers: {"late-answers", "late responses",
		"Answers to requests of an earlier role or epoch still count."},
	preVoteUnderLeader: {"pre-vote-under-leader", "pre-vote from a live follower",
		"A follower that its leader serves grants pre-votes."},
	preVoteOfNextEpoch: {"pre-vote-of-next-epoch", "pre-vote with epoch+1",
		"A pre-vote is asked for in the next epoch, so that asking alone deposes leaders."},
	oldEndHeard: {"old-end-heard", "EndQuorumEpoch of an old epoch",
		"The farewell of an earlier epoch's leader is taken for the present one's."},
	emptyListCampaign: {"empty-list-campaign", "empty successor list",
		"Everybody becomes candidate at once where a leader names no successor."},
	earlyRoundForgets: {"early-round-forgets", "a lost early round restores the follower",
		"A follower that lost an early round gives its dead leader a whole fetch timeout more."},
	beginProvesLife: {"begin-proves-life", "timer resets",
		"BeginQuorumEpoch restarts the fetch timeout, so a leader that can talk but not listen is never replaced."},
	blankVotes: {"blank-votes", "a reformatted initial voter",
		"A voter whose disk was lost and formatted again votes for whoever has records."},
	emptyLogMajority: {"empty-log-majority", "formation and amnesia",
		"A candidate whose log is empty needs a majority, not everybody."},

	oldEpochCommits: {"old-epoch-commits", "high watermark at leader change",
		"A majority on records of an earlier epoch commits them."},
	halfCommits: {"half-commits", "majorities intersect",
		"Half of an even number of voters commits."},
	observerCounts: {"observer-counts", "only voters acknowledge",
		"An observer's fetch is counted towards the high watermark."},
	countedUnchecked: {"counted-unchecked", "advancing progress on diverging fetches",
		"A fetch offset is counted before it is known to be in this log."},
	epochsUncut: {"epochs-uncut", "epoch cache at truncation",
		"A truncation leaves the epoch cache as it was."},
	cutAtLeadersWord: {"cut-at-leaders-word", "divergence",
		"A follower cuts where the leader's epoch ends, not where its own does."},
	highWatermarkBeyondEnd: {"high-watermark-beyond-end", "a follower's high watermark",
		"A follower takes the leader's high watermark past the end of its own log."},
	highWatermarkForgotten: {"high-watermark-forgotten", "high watermark at leader change",
		"A follower forgets its high watermark when a new leader does not know one yet."},
	parkedUnchecked: {"parked-unchecked", "parked fetch answers",
		"A parked fetch is answered without looking again who leads."},
	readUnchecked: {"read-unchecked", "reads are validated again",
		"Records that were read are sent without looking again who leads and what the log holds."},
	leaderWithoutAddress: {"leader-without-address", "leader without endpoints",
		"A leader is named to a peer without its address."},

	downloadNotCounted: {"download-not-counted", "check-quorum with snapshots",
		"Voters that fetch a snapshot don't count as followers, and the leader resigns."},
	installKeepsVoters: {"install-keeps-voters", "voter set after a snapshot install",
		"A snapshot is installed without the voters it names."},
	installKeepsEpochs: {"install-keeps-epochs", "snapshot download",
		"A snapshot is installed and the epoch cache is kept."},
	damagedAtOnce: {"damaged-at-once", "snapshot download",
		"A snapshot that arrived damaged is fetched again at once, and so for ever where the leader's copy is."},

	membersOnly: {"members-only", "membership check on vote requests",
		"A vote is refused to whoever is not in the receiver's own, perhaps stale, voter set."},
	uncommittedVotersIgnored: {"uncommitted-voters-ignored", "uncommitted voter set",
		"A voter set is in force once it is committed, not as soon as it is in the log."},
	votersUncut: {"voters-uncut", "uncommitted voter set",
		"A truncation does not bring the voter set before back."},
	changesOverlap: {"changes-overlap", "one voter change at a time",
		"A leader begins a change before the last one, or anything of its own epoch, is committed."},
	removedLeaderCounts: {"removed-leader-counts", "high watermark after a voter change",
		"A leader that was removed counts itself towards the high watermark."},
	highWatermarkLowered: {"high-watermark-lowered", "high watermark after a voter change",
		"The high watermark follows the median of the new voter set downwards."},
	votedOutLeads: {"voted-out-leads", "a leader that removed itself",
		"A leader leads on after its own removal is committed."},
	changeAnsweredEarly: {"change-answered-early", "AddRaftVoter is answered when committed",
		"An added voter is acknowledged before that is committed."},
	diskIgnored: {"disk-ignored", "voter not in its own set",
		"A node with a new disk takes itself for the voter that had its id."},
	onlyPairsLeave: {"only-pairs-leave", "uncommitted voter set",
		"A voter with the only record of its own removal never campaigns, though the others can't elect anyone without it."},
	updateTakesKey: {"update-takes-key", "UpdateRaftVoter",
		"UpdateRaftVoter from another disk puts that disk into the voter's place."},
	moveUntold: {"move-untold", "stale voter endpoints",
		"A voter that has moved does not tell the leader."},
	joinsUnasked: {"joins-unasked", "auto-join",
		"A controller that was removed, or never was a voter, has itself added though it is not set to."},
	joinWaits: {"join-waits", "AddRaftVoter v1 flag",
		"A controller that joins by itself waits for the commit, which may need its own fetch."},

	upgradeUntold: {"upgrade-untold", "upgrade of kraft.version",
		"Static voters become records before each has told its directory id."},
	upgradeWithoutVoters: {"upgrade-without-voters", "upgrade of kraft.version",
		"kraft.version 1 goes into the log without the voters."},
	upgradeValidates: {"upgrade-validates", "UpdateFeatures' validateOnly",
		"Who asks whether kraft.version could be upgraded upgrades it."},
	versionsUncut: {"versions-uncut", "upgrade of kraft.version",
		"A truncation does not bring the level before back."},
	downgradeTaken: {"downgrade-taken", "upgrade of kraft.version",
		"A lower kraft.version is taken."},

	blankRemembers: {"blank-remembers", "formation and amnesia",
		"A blank voter writes the epoch it hears of, and after a restart looks like one that has voted."},
	blankKeepsName: {"blank-keeps-name", "formation and amnesia",
		"A blank voter that meets records takes them under its old name."},

	readUnconfirmed: {"read-unconfirmed", "linearizable reads",
		"A leader answers a read without asking whether it still leads."},
	readOfAnEarlierRound: {"read-of-an-earlier-round", "linearizable reads",
		"An answer to a question from before a read came proves that the leader still led then."},
	readByFetch: {"read-by-fetch", "linearizable reads",
		"Any fetch proves leadership to the reads that wait, whenever it was sent."},
	readBeforeFirstCommit: {"read-before-first-commit", "high watermark at leader change",
		"A leader that has not committed anything of its epoch answers reads by what it knew before."},

	writesInHandover: {"writes-in-handover", "graceful leaving",
		"A leader that hands over goes on taking records."},
	electedWhileLeaving: {"elected-while-leaving", "graceful leaving",
		"A candidate that is elected as it leaves stays and leads."},
	transferToLaggard: {"transfer-to-laggard", "transfer",
		"Leadership is handed to a voter that has not caught up."},
	transferOutlivesLeaving: {"transfer-outlives-leaving", "transfer",
		"A leader that leaves while a transfer waits for its target waits on, and names that target first."},
	transferToAnother: {"transfer-to-another", "transfer",
		"A transfer names the most caught-up voter first, not the one it was asked for."},
	secondInLineCampaigns: {"second-in-line-campaigns", "EndQuorumEpoch's order",
		"Everyone on the list of successors becomes candidate at once."},
	loserCampaignsAgain: {"loser-campaigns-again", "one direct candidacy an epoch",
		"A successor that lost its round begins the next epoch without a pre-vote."},

	staticVotersRouted: {"static-voters-routed", "routes are not identities",
		"With kraft.version 0, where nothing proves a directory, routes are taken."},
	routeFirst: {"route-first", "routes are not identities",
		"A route is taken though the recorded address answers."},
	wrongNodeKept: {"wrong-node-kept", "routes are not identities",
		"A route to the leader that leads to another voter is taken as long as that one answers."},
	strangerKept: {"stranger-kept", "routes are not identities",
		"A route that leads to another cluster's node is taken again and again."},
}
