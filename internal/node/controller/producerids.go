package controller

import (
	"math"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/kraft-dev/kraft-operator/internal/metadata"
)

// producerIDBlock is how many producer ids a broker gets at once.
const producerIDBlock = 1000

// allocateProducerIDs serves AllocateProducerIds v0 (KIP-730). A block is never given twice, even if its answer is lost.
func allocateProducerIDs(tx *tx, req *kmsg.AllocateProducerIDsRequest) (kmsg.Response, error) {
	s := tx.view()
	if _, e := checkBrokerEpoch(s, req.BrokerID, req.BrokerEpoch); e != nil {
		return nil, e
	}
	first := s.img.NextProducerID()
	if first > math.MaxInt64-producerIDBlock {
		return nil, fail(kerr.UnknownServerError, "Exhausted all producerIds as the next block's end producerId has exceeded the int64 type limit")
	}
	rec := metadata.NewProducerIdsRecord()
	rec.BrokerID, rec.BrokerEpoch, rec.NextProducerID = req.BrokerID, req.BrokerEpoch, first+producerIDBlock
	tx.emit(rec)
	resp := kmsg.NewPtrAllocateProducerIDsResponse()
	resp.ProducerIDStart, resp.ProducerIDLen = first, producerIDBlock
	return resp, nil
}
