package judge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/weir-project/weir/internal/event"
	"github.com/weir-project/weir/internal/simulate"
)

// The stream of the exercise resume.
const (
	resumeEvents = 3000
	resumeRate   = 500 // per second
	resumeLead   = time.Second
	// resumeFaults: connections are cut in the middle of an event, closed, and refused for a
	// while, and events of a little before are sent once more.
	resumeFaults = "cut@350,close@800,restart@1200:1s,cut@1700,restart@2200:2s,cut@2600,duplicate/130"
	// resumeQuiet is how long the program may store nothing before it is judged.
	resumeQuiet = 8 * time.Second
)

// resumeCuts are the events at which a connection ends.
var resumeCuts = []int64{350, 800, 1200, 1700, 2200, 2600}

// cutStream is a Jetstream server whose time begins with the first connection.
type cutStream struct {
	addr   string
	server *http.Server
	faults *simulate.Faults
	fail   chan error

	mu       sync.Mutex
	timeline *simulate.Timeline
	bluesky  *simulate.BlueskyServer
	requests []streamRequest
}

// streamRequest is a connection that the program asked for.
type streamRequest struct {
	at     time.Time
	cursor string
}

// openCutStream opens the stream of the exercise resume.
func openCutStream() (*cutStream, error) {
	plan, err := simulate.ParsePlan(resumeFaults)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("open the stream: %w", err)
	}
	s := &cutStream{addr: l.Addr().String(), faults: plan.Faults("bluesky"), fail: make(chan error, 1)}
	s.server = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = s.server.Serve(l) }() // until close
	return s, nil
}

// ServeHTTP begins the stream's time at the first request, and serves it.
func (s *cutStream) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	if s.bluesky == nil {
		if err := s.begin(); err != nil {
			s.mu.Unlock()
			http.Error(w, err.Error(), http.StatusInternalServerError)
			select {
			case s.fail <- err:
			default:
			}
			return
		}
	}
	if len(s.requests) < 1000 {
		s.requests = append(s.requests, streamRequest{time.Now(), r.URL.Query().Get("cursor")})
	}
	server := s.bluesky
	s.mu.Unlock()
	server.ServeHTTP(w, r)
}

func (s *cutStream) begin() (err error) {
	s.timeline, err = simulate.OpenTimeline(simulate.TimelineConfig{World: fmt.Sprintf("bluesky:%d", seed), Rate: resumeRate,
		Variant: simulate.MixOf([]string{"app.bsky.feed.post"}), History: -resumeLead, Limit: resumeEvents})
	if err != nil {
		return err
	}
	s.bluesky, err = simulate.NewBluesky(simulate.ServerConfig{World: simulate.NewWorld(seed), Timeline: s.timeline, Faults: s.faults})
	return err
}

// state is how many events have happened, and what was asked for; 0 before the first request.
func (s *cutStream) state() (tip int64, requests []streamRequest) {
	s.mu.Lock()
	server, requests := s.bluesky, s.requests
	s.mu.Unlock()
	if server != nil {
		tip = server.Tip()
	}
	return tip, requests
}

// truth is what must be stored, in order.
func (s *cutStream) truth() (out []simulate.Item) {
	s.mu.Lock()
	server := s.bluesky
	s.mu.Unlock()
	if server == nil {
		return nil
	}
	for it := range server.Items(0, resumeEvents) {
		if it.Route == event.Data {
			out = append(out, it)
		}
	}
	return out
}

func (s *cutStream) close() error {
	err := s.server.Close()
	s.mu.Lock()
	server, timeline := s.bluesky, s.timeline
	s.mu.Unlock()
	if server != nil {
		err = errors.Join(err, server.Close())
	}
	if timeline != nil {
		err = errors.Join(err, timeline.Close())
	}
	return err
}

// resume gives a producer a stream that cuts its connections.
func resume(ctx context.Context, b *Bench) error {
	stream, err := openCutStream()
	if err != nil {
		return err
	}
	b.closing(stream.close)
	b.Output, b.Stream = b.Topic, "ws://"+stream.addr+"/subscribe"
	program, err := b.Start(nil)
	if err != nil {
		return err
	}
	stored, err := b.follow(ctx, b.Output)
	if err != nil {
		return err
	}
	defer stored.stop()
	r := &resumed{}
	if err := b.streamEnds(ctx, stream, stored, r); err != nil {
		f, ok := errors.AsType[*Finding](err)
		if !ok || !program.Over() {
			return err
		}
		r.ended = strings.TrimPrefix(f.Headline, "the program ")
	}
	program.Stop()
	if r.output, err = b.readAll(ctx, b.Output); err != nil {
		return err
	}
	r.truth = stream.truth()
	_, r.requests = stream.state()
	r.cuts = stream.faults.Fired()
	if len(r.requests) > 0 {
		lost, again := r.sums()
		b.Check(r.ended == "", "The program goes on when its connection ends", "it connects again", cmp.Or(r.ended, "it does"))
		b.Check(lost == 0, "No event is lost", "0 lost", fmt.Sprintf("%d lost of %d", lost, len(r.truth)))
		b.Check(again == 0, "Events are duplicated only where the stream repeats them after a cut",
			"0 elsewhere", fmt.Sprintf("%d elsewhere", again))
		if r.ended == "" && len(r.output) == 0 {
			return b.nothingWritten(ctx, &Finding{Headline: "OUTPUT_TOPIC has no event",
				Why:  "The program connected to the stream and stored nothing.",
				Hint: "Take the name of the topic from OUTPUT_TOPIC and the addresses from KAFKA_BROKER. Look at the output below."})
		}
	}
	if f := r.find(); f != nil {
		return f
	}
	b.Pass("all %d posts are stored, although the connection ended %d times", len(r.truth), len(resumeCuts))
	return nil
}

// streamEnds waits until the stream has ended and all of it is stored, or nothing more is.
func (b *Bench) streamEnds(ctx context.Context, stream *cutStream, stored *tail, r *resumed) error {
	fired := map[string]int64{}
	seen, changed, complete := -1, time.Now(), time.Time{}
	_, err := b.Until(ctx, 3*time.Minute, func(s *Sample) bool {
		for name, n := range stream.faults.Fired() {
			if n > fired[name] && name != simulate.FaultDuplicate {
				b.Mark(name, "%s", map[string]string{
					simulate.FaultCut:     "the connection is cut in the middle of an event",
					simulate.FaultClose:   "the server closes the connection",
					simulate.FaultRestart: "the server restarts, and refuses connections meanwhile",
				}[name])
			}
			fired[name] = n
		}
		tip, requests := stream.state()
		if n := stored.len(); n != seen {
			seen, changed = n, s.At
			b.Point("stored", "events", float64(n))
			b.Point("offered", "events", float64(tip))
		}
		if len(requests) == 0 {
			return s.At.Sub(changed) > startTime
		}
		if tip < resumeEvents {
			return false
		}
		if r.truth == nil {
			r.truth = stream.truth()
		}
		if complete.IsZero() && seen >= len(r.truth) {
			r.output = stored.plain()
			if lost, _ := r.sums(); lost == 0 {
				complete = s.At
			}
		}
		return !complete.IsZero() && s.At.Sub(complete) > extraTime || s.At.Sub(changed) > resumeQuiet
	})
	select {
	case failed := <-stream.fail:
		return errors.Join(err, failed)
	default:
		return err
	}
}
