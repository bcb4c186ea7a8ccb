package judge

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/weir-project/weir/internal/exercise"
	"github.com/weir-project/weir/internal/visible"
)

// explainCounts says what is wrong with counts that differ from the truth, although nothing was
// done to the program. started is when it was started.
func (b *Bench) explainCounts(ctx context.Context, s *Sample, started time.Time) (*Finding, error) {
	want := b.Truth.Total()
	if s.Counts.Sum() == 0 {
		return b.nothingCounted(ctx, s)
	}
	if parts := b.someOf(s.Counts); parts != nil {
		return b.onlySome(s, parts, want), nil
	}
	diff := s.Counts.Minus(want)
	switch late := b.Truth.Since(started); {
	case onlyLate(s.Counts, late, want):
		f := beganAtEnd(want.Sum()-late.Sum(), "events")
		f.Evidence = []exercise.Evidence{b.Evidence("the first event that was not counted", b.Truth.Partitions()[0], 0),
			Observed("start of the program", started)}
		f.Why += fmt.Sprintf(" Redis has %d events, and %d were written after the start.", s.Counts.Sum(), late.Sum())
		return f, nil
	case diff.Sum() > 0:
		return &Finding{
			Headline: fmt.Sprintf("the program counted %d events more than there are: %s; the topic has %s", diff.Sum(), s.Counts, want),
			Evidence: b.committedEvidence(s),
			Why:      "Every event is in the topic once. A program that counts it twice reads it twice, or adds to the count twice.",
			Hint:     "Call INCR once for each event. Look whether two consumers of different groups run.",
		}, nil
	}
	return b.tooFew(s, want), nil
}

// onlyLate reports whether counts can be those of the late events alone, of which the first may be
// missing: a program needs a moment to begin at the end of the topic.
func onlyLate(c, late, want Counts) bool {
	return late.Sum() > 0 && !late.Equal(want) && c.Sum() > late.Sum()*4/5 && !c.Minus(late).Some(func(d int64) bool { return d > 0 })
}

// tooFew says that events are missing, and that no cause is known.
func (b *Bench) tooFew(s *Sample, want Counts) *Finding {
	f := &Finding{
		Headline: fmt.Sprintf("the program counted %d of %d events: %s; the topic has %s", s.Counts.Sum(), want.Sum(), s.Counts, want),
		Evidence: b.committedEvidence(s),
		Why:      "The program did not read these events, or read them and did not count them.",
		Hint:     "Compare the committed offsets with the ends of the partitions: below them the program has read everything.",
	}
	if s.Group != "" && s.Lag(b.Truth) == 0 {
		f.Why = fmt.Sprintf("The group %s has committed offsets at the end of every partition, so it read every event and did not count all "+
			"of them.", visible.Text(s.Group))
		f.Hint = "Look for a branch that skips an event: an event type that is not handled, an error that is ignored, " +
			"or a stored offset that belongs to another partition."
	}
	return f
}

// someOf returns the partitions whose events the counts are exactly, nil where they are not those
// of some partitions but not of all.
func (b *Bench) someOf(c Counts) []int32 {
	all := b.Truth.Partitions()
	for set := 1; set < 1<<len(all)-1; set++ {
		var parts []int32
		for i, p := range all {
			if set&(1<<i) != 0 {
				parts = append(parts, p)
			}
		}
		if b.Truth.In(parts...).Equal(c) {
			return parts
		}
	}
	return nil
}

func (b *Bench) onlySome(s *Sample, parts []int32, want Counts) *Finding {
	missing := slices.DeleteFunc(b.Truth.Partitions(), func(p int32) bool { return slices.Contains(parts, p) })
	f := &Finding{
		Headline: fmt.Sprintf("the program counted only %s of the topic %s, which has %d partitions", partitionNames(parts), b.Topic, partitions),
		Evidence: []exercise.Evidence{b.Evidence("the first event that was not counted", missing[0], 0)},
		Why: fmt.Sprintf("The counts are those of the %d events of %s; the topic has %d events. ", b.Truth.In(parts...).Sum(),
			partitionNames(parts), want.Sum()),
	}
	if owned(s) {
		f.Why += fmt.Sprintf("The group %s has given every partition to the program, so it got the other events, too, and skipped them.",
			visible.Text(s.Group))
		f.Hint = "An offset counts within its partition. A program that stores offsets needs a stored offset for each partition."
		return f
	}
	f.Why += "A program that assigns partitions to itself gets only those."
	f.Hint = "Subscribe to the topic as a member of a consumer group. Kafka then gives the program all partitions."
	return f
}

func partitionNames(parts []int32) string {
	words := make([]string, len(parts))
	for i, p := range parts {
		words[i] = fmt.Sprint(p)
	}
	if len(parts) == 1 {
		return "partition " + words[0]
	}
	return "partitions " + strings.Join(words[:len(words)-1], ", ") + " and " + words[len(words)-1]
}

// committedEvidence has the committed offsets of the program's group, one for each partition.
func (b *Bench) committedEvidence(s *Sample) []exercise.Evidence {
	out := []exercise.Evidence{}
	for _, p := range b.Truth.Partitions() {
		if o, ok := s.Committed[p]; ok {
			e := b.Evidence("committed offset of group "+visible.Text(s.Group), p, o)
			e.At = Moment(s.At)
			out = append(out, e)
		}
	}
	return out
}

// nothingSeen says that no sign of the program was seen.
func (b *Bench) nothingSeen(ctx context.Context) error {
	s, err := b.Look(ctx)
	if err != nil {
		return err
	}
	b.checkCounts(s)
	f, err := b.nothingCounted(ctx, s)
	if err != nil {
		return err
	}
	if s.Group == "" && b.Proxy.Seen() == 0 {
		return b.unlessElsewhere(fmt.Sprintf("the program did not connect to the private cluster within %v", startTime), f)
	}
	return f
}

