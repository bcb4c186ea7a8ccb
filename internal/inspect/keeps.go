package inspect

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Keeps is how much of each partition's log the settings of a topic let Kafka keep; a limit
// below 0 is none.
type Keeps struct {
	MS    int64 // retention.ms
	Bytes int64 // retention.bytes
	// Compacts is whether superseded records are deleted (cleanup.policy).
	Compacts bool
}

// What limits how far back a log reaches.
const (
	ByNothing = "nothing"         // every record that was ever written is there
	ByTime    = "retention.ms"    // in milliseconds
	ByBytes   = "retention.bytes" // of each partition
	ByPolicy  = "cleanup.policy"  // superseded records are deleted
	ByLogSize = "log-size"        // weir up --log-size, in bytes: all partitions together
	// BySomebody is where records are missing and no limit was reached: somebody deleted them,
	// or a limit that no longer holds did.
	BySomebody = "somebody"
)

// Limit is what decided how far back a topic reaches.
type Limit struct {
	By    string `json:"by"`    // one of ByNothing, ByTime, ...
	Value int64  `json:"value"` // of the setting, 0 where there is none
}

// Limit returns what limits a log. deleted is whether offsets before its first record are
// gone, age how old that record is, logSize the most bytes of all logs together, 0 for no limit.
func (k Keeps) Limit(deleted bool, age time.Duration, logSize int64) Limit {
	const nearly = 10 // Kafka deletes segments, so that the oldest record is a little younger or older
	switch {
	case !deleted:
		return Limit{By: ByNothing}
	case k.Compacts:
		return Limit{By: ByPolicy}
	case k.MS >= 0 && age.Milliseconds() >= k.MS-k.MS/nearly:
		return Limit{By: ByTime, Value: k.MS}
	case k.Bytes >= 0:
		return Limit{By: ByBytes, Value: k.Bytes}
	case logSize > 0:
		return Limit{By: ByLogSize, Value: logSize}
	}
	return Limit{By: BySomebody}
}

// Keeps asks for the limits of topics, in one request. A topic whose settings nobody returns is absent.
func (i *Inspector) Keeps(ctx context.Context, topics []string) (_ map[string]Keeps, err error) {
	defer wrap(&err, "ask what topics keep")
	all := map[string]Keeps{}
	if len(topics) == 0 {
		return all, nil
	}
	ctx, cancel := context.WithTimeout(ctx, i.cfg.Timeout)
	defer cancel()
	req := kmsg.NewPtrDescribeConfigsRequest()
	for _, name := range topics {
		r := kmsg.NewDescribeConfigsRequestResource()
		r.ResourceType, r.ResourceName, r.ConfigNames = kmsg.ConfigResourceTypeTopic, name, []string{ByTime, ByBytes, ByPolicy}
		req.Resources = append(req.Resources, r)
	}
	resp, err := req.RequestWith(ctx, i.cfg.Client)
	if err != nil {
		return nil, err
	}
	for _, r := range resp.Resources {
		if kerr.ErrorForCode(r.ErrorCode) != nil {
			continue
		}
		k := NoLimit
		for _, c := range r.Configs {
			if c.Value != nil {
				k.set(c.Name, *c.Value)
			}
		}
		all[r.ResourceName] = k
	}
	return all, nil
}

// NoLimit keeps everything, as far as is known.
var NoLimit = Keeps{MS: -1, Bytes: -1}

// keepsOf returns the limits that all settings of a topic have.
func keepsOf(config []Setting) Keeps {
	k := NoLimit
	for _, s := range config {
		k.set(s.Name, s.Value)
	}
	return k
}

// set takes over a setting, where it is one of the limits.
func (k *Keeps) set(name, value string) {
	n, err := strconv.ParseInt(value, 10, 64)
	switch {
	case name == ByPolicy:
		k.Compacts = strings.Contains(value, "compact") && !strings.Contains(value, "delete")
	case err != nil:
	case name == ByTime:
		k.MS = n
	case name == ByBytes:
		k.Bytes = n
	}
}

// Reach is how far back a topic reaches, and why.
type Reach struct {
	// First is the timestamp of the oldest first record of its partitions that answer, zero
	// where there is none.
	First time.Time
	Limit Limit
}

// Reach finds out how far back a topic reaches, as of now. An unknown name is ErrNoTopic.
func (i *Inspector) Reach(ctx context.Context, name string, now time.Time) (Reach, error) {
	meta, _, err := i.lookUp(ctx, name)
	if err != nil {
		return Reach{}, err
	}
	over, _ := i.overlay(ctx)
	all, err := i.Keeps(ctx, []string{name})
	r := Reach{First: i.firstRecord(ctx, meta)}
	if k, ok := all[name]; ok {
		r.Limit = k.Limit(begunLater(i.Offsets(ctx, meta, LogStarts)), now.Sub(r.First), over.LogSize)
	}
	return r, err
}

// firstRecord returns the timestamp of the oldest first message of the partitions that answer.
func (i *Inspector) firstRecord(ctx context.Context, meta kadm.Metadata) (oldest time.Time) {
	i.Offsets(ctx, meta, FirstRecords).Each(func(o kadm.ListedOffset) {
		if at := time.UnixMilli(o.Timestamp).UTC(); o.Err == nil && o.Timestamp > 0 && (oldest.IsZero() || at.Before(oldest)) {
			oldest = at
		}
	})
	return oldest
}

// begunLater reports whether offsets before the start of a log are gone.
func begunLater(starts kadm.ListedOffsets) (later bool) {
	starts.Each(func(o kadm.ListedOffset) { later = later || o.Err == nil && o.Offset > 0 })
	return later
}
