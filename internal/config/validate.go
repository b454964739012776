package config

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Error is one setting whose value can't be.
type Error struct {
	Key    string
	Value  string // as it may be shown: never a password's
	Reason string // in Kafka's words
	Way    string // the way out, in ours
}

// Error names the property, its value and the way out.
func (e *Error) Error() string {
	return fmt.Sprintf("property %s: value %s: %s", e.Key, e.Value, cmp.Or(e.Way, e.Reason))
}

// KafkaMessage is the text that Kafka gives a client with INVALID_CONFIG.
func (e *Error) KafkaMessage() string {
	return fmt.Sprintf("Invalid value %s for configuration %s: %s", e.Value, e.Key, cmp.Or(e.Reason, e.Way))
}

// ErrUnknownKey is wrapped by the error of a setting that doesn't exist.
var ErrUnknownKey = errors.New("unknown property")

// unknownKey is an ErrUnknownKey in Kafka's words.
type unknownKey struct{ text string }

func (e unknownKey) Error() string { return e.text }
func (e unknownKey) Unwrap() error { return ErrUnknownKey }

// KafkaMessage is the text for a client: the one of an Error, else err's own.
func KafkaMessage(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.KafkaMessage()
	}
	return err.Error()
}

// Check validates one value against d's type and rule, as Kafka's ConfigDef does.
func (d *Def) Check(value string) error {
	shown := value
	if d.Type == Password {
		shown = "[hidden]"
	}
	v := strings.TrimSpace(value)
	var reason, way string
	switch d.Type {
	case Boolean:
		if !strings.EqualFold(v, "true") && !strings.EqualFold(v, "false") {
			reason, way = "Expected value to be either true or false", "must be true or false"
		}
	case Short, Int, Long, Double:
		reason, way = d.checkNumber(v)
	case List:
		reason, way = d.checkList(SplitList(v))
	case String:
		reason, way = d.checkString(v)
	}
	if reason == "" {
		return nil
	}
	return &Error{Key: d.Name, Value: abbreviate(shown), Reason: reason, Way: way}
}

var bits = map[Type]int{Short: 16, Int: 32, Long: 64}

func (d *Def) checkNumber(v string) (reason, way string) {
	var n float64
	var err error
	if d.Type == Double {
		n, err = strconv.ParseFloat(v, 64)
	} else {
		var i int64
		i, err = strconv.ParseInt(v, 10, bits[d.Type])
		n = float64(i)
	}
	if err != nil {
		return "Not a number of type " + d.Type.String(), fmt.Sprintf("must be a number of type %s", d.Type)
	}
	rule, or, _ := strings.Cut(d.Rule, " or ")
	if or == v && or != "" {
		return "", ""
	}
	lo, hi, ok := bounds(rule)
	switch {
	case !ok:
		return "", ""
	case n < lo:
		return fmt.Sprintf("Value must be at least %s", trimFloat(lo)), "must be in " + d.Rule
	case n > hi:
		return fmt.Sprintf("Value must be no more than %s", trimFloat(hi)), "must be in " + d.Rule
	}
	return "", ""
}

// bounds reads [0,...] and [1,...,9].
func bounds(rule string) (lo, hi float64, ok bool) {
	inner, found := strings.CutPrefix(rule, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	low, high, dots := strings.Cut(inner, ",...")
	if !found || !closed || !dots {
		return 0, 0, false
	}
	lo, err := strconv.ParseFloat(low, 64)
	hi = math.Inf(1)
	if h := strings.TrimPrefix(high, ","); h != "" && err == nil {
		hi, err = strconv.ParseFloat(h, 64)
	}
	return lo, hi, err == nil
}

func trimFloat(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// choices reads "[a, b]", with an optional "(case insensitive) " before it.
func choices(rule string) (names []string, fold bool) {
	rule, fold = strings.CutPrefix(rule, "(case insensitive) ")
	if !strings.HasPrefix(rule, "[") || !strings.HasSuffix(rule, "]") || strings.Contains(rule, ":") {
		return nil, false
	}
	return strings.Split(strings.Trim(rule, "[]"), ", "), fold
}

func (d *Def) checkString(v string) (reason, way string) {
	names, fold := choices(d.Rule)
	if d.Name == "share.auto.offset.reset" {
		return checkOffsetReset(v)
	}
	if names == nil || slices.Contains(names, v) {
		return "", ""
	}
	if fold && slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, v) }) {
		return "", ""
	}
	return "String must be one of: " + strings.Join(names, ", "), "must be one of " + strings.Join(names, ", ")
}

func checkOffsetReset(v string) (reason, way string) {
	if v == "latest" || v == "earliest" || strings.HasPrefix(v, "by_duration:P") && len(v) > len("by_duration:P") {
		return "", ""
	}
	const rule = "latest, earliest, by_duration:PnDTnHnMn.nS"
	return "String must be one of: " + rule, "must be one of " + rule
}

