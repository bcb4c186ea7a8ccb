package node

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/weir-project/weir/internal/cluster"
	"github.com/weir-project/weir/internal/kafka"
	"github.com/weir-project/weir/internal/learn"
	"github.com/weir-project/weir/internal/metrics"
	"github.com/weir-project/weir/internal/verify"
	"github.com/weir-project/weir/internal/watch"
	"github.com/weir-project/weir/internal/web"
)

// webUI is the web UI and the watch behind it.
type webUI struct {
	listener  net.Listener // nil where the web UI is off, so that only the control socket answers
	watcher   *watch.Watcher
	server    *web.Server
	learn     *learn.Course
	token     string
	generated bool // the token was generated here, so that the link has to contain it
}

// openUI listens, and makes the watch and the server; Run runs them.
func (n *Node) openUI(ctx context.Context) error {
	if n.cfg.Listen == nil {
		return nil
	}
	ui := &webUI{}
	n.ui = ui
	hosts, err := n.cfg.Listen.hosts()
	if err != nil {
		return err
	}
	if ui.token, err = n.cfg.Listen.token(); err != nil {
		return err
	}
	if n.cfg.Listen.Addr != "off" {
		var note string
		if ui.listener, note, err = n.cfg.Listen.open(); err != nil {
			return err
		}
		n.closing(func() error { _ = ui.listener.Close(); return nil }) // closed already when it was served
		if note != "" {
			n.note(note)
		}
		// A host name means that something in front lets others in.
		addr, err := netip.ParseAddrPort(ui.listener.Addr().String())
		if ui.token == "" && (err != nil || !addr.Addr().IsLoopback() || len(hosts) > 0) {
			ui.token, ui.generated = rand.Text(), true
		}
	}
	if n.cfg.Listen.ReadOnly {
		n.note("read-only: this weir refuses every change that the page or another terminal asks for")
	}
	if err := ui.serve(ctx, n, hosts); err != nil {
		return err
	}
	if n.control != nil {
		n.control.Handle(ui.server.Control())
	}
	return nil
}

// serve makes the watch and the server.
func (ui *webUI) serve(ctx context.Context, n *Node, hosts []string) error {
	insp, cl, err := n.OpenInspector(ctx, impatient()...)
	if err != nil {
		return err
	}
	n.closing(func() error { cl.Close(); return nil })
	wc := watch.Config{Inspector: insp, Version: "weir " + n.cfg.Version, Mode: n.Mode, Engine: cmp.Or(n.BrokerEngine(), "external"), Fault: n.fault,
		Ingested: n.ingested(), ReadOnly: n.cfg.Listen.ReadOnly}
	cfg := web.Config{Inspector: insp, Where: n.cfg.Where, Producer: &producer{client: cl, cfg: n.KafkaConfig("weir-ui")}, Labs: n.cfg.Labs, Exercises: n.cfg.Exercises, Token: ui.token, Hosts: hosts, Log: n.Log, ReadOnly: n.cfg.Listen.ReadOnly,
		VerifySource: reflect.TypeFor[verify.SourceReport]()}
	if n.brokers != nil {
		cfg.Brokers = n.brokers
		cfg.BrokerChanged = func(id int32, what string) {
			n.cfg.Say(fmt.Sprintf("%s broker %d was %s", time.Now().Format(time.TimeOnly), id, what))
		}
	}
	if n.BrokerEngine() == cluster.Embedded {
		for _, d := range cluster.Differences() {
			cfg.Differences = append(cfg.Differences, web.Difference(d))
		}
	}
	if n.store != nil {
		wc.Tallies, cfg.Tallies, cfg.Replay = n.store, n.store, n.replays(n.store)
		cfg.Verify = func(ctx context.Context, progress func(any)) (any, error) {
			return n.Verify(ctx, n.store, func(p verify.Progress) {
				progress(map[string]any{"stage": p.Stage, "scanned": p.Scanned, "total": p.Total})
			})
		}
	}
	for _, s := range Sources {
		wc.Streams = append(wc.Streams, watch.StreamConfig{Name: s.Name, Topic: s.Topic, Group: s.Group})
	}
	if len(n.lines) > 0 {
		wc.Local, cfg.Acks = n.local, n.acks
	}
	if ui.watcher, err = watch.New(wc); err != nil {
		return err
	}
	cfg.Watch = ui.watcher
	if ui.learn, err = n.openLearn(insp, ui.watcher); err != nil {
		return err
	}
	cfg.Learn = ui.learn
	if n.members != nil {
		cfg.Members = n.members
	}
	cfg.Ready = func() error { return cmp.Or(n.fault(), ready(ui.watcher.Recent())) }
	cfg.Metrics = metrics.Handler(ui.watcher.Recent, n.Clients)
	if ui.server, err = web.New(cfg); err != nil {
		return err
	}
	n.closing(func() error { ui.server.Close(); return nil })
	return nil
}

