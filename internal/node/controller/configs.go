package controller

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/config"
	"github.com/kraft-dev/kraft-operator/internal/metadata"
)

// configOp is what one entry of a request does to one setting.
type configOp struct {
	name  string
	op    kmsg.IncrementalAlterConfigOp
	value *string
}

func configRecord(typ int8, resource, name string, value *string) *metadata.ConfigRecord {
	rec := metadata.NewConfigRecord()
	rec.ResourceType, rec.ResourceName, rec.Name, rec.Value = typ, resource, name, value
	return rec
}

// newTopicConfigs are the config records of a topic that is being created.
func (tx *tx) newTopicConfigs(t *kmsg.CreateTopicsRequestTopic) ([]metadata.Record, *apiError) {
	var null []string
	set := map[string]string{}
	for _, c := range t.Configs {
		if c.Value == nil {
			null = append(null, c.Name)
			continue
		}
		set[c.Name] = *c.Value
	}
	if len(null) > 0 {
		return nil, fail(kerr.InvalidConfig, "Null value not supported for topic configs: %s", strings.Join(null, ","))
	}
	if err := config.ValidateTopic(set); err != nil {
		return nil, fail(kerr.InvalidConfig, "%s", config.KafkaMessage(err))
	}
	var recs []metadata.Record
	for _, name := range sortedKeys(set) {
		recs = append(recs, configRecord(metadata.ResourceTopic, t.Topic, name, ptr(set[name])))
	}
	return recs, nil
}

// alterResource emits the changes of one resource, all or none. Of a setting named twice the last entry counts.
//
// replace is the old AlterConfigs: what isn't named goes back to its default.
func (tx *tx) alterResource(res metadata.ConfigResource, ops []configOp, replace bool) *apiError {
	s := tx.view()
	if e := checkConfigResource(s, res); e != nil {
		return e
	}
	old := s.img.Config(res.Type, res.Name)
	next := maps.Clone(old)
	if next == nil {
		next = map[string]string{}
	}
	written := map[string]bool{}
	for _, op := range ops {
		v, e := newConfigValue(res, op, old)
		if e != nil {
			return e
		}
		written[op.name] = true
		if v == nil {
			delete(next, op.name)
		} else {
			next[op.name] = *v
		}
	}
	if replace {
		for name := range old {
			if !written[name] {
				delete(next, name)
			}
		}
	}
	if e := checkConfigs(s, res, next, old, written); e != nil {
		return e
	}
	tx.emitConfigs(s, res, old, next, written)
	return nil
}

// emitConfigs writes what differs, and for brokers also what was set to what it was: that makes them reload, which
// changes of certificates in place need (KAFKA-14136).
func (tx *tx) emitConfigs(s *state, res metadata.ConfigResource, old, next map[string]string, written map[string]bool) {
	names := map[string]bool{}
	maps.Copy(names, written)
	for name := range old {
		names[name] = true
	}
	for _, name := range sortedKeys(names) {
		was, had := old[name]
		is, has := next[name]
		if had == has && was == is && (res.Type != metadata.ResourceBroker || !written[name]) {
			continue
		}
		var value *string
		if has {
			value = &is
		}
		tx.emit(configRecord(res.Type, res.Name, name, value))
		if name == minISRConfig && (had != has || was != is) && s.elrEnabled() {
			tx.clearELR(res)
		}
	}
}

// clearELR forgets who was eligible by another min ISR (KIP-966). Unlike Kafka, it spares partitions whose ISR is empty: nothing can
// be committed there, so who was eligible still has all that is, and without them nobody could ever lead such a partition again.
func (tx *tx) clearELR(res metadata.ConfigResource) {
	rec := metadata.NewClearElrRecord()
	switch {
	case res.Type == metadata.ResourceTopic:
		rec.TopicName = res.Name
	case res.Type != metadata.ResourceBroker || res.Name != "":
		return
	}
	img, spared := tx.view().img, false
	for _, p := range img.LeaderlessPartitions() {
		if spared = len(p.ISR) == 0; spared {
			break
		}
	}
	if !spared {
		tx.emit(rec)
		return
	}
	for name, t := range img.Topics() {
		if rec.TopicName != "" && rec.TopicName != name {
			continue
		}
		for i, p := range t.Partitions() {
			if len(p.ISR) > 0 && len(p.ELR)+len(p.LastKnownELR) > 0 {
				change := metadata.NewPartitionChangeRecord()
				change.TopicID, change.PartitionID = t.ID, i
				change.EligibleLeaderReplicas, change.LastKnownELR = []int32{}, []int32{}
				tx.emit(change)
			}
		}
	}
}

