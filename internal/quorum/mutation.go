package quorum

// mutation is a bug planted on purpose, to see that the simulation would have found it. Which one is planted is a constant,
// none, in every normal build: the compiler drops the branches that ask for another. With the build tag
// mutants it is a variable (mutation_on.go, which also says what each one is).
//
// A site is one line of the engine: a condition with "|| planted == …", or "&& planted != …".
type mutation uint8

const (
	none mutation = iota

	// Durability.
	voteNotSynced
	ownVoteNotSynced
	epochNotSynced
	leaderNotSynced
	voteForgotten
	fetchBeforeFlush
	unflushedCounted

	// Elections.
	lengthOnly
	epochOnly
	halfElects
	secondVote
	restartedLeaderLeads
	lateAnswers
	preVoteUnderLeader
	preVoteOfNextEpoch
	oldEndHeard
	emptyListCampaign
	earlyRoundForgets
	beginProvesLife
	blankVotes
	emptyLogMajority

	// Replication.
	oldEpochCommits
	halfCommits
	observerCounts
	countedUnchecked
	epochsUncut
	cutAtLeadersWord
	highWatermarkBeyondEnd
	highWatermarkForgotten
	parkedUnchecked
	readUnchecked
	leaderWithoutAddress

	// Snapshots.
	downloadNotCounted
	installKeepsVoters
	installKeepsEpochs
	damagedAtOnce

	// Voter changes.
	membersOnly
	uncommittedVotersIgnored
	votersUncut
	changesOverlap
	removedLeaderCounts
	highWatermarkLowered
	votedOutLeads
	changeAnsweredEarly
	diskIgnored
	onlyPairsLeave
	updateTakesKey
	moveUntold
	joinsUnasked
	joinWaits

	// The upgrade of kraft.version.
	upgradeUntold
	upgradeWithoutVoters
	upgradeValidates
	versionsUncut
	downgradeTaken

	// Formation.
	blankRemembers
	blankKeepsName

	// Linearizable reads.
	readUnconfirmed
	readOfAnEarlierRound
	readByFetch
	readBeforeFirstCommit

	// Handover.
	writesInHandover
	electedWhileLeaving
	transferToLaggard
	transferOutlivesLeaving
	transferToAnother
	secondInLineCampaigns
	loserCampaignsAgain

	// Routes.
	staticVotersRouted
	routeFirst
	strangerKept
	wrongNodeKept

	mutations //nolint:unused // the size of the table in builds that have it
)
