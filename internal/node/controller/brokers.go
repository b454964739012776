package controller

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

// registerBroker serves BrokerRegistration v0 to 4 (KIP-631, KIP-858 directories, KIP-966 clean shutdown).
func registerBroker(tx *tx, req *kmsg.BrokerRegistrationRequest) (kmsg.Response, error) {
	s := tx.view()
	if req.ClusterID != tx.cfg.ClusterID {
		return nil, fail(kerr.InconsistentClusterID, "Expected cluster ID %s, but got cluster ID %s", tx.cfg.ClusterID, req.ClusterID)
	}
	old, registered := s.img.Broker(req.BrokerID)
	sameIncarnation := registered && old.IncarnationID == uuid.UUID(req.IncarnationID)
	if registered && !sameIncarnation && !sameDisk(old, req) && tx.hb.hasSession(req.BrokerID, tx.now) {
		return nil, fail(kerr.DuplicateBrokerRegistration, "Another broker is registered with that broker id. If the broker "+
			"was recently restarted this should self-resolve once the heartbeat manager expires the broker's session.")
	}
	if req.IsMigratingZkBroker {
		return nil, fail(kerr.BrokerIDNotRegistered, "Controller does not support registering ZK brokers.")
	}
	dirs := toUUIDs(req.LogDirs)
	if s.img.MetadataVersion().DirectoryAssignment() {
		if e := checkDirectories(s, req.BrokerID, dirs); e != nil {
			return nil, e
		}
	}
	features, e := checkBrokerFeatures(s, tx.cfg.KRaftVersion(), req.Features)
	if e != nil {
		return nil, e
	}
	rec := metadata.NewRegisterBrokerRecord()
	rec.BrokerID, rec.IncarnationID, rec.Rack, rec.Features = req.BrokerID, req.IncarnationID, req.Rack, features
	for _, l := range req.Listeners {
		rec.EndPoints = append(rec.EndPoints, endpoint(l.Name, l.Host, l.Port, l.SecurityProtocol))
	}
	if s.img.MetadataVersion().DirectoryAssignment() {
		rec.LogDirs = dirs
	}
	if sameIncarnation {
		rec.BrokerEpoch, rec.Fenced, rec.InControlledShutdown = old.Epoch, old.Fenced, old.InControlledShutdown
		rec.CordonedLogDirs = old.CordonedLogDirs
	} else {
		if registered {
			clean := req.Version >= 3 && req.PreviousBrokerEpoch == old.Epoch
			tx.brokerCameBack(req.BrokerID, clean)
		}
		rec.BrokerEpoch, rec.Fenced = tx.base, true
	}
	tx.emit(rec)
	tx.onPrepared(func(int64) { tx.hb.register(rec.BrokerID, rec.BrokerEpoch, rec.Fenced) })
	resp := kmsg.NewPtrBrokerRegistrationResponse()
	resp.BrokerEpoch = rec.BrokerEpoch
	return resp, nil
}

// sameDisk says whether a new incarnation holds exactly the directories of the registered one. A process holds its directories'
// locks, so the old incarnation has ended: the new one need not wait for its session to expire, which after a kill -9 would be
// 9 s in which nobody may lead what only this broker has.
func sameDisk(old *metadata.Broker, req *kmsg.BrokerRegistrationRequest) bool {
	if len(old.LogDirs) == 0 || len(old.LogDirs) != len(req.LogDirs) {
		return false
	}
	for _, d := range req.LogDirs {
		if !slices.Contains(old.LogDirs, uuid.UUID(d)) {
			return false
		}
	}
	return true
}

// brokerCameBack ends what is left of a broker's previous incarnation. One that didn't shut down cleanly may have lost
// what it had not flushed, so with ELR it is no longer eligible (KIP-966).
func (tx *tx) brokerCameBack(id int32, clean bool) {
	s := tx.view()
	if clean || !s.elrEnabled() {
		tx.removeFromISR(s, id, false, s.img.PartitionsOf(id, metadata.RoleISR))
		return
	}
	tx.removeFromISR(s, id, true, s.img.PartitionsOf(id, metadata.RoleISR|metadata.RoleELR))
}

