//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/weir-project/weir/internal/simulate"
)

// posts is the collection that weir subscribes to by default.
const posts = "app.bsky.feed.post"

// upstream is both streams, which go on when weir is killed as the real ones do.
type upstream struct {
	server           *http.Server
	addr             string
	bluesky, edits   *simulate.Timeline
	postMix, editMix string
	close            func() error
}

// openUpstream serves both streams at rates per second.
func openUpstream(seed int64, postRate, editRate float64) (*upstream, error) {
	u := &upstream{postMix: simulate.MixOf([]string{posts}), editMix: simulate.WikipediaVariant(simulate.Eqiad, 0)}
	world := simulate.NewWorld(seed)
	open := func(stream string, rate float64, variant string) (*simulate.Timeline, error) {
		world := fmt.Sprintf("%s:%d", stream, seed)
		return simulate.OpenTimeline(simulate.TimelineConfig{World: world, Rate: rate, Variant: variant})
	}
	var err error
	if u.bluesky, err = open("bluesky", postRate, u.postMix); err != nil {
		return nil, err
	}
	if u.edits, err = open("wikipedia", editRate, u.editMix); err != nil {
		return nil, err
	}
	b, err := simulate.NewBluesky(simulate.ServerConfig{World: world, Timeline: u.bluesky})
	if err != nil {
		return nil, err
	}
	w, err := simulate.NewWikipedia(simulate.ServerConfig{World: world, Timeline: u.edits})
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/subscribe", b)
	mux.Handle("/v2/stream/recentchange", w)
	u.server = &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	u.addr = l.Addr().String()
	ended := make(chan error, 1)
	go func() { ended <- u.server.Serve(l) }()
	u.close = func() error {
		err := errors.Join(u.server.Shutdown(canceled()), b.Close(), w.Close(), u.bluesky.Close(), u.edits.Close())
		if e := <-ended; !errors.Is(e, http.ErrServerClosed) {
			err = errors.Join(err, e)
		}
		if errors.Is(err, context.Canceled) {
			return nil
		}
		return err
	}
	return u, nil
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// rates changes how many events come in a second.
func (u *upstream) rates(postRate, editRate float64) error {
	return errors.Join(u.bluesky.Change(postRate, u.postMix), u.edits.Change(editRate, u.editMix))
}
