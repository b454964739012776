package controller

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
)

// Upgrade types of UpdateFeatures (KIP-778).
const (
	featureUpgrade         int8 = 1
	featureSafeDowngrade   int8 = 2
	featureUnsafeDowngrade int8 = 3
)

// updateFeatures serves UpdateFeatures v0 to 2 (KIP-584, KIP-778): all of the updates or none.
func updateFeatures(tx *tx, req *kmsg.UpdateFeaturesRequest) (kmsg.Response, error) {
	resp := kmsg.NewPtrUpdateFeaturesResponse()
	proposed := tx.view().img.Features()
	seen := map[string]bool{}
	for _, u := range req.FeatureUpdates {
		if seen[u.Feature] {
			return nil, fail(kerr.InvalidRequest, "Feature %s is listed more than once.", u.Feature)
		}
		seen[u.Feature] = true
		proposed[u.Feature] = u.MaxVersionLevel
	}
	for _, u := range req.FeatureUpdates {
		kind := u.UpgradeType
		if req.Version == 0 {
			if kind = featureUpgrade; u.AllowDowngrade {
				kind = featureSafeDowngrade
			}
		}
		if why := tx.updateFeature(u.Feature, u.MaxVersionLevel, kind, proposed); why != "" {
			e := fail(kerr.InvalidUpdateVersion, "Invalid update version %d for feature %s. %s", u.MaxVersionLevel, u.Feature, why)
			if req.Version > 1 {
				return nil, &apiError{code: e.code, message: "The update failed for all features since the following feature had an error: " + e.message}
			}
			return nil, e
		}
	}
	for _, u := range req.FeatureUpdates {
		if req.Version <= 1 {
			resp.Results = append(resp.Results, kmsg.UpdateFeaturesResponseResult{Feature: u.Feature})
		}
	}
	if req.ValidateOnly {
		tx.discard()
		return resp, nil
	}
	if seen[metadata.FeatureKRaftVersion] {
		return resp, tx.upgradeKRaftVersion(proposed[metadata.FeatureKRaftVersion])
	}
	return resp, nil
}

// kraftVersionPatience bounds the question to the quorum's loop, which answers at once.
const kraftVersionPatience = 5 * time.Second

// askKRaftVersion asks the quorum for a level of kraft.version, or whether it could be had.
func (tx *tx) askKRaftVersion(level int16, validateOnly bool) (changed bool, err error) {
	if tx.cfg.UpgradeKRaftVersion == nil {
		return false, errors.New("kraft.version can't be changed here")
	}
	ctx, cancel := context.WithTimeout(context.Background(), kraftVersionPatience)
	defer cancel()
	return tx.cfg.UpgradeKRaftVersion(ctx, tx.epoch, level, validateOnly)
}

// upgradeKRaftVersion has the records of the upgrade written, all else being valid. A record of no effect follows them, so that the
// answer waits for their commit.
func (tx *tx) upgradeKRaftVersion(level int16) error {
	changed, err := tx.askKRaftVersion(level, false)
	if err != nil {
		return fail(kerr.InvalidUpdateVersion, "Invalid update version %d for feature %s. %v", level, metadata.FeatureKRaftVersion, err)
	}
	if changed {
		tx.emit(&metadata.NoOpRecord{})
	}
	return nil
}

// updateFeature emits one change, or says why it can't be.
func (tx *tx) updateFeature(name string, level int16, kind int8, proposed map[string]int16) string {
	s := tx.view()
	current := s.img.Feature(name)
	switch {
	case kind != featureUpgrade && kind != featureSafeDowngrade && kind != featureUnsafeDowngrade:
		return "The controller does not support the given upgrade type."
	case level < 0:
		return "A feature version cannot be less than 0."
	case name == metadata.FeatureMetadataVersion && level < int16(metadata.MVLowest):
		return fmt.Sprintf("Local controller %d only supports versions %d-%d", tx.cfg.NodeID, metadata.MVLowest, metadata.MVLatest)
	}
	if name == metadata.FeatureKRaftVersion {
		if why := tx.featureUnsupported(s, name, level); why != "" {
			return why
		}
		if _, err := tx.askKRaftVersion(level, true); err != nil {
			return err.Error()
		}
		return ""
	}
	if why := tx.featureUnsupported(s, name, level); why != "" {
		return why
	}
	switch {
	case level < current && kind == featureUpgrade:
		return "Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade."
	case level > current && kind != featureUpgrade:
		return "Can't downgrade to a newer version."
	case level == current:
		return ""
	}
	if name == metadata.FeatureMetadataVersion {
		if level < current {
			if why := checkDowngrade(metadata.MetadataVersion(current), metadata.MetadataVersion(level), kind); why != "" {
				return why
			}
		}
	} else if why := checkDependencies(name, level, proposed); why != "" {
		return why
	}
	tx.emit(featureLevel(name, level))
	if name == metadata.FeatureELRVersion && level > 0 {
		tx.enableELR(s)
	}
	return ""
}

