package tally

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"
)

// call is one run of a script.
type call struct {
	keys []string
	args []any
}

// reply is what a script answered: {status, next, start, topic id}.
type reply [4]string

// run runs a script once for each call in one pipeline, and returns the replies
// for all keys in their order. The server may not know
// the script yet (a new server, SCRIPT FLUSH, a failover): then it is loaded and
// those calls that it refused for that, and only those, are run again.
func (s *Store) run(ctx context.Context, script *redis.Script, calls []call) ([]reply, error) {
	if len(calls) == 0 {
		return nil, nil
	}
	replies := make([][]reply, len(calls))
	todo := make([]int, len(calls))
	for i := range todo {
		todo[i] = i
	}
	for attempt := 0; ; attempt++ {
		pipe := s.client.Pipeline()
		cmds := make([]*redis.Cmd, len(todo))
		for j, i := range todo {
			cmds[j] = pipe.EvalSha(ctx, script.Hash(), calls[i].keys, calls[i].args...)
		}
		if _, err := pipe.Exec(ctx); err != nil && !isReply(err) {
			return nil, s.explain(err)
		}
		var missing []int
		for j, i := range todo {
			r, err := parseReplies(cmds[j], len(calls[i].keys))
			switch {
			case err == nil:
				replies[i] = r
			case redis.HasErrorPrefix(err, "NOSCRIPT"):
				missing = append(missing, i)
			default:
				return nil, s.explain(err)
			}
		}
		if len(missing) == 0 {
			return slices.Concat(replies...), nil
		}
		if attempt == 2 {
			return nil, errors.New("the server forgets scripts as fast as they are loaded (SCRIPT FLUSH in a loop?)")
		}
		if err := script.Load(ctx, s.client).Err(); err != nil {
			return nil, s.explain(err)
		}
		todo = missing
	}
}

// isReply reports whether the server itself answered with an error.
func isReply(err error) bool {
	var re redis.Error
	return errors.As(err, &re)
}

// parseReplies reads the answer of a script, n replies of four strings each.
func parseReplies(cmd *redis.Cmd, n int) ([]reply, error) {
	all, err := cmd.Slice()
	if err != nil {
		return nil, err
	}
	if len(all) != n {
		return nil, fmt.Errorf("script answered for %d keys, not %d", len(all), n)
	}
	replies := make([]reply, n)
	for i := range all {
		v, ok := all[i].([]any)
		if !ok || len(v) != len(replies[i]) {
			return nil, fmt.Errorf("script answered a %T", all[i])
		}
		for j := range v {
			text, ok := v[j].(string)
			if !ok {
				return nil, fmt.Errorf("script answered a %T", v[j])
			}
			replies[i][j] = text
		}
	}
	return replies, nil
}

// result turns a reply to b into what the caller sees.
func (r reply) result(k string, b *Batch) Result {
	switch r[0] {
	case statusType:
		return Result{Outcome: Garbage, Err: garbageType(k, r[1])}
	case statusGarbage:
		return Result{Outcome: Garbage, Err: garbageField(k, r[1], r[2])}
	case statusAbsent:
		return Result{Outcome: Absent, Err: fmt.Errorf("%s partition %d: %w", b.Topic, b.Partition, ErrAbsent)}
	}
	p := stored(k, r[1], r[2], r[3])
	if p.Err != nil {
		return Result{Outcome: Garbage, Err: p.Err}
	}
	res := Result{Stored: p}
	switch r[0] {
	case statusApplied:
		res.Outcome = Applied
	case statusTopic:
		res.Outcome = OtherTopic
		res.Err = fmt.Errorf("%s partition %d was counted as topic id %s and is now %s: %w", b.Topic, b.Partition, r[3], b.TopicID, ErrOtherTopic)
	case statusStale:
		res.Outcome = Stale
		res.Err = fmt.Errorf("%s partition %d: counted from %d, stored is %d: %w", b.Topic, b.Partition, b.From, p.Next, ErrStale)
	default:
		res = Result{Outcome: Garbage, Err: fmt.Errorf("script answered status %q: %w", r[0], ErrGarbage)}
	}
	return res
}