// impatient makes the web UI's clients give up soon on a broker that does not answer:
// another one is asked instead, and what that broker alone knows is shown as unknown.
func impatient() []kgo.Opt {
	const most = 3 * time.Second
	return []kgo.Opt{kgo.RequestTimeoutOverhead(most), kgo.DialTimeout(most)}
}

// unreadyAfter is how long a cluster may not answer before this is not ready to serve.
const unreadyAfter = 10 * time.Second

// ready says why the streams of a state do not flow.
func ready(s *watch.State) error {
	switch answered := time.UnixMilli(s.Cluster.TopicsTime); {
	case s.Cluster.TopicsTime == 0 && s.Cluster.Error == "":
		return errors.New("the cluster has not been looked at yet")
	case s.Cluster.Error != "" && time.Since(answered) > unreadyAfter: // one broker of several may not answer
		return errors.New(s.Cluster.Error)
	}
	for _, name := range slices.Sorted(maps.Keys(s.Streams)) {
		if t := s.Streams[name].Trouble; t != "" {
			return fmt.Errorf("%s: %s", name, t)
		}
	}
	return nil
}

// peekEvery is how often the cursor of a stream is read whose ingester runs elsewhere, each time at
// the price of a connection.
const peekEvery = time.Second

// ingested returns how many events a stream's topics were ever given: by the ingester where it
// runs here, otherwise by the cursor that was stored with the events; -1 where that is unknown.
func (n *Node) ingested() func(context.Context, string) int64 {
	type known struct {
		at    time.Time
		total int64
	}
	last := map[string]known{}
	return func(ctx context.Context, stream string) int64 {
		for _, l := range n.lines {
			if l.source.Name == stream && l.ingest != nil && l.task.failure() == nil {
				if s := l.ingest.Stats(); s.Commits > 0 {
					return s.Total
				}
			}
		}
		k := last[stream]
		if time.Since(k.at) < peekEvery {
			return k.total
		}
		rec, found, err := kafka.PeekCursor(ctx, n.KafkaConfig("weir-ui"), stream)
		if err != nil || !found {
			return -1
		}
		if s, err := SourceNamed(stream); err == nil { // what was shown never falls: the cursor is a moment behind
			last[stream] = known{time.Now(), max(k.total, rec.Seqs[s.Topic]+rec.Seqs[s.Account])}
		}
		return last[stream].total
	}
}

// link is the web UI's URL, with the token where one was generated. One from a file is
// left out: the user has it, and what is printed ends in logs.
func (ui *webUI) link() string {
	addr := ui.listener.Addr().String()
	// A browser cannot go to any address; one on this machine can go to loopback.
	if ip, err := netip.ParseAddrPort(addr); err == nil && ip.Addr().IsUnspecified() {
		addr = net.JoinHostPort(host, strconv.Itoa(int(ip.Port())))
	}
	u := "http://" + addr
	if ui.generated {
		u += "/?token=" + ui.token
	}
	return u
}
