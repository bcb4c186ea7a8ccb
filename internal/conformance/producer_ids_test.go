package conformance

import (
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// A client may name any producer id with a transactional id that is not known yet: it
// gets a new one (KIP-360). Some send 0 and 0 for "none".
func TestProducerIDOfANewTransactionalID(t *testing.T) {
	t.Parallel()
	other := initProducer(t, name(t), time.Minute)
	for what, have := range map[string]struct {
		id    int64
		epoch int16
	}{"zeros": {0, 0}, "an id that nobody has": {1 << 40, 3}, "an id that another has": {other.id, other.epoch}} {
		p := &producer{t: t, txn: name(t)}
		code(t, what, p.initFrom(time.Minute, have.id, have.epoch), nil)
		if p.id == other.id {
			t.Errorf("%s: the producer got the id of another", what)
		}
		top := topic(t, 1)
		p.must(top, "a")
		p.commit()
	}
}

// Nobody takes the producer id of another transactional id, or ends its transaction.
func TestProducerIDOfAnother(t *testing.T) {
	t.Parallel()
	top := topic(t, 1)
	owner, thief := initProducer(t, name(t), time.Minute), initProducer(t, name(t), time.Minute)
	owner.must(top, "kept")
	code(t, "take the id of another", thief.initFrom(time.Minute, owner.id, owner.epoch), kerr.ProducerFenced)
	code(t, "take an id that nobody has", thief.initFrom(time.Minute, 1<<40, 0), kerr.ProducerFenced)
	owner.commit()
	keepsRecord(t, top)
}

// A producer that names what it has gets the next epoch; one that was fenced gets
// nothing, and its heir keeps the id (KIP-360).
func TestProducerIDAnew(t *testing.T) {
	t.Parallel()
	top := topic(t, 1)
	p := initProducer(t, name(t), time.Minute)
	id, epoch := p.id, p.epoch
	code(t, "by id and epoch", p.initFrom(time.Minute, id, epoch), nil)
	equal(t, "producer id", p.id, id)
	if p.epoch <= epoch {
		t.Errorf("epoch %d after %d", p.epoch, epoch)
	}
	initProducer(t, p.txn, time.Minute)
	heir := initProducer(t, p.txn, time.Minute)
	code(t, "by an epoch of long ago", p.initFrom(time.Minute, id, epoch), kerr.ProducerFenced)
	code(t, "by an epoch to come", p.initFrom(time.Minute, id, heir.epoch+1), kerr.ProducerFenced)
	heir.must(top, "kept")
	heir.commit()
	keepsRecord(t, top)
}

// keepsRecord waits until a transaction's only record is committed.
func keepsRecord(t *testing.T, topic string) {
	t.Helper()
	eventually(t, func() string {
		if got := show(read(t, topic, 0, committed)); got != "0=kept" {
			return "read_committed: " + got
		}
		return ""
	})
}
