package schedules

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing/synctest"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/tally"
	"github.com/weir-project/weir/internal/watch"
	"github.com/weir-project/weir/internal/web"
)

const (
	// pageEvery is how many looks lie between two that ask the page.
	pageEvery = 5
	// pageInterval is how often its live picture is drawn.
	pageInterval = 4 * time.Second
	// shaken is how long after a fault the page may still answer with an error, or with what it knew before.
	shaken = 20 * time.Second
	// pageMessages are the newest messages that are asked for.
	pageMessages = 20
)

// page is weir's own web server as an observer: its API is asked while the pipeline runs, and has to say
// what the raw observers see. It has a network of its own.
type page struct {
	s       *stage
	process *process
	client  *kgo.Client
	watcher *watch.Watcher
	server  *web.Server
	ended   chan struct{}
	opened  chan struct{} // closed when server and store are there
	store   *tally.Store

	asking   chan struct{} // closed when the question in flight is answered; nil for none
	question *question
	last     *stateSaid // the newest state that was compared
	lastAt   time.Time
	answered int
	refused  int
}

// question is what is asked at one instant, and what was answered.
type question struct {
	before  bounds
	at      time.Time
	shaken  bool // a fault could show when it was asked
	errors  map[string]string
	topic   *topicSaid
	account *topicSaid // at the end
	group   *groupSaid
	newest  *messagesSaid
	letters *messagesSaid
	state   *stateSaid
	topics  *topicsSaid // at the end
}

// openPage starts the server as weir up does.
func (s *stage) openPage() {
	process, ctx := s.newProcess()
	close(process.done)
	p := &page{s: s, process: process, ended: make(chan struct{}), opened: make(chan struct{})}
	s.page = p
	cfg := s.config(process)
	cfg.Opts = append(cfg.Opts, kgo.RequestTimeoutOverhead(3*time.Second), kgo.DialTimeout(3*time.Second))
	var err error
	p.client, err = cfg.NewClient()
	s.check(err)
	go func() {
		defer close(p.ended)
		for ; ; time.Sleep(100 * time.Millisecond) {
			var err error
			if p.store, err = tally.Open(ctx, "redis://"+redisAddr+"/1", process.other.DialContext); err == nil {
				break
			}
			if ctx.Err() != nil {
				return
			}
		}
		defer p.store.Close()
		insp, err := inspect.New(inspect.Config{Client: p.client})
		if err == nil {
			p.watcher, err = watch.New(watch.Config{Inspector: insp, Tallies: p.store, Interval: pageInterval,
				Streams: []watch.StreamConfig{{Name: s.src.name, Topic: s.src.data, Group: group(s.src.data)}}})
		}
		if err == nil {
			p.server, err = web.New(web.Config{Watch: p.watcher, Inspector: insp, Tallies: p.store, Log: s.log})
		}
		if err != nil {
			s.errorf("the page: %v", err)
			return
		}
		close(p.opened)
		defer p.server.Close()
		_ = p.watcher.Run(ctx)
	}()
}

// askPage lets the page answer at some looks.
func (s *stage) askPage() {
	if s.page == nil {
		return
	}
	s.page.compare()
	if s.obs.samples%pageEvery == 0 {
		s.page.begin(false)
	}
}

func (p *page) close() {
	p.process.cancel()
	<-p.ended
	if p.asking != nil {
		<-p.asking
	}
	p.client.Close()
}

// shake notes that a fault has reached the page, which may show for a while.
func (s *stage) shake() { s.shakenAt.Store(time.Now().UnixNano()) }

// isShaken reports whether a fault may show.
func (s *stage) isShaken() bool {
	at := s.shakenAt.Load()
	return at > 0 && time.Since(time.Unix(0, at)) < shaken
}

