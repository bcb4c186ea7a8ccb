package groups

import (
	"context"
	"errors"
	"strconv"

	"github.com/weir-project/weir/internal/lab/record"
)

// Values of the controls.
const (
	goesOn = "goes on"
	paused = "paused"
	nobody = "nobody"
)

// maxMembers bounds the members that a user can ask for.
const maxMembers = 8

// play lets the user change the groups for a while: pause the slow one, and add, remove
// and kill members of the others. The claims about counts and records stay.
func (g *run) play(ctx context.Context) error {
	if g.s.Play <= 0 {
		return nil
	}
	changes := make(chan func() error, 64)
	g.offer(ctx, changes)
	defer g.b.Withdraw()
	end := g.now() + g.s.Play.Seconds()
	var failed error
	err := g.until(ctx, "change the groups by hand", func(int64, int64) bool {
		select {
		case change := <-changes:
			failed = change()
		default:
		}
		return failed != nil || g.now() >= end
	})
	if errors.Is(err, errStuck) { // it ends when its time is over
		g.stuck, err = "", nil
	}
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	return g.pauseSlow(false)
}

// offer offers the controls, which send changes to be made between two looks at the groups.
func (g *run) offer(ctx context.Context, changes chan<- func() error) {
	ask := func(change func() error) error {
		select {
		case changes <- change:
			return nil
		default:
			return errors.New("too many changes at once: wait until the last ones are done")
		}
	}
	slow := record.Control{Name: "slow", Label: "the slow group", Values: []string{goesOn, paused}, Value: goesOn}
	g.b.Offer(slow, func(v string) error { return ask(func() error { return g.pauseSlow(v == paused) }) })
	for _, x := range g.groups {
		name := string(x.protocol)
		members, kill := "members-"+name, "kill-"+name
		g.b.Offer(record.Control{Name: members, Label: "members of " + name, Min: 1, Max: maxMembers, Unit: "members", Value: strconv.Itoa(len(x.alive()))},
			func(v string) error {
				n, err := strconv.Atoi(v)
				if err != nil {
					return err
				}
				return ask(func() error { return x.resize(ctx, n) })
			})
		g.b.Offer(record.Control{Name: kill, Label: "killed in " + name, Values: []string{nobody, "a member"}, Value: nobody},
			func(v string) error {
				switch {
				case v == nobody:
					return nil
				case len(x.alive()) < 2:
					return errors.New("the last member stays: no other member could take its partitions over")
				}
				return ask(func() (err error) {
					if len(x.alive()) > 1 { // the last one is not taken
						err = g.killOne(ctx, x)
					}
					g.b.Became(kill, nobody)
					g.b.Became(members, strconv.Itoa(len(x.alive())))
					return err
				})
			})
	}
}

// pauseSlow stops the members of the slow group, or starts one where there is none.
func (g *run) pauseSlow(pause bool) error {
	have := g.counters[slowGroup]
	if !pause && len(have) == 0 {
		return g.count(slowGroup)
	}
	if pause {
		for _, c := range have {
			c.stop()
		}
		g.counters[slowGroup] = nil
	}
	return nil
}

// resize lets members join or leave until there are n.
func (g *group) resize(ctx context.Context, n int) error {
	for len(g.alive()) > n {
		g.leave(g.alive()[0])
	}
	for len(g.alive()) < n {
		if err := g.join(context.WithoutCancel(ctx)); err != nil {
			return err
		}
	}
	return nil
}
