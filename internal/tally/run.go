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

// reply is what a script answered for one key: status, next, start, topic id.
type reply []string

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
			fields, err := cmds[j].StringSlice()
			switch {
			case err == nil && len(fields) != 4*len(calls[i].keys):
				return nil, fmt.Errorf("script answered %d fields for %d keys", len(fields), len(calls[i].keys))
			case err == nil:
				for r := range slices.Chunk(fields, 4) {
					replies[i] = append(replies[i], r)
				}
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
			return nil, errors.New("the server drops scripts as fast as weir loads them (SCRIPT FLUSH in a loop?)")
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

// result turns a reply to b into what the caller sees.
func (r reply) result(k string, b *Batch) Result {
	var res Result
	refused := func(err error, why string, args ...any) {
		res.Err = fmt.Errorf("%s partition %d%s: %w", b.Topic, b.Partition, fmt.Sprintf(why, args...), err)
	}
	status := r[0]
	switch status {
	case "type":
		res.Stored.Err = garbageType(k, r[1])
	case "garbage":
		res.Stored.Err = garbageField(k, r[1], r[2])
	case "absent":
		refused(ErrAbsent, "")
		return res
	case "applied", "stale", "topic":
		res.Stored = stored(k, r[1], r[2], r[3])
	default:
		res.Stored.Err = fmt.Errorf("script answered status %q: %w", status, ErrGarbage)
	}
	switch {
	case res.Stored.Err != nil:
		res.Err = res.Stored.Err
	case status == "topic":
		refused(ErrOtherTopic, " was counted as topic id %s and is now %s", r[3], b.TopicID)
	case status == "stale":
		refused(ErrStale, ": counted from %d, stored is %d", b.From, res.Stored.Next)
	}
	return res
}
