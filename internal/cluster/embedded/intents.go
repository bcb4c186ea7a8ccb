package embedded

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/weir-project/weir/internal/atomicfile"
	"github.com/weir-project/weir/internal/crash"
)

// maxStaged bounds the producers whose offset commits are remembered.
const maxStaged = 1000

// producer names one transaction of a producer that bumps its epoch with each, and
// the current transaction of one that does not.
type producer struct {
	id    int64
	epoch int16
}

// intent is a transaction whose commit was asked for and not confirmed yet.
type intent struct {
	ID      int64          `json:"pid"`
	Epoch   int16          `json:"epoch"`
	Done    bool           `json:"done,omitempty"`
	Offsets []stagedOffset `json:"offsets,omitempty"`
}

// stagedOffset is a consumer's position that becomes valid with the transaction.
type stagedOffset struct {
	Group       string  `json:"group"`
	Topic       string  `json:"topic"`
	Partition   int32   `json:"partition"`
	Offset      int64   `json:"offset"`
	LeaderEpoch int32   `json:"leader_epoch"`
	Metadata    *string `json:"metadata,omitempty"`
}

// intents makes a commit atomic across partitions. The module ends a transaction
// by writing a marker into one partition after the other and keeps no record of
// having begun, so a process killed in between would leave it committed here and
// open there, and aborting the rest would tear it apart: events without their
// cursor or a cursor without its events. So a commit is noted in a file before
// the module sees it, and crossed out before the client hears of it. What is in
// the file after a crash is committed to the end; a real coordinator does the
// same with PREPARE_COMMIT in its log.
type intents struct {
	mu      sync.Mutex
	file    *os.File
	size    int64
	pending map[producer]intent
	staged  map[producer][]stagedOffset
}

// openIntents opens the file. It returns what was pending when the last process died.
func (c *Cluster) openIntents() (map[producer]intent, error) {
	path := c.dir.file(intentsName)
	if !c.dir.unclean {
		// Closed in order: the module saved its open transactions itself.
		if err := atomicfile.Remove(path); err != nil {
			return nil, err
		}
	}
	raw, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644)
	if err != nil {
		return nil, err
	}
	pending := readIntents(raw)
	if c.intents == nil {
		c.intents = new(intents)
	}
	t := c.intents // stays: connections that were cut may still look at it
	t.mu.Lock()
	defer t.mu.Unlock()
	t.file, t.size = f, int64(len(raw))
	t.pending, t.staged = make(map[producer]intent), make(map[producer][]stagedOffset)
	return pending, nil
}

// readIntents ignores a last line that was not written to its end: its request
// had not reached the module.
func readIntents(raw []byte) map[producer]intent {
	pending := make(map[producer]intent)
	for {
		line, rest, whole := bytes.Cut(raw, []byte("\n"))
		if !whole {
			return pending
		}
		raw = rest
		var in intent
		if err := json.Unmarshal(line, &in); err != nil {
			continue
		}
		p := producer{in.ID, in.Epoch}
		if in.Done {
			delete(pending, p)
		} else {
			pending[p] = in
		}
	}
}

func (t *intents) write(in intent) error {
	line, err := json.Marshal(in)
	if err != nil {
		return err
	}
	// One that is not written to its end must not stay in front of the next line:
	// the two could not be read any more.
	if _, err := t.file.Write(append(line, '\n')); err != nil {
		return errors.Join(err, t.file.Truncate(t.size))
	}
	t.size += int64(len(line) + 1)
	return nil
}

// reset forgets what the file holds. Nothing may be pending.
func (t *intents) reset() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.clear()
}

func (t *intents) clear() error {
	t.size = 0
	return t.file.Truncate(0)
}

func (t *intents) close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.file == nil {
		return nil
	}
	err := t.file.Close()
	t.file = nil
	return err
}

var errIntentsClosed = errors.New("the file of intents is closed")

// beginEnd notes the commit that req asks for. An error ends the connection: a
// commit that cannot be noted must not begin.
func (c *Cluster) beginEnd(req *kmsg.EndTxnRequest) error {
	t := c.intents
	if t == nil || !req.Commit {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.file == nil {
		return errIntentsClosed
	}
	p := producer{req.ProducerID, req.ProducerEpoch}
	in := intent{ID: p.id, Epoch: p.epoch, Offsets: t.staged[p]}
	if err := t.write(in); err != nil {
		c.fail(fmt.Errorf("write %s: %w", intentsName, err))
		return fmt.Errorf("note commit: %w", err)
	}
	t.pending[p] = in
	crash.Here("cluster: commit noted")
	return nil
}

// finishEnd crosses the transaction out.
func (c *Cluster) finishEnd(req *kmsg.EndTxnRequest) {
	t := c.intents
	if t == nil {
		return
	}
	crash.Here("cluster: transaction ended")
	t.mu.Lock()
	defer t.mu.Unlock()
	p := producer{req.ProducerID, req.ProducerEpoch}
	delete(t.staged, p)
	if _, ok := t.pending[p]; !ok || t.file == nil {
		return
	}
	delete(t.pending, p)
	var err error
	if len(t.pending) == 0 && t.size > 64<<10 {
		err = t.clear()
	} else {
		err = t.write(intent{ID: p.id, Epoch: p.epoch, Done: true})
	}
	if err != nil {
		// Otherwise a later crash would commit the next transaction of a producer
		// that reuses the epoch.
		c.fail(fmt.Errorf("write %s: %w", intentsName, err))
	}
}

// stageOffsets remembers the positions that a transaction carries; the module
// keeps them in memory only.
func (c *Cluster) stageOffsets(f flight, frame []byte) {
	t := c.intents
	if t == nil {
		return
	}
	req := f.req.(*kmsg.TxnOffsetCommitRequest)
	resp := req.ResponseKind().(*kmsg.TxnOffsetCommitResponse)
	if err := decodeResponse(frame, resp); err != nil {
		c.log.Warn("read own response", "key", f.key, "version", f.version, "error", err)
		return
	}
	// Version 6 names topics by id only.
	type key struct {
		topic string
		id    [16]byte
		part  int32
	}
	taken := make(map[key]bool)
	for _, rt := range resp.Topics {
		for _, rp := range rt.Partitions {
			taken[key{rt.Topic, rt.TopicID, rp.Partition}] = rp.ErrorCode == 0
		}
	}
	var staged []stagedOffset
	for _, rt := range req.Topics {
		topic := rt.Topic
		if req.Version >= 6 {
			topic = c.topicName(rt.TopicID)
		}
		for _, rp := range rt.Partitions {
			if taken[key{rt.Topic, rt.TopicID, rp.Partition}] {
				staged = append(staged, stagedOffset{
					Group: req.Group, Topic: topic, Partition: rp.Partition,
					Offset: rp.Offset, LeaderEpoch: rp.LeaderEpoch, Metadata: rp.Metadata,
				})
			}
		}
	}
	if len(staged) == 0 {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	p := producer{req.ProducerID, req.ProducerEpoch}
	if _, ok := t.staged[p]; !ok && len(t.staged) >= maxStaged {
		clear(t.staged)
	}
	t.staged[p] = append(t.staged[p], staged...)
}

func (c *Cluster) topicName(id [16]byte) (name string) {
	_ = c.module(func(k *kfake.Cluster) error {
		if info := k.TopicIDInfo(id); info != nil {
			name = info.Topic
		}
		return nil
	})
	return name
}