func checkDirectories(s *state, broker int32, dirs []uuid.UUID) *apiError {
	if len(dirs) == 0 {
		return fail(kerr.InvalidRegistration, "No directories specified in request")
	}
	for i, d := range dirs {
		if d.Reserved() {
			return fail(kerr.InvalidRegistration, "Reserved directory ID in request")
		}
		if slices.Contains(dirs[:i], d) {
			return fail(kerr.InvalidRegistration, "Duplicate directory ID in request")
		}
		for id, b := range s.img.Brokers() {
			if id != broker && slices.Contains(b.LogDirs, d) {
				return fail(kerr.InvalidRegistration, "Broker %d is already registered with directory %s", id, d)
			}
		}
	}
	return nil
}

// checkBrokerFeatures holds a broker's ranges against every finalized feature; one it doesn't name counts as 0 to 0.
func checkBrokerFeatures(s *state, kraftVersion int16, in []kmsg.BrokerRegistrationRequestFeature) ([]metadata.FeatureRange, *apiError) {
	finalized := s.img.Features()
	if kraftVersion > 0 {
		finalized[metadata.FeatureKRaftVersion] = kraftVersion
	}
	ranges := make([]metadata.FeatureRange, 0, len(in))
	named := map[string]bool{}
	for _, f := range in {
		if e := checkFeatureRange(f.Name, finalized[f.Name], f.MinSupportedVersion, f.MaxSupportedVersion); e != nil {
			return nil, e
		}
		named[f.Name] = true
		ranges = append(ranges, metadata.FeatureRange{Name: f.Name, MinSupportedVersion: f.MinSupportedVersion, MaxSupportedVersion: f.MaxSupportedVersion})
	}
	if !named[metadata.FeatureMetadataVersion] {
		return nil, fail(kerr.InvalidRegistration, "Request features do not contain '%s'", metadata.FeatureMetadataVersion)
	}
	for _, name := range sortedKeys(finalized) {
		if !named[name] {
			if e := checkFeatureRange(name, finalized[name], 0, 0); e != nil {
				return nil, e
			}
		}
	}
	return ranges, nil
}

func checkFeatureRange(name string, level, minLevel, maxLevel int16) *apiError {
	if level >= minLevel && level <= maxLevel {
		return nil
	}
	return fail(kerr.UnsupportedVersion, "Unable to register because the broker does not support finalized version %d of %s. "+
		"The broker wants a version between %d and %d, inclusive.", level, name, minLevel, maxLevel)
}

// checkBrokerEpoch refuses a broker that isn't the registered incarnation.
func checkBrokerEpoch(s *state, id int32, epoch int64) (*metadata.Broker, *apiError) {
	b, ok := s.img.Broker(id)
	switch {
	case !ok:
		return nil, fail(kerr.StaleBrokerEpoch, "No broker registration found for broker id %d", id)
	case b.Epoch != epoch:
		return nil, fail(kerr.StaleBrokerEpoch, "Expected broker epoch %d, but got broker epoch %d", b.Epoch, epoch)
	}
	return b, nil
}

// brokerHeartbeat serves BrokerHeartbeat v0 to 2 (KIP-631, KIP-841, KIP-858, KIP-1066). The session was refreshed when
// the request arrived.
func brokerHeartbeat(tx *tx, req *kmsg.BrokerHeartbeatRequest) (kmsg.Response, error) {
	s := tx.view()
	b, e := checkBrokerEpoch(s, req.BrokerID, req.BrokerEpoch)
	if e != nil {
		tx.hb.sessions.remove(req.BrokerID, req.BrokerEpoch)
		return nil, e
	}
	registerOffset, _ := s.registered.Get(b.ID)
	hb := heartbeatRequest{metadataOffset: req.CurrentMetadataOffset, wantFence: req.WantFence, wantShutDown: req.WantShutdown}
	cur := tx.hb.state(b.ID)
	next := tx.hb.next(b.ID, hb, registerOffset, s.img.BrokerCounts(b.ID).Leaders > 0)
	if cur != next {
		tx.cfg.Logger.Info("Changing broker state", "brokerID", b.ID, "brokerEpoch", b.Epoch, "from", cur.String(), "to", next.String())
		switch next {
		case brokerFenced, brokerShutdownNow:
			tx.fenceBroker(b.ID)
		case brokerUnfenced:
			tx.unfenceBroker(b.ID)
		case brokerControlledShutdown:
			tx.startControlledShutdown(b.ID)
		}
	}
	tx.offlineDirectories(b.ID, toUUIDs(req.OfflineLogDirs))
	tx.cordonDirectories(b.ID, req.CordonedLogDirs)
	tx.onPrepared(func(last int64) {
		tx.hb.sessions.start(b.ID, b.Epoch, tx.now)
		tx.hb.touch(b.ID, next.fenced(), req.CurrentMetadataOffset)
		switch next {
		case brokerControlledShutdown:
			tx.hb.startShutdown(b.ID, last)
		case brokerShutdownNow:
			tx.hb.sessions.remove(b.ID, b.Epoch) // it goes: its next incarnation need not wait for the session to expire
		}
	})
	resp := kmsg.NewPtrBrokerHeartbeatResponse()
	resp.IsCaughtUp = req.CurrentMetadataOffset >= registerOffset
	resp.IsFenced = next.fenced()
	resp.ShouldShutdown = next == brokerShutdownNow
	return resp, nil
}

