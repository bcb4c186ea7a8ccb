package embedded

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
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

// intent is a transaction whose commit was requested and not confirmed yet.
type intent struct {
	ID      int64          `json:"pid"`
	Epoch   int16          `json:"epoch"`
	Done    bool           `json:"done,omitempty"`
	Offsets []stagedOffset `json:"offsets,omitempty"`
}

// stagedOffset is a consumer's offset that is committed with the transaction.
type stagedOffset struct {
	Group       string  `json:"group"`
	Topic       string  `json:"topic"`
	Partition   int32   `json:"partition"`
	Offset      int64   `json:"offset"`
	LeaderEpoch int32   `json:"leader_epoch"`
	Metadata    *string `json:"metadata,omitempty"`
}

// commitJournal makes a commit atomic across partitions. The module ends a transaction
// by writing a marker into one partition after the other and keeps no record of
// having begun, so a process killed in between would leave it committed here and
// open there, and aborting the rest would tear it apart: events without their
// cursor or a cursor without its events. So a commit is noted in a file before
// the module sees it, and crossed out before the client hears of it. What is in
// the file after a crash is committed to the end; a real coordinator does the
// same with PREPARE_COMMIT in its log.
type commitJournal struct {
	path string // "" in memory: only staged offsets are kept

	mu      sync.Mutex
	file    *os.File
	size    int64
	pending map[producer]intent
	staged  map[producer][]stagedOffset
}

func newCommitJournal(path string) *commitJournal {
	return &commitJournal{path: path, pending: make(map[producer]intent), staged: make(map[producer][]stagedOffset)}
}

// open opens the file. It returns what was pending when the last process was killed.
func (j *commitJournal) open(unclean bool) (map[producer]intent, error) {
	if !unclean {
		// Closed cleanly: the module saved its open transactions itself.
		if err := atomicfile.Remove(j.path); err != nil {
			return nil, err
		}
	}
	raw, err := readIfAny(j.path)
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(j.path, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.file, j.size = f, int64(len(raw))
	clear(j.pending)
	clear(j.staged)
	return readIntents(raw), nil
}

// readIntents ignores a last line that was not written to its end: its request
// had not reached the module.
func readIntents(raw []byte) map[producer]intent {
	pending := make(map[producer]intent)
	for line := range bytes.Lines(raw) {
		var in intent
		if !bytes.HasSuffix(line, []byte("\n")) || json.Unmarshal(line, &in) != nil {
			continue
		}
		if p := (producer{in.ID, in.Epoch}); in.Done {
			delete(pending, p)
		} else {
			pending[p] = in
		}
	}
	return pending
}

func (j *commitJournal) write(in intent) error {
	line, err := json.Marshal(in)
	if err != nil {
		return err
	}
	// One that is not written to its end must not stay in front of the next line:
	// the two could not be read any more.
	if _, err := j.file.Write(append(line, '\n')); err != nil {
		return errors.Join(err, j.file.Truncate(j.size))
	}
	j.size += int64(len(line) + 1)
	return nil
}

// reset forgets what the file holds. Nothing may be pending. The caller holds mu.
func (j *commitJournal) reset() error {
	j.size = 0
	return j.file.Truncate(0)
}

func (j *commitJournal) close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		return nil
	}
	err := j.file.Close()
	j.file = nil
	return err
}

var errJournalClosed = errors.New("the commit journal is closed")

// begin notes that the commit of a transaction begins.
func (j *commitJournal) begin(p producer) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	switch {
	case j.path == "":
		return nil
	case j.file == nil:
		return errJournalClosed
	}
	in := intent{ID: p.id, Epoch: p.epoch, Offsets: j.staged[p]}
	if err := j.write(in); err != nil {
		return err
	}
	j.pending[p] = in
	crash.Here("cluster: commit noted")
	return nil
}

// finish crosses the transaction out.
func (j *commitJournal) finish(p producer) error {
	if j.path != "" {
		crash.Here("cluster: transaction ended")
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	delete(j.staged, p)
	if _, ok := j.pending[p]; !ok || j.file == nil {
		return nil
	}
	delete(j.pending, p)
	if len(j.pending) == 0 && j.size > 64<<10 {
		return j.reset()
	}
	return j.write(intent{ID: p.id, Epoch: p.epoch, Done: true})
}

// stage remembers the offsets that a transaction commits; the module keeps them in
// memory only.
func (j *commitJournal) stage(p producer, offsets []stagedOffset) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if _, ok := j.staged[p]; !ok && len(j.staged) >= maxStaged {
		clear(j.staged)
	}
	j.staged[p] = append(j.staged[p], offsets...)
}

// stages reports whether a producer's transaction has offsets of a group.
func (j *commitJournal) stages(id int64, group string) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	for p, staged := range j.staged {
		if p.id == id && slices.ContainsFunc(staged, func(o stagedOffset) bool { return o.Group == group }) {
			return true
		}
	}
	return false
}

// endTxn notes a commit before the module sees it, and crosses it out before the client
// does. An error ends the connection: a commit that cannot be noted must not begin.
func (c *Cluster) endTxn(f *flight, req *kmsg.EndTxnRequest) (message, error) {
	p := producer{req.ProducerID, req.ProducerEpoch}
	if req.Commit {
		if err := c.journal.begin(p); err != nil {
			if !errors.Is(err, errJournalClosed) {
				c.fail(fmt.Errorf("write %s: %w", journalName, err))
			}
			return nil, fmt.Errorf("note commit: %w", err)
		}
	}
	then(f, func(*kmsg.EndTxnResponse) {
		if err := c.journal.finish(p); err != nil {
			// Otherwise a later crash would commit the next transaction of a producer
			// that reuses the epoch.
			c.fail(fmt.Errorf("write %s: %w", journalName, err))
		}
	})
	return nil, nil
}

// txnOffsetCommit stages the offsets that the module accepts.
func (c *Cluster) txnOffsetCommit(f *flight, req *kmsg.TxnOffsetCommitRequest) (message, error) {
	// Version 6 names topics by ID only.
	type key struct {
		topic string
		id    [16]byte
		part  int32
	}
	then(f, func(r *kmsg.TxnOffsetCommitResponse) {
		accepted := make(map[key]bool)
		for _, t := range r.Topics {
			for _, p := range t.Partitions {
				accepted[key{t.Topic, t.TopicID, p.Partition}] = p.ErrorCode == 0
			}
		}
		var staged []stagedOffset
		for _, t := range req.Topics {
			topic := t.Topic
			if req.Version >= 6 {
				topic = c.topicName(t.TopicID)
			}
			for _, p := range t.Partitions {
				if accepted[key{t.Topic, t.TopicID, p.Partition}] {
					staged = append(staged, stagedOffset{req.Group, topic, p.Partition, p.Offset, p.LeaderEpoch, p.Metadata})
				}
			}
		}
		if len(staged) > 0 {
			c.journal.stage(producer{req.ProducerID, req.ProducerEpoch}, staged)
		}
	})
	return nil, nil
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
