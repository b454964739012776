//go:build mutants

package planted

import "fmt"

// Bug is the one in this process.
var Bug = None

// Mutant describes a planted bug.
type Mutant struct {
	Name string
	Bug  string // what the operator does wrong, in a sentence
	// Verb is that of the crash points in which it shows; "" is one that the planners' simulations find.
	Verb string
}

// Plant makes the operator wrong as the mutant of this name says; "" mends it. Not while a pass runs.
func Plant(name string) error {
	for i, m := range table {
		if m.Name == name {
			Bug = Mutation(i)
			return nil
		}
	}
	return fmt.Errorf("no mutant is called %q", name)
}

// Mutants lists all there are.
func Mutants() []Mutant { return table[None+1:] }

func init() {
	for i, m := range table[None+1:] {
		if m.Name == "" || m.Bug == "" {
			panic(fmt.Sprintf("mutation %d is not described", i+1))
		}
	}
}

var table = [mutations]Mutant{
	MajorityUnasked:   {Name: "majority-unasked", Bug: "A change of the voters is asked for, whether or not a majority of the new set keeps up."},
	ChangesOverlap:    {Name: "changes-overlap", Bug: "A change is asked for while the one before, whose answer was lost, may still be made."},
	AnswerForgotten:   {Name: "answer-forgotten", Bug: "A change whose answer was lost is forgotten at once."},
	UncommittedChange: {Name: "uncommitted-change", Bug: "A change is asked for before the last one is committed."},
	StalledChange:     {Name: "stalled-change", Bug: "A change is asked of a quorum that doesn't commit."},
	BlipReplaced:      {Name: "blip-replaced", Bug: "A voter that doesn't keep up for a moment is replaced."},
	UnwatchedCounts:   {Name: "unwatched-counts", Bug: "Time in which nobody looked counts towards replaceAfter."},
	PauseCounts:       {Name: "pause-counts", Bug: "The clocks of gone voters run while the operator is paused."},
	RollCounts:        {Name: "roll-counts", Bug: "The clock of a voter runs while the operator restarts it."},
	LeaderRemoved:     {Name: "leader-removed", Bug: "The active controller is removed though another could be."},
	LaggardAdded:      {Name: "laggard-added", Bug: "An observer is made a voter before it has caught up."},
	OldKeyStays:       {Name: "old-key-stays", Bug: "The key of a lost disk stays while its node is back on another."},
	RemovedFirst:      {Name: "removed-first", Bug: "A gone voter is removed before another has taken its place."},
	LeavesVoting:      {Name: "leaves-voting", Bug: "A controller leaves while it votes."},
	OrderDecides:      {Name: "order-decides", Bug: "Who votes follows the order of nodes, so one that comes back pushes its replacement out."},
	SameAgain:         {Name: "same-again", Bug: "An observer that was refused is asked for again before the next one."},

	LeaderAnyTime:      {Name: "leader-any-time", Bug: "The active controller is restarted in its turn, not last."},
	BrokersFirst:       {Name: "brokers-first", Bug: "Brokers are rolled before controllers."},
	MajorityUnspared:   {Name: "majority-unspared", Bug: "A voter is restarted though the others that keep up are no majority."},
	MinISRUnspared:     {Name: "min-isr-unspared", Bug: "A broker is restarted though a partition can't spare it."},
	RollGoesOn:         {Name: "roll-goes-on", Bug: "A roll doesn't wait for the node that it has taken down."},
	UnreachedLeads:     {Name: "unreached-leads", Bug: "A broker goes while what it leads can only go to one that its Services don't lead to yet."},
	BadTemplateSpreads: {Name: "bad-template-spreads", Bug: "A template that is proved bad is given to the next broken node."},

	ZonesMixed:      {Name: "zones-mixed", Bug: "A batch takes brokers of several zones."},
	SlackUnasked:    {Name: "slack-unasked", Bug: "A batch takes brokers that share a partition at its minimum."},
	DownCounted:     {Name: "down-counted", Bug: "A broker that is down counts as in sync as long as the brokers say so."},
	NoLimit:         {Name: "no-limit", Bug: "A batch is wider than maxUnavailable."},
	LeapInTheDark:   {Name: "leap-in-the-dark", Bug: "A template that no broker has proved is given to a whole batch."},
	BatchGoesOn:     {Name: "batch-goes-on", Bug: "The rest of a batch is taken down though a broker of it doesn't come back."},
	BudgetStaysOpen: {Name: "budget-stays-open", Bug: "A drain may take brokers down beside a batch."},
	LaggardWaits:    {Name: "laggard-waits", Bug: "A node that lags has its turn in a roll, though its budget is shut for as long as it lags."},
	AnyForLaggard:   {Name: "any-for-laggard", Bug: "While a budget is shut, a node that keeps up is restarted outside of it."},
	LaggardUnborne:  {Name: "laggard-unborne", Bug: "A node that lags is restarted outside of its budget, though another that is down is in sync as far as is said."},
	BudgetBlind:     {Name: "budget-blind", Bug: "The disruption budget allows one, whatever the partitions can spare."},

	HolderLeaves:      {Name: "holder-leaves", Bug: "A broker is stopped though it holds replicas."},
	AskedOnce:         {Name: "asked-once", Bug: "A broker that was given replicas while it stopped isn't started again."},
	LowestLeaves:      {Name: "lowest-leaves", Bug: "The broker with the lowest id leaves."},
	RunningLeaves:     {Name: "running-leaves", Bug: "A broker is taken off while its pod still stops."},
	LastCopyReplaced:  {Name: "last-copy-replaced", Bug: "A broker is replaced though it has the only replica in sync."},
	BrokerBlip:        {Name: "broker-blip", Bug: "A broker that is lost for a moment is replaced."},
	BrokerPauseCounts: {Name: "broker-pause-counts", Bug: "The clocks of lost brokers run while the operator is paused."},
	ReplacedTogether:  {Name: "replaced-together", Bug: "A second broker is replaced while the first one's replacement starts."},
	IDAgain:           {Name: "id-again", Bug: "An id whose claim is kept is given to a new node."},

	LeaderWithVoters: {Name: "leader-with-voters", Bug: "The active controller stops with the other voters."},
	AnyOrder:         {Name: "any-order", Bug: "Without a leader, a controller stops while another, which may have led, still does."},
	StuckForEver:     {Name: "stuck-for-ever", Bug: "A pod on a lost Kubernetes node holds up all that stops after it."},

	MovedTaken:      {Name: "moved-taken", Bug: "Claims that came from another namespace are taken up without a word."},
	FormedForgotten: {Name: "formed-forgotten", Bug: "A cluster that is made again may form once more, though a claim says that it has formed."},
	AnyVoters:       {Name: "any-voters", Bug: "The first claim's initial voters are taken, whatever the others name."},
	FormedUnproved:  {Name: "formed-unproved", Bug: "A quorum counts as formed as soon as somebody leads it, before anything is committed."},

	NewBesideClaims: {Name: "new-beside-claims", Bug: "A cluster that is made again draws new ids beside its claims.", Verb: "re-create"},
	PermitStays:     {Name: "permit-stays", Bug: "An empty disk may form a quorum after the first one has.", Verb: "form"},
	SettingStays:    {Name: "setting-stays", Bug: "A dynamic setting that the spec no longer names stays.", Verb: "settings"},
	DyingAdopted:    {Name: "dying-adopted", Bug: "A cluster that is made again takes up claims that go with the one before.", Verb: "re-create-anew"},
	OwnersStay:      {Name: "owners-stay", Bug: "Claims keep their owner when the deletion policy changes.", Verb: "retain-after-all"},
	LabelsStayOff:   {Name: "labels-stay-off", Bug: "Labels that a hand took off a pod aren't put back.", Verb: "unlabelled"},
	LagUnseen:       {Name: "lag-unseen", Bug: "A voter that fetches passes for one that keeps up, however far behind it is.", Verb: "voter-lags"},

	RollUnrecorded:        {Name: "roll-unrecorded", Bug: "A node is restarted before that is in status.", Verb: "roll-config"},
	AnyPodOfThatName:      {Name: "any-pod-of-that-name", Bug: "An eviction doesn't say which pod it is for.", Verb: "roll-config"},
	ChangeUnrecorded:      {Name: "change-unrecorded", Bug: "A change of the voters is asked for before that is in status.", Verb: "voters-1-3"},
	TemplateBeforeItsTurn: {Name: "template-before-its-turn", Bug: "Every StatefulSet gets a new template at once.", Verb: "roll-config"},
	StopsAsIfAlone:        {Name: "stops-as-if-alone", Bug: "A StatefulSet is stopped whatever it has become since it was read.", Verb: "hibernate-and-wake"},
	AppliesByName:         {Name: "applies-by-name", Bug: "An object that wasn't there is written over what has come under its name since.", Verb: "outlived"},
	StatusAsIfAlone:       {Name: "status-as-if-alone", Bug: "The status is written whatever another operator has written since.", Verb: "form-combined"},
}
