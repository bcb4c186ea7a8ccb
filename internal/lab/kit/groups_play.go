package kit

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/weir-project/weir/internal/lab/record"
)

// wish is something that a reader asks for through a control.
type wish struct {
	protocol Protocol // empty: the slow group
	members  int      // that the group shall have; 0: one of them dies
	pause    bool     // of the slow group
}

// play leaves the groups to whoever watches, for a while: the slow one can be paused,
// and members of the others come, go and die. What is claimed of counts and records
// stays claimed.
func (g *groupsRun) play(ctx context.Context) error {
	if g.s.Play <= 0 {
		return nil
	}
	wishes := make(chan wish, 64)
	withdraw := g.offer(wishes)
	defer withdraw()
	end := g.now() + g.s.Play.Seconds()
	var failed error
	err := g.until(ctx, "yours to play with", func(int64, int64) bool {
		select {
		case w := <-wishes:
			failed = g.fulfil(ctx, w)
		default:
		}
		return failed != nil || g.now() >= end
	})
	g.stuck = "" // it ends when its time is over
	if err == nil {
		err = failed
	}
	if err == nil && len(g.counters[slowGroup]) == 0 {
		err = g.count(slowGroup)
	}
	return err
}

const (
	goesOn = "goes on"
	paused = "paused"
	nobody = "nobody"
)

// offer offers the controls.
func (g *groupsRun) offer(wishes chan<- wish) (withdraw func()) {
	ask := func(w wish) error {
		select {
		case wishes <- w:
			return nil
		default:
			return errors.New("too much at once: wait until the last wishes are fulfilled")
		}
	}
	withdraws := []func(){g.b.Offer(record.Control{Name: "slow", Label: "the slow group", Values: []string{goesOn, paused}, Value: goesOn},
		func(v string) error { return ask(wish{pause: v == paused}) })}
	for _, x := range g.groups {
		p := x.protocol
		withdraws = append(withdraws,
			g.b.Offer(record.Control{Name: membersControl(p), Label: "members of " + string(p), Min: 1, Max: maxGroupMembers, Unit: "members", Value: strconv.Itoa(len(x.alive()))},
				func(v string) error {
					n, err := strconv.Atoi(v)
					if err != nil {
						return fmt.Errorf("%q members are no whole number", v)
					}
					return ask(wish{protocol: p, members: n})
				}),
			g.offerDeath(x, ask))
	}
	return func() {
		for _, w := range withdraws {
			w()
		}
	}
}

// The controls of a protocol's group.
func membersControl(p Protocol) string { return "members-" + string(p) }
func killControl(p Protocol) string    { return "kill-" + string(p) }

// maxGroupMembers bounds what a reader can ask for.
const maxGroupMembers = 8

func (g *groupsRun) offerDeath(x *groupRun, ask func(wish) error) (withdraw func()) {
	return g.b.Offer(record.Control{Name: killControl(x.protocol), Label: "who dies in " + string(x.protocol), Values: []string{nobody, "a member"}, Value: nobody},
		func(v string) error {
			switch {
			case v == nobody:
				return nil
			case len(x.alive()) < 2:
				return errors.New("the last member stays: nobody would take its partitions over")
			}
			return ask(wish{protocol: x.protocol})
		})
}

// fulfil does what was asked for.
func (g *groupsRun) fulfil(ctx context.Context, w wish) error {
	if w.protocol == "" {
		have := g.counters[slowGroup]
		switch {
		case w.pause && len(have) > 0:
			for _, c := range have {
				c.end()
			}
			g.counters[slowGroup] = nil
		case !w.pause && len(have) == 0:
			return g.count(slowGroup)
		}
		return nil
	}
	for _, x := range g.groups {
		if x.protocol != w.protocol {
			continue
		}
		if w.members == 0 {
			var err error
			if len(x.alive()) > 1 { // the last one is not taken
				err = g.die(ctx, x)
			}
			g.b.Became(killControl(x.protocol), nobody)
			g.b.Became(membersControl(x.protocol), strconv.Itoa(len(x.alive())))
			return err
		}
		for len(x.alive()) > w.members {
			x.leave(x.alive()[0])
		}
		for len(x.alive()) < w.members {
			if err := x.join(context.WithoutCancel(ctx)); err != nil {
				return err
			}
		}
	}
	return nil
}
