package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-project/weir/internal/inspect"
	"github.com/weir-project/weir/internal/tally"
	"github.com/weir-project/weir/internal/watch"
)

// terminal opens a control socket before a server and returns a client of it.
func terminal(t *testing.T, s *Server) *Client {
	t.Helper()
	socket, err := OpenSocket(filepath.Join(t.TempDir(), "control.sock"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(socket.Close)
	c := Dial(socket.Path, socket.Token, "1.2.3")
	early := c.Ask(t.Context(), http.MethodGet, "/api/v1/log", nil, nil)
	if r, ok := errors.AsType[*RefusedError](early); !ok || r.Status != http.StatusServiceUnavailable || !strings.Contains(r.Reason, "starting") {
		t.Errorf("before the server is made: %v", early)
	}
	socket.Handle(s.Control())
	return c
}

// TestSocketWithoutUnixSockets opens the control socket where the file system has no room for a
// unix socket: commands get through with the token, and nobody else does.
func TestSocketWithoutUnixSockets(t *testing.T) {
	socket, err := OpenSocket(filepath.Join(t.TempDir(), "missing", "control.sock"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	s, _ := server(t, nil)
	socket.Handle(s.Control())
	if !Answers(socket.Path, socket.Token) {
		t.Errorf("nobody answers on %s", socket.Path)
	}
	if err := Dial(socket.Path, socket.Token, "1").Ask(t.Context(), http.MethodGet, "/api/v1/log", nil, nil); err != nil {
		t.Errorf("with the token: %v", err)
	}
	err = Dial(socket.Path, "wrong", "1").Ask(t.Context(), http.MethodGet, "/api/v1/log", nil, nil)
	if r, ok := errors.AsType[*RefusedError](err); !ok || r.Status != http.StatusUnauthorized {
		t.Errorf("with another token: %v", err)
	}
}

func server(t *testing.T, change func(*Config)) (*Server, string) {
	t.Helper()
	srv, _ := newServer(t, change)
	return srv.Config.Handler.(*Server), srv.URL
}

type fakeMembers struct{}

func (fakeMembers) Own(group string) *OwnMembers {
	if group != "mine" {
		return nil
	}
	return &OwnMembers{Members: 2, IDs: []string{}, Topic: "events", Source: "bluesky"}
}

func (fakeMembers) Add(context.Context, string) (Rebalance, error) {
	return Rebalance{Change: "added", Members: 2, Settled: true, MovedPartitions: []int32{}}, nil
}

func (fakeMembers) Remove(context.Context, string) (Rebalance, error) {
	return Rebalance{}, errors.New("no counter of this group runs here")
}

// TestTerminalAndPageShareTheActions: what a command does over the control socket is
// measured, listed and logged like what the page does.
func TestTerminalAndPageShareTheActions(t *testing.T) {
	asked := make(chan struct{}, 1)
	brokers := &fakeBrokers{}
	s, page := server(t, func(c *Config) {
		c.Brokers, c.Members = brokers, fakeMembers{}
		c.Acks = func() map[string]time.Time {
			select {
			case asked <- struct{}{}:
			default:
			}
			return map[string]time.Time{"bluesky": time.Now()}
		}
	})
	c := terminal(t, s)
	ask := func(method, path string, body, answer any) {
		t.Helper()
		if err := c.Ask(t.Context(), method, "/api/v1"+path, body, answer); err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
	}
	var killed ChangeAnswer
	ask("POST", "/brokers/2/kill", KillRequest{Hard: true}, &killed)
	if killed.Command != "weir brokers kill 2 --hard" || len(brokers.killed) != 1 {
		t.Errorf("the answer is %+v, killed were %v", killed, brokers.killed)
	}
	var changes ChangesAnswer
	ask("GET", "/brokers/changes", nil, &changes)
	if len(changes.Changes) != 1 || changes.Changes[0].From != "a terminal" || !changes.Changes[0].Measuring {
		t.Errorf("the list of changes is %+v", changes)
	}
	<-asked // somebody watches the acknowledgements
	ask("POST", "/groups/_/members/add?group=mine", nil, nil)
	if own := fmt.Sprint(get(t, page+"/api/v1/groups/mine", 404)); strings.Contains(own, "own") {
		t.Errorf("a group that does not exist: %s", own)
	}
	if list := s.actions.rebalancesOf("mine"); len(list) != 1 || list[0].From != "a terminal" {
		t.Errorf("the list of rebalances is %+v", list)
	}
	ask("POST", "/log", NoteRequest{Kind: watch.LogLab, Text: "lab batching was started from a terminal"}, nil)
	request(t, "POST", page+"/api/v1/brokers/1/restart", "", nil)
	log := fmt.Sprint(get(t, page+"/api/v1/log", 200))
	for _, want := range []string{"broker 2 was killed hard from a terminal, which took", "group mine: a member was added from a terminal, 2 members now",
		"lab batching was started from a terminal", "broker 1 was restarted from the page"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not say %q: %s", want, log)
		}
	}
	s.Close()
}

// TestRefusalsKeepTheirMeaning: a command can tell an unknown group from other errors,
// and a weir of another version from both.
func TestRefusalsKeepTheirMeaning(t *testing.T) {
	s, _ := server(t, func(c *Config) { c.Members = fakeMembers{} })
	defer s.Close()
	for name, c := range map[string]*Client{"socket": terminal(t, s), "this process": NewClient(s)} {
		reset := ResetRequest{To: "earliest"}
		if err := c.Ask(t.Context(), "POST", "/api/v1/groups/none/reset", reset, nil); !errors.Is(err, inspect.ErrNoGroup) {
			t.Errorf("%s: an unknown group: %v", name, err)
		}
		err := c.Ask(t.Context(), "POST", "/api/v1/groups/mine/members/remove", nil, nil)
		if r, ok := errors.AsType[*RefusedError](err); !ok || r.Status != http.StatusConflict || r.Reason != "no counter of this group runs here" {
			t.Errorf("%s: a conflict: %v", name, err)
		}
	}
	err := terminal(t, s).Ask(t.Context(), "POST", "/api/v2/brokers/1/melt", nil, nil)
	if err == nil || !strings.Contains(err.Error(), "version 1.2.3") || !strings.Contains(err.Error(), "does not know POST /api/v2/brokers/1/melt") {
		t.Errorf("an operation of another version: %v", err)
	}
	socket, err := OpenSocket(filepath.Join(t.TempDir(), "old.sock"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	socket.Handle(http.NotFoundHandler()) // as a weir that had another interface
	if err := Dial(socket.Path, socket.Token, "0.1").Ask(t.Context(), "GET", "/api/v1/log", nil, nil); err == nil || !strings.Contains(err.Error(), "version 0.1") {
		t.Errorf("an old weir: %v", err)
	}
}

// noTallies is a Redis that does not answer, or has counted nothing.
type noTallies struct {
	inspect.Tallies
	err error
}

func (n noTallies) All(context.Context) ([]tally.Tally, error) { return nil, n.err }

// TestReplayErrorsKeepTheirStatus: an unknown group is not found, and a Redis that does
// not answer is no conflict.
func TestReplayErrorsKeepTheirStatus(t *testing.T) {
	for want, tallies := range map[int]noTallies{404: {}, 502: {err: errors.New("connection refused")}} {
		s, page := server(t, func(c *Config) {
			c.Tallies = tallies
			c.Replay = func(context.Context, inspect.ReplayPlan, func(int64)) (inspect.Comparison, error) {
				return inspect.Comparison{}, nil
			}
		})
		if status, _, body := request(t, "POST", page+"/api/v1/groups/none/replay", `{"topic":"","confirm":""}`, nil); status != want {
			t.Errorf("%d, want %d: %s", status, want, body)
		}
		s.Close()
	}
}

// TestReplayIsRefusedWhileOneRuns: the refusal names the group that is replayed, also
// when that ends at the same moment.
func TestReplayIsRefusedWhileOneRuns(t *testing.T) {
	var v job[replaying, *inspect.Comparison]
	plan := replaying{plan: &inspect.ReplayPlan{Group: "g"}}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 200 {
				if now, ok := v.start(plan); ok {
					v.end(nil, nil)
				} else if now.plan == nil || now.plan.Group != "g" {
					t.Errorf("the replay that runs is %+v", now.plan)
				}
			}
		})
	}
	wg.Wait()
}

// TestCloseWaitsForChanges: a change that came before the end is waited for, and one
// that comes after it is refused; neither races with the waiting.
func TestCloseWaitsForChanges(t *testing.T) {
	begun, release := make(chan struct{}), make(chan struct{})
	var ended atomic.Bool
	begin := sync.OnceFunc(func() { close(begun) }) // another verification may begin before the server is closed
	s, _ := server(t, func(c *Config) {
		c.Verify = func(context.Context, func(any)) (any, error) {
			begin()
			<-release
			ended.Store(true)
			return nil, nil
		}
	})
	c := NewClient(s)
	if err := c.Ask(t.Context(), "POST", "/api/v1/verify", nil, nil); err != nil {
		t.Fatal(err)
	}
	<-begun
	var wg sync.WaitGroup
	wg.Go(func() {
		s.Close()
		if !ended.Load() {
			t.Error("the server is closed, and what it had begun goes on")
		}
	})
	for range 20 { // handlers that outlive the shutdown go on to come
		wg.Go(func() { _ = c.Ask(t.Context(), "POST", "/api/v1/verify", nil, nil) })
	}
	close(release)
	wg.Wait()
	s.Close() // a verification that had begun too late would refuse the next one by itself
	if err := c.Ask(t.Context(), "POST", "/api/v1/verify", nil, nil); err == nil || !strings.Contains(err.Error(), "stopping") {
		t.Errorf("after the end: %v", err)
	}
}