func checkDowngrade(from, to metadata.MetadataVersion, kind int8) string {
	switch {
	case from.SafeDowngrade(to):
		return ""
	case kind == featureUnsafeDowngrade:
		return fmt.Sprintf("Unsafe metadata downgrade from %s to %s is not supported in this version.", from, to)
	}
	return fmt.Sprintf("Refusing to perform the requested downgrade because it might delete metadata information. Requested %s, current %s.", to, from)
}

// checkDependencies holds a feature against those it builds on.
func checkDependencies(name string, level int16, proposed map[string]int16) string {
	if name == metadata.FeatureELRVersion && level > 0 && !metadata.MetadataVersion(proposed[metadata.FeatureMetadataVersion]).ELR() {
		return fmt.Sprintf("%s could not be set to %d because it depends on metadata.version level %d", name, level, metadata.MV4_0_IV1)
	}
	return ""
}

// enableELR gives the cluster one min ISR, which ELR counts by: a default in the log, and no broker's own (KIP-966).
func (tx *tx) enableELR(s *state) {
	if _, ok := s.img.ConfigValue(metadata.ResourceBroker, "", minISRConfig); !ok {
		value := "1"
		if v := tx.cfg.Static[minISRConfig]; v != "" {
			value = v
		}
		tx.emit(configRecord(metadata.ResourceBroker, "", minISRConfig, &value))
	}
	for res, m := range s.img.Configs() {
		if _, ok := m[minISRConfig]; ok && res.Type == metadata.ResourceBroker && res.Name != "" {
			tx.emit(configRecord(res.Type, res.Name, minISRConfig, nil))
		}
	}
}

// featureUnsupported asks this build, all registered brokers and controllers, and that every voter has registered.
func (tx *tx) featureUnsupported(s *state, name string, level int16) string {
	lo, hi, ok := metadata.SupportedRange(name)
	if !ok {
		return fmt.Sprintf("Local controller %d does not support this feature.", tx.cfg.NodeID)
	}
	if why := outsideRange(fmt.Sprintf("Local controller %d", tx.cfg.NodeID), lo, hi, level); why != "" {
		return why
	}
	for id, b := range s.img.Brokers() {
		lo, hi := rangeOf(b.Features, name)
		if why := outsideRange(fmt.Sprintf("Broker %d", id), lo, hi, level); why != "" {
			return why
		}
	}
	if !s.img.MetadataVersion().ControllerRegistration() {
		return ""
	}
	for id, c := range s.img.Controllers() {
		if id == tx.cfg.NodeID {
			continue
		}
		lo, hi := rangeOf(c.Features, name)
		if why := outsideRange(fmt.Sprintf("Controller %d", id), lo, hi, level); why != "" {
			return why
		}
	}
	for _, v := range tx.cfg.Voters() {
		if _, ok := s.img.Controller(v.ID); !ok && v.ID != tx.cfg.NodeID {
			return fmt.Sprintf("controller %d has not registered, and may not support this feature", v.ID)
		}
	}
	return ""
}

func rangeOf(features []metadata.FeatureRange, name string) (lo, hi int16) {
	for _, f := range features {
		if f.Name == name {
			return f.MinSupportedVersion, f.MaxSupportedVersion
		}
	}
	return 0, 0
}

func outsideRange(who string, lo, hi, level int16) string {
	switch {
	case level == 0 || level >= lo && level <= hi:
		return ""
	case lo == 0 && hi == 0:
		return who + " does not support this feature."
	}
	return fmt.Sprintf("%s only supports versions %d-%d", who, lo, hi)
}
