package groups

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

// play lets the reader change the groups for a while: pause the slow one, and add, remove
// and kill members of the others. The claims about counts and records stay.
func (g *run) play(ctx context.Context) error {
	if g.s.Play <= 0 {
		return nil
	}
	wishes := make(chan wish, 64)
	withdraw := g.offer(wishes)
	defer withdraw()
	end := g.now() + g.s.Play.Seconds()
	var failed error
	err := g.until(ctx, "change the groups by hand", func(int64, int64) bool {
		select {
		case w := <-wishes:
			failed = g.fulfil(ctx, w)
		default:
		}
		return failed != nil || g.now() >= end
	})
	if errors.Is(err, errStuck) { // it ends when its time is over
		g.stuck, err = "", nil
	}
	err = errors.Join(err, failed)
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
func (g *run) offer(wishes chan<- wish) (withdraw func()) {
	ask := func(w wish) error {
		select {
		case wishes <- w:
			return nil
		default:
			return errors.New("too many changes at once: wait until the last ones are done")
		}
	}
	withdraws := []func(){g.b.Offer(record.Control{Name: "slow", Label: "the slow group", Values: []string{goesOn, paused}, Value: goesOn},
		func(v string) error { return ask(wish{pause: v == paused}) })}
	for _, x := range g.groups {
		p := x.protocol
		withdraws = append(withdraws,
			g.b.Offer(record.Control{Name: membersControl(p), Label: "members of " + string(p), Min: 1, Max: maxMembers, Unit: "members", Value: strconv.Itoa(len(x.alive()))},
				func(v string) error {
					n, err := strconv.Atoi(v)
					if err != nil {
						return fmt.Errorf("%q is not a number of members", v)
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

// maxMembers bounds what a reader can ask for.
const maxMembers = 8

func (g *run) offerDeath(x *group, ask func(wish) error) (withdraw func()) {
	return g.b.Offer(record.Control{Name: killControl(x.protocol), Label: "killed in " + string(x.protocol), Values: []string{nobody, "a member"}, Value: nobody},
		func(v string) error {
			switch {
			case v == nobody:
				return nil
			case len(x.alive()) < 2:
				return errors.New("the last member stays: no other member could take its partitions over")
			}
			return ask(wish{protocol: x.protocol})
		})
}

// fulfil does what was asked for.
func (g *run) fulfil(ctx context.Context, w wish) error {
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
				err = g.killOne(ctx, x)
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
