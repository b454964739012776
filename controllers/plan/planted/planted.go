// Package planted names bugs of the operator that can be planted on purpose, to see that its simulations and crash points
// would have found them (make planner-mutants). Which one is planted is a constant, None, in every normal build: the
// compiler drops the branches that ask for another. With the build tag mutants it is a variable (on.go, which also says
// what each one is).
//
// A site is one line of a planner, or of the code that acts for it: a condition with "|| planted.Bug == …", or
// "&& planted.Bug != …".
package planted

// Mutation is a planted bug.
type Mutation uint8

// None is the operator as it is meant.
const None Mutation = 0

// The bugs, by what they are about.
const (
	// Voters.
	MajorityUnasked = iota + None + 1
	ChangesOverlap
	AnswerForgotten
	UncommittedChange
	StalledChange
	BlipReplaced
	UnwatchedCounts
	PauseCounts
	RollCounts
	LeaderRemoved
	LaggardAdded
	OldKeyStays
	RemovedFirst
	LeavesVoting
	OrderDecides
	SameAgain

	// Rolls.
	LeaderAnyTime
	BrokersFirst
	MajorityUnspared
	MinISRUnspared
	RollGoesOn
	UnreachedLeads
	BadTemplateSpreads

	// Rolls of several brokers.
	ZonesMixed
	SlackUnasked
	DownCounted
	NoLimit
	LeapInTheDark
	BatchGoesOn
	BudgetStaysOpen
	LaggardWaits
	AnyForLaggard
	LaggardUnborne
	BudgetBlind

	// Brokers that come and go.
	HolderLeaves
	AskedOnce
	LowestLeaves
	RunningLeaves
	LastCopyReplaced
	BrokerBlip
	BrokerPauseCounts
	ReplacedTogether
	IDAgain

	// Hibernation.
	LeaderWithVoters
	AnyOrder
	StuckForEver

	// Formation.
	MovedTaken
	FormedForgotten
	AnyVoters
	FormedUnproved

	// Identity and settings.
	NewBesideClaims
	PermitStays
	SettingStays
	DyingAdopted
	OwnersStay
	LabelsStayOff
	LagUnseen

	// Acting.
	RollUnrecorded
	AnyPodOfThatName
	ChangeUnrecorded
	TemplateBeforeItsTurn
	StopsAsIfAlone
	StatusAsIfAlone
	AppliesByName

	mutations //nolint:unused // the size of the table in builds that have it
)