func (d *Def) checkList(items []string) (reason, way string) {
	if strings.HasPrefix(d.Rule, "[partitionId]:[brokerId]") {
		return checkThrottledReplicas(items)
	}
	names, _ := choices(d.Rule)
	for i, item := range items {
		switch {
		case item == "":
			return "Configuration value must not contain empty elements", "has an empty element: remove the extra comma"
		case names != nil && !slices.Contains(names, item):
			return "String must be one of: " + strings.Join(names, ", "), fmt.Sprintf("has %q: each must be one of %s", abbreviate(item), strings.Join(names, ", "))
		case names != nil && slices.Contains(items[:i], item):
			return "Configuration values must not be duplicated", fmt.Sprintf("has %q twice", item)
		}
	}
	return "", ""
}

// checkThrottledReplicas accepts "*", and partition:broker pairs.
func checkThrottledReplicas(items []string) (reason, way string) {
	if len(items) == 1 && (items[0] == "*" || items[0] == "none") {
		return "", ""
	}
	for _, item := range items {
		p, b, ok := strings.Cut(item, ":")
		_, err1 := strconv.ParseUint(p, 10, 31)
		_, err2 := strconv.ParseUint(b, 10, 31)
		if !ok || err1 != nil || err2 != nil {
			const rule = "must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],..."
			return rule, rule
		}
	}
	return "", ""
}

// SplitList reads a LIST value: elements split at commas, blanks around them dropped; "" is the empty list.
func SplitList(v string) []string {
	if v = strings.TrimSpace(v); v == "" {
		return nil
	}
	items := strings.Split(v, ",")
	for i := range items {
		items[i] = strings.TrimSpace(items[i])
	}
	return items
}

// ValidateTopic checks a topic's own settings, whole, as they would stand after a change: names, values, and
// the values against each other.
//
// Errors: *Error, whose KafkaMessage goes to the client with INVALID_CONFIG; ErrUnknownKey with Kafka's text.
func ValidateTopic(configs map[string]string) error {
	names := sortedKeys(configs)
	for _, k := range names {
		if _, ok := table().topic[k]; !ok {
			return unknownTopicKey(k)
		}
	}
	for _, k := range names {
		if err := table().topic[k].Check(configs[k]); err != nil {
			return err
		}
	}
	if configs[RemoteStorageEnable] != "" && strings.EqualFold(strings.TrimSpace(configs[RemoteStorageEnable]), "true") {
		return &Error{Key: RemoteStorageEnable, Value: "true",
			Reason: "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage.",
			Way:    "tiered storage is not supported: remove it"}
	}
	lo, hi := topicInt64(configs, MinCompactionLagMs), topicInt64(configs, MaxCompactionLagMs)
	if lo > hi {
		return &Error{Key: MaxCompactionLagMs, Value: strconv.FormatInt(hi, 10),
			Reason: fmt.Sprintf("conflict topic config setting %s (%d) > %s (%d)", MinCompactionLagMs, lo, MaxCompactionLagMs, hi),
			Way:    fmt.Sprintf("must not be less than %s, %d", MinCompactionLagMs, lo)}
	}
	return nil
}

// unknownTopicKey reads as Kafka's message and adds the key that was probably meant.
func unknownTopicKey(k string) error {
	hint := ""
	if n := NearestTopic(k); n != "" {
		hint = fmt.Sprintf(" (did you mean %s?)", n)
	}
	return unknownKey{fmt.Sprintf("Unknown topic config name: %s%s", abbreviate(k), hint)}
}

// topicInt64 is a valid value or Kafka's default.
func topicInt64(configs map[string]string, key string) int64 {
	v, ok := configs[key]
	if !ok {
		v = table().topic[key].Default
	}
	n, _ := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
	return n
}

// ValidateGroup checks a group's own settings.
func ValidateGroup(configs map[string]string) error {
	for _, k := range sortedKeys(configs) {
		d, ok := table().group[k]
		if !ok {
			return unknownKey{"Unknown group config name: " + abbreviate(k)}
		}
		if err := d.Check(configs[k]); err != nil {
			return err
		}
	}
	return nil
}

// ValidateDynamic checks settings of one broker (perBroker) or of the cluster's default before they are
// changed at run time. Unknown settings pass, as in Kafka: plugins may read them.
func ValidateDynamic(configs map[string]string, perBroker bool) error {
	for _, k := range sortedKeys(configs) {
		d, ok := table().node[k]
		switch {
		case !ok:
			continue
		case d.Dynamic == ReadOnly:
			return fmt.Errorf("property %s: Cannot update these configs dynamically: Set(%s); change it in the node's properties and restart it", k, k)
		case d.Dynamic == PerBroker && !perBroker:
			return fmt.Errorf("property %s: Cannot update these configs at default cluster level, broker id must be specified: Set(%s)", k, k)
		}
		if err := d.Check(configs[k]); err != nil {
			return err
		}
	}
	return nil
}
