package node

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"slices"

	"github.com/weir-project/weir/internal/bluesky"
	"github.com/weir-project/weir/internal/cli"
	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/ingest"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/simulate"
	"github.com/weir-project/weir/internal/upstream"
	"github.com/weir-project/weir/internal/verify"
	"github.com/weir-project/weir/internal/wikipedia"
)

// Source is what is fixed for each upstream: its names in Kafka.
type Source struct {
	Name, Topic, Account, Group string // Account, the topic of account events, may be empty

	Classify func([]byte) string
	// Text says what happened in a stored event, and names its type.
	Text   func(value []byte) (kind, text string)
	Locate func(value []byte, host string) (at event.Cursor, ok bool)
	// NewExamine makes what reads stored values, for one goroutine.
	NewExamine func() verify.Examine
}

// Sources are all upstreams.
var Sources = []Source{
	{bluesky.Name, kafka.TopicBluesky, kafka.TopicBlueskyAccounts, kafka.GroupBluesky, bluesky.Classify, bluesky.Text, bluesky.Locate,
		func() verify.Examine { return bluesky.NewDecoder().Examine }},
	{wikipedia.Name, kafka.TopicWikipedia, "", kafka.GroupWikipedia, wikipedia.Classify, wikipedia.Text, wikipedia.Locate,
		func() verify.Examine { return wikipedia.NewDecoder().Examine }},
}

// SourceNamed is the source of a command's argument.
func SourceNamed(name string) (Source, error) {
	for _, s := range Sources {
		if s.Name == name {
			return s, nil
		}
	}
	return Source{}, cli.UsageError("the sources are bluesky and wikipedia", "source %q is unknown", name)
}

// accountGroup is added to a group's name for the group that counts the account
// events: with one group for both topics every member of one would take part in
// the rebalances of the other.
const accountGroup = ".accounts"

// GroupOf is the group that counts one of the source's topics, where group counts
// its data.
func (s *Source) GroupOf(topic, group string) string {
	if topic == s.Account {
		return group + accountGroup
	}
	return group
}

// Topics are those that hold the source's events.
func (s *Source) Topics() []string {
	if s.Account == "" {
		return []string{s.Topic}
	}
	return []string{s.Topic, s.Account}
}

// ingested are the topics that an ingester of the source writes to.
func (s *Source) ingested() ingest.Topics {
	return ingest.Topics{Data: s.Topic, Account: s.Account, DeadLetter: kafka.TopicDeadLetters}
}

// Purpose is what ingesters and counters of sources do with a cluster. group counts;
// empty for the groups of the sources themselves.
func Purpose(ingest, count []Source, group string) (p kafka.Purpose) {
	for _, s := range ingest {
		p = p.And(kafka.Ingest(s.Name, s.Topics()...))
	}
	for _, s := range count {
		q := kafka.Purpose{Read: s.Topics()}
		for _, t := range q.Read {
			q.Groups = append(q.Groups, s.GroupOf(t, cmp.Or(group, s.Group)))
		}
		p = p.And(q)
	}
	return p
}

// Streams says where events come from.
type Streams struct {
	Mode         string   // Live, Simulated or Auto
	BlueskyURLs  []string // none: the public ones
	WikipediaURL string   // empty: the public one
	Collections  []string // of Bluesky
	Dictionary   string   // file of Jetstream's dictionary, to receive compressed
	Rate         float64  // events per second of the simulated Bluesky
	Seed         int64    // of the simulated events

	// Public stand in for the public streams, Bluesky's and Wikipedia's: a test must
	// not depend on a network. None is those themselves.
	Public  []string
	Version string // of weir, for servers
	Log     *slog.Logger

	simulated bool // they are served by this process
}

// Named reports whether the user named a stream.
func (s *Streams) Named() bool { return len(s.BlueskyURLs) > 0 || s.WikipediaURL != "" }

// Check refuses what contradicts itself, before anything is opened.
func (s *Streams) Check() error {
	if err := s.CheckMode(); err != nil {
		return err
	}
	if !(s.Rate >= simulate.MinRate && s.Rate <= simulate.MaxRate) {
		return cli.UsageError("choose a --rate in between", "--rate %v is not between %v and %v events a second", s.Rate, simulate.MinRate, simulate.MaxRate)
	}
	_, err := bluesky.New(bluesky.Config{URLs: s.BlueskyURLs, Collections: s.Collections})
	if err == nil {
		_, err = wikipedia.New(wikipedia.Config{URL: s.WikipediaURL})
	}
	if err != nil {
		return cli.UsageError("see weir up --help", "%w", err)
	}
	return nil
}

// CheckMode checks the mode alone.
func (s *Streams) CheckMode() error {
	if !slices.Contains([]string{Auto, Live, Simulated}, s.Mode) {
		return cli.UsageError("choose one of auto, live, simulated", "--source %s is unknown", s.Mode)
	}
	if s.Mode == Simulated && s.Named() {
		return cli.UsageError("leave out one of them: simulated events come from inside, and no server is contacted", "--source simulated and a URL contradict each other")
	}
	return nil
}

// public are the streams that a probe asks for.
func (s *Streams) public() []string {
	if len(s.Public) > 0 {
		return s.Public
	}
	return []string{bluesky.DefaultURLs[0], wikipedia.DefaultURL}
}

// Decide says whether events are live or simulated, and why where the user did not
// choose.
func (s *Streams) Decide(ctx context.Context) (mode, why string, err error) {
	switch {
	case s.Mode != Auto:
		return s.Mode, "", nil
	case s.Named():
		return Live, "", nil
	}
	if err := reachable(ctx, s.public()); err != nil {
		if ctx.Err() != nil {
			return "", "", ctx.Err()
		}
		return Simulated, fmt.Sprintf("no live stream can be reached (%v)", err), nil
	}
	return Live, "", nil
}

// Upstream is the client of a stream.
type Upstream interface {
	ingest.Source
	Status() event.SourceStatus
}

// New makes the client of a stream.
func (s *Streams) New(name string) (Upstream, error) {
	agent := upstream.UserAgent(s.Version)
	if name == bluesky.Name {
		urls := s.BlueskyURLs
		if len(urls) == 0 && len(s.Public) > 0 {
			urls = s.Public[:1]
		}
		cfg := bluesky.Config{URLs: urls, Collections: s.Collections, UserAgent: agent, Log: s.Log}
		if s.Dictionary != "" {
			var err error
			if cfg.Dictionary, err = os.ReadFile(s.Dictionary); err != nil {
				return nil, cli.UsageError("give the file zstd_dictionary of Jetstream's source", "--zstd-dictionary: %w", err)
			}
			cfg.Compress = true
		}
		return bluesky.New(cfg)
	}
	return wikipedia.New(wikipedia.Config{URL: cmp.Or(s.WikipediaURL, s.public()[1]), UserAgent: agent, Log: s.Log})
}

// origin is what the events of the streams are marked with; empty for a server that
// was named, which reports its origin itself.
func (s *Streams) origin() string {
	switch {
	case s.simulated:
		return fmt.Sprintf("%s:%d", event.OriginSimulated, s.Seed)
	case s.Named():
		return ""
	}
	return event.OriginLive
}
