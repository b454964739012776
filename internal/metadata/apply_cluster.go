package metadata

import (
	"fmt"
	"maps"

	"github.com/kraft-dev/kraft-operator/internal/uuid"
)

func (a *applier) registerBroker(rec *RegisterBrokerRecord) error {
	own(&a.next.brokers, a.prev.brokers).set(rec.BrokerID, &Broker{
		ID: rec.BrokerID, Epoch: rec.BrokerEpoch, IncarnationID: rec.IncarnationID,
		Listeners: kept(rec.EndPoints), Features: kept(rec.Features), Rack: rec.Rack,
		Fenced: rec.Fenced, InControlledShutdown: rec.InControlledShutdown, MigratingZKBroker: rec.IsMigratingZKBroker,
		LogDirs: kept(rec.LogDirs), CordonedLogDirs: kept(rec.CordonedLogDirs),
	})
	mark(&a.delta.Brokers, rec.BrokerID)
	return nil
}

// broker returns the registration, whose epoch must be the record's.
func (a *applier) broker(id int32, epoch int64) (*Broker, error) {
	b, ok := a.next.brokers.get(id)
	if !ok {
		return nil, fmt.Errorf("broker %d is not registered", id)
	}
	if b.Epoch != epoch {
		return nil, fmt.Errorf("broker %d: epoch %d, registered is %d", id, epoch, b.Epoch)
	}
	return b, nil
}

func (a *applier) unregisterBroker(rec *UnregisterBrokerRecord) error {
	if _, err := a.broker(rec.BrokerID, rec.BrokerEpoch); err != nil {
		return err
	}
	own(&a.next.brokers, a.prev.brokers).delete(rec.BrokerID)
	mark(&a.delta.Brokers, rec.BrokerID)
	return nil
}

func (a *applier) changeBroker(id int32, epoch int64, change func(*Broker) error) error {
	old, err := a.broker(id, epoch)
	if err != nil {
		return err
	}
	b := *old
	if err := change(&b); err != nil {
		return fmt.Errorf("broker %d: %w", id, err)
	}
	own(&a.next.brokers, a.prev.brokers).set(id, &b)
	mark(&a.delta.Brokers, id)
	return nil
}

// Values of BrokerRegistrationChangeRecord's fields; 0 leaves them as they are.
const (
	ChangeFence              int8 = 1
	ChangeUnfence            int8 = -1
	ChangeControlledShutdown int8 = 1
)

func (a *applier) changeRegistration(rec *BrokerRegistrationChangeRecord) error {
	return a.changeBroker(rec.BrokerID, rec.BrokerEpoch, func(b *Broker) error {
		switch rec.Fenced {
		case 0:
		case ChangeFence:
			b.Fenced = true
		case ChangeUnfence:
			b.Fenced = false
		default:
			return fmt.Errorf("fenced change %d: must be -1, 0 or 1", rec.Fenced)
		}
		switch rec.InControlledShutdown {
		case 0:
		case ChangeControlledShutdown:
			b.InControlledShutdown = true
		default:
			return fmt.Errorf("in_controlled_shutdown change %d: must be 0 or 1", rec.InControlledShutdown)
		}
		if len(rec.LogDirs) > 0 {
			b.LogDirs = kept(rec.LogDirs)
		}
		if rec.CordonedLogDirs != nil {
			b.CordonedLogDirs = kept(rec.CordonedLogDirs)
		}
		return nil
	})
}

func (a *applier) registerController(rec *RegisterControllerRecord) error {
	own(&a.next.controllers, a.prev.controllers).set(rec.ControllerID, &Controller{
		ID: rec.ControllerID, IncarnationID: rec.IncarnationID, ZKMigrationReady: rec.ZKMigrationReady,
		Listeners: kept(rec.EndPoints), Features: kept(rec.Features),
	})
	mark(&a.delta.Controllers, rec.ControllerID)
	return nil
}

func (a *applier) setFeature(rec *FeatureLevelRecord) error {
	switch {
	case rec.FeatureLevel < 0:
		return fmt.Errorf("feature %s: level %d is negative", rec.Name, rec.FeatureLevel)
	case rec.Name == FeatureMetadataVersion:
		if err := MetadataVersion(rec.FeatureLevel).Check(); err != nil {
			return err
		}
	}
	features := own(&a.next.features, a.prev.features)
	if rec.FeatureLevel == 0 {
		features.delete(rec.Name)
	} else {
		features.set(rec.Name, rec.FeatureLevel)
	}
	mark(&a.delta.Features, rec.Name)
	return nil
}

func (a *applier) setConfig(rec *ConfigRecord) error {
	res := ConfigResource{rec.ResourceType, rec.ResourceName}
	configs := own(&a.next.configs, a.prev.configs)
	m, ours := a.configs[res]
	if !ours {
		old, _ := a.next.configs.get(res)
		if m = maps.Clone(old); m == nil {
			m = map[string]string{}
		}
		put(&a.configs, res, m)
	}
	if rec.Value == nil {
		delete(m, rec.Name)
	} else {
		m[rec.Name] = *rec.Value
	}
	if len(m) == 0 {
		configs.delete(res)
	} else {
		configs.set(res, m)
	}
	mark(&a.delta.Configs, res)
	return nil
}

func (a *applier) deleteConfigs(res ConfigResource) {
	if _, ok := a.next.configs.get(res); ok {
		own(&a.next.configs, a.prev.configs).delete(res)
		delete(a.configs, res)
		mark(&a.delta.Configs, res)
	}
}

func (a *applier) setProducerIDs(rec *ProducerIdsRecord) error {
	if rec.NextProducerID < a.next.nextProducerID {
		return fmt.Errorf("next producer id %d: %d are given already", rec.NextProducerID, a.next.nextProducerID)
	}
	a.next.nextProducerID = rec.NextProducerID
	a.delta.ProducerIDs = true
	return nil
}

// ownTopic returns a topic that this pass may write.
func (a *applier) ownTopic(id uuid.UUID) (*Topic, error) {
	if t, ok := a.topics[id]; ok {
		return t, nil
	}
	old, ok := a.next.topics.get(id)
	if !ok {
		return nil, fmt.Errorf("unknown topic id %s", id)
	}
	t := *old
	put(&a.topics, id, &t)
	own(&a.next.topics, a.prev.topics).set(id, &t)
	return &t, nil
}

// kept is a record's list as the image holds it: with no room to append into, and nil when empty, so that equal
// registrations compare equal.
func kept[S ~[]E, E any](s S) S {
	if len(s) == 0 {
		return nil
	}
	return s[:len(s):len(s)]
}
