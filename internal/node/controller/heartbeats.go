package controller

import (
	"math"
	"sync"
	"time"
)

// brokerState is the controller's view of one broker's life (KIP-631).
type brokerState uint8

const (
	brokerFenced brokerState = iota
	brokerUnfenced
	brokerControlledShutdown
	brokerShutdownNow
)

func (s brokerState) String() string {
	return [...]string{"fenced", "unfenced", "controlled shutdown", "shutdown now"}[s]
}

// fenced says whether a broker in this state takes no part: one that shuts down now is fenced too.
func (s brokerState) fenced() bool { return s == brokerFenced || s == brokerShutdownNow }

// heartbeatRequest is what one heartbeat says of its broker; offsets are those of the metadata log.
type heartbeatRequest struct {
	metadataOffset int64
	wantFence      bool
	wantShutDown   bool
}

// sessions are the contact times of broker incarnations. It alone of the controller's state has a mutex: contact
// counts when a heartbeat arrives, not when the loop gets to it, lest a busy loop fence healthy brokers.
type sessions struct {
	timeout time.Duration

	mu      sync.Mutex
	contact map[session]time.Time
}

type session struct {
	broker int32
	epoch  int64
}

func newSessions(timeout time.Duration) *sessions {
	return &sessions{timeout: timeout, contact: map[session]time.Time{}}
}

func (s *sessions) touch(broker int32, epoch int64, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.contact[session{broker, epoch}] = now
}

// start begins a session that has none: a heartbeat that arrived before this controller was active.
func (s *sessions) start(broker int32, epoch int64, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := session{broker, epoch}
	if _, ok := s.contact[k]; !ok {
		s.contact[k] = now
	}
}

func (s *sessions) remove(broker int32, epoch int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.contact, session{broker, epoch})
}

func (s *sessions) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.contact)
}

// valid says whether the incarnation was heard of within the session timeout. No contact is no session.
func (s *sessions) valid(broker int32, epoch int64, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, ok := s.contact[session{broker, epoch}]
	return ok && !now.After(t.Add(s.timeout))
}

// heartbeats is what the active controller knows of brokers beyond the log: where each stands in the metadata log and
// which are shutting down. It is built anew on activation.
type heartbeats struct {
	sessions *sessions
	brokers  map[int32]*brokerHealth
}

type brokerHealth struct {
	epoch          int64
	fenced         bool
	metadataOffset int64
	// shutdownOffset is where all active brokers must have come before this one may go; -1 outside controlled shutdown.
	shutdownOffset int64
}

func newHeartbeats(s *sessions) *heartbeats {
	return &heartbeats{sessions: s, brokers: map[int32]*brokerHealth{}}
}

// activate adopts a registered broker when this controller takes over. An unfenced one starts a fresh session
// (KAFKA-18138, KAFKA-19130): without it a dead broker would stay unfenced for ever. A fenced one gets none, since that
// would hold up its next incarnation.
func (h *heartbeats) activate(id int32, epoch int64, fenced, inControlledShutdown bool, nextWriteOffset int64, now time.Time) {
	b := &brokerHealth{epoch: epoch, fenced: fenced, metadataOffset: -1, shutdownOffset: -1}
	h.brokers[id] = b
	if fenced {
		return
	}
	h.sessions.touch(id, epoch, now)
	if inControlledShutdown {
		b.shutdownOffset = nextWriteOffset
	}
}

// register follows a registration. A new incarnation has no session before its first heartbeat.
func (h *heartbeats) register(id int32, epoch int64, fenced bool) {
	if b := h.brokers[id]; b != nil && b.epoch == epoch {
		b.fenced = fenced
		return
	}
	h.remove(id)
	h.brokers[id] = &brokerHealth{epoch: epoch, fenced: fenced, metadataOffset: -1, shutdownOffset: -1}
}

func (h *heartbeats) remove(id int32) {
	if b := h.brokers[id]; b != nil {
		h.sessions.remove(id, b.epoch)
		delete(h.brokers, id)
	}
}

// touch records where a broker stands after one of its heartbeats was handled.
func (h *heartbeats) touch(id int32, fenced bool, metadataOffset int64) {
	b := h.brokers[id]
	if b == nil {
		return
	}
	b.fenced = fenced
	b.metadataOffset = metadataOffset
	if fenced {
		b.shutdownOffset = -1 // a fenced broker leaves controlled shutdown; its next heartbeat ends it at once
	}
}

func (h *heartbeats) hasSession(id int32, now time.Time) bool {
	b := h.brokers[id]
	return b != nil && h.sessions.valid(id, b.epoch, now)
}

// startShutdown notes the offset that ends a controlled shutdown; the first one counts.
func (h *heartbeats) startShutdown(id int32, offset int64) {
	if b := h.brokers[id]; b != nil && !b.fenced && b.shutdownOffset < 0 {
		b.shutdownOffset = offset
	}
}

// stale returns an unfenced broker whose session has expired, the lowest id of them.
func (h *heartbeats) stale(now time.Time) (int32, bool) {
	found, ok := int32(0), false
	for id, b := range h.brokers {
		if b.fenced || h.sessions.valid(id, b.epoch, now) {
			continue
		}
		if !ok || id < found {
			found, ok = id, true
		}
	}
	return found, ok
}

// lowestActiveOffset is the metadata offset that every active broker has reached; with none active, no bound.
func (h *heartbeats) lowestActiveOffset() int64 {
	low := int64(math.MaxInt64)
	for _, b := range h.brokers {
		if !b.fenced && b.shutdownOffset < 0 {
			low = min(low, b.metadataOffset)
		}
	}
	return low
}

// state is where a broker stands now.
func (h *heartbeats) state(id int32) brokerState {
	switch b := h.brokers[id]; {
	case b == nil || b.fenced:
		return brokerFenced
	case b.shutdownOffset >= 0:
		return brokerControlledShutdown
	default:
		return brokerUnfenced
	}
}

// next is where a heartbeat takes its broker (KIP-631, KIP-841).
//
// registerOffset is the offset of the broker's RegisterBroker record: one that hasn't read it stays fenced. leads says
// whether the broker leads any partition in the working state.
func (h *heartbeats) next(id int32, req heartbeatRequest, registerOffset int64, leads bool) brokerState {
	switch cur := h.state(id); cur {
	case brokerFenced:
		switch {
		case req.wantShutDown:
			return brokerShutdownNow
		case req.wantFence || req.metadataOffset < registerOffset:
			return brokerFenced
		}
		return brokerUnfenced
	case brokerUnfenced:
		switch {
		case req.wantFence && !req.wantShutDown:
			return brokerFenced
		case req.wantFence, req.wantShutDown && !leads:
			return brokerShutdownNow
		case req.wantShutDown:
			return brokerControlledShutdown
		}
		return brokerUnfenced
	default: // controlled shutdown
		if leads || h.lowestActiveOffset() < h.brokers[id].shutdownOffset {
			return brokerControlledShutdown
		}
		return brokerShutdownNow
	}
}
