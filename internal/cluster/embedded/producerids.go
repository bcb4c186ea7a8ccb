package embedded

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ownProducer sees to it that a client which names the producer id that it has gets its
// own or none. The module looks the producer up by id alone: it would abort and take over
// the transaction of another transactional id, let a producer that was fenced fence its
// heir, and refuse a new transactional id with any id beside it, where Kafka hands out a
// new one.
func (c *Cluster) ownProducer(ctx context.Context, f flight, frame []byte, req *kmsg.InitProducerIDRequest) (_, reply []byte, err error) {
	if req.TransactionalID == nil || req.ProducerID < 0 || req.ProducerEpoch < 0 {
		return frame, nil, nil
	}
	about := kmsg.NewPtrDescribeTransactionsRequest()
	about.TransactionalIDs = []string{*req.TransactionalID}
	resp, err := ask[*kmsg.DescribeTransactionsResponse](ctx, c, f.node, about)
	if err != nil {
		return nil, nil, err
	}
	if len(resp.TransactionStates) != 1 {
		return frame, nil, nil
	}
	switch have := resp.TransactionStates[0]; {
	case have.ErrorCode == kerr.TransactionalIDNotFound.Code:
		anew := *req
		anew.ProducerID, anew.ProducerEpoch = -1, -1
		return replaceBody(frame, &anew), nil, nil
	case have.ErrorCode != 0: // the module gives the same reason, such as another coordinator
		return frame, nil, nil
	// A transaction that times out moves the epoch by one, and its producer may go on.
	case have.ProducerID != req.ProducerID || req.ProducerEpoch < have.ProducerEpoch-1:
		no := req.ResponseKind().(*kmsg.InitProducerIDResponse)
		no.ProducerID, no.ProducerEpoch = -1, -1
		no.ErrorCode = kerr.ProducerFenced.Code
		if req.Version < 4 { // which do not know that code
			no.ErrorCode = kerr.InvalidProducerEpoch.Code
		}
		return nil, encodeResponse(f.corr, no), nil
	}
	return frame, nil, nil
}

// withoutInstance leaves out the instance id of a commit that comes from no member: Kafka
// ignores it, and the module looks for a static member of that name.
func withoutInstance(frame []byte, req *kmsg.OffsetCommitRequest) []byte {
	if req.InstanceID == nil || req.MemberID != "" || req.Generation >= 0 {
		return frame
	}
	req.InstanceID = nil
	return replaceBody(frame, req)
}