// unlessElsewhere is f, for a program of which the private cluster has no trace. Where the check does
// not have the default ports, such a program can be a right one that uses them.
func (b *Bench) unlessElsewhere(reason string, f *Finding) error {
	if b.defaults {
		return f
	}
	return &Unclear{
		Reason: reason,
		Hint: "Another program uses the default ports, so this check has other ones. Read KAFKA_BROKER and REDIS_URL from the environment, " +
			"or stop what uses the ports 19092, 29092, 39092 and 6379.",
	}
}

// nothingWritten judges a program that wrote nothing to OUTPUT_TOPIC: f, unless it may have used
// another cluster.
func (b *Bench) nothingWritten(ctx context.Context, f *Finding) error {
	s, err := b.Look(ctx)
	if err != nil {
		return err
	}
	if s.Group != "" {
		return f
	}
	return b.unlessElsewhere("nothing of the program was seen in the private cluster", f)
}

// nothingCounted says why Redis has no counts.
func (b *Bench) nothingCounted(ctx context.Context, s *Sample) (*Finding, error) {
	want := b.Truth.Total()
	f := &Finding{Headline: "Redis database 0 has none of the keys create, update and delete", Evidence: b.committedEvidence(s)}
	others, err := b.otherKeys(ctx)
	if err != nil {
		return nil, err
	}
	switch {
	case len(others) > 0:
		f.Headline += "; it has " + strings.Join(others, ", ")
		f.Why = fmt.Sprintf("The counts belong into keys that have the names of the event types: create %d, update %d, delete %d.",
			want["create"], want["update"], want["delete"])
		f.Hint = "The event type is the field operation of commit in the event. Call INCR with that name, in database 0."
		for _, o := range others {
			if strings.HasPrefix(o, "commit ") || strings.HasPrefix(o, `"commit" `) {
				f.Headline = "the program counts the field `kind`: Redis has " + o + ", and none of the keys create, update and delete"
				f.Why = "In every record of this topic, `kind` is commit. What happened is one level deeper: commit.operation is create, update " +
					"or delete."
			}
		}
		b.otherDatabase(f, others)
	case s.Group == "" && b.Proxy.Seen() == 0:
		f.Headline = "the program connected neither to a consumer group nor to Redis"
		f.Why = "Nothing of the program was seen in the private cluster or in Redis."
		f.Hint = "Take the addresses from KAFKA_BROKER and REDIS_URL. Look at the output below."
	case s.Group == "":
		f.Headline = fmt.Sprintf("the program connected to Redis, but no consumer group reads the topic %s", b.Topic)
		f.Why = "A program without a group has no committed offset, and Kafka gives it no partitions."
		f.Hint = "Set group.id to GROUP from the environment, and subscribe to TOPIC."
	case b.Proxy.Seen() == 0:
		f.Headline = fmt.Sprintf("the group %s reads the topic, but the program never connected to Redis", visible.Text(s.Group))
		f.Why = "The counts have to be in Redis. The program uses another address of Redis, or it waits or loops before it comes to the counting."
		f.Hint = "Take the address of Redis from REDIS_URL. Print a line before and after each step, to see how far the program comes."
	default:
		f.Why = "The program is connected to Kafka and Redis, but has counted nothing."
		f.Hint = "Look whether it gets records: print the first one. Look whether an error is ignored."
	}
	return f, nil
}

// otherDatabase adds to a finding that the right keys are in another database.
func (b *Bench) otherDatabase(f *Finding, others []string) {
	for _, o := range others {
		name, rest, _ := strings.Cut(o, " = ")
		if _, db, ok := strings.Cut(rest, " in database "); ok && slices.Contains(Kinds, name) {
			f.Headline = fmt.Sprintf("the counts are in database %s of Redis, and not in database 0: %s", db, strings.Join(others, ", "))
			f.Why = "A Redis server has several databases, and a client sees only the one that it has chosen."
			f.Hint = "Use REDIS_URL as it is: the number at its end is the database."
			return
		}
	}
}

// maxKeys bounds how many keys a headline names.
const maxKeys = 5

// otherKeys describes the keys that Redis has, of all databases.
func (b *Bench) otherKeys(ctx context.Context) ([]string, error) {
	var out []string
	for db := range 16 {
		cl := redis.NewClient(&redis.Options{Addr: b.Redis.Options().Addr, DB: db, DisableIdentity: true})
		keys, _, err := cl.Scan(ctx, 0, "*", 100).Result()
		for _, k := range slices.Sorted(slices.Values(keys)) {
			if len(out) == maxKeys {
				break
			}
			if db == 0 && slices.Contains(Kinds, k) && cl.Type(ctx, k).Val() == "string" {
				continue
			}
			out = append(out, describeKey(ctx, cl, k, db))
		}
		_ = cl.Close()
		if err != nil {
			return nil, fmt.Errorf("read the keys of Redis: %w", err)
		}
	}
	return out, nil
}

func describeKey(ctx context.Context, cl *redis.Client, key string, db int) string {
	name := visible.Text(key[:min(len(key), 60)])
	kind := cl.Type(ctx, key).Val()
	text := fmt.Sprintf("%s (a %s)", name, kind)
	if v := cl.Get(ctx, key).Val(); kind == "string" && len(v) < 20 {
		text = name + " = " + visible.Text(v)
	}
	if db != 0 {
		text += fmt.Sprintf(" in database %d", db)
	}
	return text
}
