package metadata

import (
	"fmt"
	"slices"
)

// Names of Kafka's features.
const (
	FeatureMetadataVersion    = "metadata.version"
	FeatureKRaftVersion       = "kraft.version"
	FeatureTransactionVersion = "transaction.version"
	FeatureGroupVersion       = "group.version"
	FeatureELRVersion         = "eligible.leader.replicas.version"
	FeatureShareVersion       = "share.version"
	FeatureStreamsVersion     = "streams.version"
)

// MetadataVersion is a level of metadata.version: which records and record versions may be written.
type MetadataVersion int16

// Levels that matter to what is written (Kafka's names without the IBP prefix).
const (
	MV3_3_IV3 MetadataVersion = 7  // lowest that 4.x supports
	MV3_4_IV0 MetadataVersion = 8  // RegisterBroker v2
	MV3_6_IV0 MetadataVersion = 12 // an ISR shrink alone keeps the leader epoch
	MV3_6_IV2 MetadataVersion = 14 // metadata transactions, delegation tokens
	MV3_7_IV0 MetadataVersion = 15 // controller registration
	MV3_7_IV2 MetadataVersion = 17 // directory assignment
	MV4_0_IV0 MetadataVersion = 22 // group.version 1
	MV4_0_IV1 MetadataVersion = 23 // eligible leader replicas
	MV4_1_IV0 MetadataVersion = 26 // ELR on by default
	MV4_3_IV0 MetadataVersion = 30 // cordoned log directories

	MVLowest = MV3_3_IV3
	MVLatest = MV4_3_IV0 // latest production level of Kafka 4.3
)

// mvNames are the levels from MVLowest on.
var mvNames = []string{
	"3.3-IV3", "3.4-IV0", "3.5-IV0", "3.5-IV1", "3.5-IV2", "3.6-IV0", "3.6-IV1", "3.6-IV2",
	"3.7-IV0", "3.7-IV1", "3.7-IV2", "3.7-IV3", "3.7-IV4", "3.8-IV0", "3.9-IV0",
	"4.0-IV0", "4.0-IV1", "4.0-IV2", "4.0-IV3", "4.1-IV0", "4.1-IV1", "4.2-IV0", "4.2-IV1", "4.3-IV0",
}

// didMetadataChange are the levels that changed what is in records: a downgrade may not cross one.
var didMetadataChange = []MetadataVersion{7, 8, 11, 13, 14, 15, 17, 23, 30}

// String is Kafka's name of the level, such as 4.3-IV0.
func (v MetadataVersion) String() string {
	if v.Check() != nil {
		return fmt.Sprintf("level %d", int16(v))
	}
	return mvNames[v-MVLowest]
}

// Check returns an error for a level that this build doesn't support.
func (v MetadataVersion) Check() error {
	if v < MVLowest || v > MVLatest {
		return fmt.Errorf("metadata.version %d: supported are %d to %d", int16(v), MVLowest, MVLatest)
	}
	return nil
}

// ParseMetadataVersion reads a level's name: "4.3-IV0", or "4.3" for the last level of 4.3.
func ParseMetadataVersion(s string) (MetadataVersion, error) {
	for i, name := range slices.Backward(mvNames) {
		if name == s || len(name) > len(s) && name[:len(s)+1] == s+"-" {
			return MVLowest + MetadataVersion(i), nil
		}
	}
	return 0, fmt.Errorf("metadata.version %q: supported are %s to %s", s, MVLowest, MVLatest)
}

// SafeDowngrade tells whether going from v down to lower loses nothing of the metadata.
func (v MetadataVersion) SafeDowngrade(lower MetadataVersion) bool {
	return !slices.ContainsFunc(didMetadataChange, func(c MetadataVersion) bool { return c > lower && c <= v })
}

// Versions of the records that have more than one, as metadata.version allows them. All others are version 0.

func (v MetadataVersion) RegisterBrokerVersion() int16 {
	switch {
	case v >= MV4_3_IV0:
		return 4
	case v >= MV3_7_IV2:
		return 3
	case v >= MV3_4_IV0:
		return 2
	}
	return 1
}

// PartitionVersion is the version of PartitionRecord and of PartitionChangeRecord.
func (v MetadataVersion) PartitionVersion() int16 {
	switch {
	case v >= MV4_0_IV1:
		return 2
	case v >= MV3_7_IV2:
		return 1
	}
	return 0
}

func (v MetadataVersion) BrokerRegistrationChangeVersion() int16 {
	switch {
	case v >= MV4_3_IV0:
		return 3
	case v >= MV3_7_IV2:
		return 2
	}
	return 1
}

// RecordVersion is the version at which rec is written.
func (v MetadataVersion) RecordVersion(rec Record) int16 {
	switch rec.(type) {
	case *RegisterBrokerRecord:
		return v.RegisterBrokerVersion()
	case *PartitionRecord, *PartitionChangeRecord:
		return v.PartitionVersion()
	case *BrokerRegistrationChangeRecord:
		return v.BrokerRegistrationChangeVersion()
	}
	return 0
}

// What a metadata.version supports.

func (v MetadataVersion) DirectoryAssignment() bool    { return v >= MV3_7_IV2 }
func (v MetadataVersion) ELR() bool                    { return v >= MV4_0_IV1 }
func (v MetadataVersion) ControllerRegistration() bool { return v >= MV3_7_IV0 }
func (v MetadataVersion) Transactions() bool           { return v >= MV3_6_IV2 }
func (v MetadataVersion) CordonedLogDirs() bool        { return v >= MV4_3_IV0 }

// ShrinkKeepsLeaderEpoch tells whether an ISR shrink alone leaves the leader epoch as it is.
func (v MetadataVersion) ShrinkKeepsLeaderEpoch() bool { return v >= MV3_6_IV0 }

// FeatureSupport is what this build knows of one feature.
type FeatureSupport struct {
	Name     string
	Min, Max int16
	Default  int16 // written by formatting; 0 writes none
}

// Supported lists the features with their ranges, metadata.version first, then by name. kraft.version lives in
// control records, so it has no default here.
func Supported() []FeatureSupport {
	return []FeatureSupport{
		{FeatureMetadataVersion, int16(MVLowest), int16(MVLatest), int16(MVLatest)},
		{FeatureELRVersion, 0, 1, 1},
		{FeatureGroupVersion, 0, 1, 1},
		{FeatureKRaftVersion, 0, 1, 0},
		{FeatureShareVersion, 0, 1, 1},
		{FeatureStreamsVersion, 0, 1, 1},
		{FeatureTransactionVersion, 0, 2, 2},
	}
}

// SupportedRange returns one feature's range; ok is false for an unknown feature.
func SupportedRange(name string) (minLevel, maxLevel int16, ok bool) {
	for _, f := range Supported() {
		if f.Name == name {
			return f.Min, f.Max, true
		}
	}
	return 0, 0, false
}

// BootstrapRecords are the feature levels that formatting writes: metadata.version first, then by name.
func BootstrapRecords() []Record {
	var recs []Record
	for _, f := range Supported() {
		if f.Default > 0 {
			recs = append(recs, &FeatureLevelRecord{Name: f.Name, FeatureLevel: f.Default})
		}
	}
	return recs
}