// newConfigValue is the value that op leaves, nil for none.
func newConfigValue(res metadata.ConfigResource, op configOp, old map[string]string) (*string, *apiError) {
	switch op.op {
	case kmsg.IncrementalAlterConfigOpSet:
		if op.value == nil {
			return nil, fail(kerr.InvalidConfig, "Null value not supported for %s configs: %s", resourceKind(res.Type), op.name)
		}
		return op.value, nil
	case kmsg.IncrementalAlterConfigOpDelete:
		return nil, nil
	case kmsg.IncrementalAlterConfigOpAppend, kmsg.IncrementalAlterConfigOpSubtract:
	default:
		return nil, fail(kerr.InvalidRequest, "Unknown operation %d for config %s", op.op, op.name)
	}
	def, ok := lookupConfig(res.Type, op.name)
	if !ok || def.Type != config.List {
		return nil, fail(kerr.InvalidConfig, "Can't %s to key %s because its type is not LIST.", strings.ToUpper(op.op.String()), op.name)
	}
	if op.value == nil {
		return nil, fail(kerr.InvalidConfig, "Null value not supported for %s configs: %s", resourceKind(res.Type), op.name)
	}
	current, ok := old[op.name]
	if !ok {
		current = def.Default
	}
	list := config.SplitList(current)
	for _, v := range strings.Split(*op.value, ",") {
		i := slices.Index(list, v)
		switch {
		case op.op == kmsg.IncrementalAlterConfigOpAppend && i < 0:
			list = append(list, v)
		case op.op == kmsg.IncrementalAlterConfigOpSubtract && i >= 0:
			list = slices.Delete(list, i, i+1)
		}
	}
	return ptr(strings.Join(list, ",")), nil
}

func lookupConfig(typ int8, name string) (*config.Def, bool) {
	switch typ {
	case metadata.ResourceTopic:
		return config.LookupTopic(name)
	case metadata.ResourceBroker:
		return config.Lookup(name)
	case metadata.ResourceGroup:
		return config.LookupGroup(name)
	}
	return nil, false
}

func resourceKind(typ int8) string {
	switch typ {
	case metadata.ResourceTopic:
		return "topic"
	case metadata.ResourceBroker:
		return "broker"
	case metadata.ResourceGroup:
		return "group"
	case metadata.ResourceClientMetrics:
		return "client metrics"
	}
	return "unknown"
}

// checkConfigResource refuses a name that can't be, and topics that don't exist.
func checkConfigResource(s *state, res metadata.ConfigResource) *apiError {
	switch res.Type {
	case metadata.ResourceTopic:
		if res.Name == "" {
			return fail(kerr.InvalidRequest, "Default topic resources are not allowed.")
		}
		if e := checkTopicName(res.Name); e != nil {
			return e
		}
		if _, ok := s.img.TopicByName(res.Name); !ok {
			return fail(kerr.UnknownTopicOrPartition, "The topic '%s' does not exist.", res.Name)
		}
	case metadata.ResourceBroker:
		return checkBrokerResource(res.Name)
	case metadata.ResourceGroup:
		if res.Name == "" {
			return fail(kerr.InvalidRequest, "Default group resources are not allowed.")
		}
	case metadata.ResourceClientMetrics:
		if res.Name == "" {
			return fail(kerr.InvalidRequest, "Subscription name can't be empty")
		}
	default:
		return fail(kerr.InvalidRequest, "Unknown resource type %s", resourceTypeName(res.Type))
	}
	return nil
}

func checkBrokerResource(name string) *apiError {
	if name == "" {
		return nil
	}
	id, err := strconv.ParseInt(name, 10, 32)
	switch {
	case err != nil:
		return fail(kerr.InvalidRequest, "Unable to parse broker name as a base 10 number.")
	case id < 0:
		return fail(kerr.InvalidRequest, "Invalid negative broker ID.")
	}
	return nil
}

func resourceTypeName(typ int8) string {
	if typ == metadata.ResourceBrokerLogger {
		return "BROKER_LOGGER"
	}
	return strconv.Itoa(int(typ))
}

// checkConfigs validates a resource's settings as they would stand. Of a broker's only what was written is checked: the
// rest may be an older version's.
func checkConfigs(s *state, res metadata.ConfigResource, next, old map[string]string, written map[string]bool) *apiError {
	var err error
	switch res.Type {
	case metadata.ResourceTopic:
		err = config.ValidateTopic(next)
	case metadata.ResourceGroup:
		err = config.ValidateGroup(next)
	case metadata.ResourceBroker:
		touched := map[string]string{}
		for name := range written {
			if v, ok := next[name]; ok {
				touched[name] = v
			}
		}
		err = config.ValidateDynamic(touched, res.Name != "")
		if e := checkELRConfigs(s, res, next, old, written); e != nil {
			return e
		}
	}
	if err != nil {
		return fail(kerr.InvalidConfig, "%s", config.KafkaMessage(err))
	}
	return nil
}

// checkELRConfigs keeps one min ISR for the whole cluster while ELR counts by it (KIP-966).
func checkELRConfigs(s *state, res metadata.ConfigResource, next, old map[string]string, written map[string]bool) *apiError {
	if !s.elrEnabled() {
		return nil
	}
	_, had := old[minISRConfig]
	_, has := next[minISRConfig]
	switch {
	case res.Name != "" && written[minISRConfig]:
		return fail(kerr.InvalidConfig, "Broker-level %s cannot be altered while ELR is enabled.", minISRConfig)
	case res.Name == "" && had && !has:
		return fail(kerr.InvalidConfig, "Cluster-level %s cannot be removed while ELR is enabled.", minISRConfig)
	}
	return nil
}