// cordonDirectories records which directories take no new replicas (KIP-1066); null leaves them as they are.
func (tx *tx) cordonDirectories(id int32, cordoned [][16]byte) {
	s := tx.view()
	b, ok := s.img.Broker(id)
	if !ok || cordoned == nil || !s.img.MetadataVersion().CordonedLogDirs() {
		return
	}
	dirs := toUUIDs(cordoned)
	if len(dirs) == len(b.CordonedLogDirs) && len(withoutUUIDs(dirs, b.CordonedLogDirs)) == 0 {
		return
	}
	rec := brokerChange(b)
	rec.CordonedLogDirs = dirs
	tx.emit(rec)
}

// unregisterBroker serves UnregisterBroker v0 (KIP-631): the broker leaves ISRs and ELRs and is forgotten.
func unregisterBroker(tx *tx, req *kmsg.UnregisterBrokerRequest) (kmsg.Response, error) {
	s := tx.view()
	b, ok := s.img.Broker(req.BrokerID)
	if !ok {
		return nil, fail(kerr.BrokerIDNotRegistered, "Broker ID %d is not currently registered", req.BrokerID)
	}
	tx.removeFromISR(s, b.ID, true, s.img.PartitionsOf(b.ID, metadata.RoleISR|metadata.RoleELR))
	rec := metadata.NewUnregisterBrokerRecord()
	rec.BrokerID, rec.BrokerEpoch = b.ID, b.Epoch
	tx.emit(rec)
	tx.onPrepared(func(int64) { tx.hb.remove(b.ID) })
	return kmsg.NewPtrUnregisterBrokerResponse(), nil
}

// registerController serves ControllerRegistration v0 (KIP-919).
func registerController(tx *tx, req *kmsg.ControllerRegistrationRequest) (kmsg.Response, error) {
	if !tx.view().img.MetadataVersion().ControllerRegistration() {
		return nil, fail(kerr.UnsupportedVersion, "The current MetadataVersion is too old to support controller registrations.")
	}
	rec := metadata.NewRegisterControllerRecord()
	rec.ControllerID, rec.IncarnationID = req.ControllerID, req.IncarnationID
	for _, l := range req.Listeners {
		rec.EndPoints = append(rec.EndPoints, endpoint(l.Name, l.Host, l.Port, l.SecurityProtocol))
	}
	for _, f := range req.Features {
		rec.Features = append(rec.Features, metadata.FeatureRange{Name: f.Name, MinSupportedVersion: f.MinSupportedVersion, MaxSupportedVersion: f.MaxSupportedVersion})
	}
	tx.emit(rec)
	return kmsg.NewPtrControllerRegistrationResponse(), nil
}

func endpoint(name, host string, port uint16, protocol int16) metadata.Endpoint {
	return metadata.Endpoint{Name: name, Host: host, Port: port, SecurityProtocol: protocol}
}

func toUUIDs(in [][16]byte) []uuid.UUID {
	if in == nil {
		return nil
	}
	out := make([]uuid.UUID, len(in))
	for i, u := range in {
		out[i] = u
	}
	return out
}

func withoutUUIDs(s, remove []uuid.UUID) []uuid.UUID {
	return slices.DeleteFunc(slices.Clone(s), func(u uuid.UUID) bool { return slices.Contains(remove, u) })
}