// ask asks for one path, and remembers the error of an answer that is none.
func (p *page) ask(q *question, path string, into any) bool {
	r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, "http://localhost/api/v1"+path, http.NoBody)
	w := httptest.NewRecorder()
	p.server.ServeHTTP(w, r)
	if w.Code == http.StatusOK {
		if err := json.Unmarshal(w.Body.Bytes(), into); err != nil {
			p.s.errorf("the page answers %s with what is not JSON: %v", path, err)
			return false
		}
		return true
	}
	var e struct{ Error string }
	if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || e.Error == "" {
		p.s.errorf("the page answers %s with status %d and %q, which gives no reason", path, w.Code, w.Body)
	}
	q.errors[path] = fmt.Sprintf("%d %s", w.Code, e.Error)
	noGroup := q.before.groups == nil && w.Code == http.StatusNotFound && path == "/groups/"+group(p.s.src.data)
	if w.Code != http.StatusBadGateway && w.Code != http.StatusServiceUnavailable && !noGroup {
		p.s.errorf("the page answers %s with status %d: %s", path, w.Code, e.Error)
	}
	return false
}

// begin asks, unless a question is in flight, and compares at once what needs no time. all asks for what
// only the end shows, too.
func (p *page) begin(all bool) {
	select {
	case <-p.opened:
	default:
		return
	}
	if p.asking != nil {
		return
	}
	s := p.s
	q := &question{before: s.obs.bounds(), at: time.Now(), shaken: s.isShaken(), errors: map[string]string{}}
	p.question, p.asking = q, make(chan struct{})
	go func() {
		defer close(p.asking)
		q.topic = asked[topicSaid](p, q, "/topics/"+s.src.data+"?groups=none")
		q.group = asked[groupSaid](p, q, "/groups/"+group(s.src.data))
		q.newest = asked[messagesSaid](p, q, fmt.Sprintf("/topics/%s/messages?n=%d", s.src.data, pageMessages))
		q.state = asked[stateSaid](p, q, "/state")
		q.letters = asked[messagesSaid](p, q,
			fmt.Sprintf("/topics/%s/messages?from=oldest&n=500&partition=%d", kafka.TopicDeadLetters, s.src.partition))
		if all {
			q.topics = asked[topicsSaid](p, q, "/topics")
			if s.src.account != "" {
				q.account = asked[topicSaid](p, q, "/topics/"+s.src.account)
			}
		}
	}()
	synctest.Wait()
	p.compare()
}

func asked[A any](p *page, q *question, path string) *A {
	var a A
	if !p.ask(q, path, &a) {
		return nil
	}
	return &a
}

// compare compares what was answered with what the raw observers saw before and see now.
func (p *page) compare() {
	if p.asking == nil {
		return
	}
	select {
	case <-p.asking:
	default:
		return
	}
	s, q := p.s, p.question
	p.asking = nil
	if took := time.Since(q.at); took > 2*time.Second && !q.shaken && !s.isShaken() {
		s.errorf("the page took up to %v to answer while nothing is wrong", took)
	}
	s.obs.look()
	s.obs.samples-- // not one of its own
	after := s.obs.bounds()
	for path, why := range q.errors {
		switch noGroup := q.before.groups == nil && path == "/groups/"+group(s.src.data); {
		case s.isShaken():
			p.refused++
		case !noGroup:
			s.errorf("the page answers %s with an error while nothing is wrong: %s", path, why)
		}
	}
	if q.topic != nil {
		p.compareTopic(q.topic, &q.before, &after)
	}
	if q.account != nil {
		p.compareTopic(q.account, &q.before, &after)
	}
	if q.group != nil {
		p.compareGroup(q.group, &q.before, &after)
	}
	if q.newest != nil {
		p.compareNewest(q.newest, &q.before)
	}
	if q.letters != nil {
		p.compareLetters(q.letters, &q.before, &after)
	}
	if q.state != nil {
		p.compareState(q.state, &after)
	}
	if len(q.errors) == 0 {
		p.answered++
	}
}

// conclude asks once more when everything is settled: all has to be answered, and to agree exactly.
func (p *page) conclude() {
	s := p.s
	if p.answered == 0 {
		s.errorf("the page never answered while the pipeline ran (%d errors)", p.refused)
	}
	for begun := time.Now(); ; time.Sleep(time.Second) { // the live picture may be a few seconds old
		p.compare()
		p.begin(true)
		if p.asking != nil {
			<-p.asking
			p.compare()
		}
		why := p.disagrees(p.question)
		if why == "" {
			break
		}
		if time.Since(begun) > 30*time.Second {
			s.errorf("the page still disagrees when everything is settled: %s", why)
			break
		}
	}
	s.cov.answered += p.answered
	s.cov.refused += p.refused
}
