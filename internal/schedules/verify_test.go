package schedules

import (
	"context"
	"maps"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/bluesky"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/tally"
	"github.com/weir-project/weir/internal/verify"
	"github.com/weir-project/weir/internal/wikipedia"
)

// verify lets the program's own proof look at what the observers have seen: both have to agree.
func (s *stage) verify() {
	store, err := tally.Open(context.Background(), "redis://"+redisAddr+"/1", s.net.DialContext)
	s.check(err)
	defer store.Close()
	examine := func() verify.Examine { return bluesky.NewDecoder().Examine }
	if s.src.name == wikipedia.Name {
		examine = func() verify.Examine { return wikipedia.NewDecoder().Examine }
	}
	var topics []verify.Topic
	var events, gaps int64
	for _, name := range []string{s.src.data, s.src.account} {
		if name != "" {
			topics = append(topics, verify.Topic{Name: name, Group: group(name), Classify: s.src.classify, NewExamine: examine})
			events += s.obs.walked[name]
		}
	}
	letters := maps.Clone(s.obs.letters)
	gaps, letters["gap"] = letters["gap"], 0
	report, err := verify.Run(context.Background(), verify.Config{
		Kafka: kafka.Config{Brokers: s.brokers, Opts: []kgo.Opt{kgo.Dialer(s.net.DialContext)}}, Tallies: store,
		Sources: []verify.Source{{Name: s.src.name, Topics: topics}}, Workers: 2, TempDir: s.t.TempDir(),
	}, nil)
	s.check(err)
	r := report.Sources[0]
	var dead int64
	for _, n := range letters {
		dead += n
	}
	if !report.OK || r.Events != events || r.Gaps != gaps || r.DeadLetters != dead || r.Uncounted != 0 || r.Unverifiable != 0 {
		s.errorf("verify says %+v, and there are %d events, %d gaps and %d dead letters", r, events, gaps, dead)
	}
}
