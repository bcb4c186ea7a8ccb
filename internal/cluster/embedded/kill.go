package embedded

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ErrNoBroker is returned for an id outside 0 to Size-1.
var ErrNoBroker = errors.New("no such broker")

// ErrDead and ErrAlive are returned by Kill and Restart when there is nothing to do.
var (
	ErrDead  = errors.New("the broker is already dead")
	ErrAlive = errors.New("the broker is already running")
)

// Broker is what one broker is and does at one moment.
type Broker struct {
	ID         int32
	Addr       string // host:port that clients are told
	Alive      bool
	Controller bool // whether it answers what only the controller may
	// Leaders is the number of partitions it leads, Preferred the number that it
	// leads when all brokers live.
	Leaders, Preferred int
	Connections        int
}

// Brokers describes the brokers, in the order of their ids.
func (c *Cluster) Brokers(ctx context.Context) ([]Broker, error) {
	all, err := c.topology(ctx)
	if err != nil {
		return nil, fmt.Errorf("describe brokers: %w", err)
	}
	out := make([]Broker, Size)
	controller := c.controllerID()
	for i, b := range c.brokers {
		b.mu.Lock()
		out[i] = Broker{
			ID: b.id, Addr: b.addr.String(), Alive: b.sock != nil,
			Controller: b.id == controller, Connections: len(b.conns),
		}
		b.mu.Unlock()
	}
	for _, p := range all {
		if p.leader >= 0 && p.leader < Size && out[p.leader].Alive {
			out[p.leader].Leaders++
		}
	}
	c.st.Lock()
	defer c.st.Unlock()
	for _, id := range c.preferred {
		out[id].Preferred++
	}
	return out, nil
}

// Kill makes a broker go away as if its machine had lost power: its port refuses,
// its connections are reset, its leaders and coordinators move to the others and
// metadata no longer lists it. Its data is the cluster's, so nothing is lost.
// The last live broker can be killed too: then nobody answers, producers and
// consumers wait, and the first Restart goes on where everything stopped.
func (c *Cluster) Kill(ctx context.Context, id int32) error {
	b, err := c.broker(id)
	if err != nil {
		return err
	}
	c.ops.Lock()
	defer c.ops.Unlock()
	if !b.alive() {
		return fmt.Errorf("kill broker %d: %w", id, ErrDead)
	}
	b.cut()
	alive := c.aliveIDs()
	c.st.Lock()
	if c.controller == id && len(alive) > 0 {
		c.controller = alive[0]
	}
	c.st.Unlock()
	c.log.Info("broker killed", "broker", id, "alive", len(alive))
	if err := c.settleLocked(ctx); err != nil {
		return fmt.Errorf("kill broker %d: move its leaders: %w", id, err)
	}
	if err := c.rehomeLocked(ctx, ""); err != nil {
		return fmt.Errorf("kill broker %d: move its coordinators: %w", id, err)
	}
	return nil
}

// Restart brings a killed broker back on the port that it had; when another
// program has taken it meanwhile the error is an *AddrError. Leaders move back to
// where they are even.
func (c *Cluster) Restart(ctx context.Context, id int32) error {
	b, err := c.broker(id)
	if err != nil {
		return err
	}
	c.ops.Lock()
	defer c.ops.Unlock()
	if b.alive() {
		return fmt.Errorf("restart broker %d: %w", id, ErrAlive)
	}
	if err := c.module(func(*kfake.Cluster) error { return b.listen() }); err != nil {
		return fmt.Errorf("restart broker %d: %w", id, err)
	}
	c.st.Lock()
	if !c.brokers[c.controller].alive() {
		c.controller = id
	}
	c.st.Unlock()
	c.log.Info("broker restarted", "broker", id)
	err = c.settleLocked(ctx)
	if err == nil {
		err = c.rehomeLocked(ctx, "")
	}
	b.serve()
	if err != nil {
		return fmt.Errorf("restart broker %d: %w", id, err)
	}
	return nil
}

func (c *Cluster) broker(id int32) (*broker, error) {
	if id < 0 || int(id) >= len(c.brokers) {
		return nil, fmt.Errorf("broker %d: %w (there are 0 to %d)", id, ErrNoBroker, Size-1)
	}
	return c.brokers[id], nil
}

func (c *Cluster) aliveIDs() []int32 {
	var ids []int32
	for _, b := range c.brokers {
		if b.alive() {
			ids = append(ids, b.id)
		}
	}
	return ids
}

func (c *Cluster) controllerID() int32 {
	c.st.Lock()
	defer c.st.Unlock()
	return c.controller
}

// Coordinators. The module derives the coordinator of a group or a transactional
// id from a hash of its name and a generation, and knows no dead brokers. So
// generations are tried until the coordinator of everything in use lives. With n
// names and one dead broker that takes 1.5^n generations on average, with two 3^n,
// so only as many names as can be had at once are placed, those asked for lately
// first. The others are placed when somebody asks for them.
const (
	maxKeys      = 64     // names that are known
	maxQuestions = 50_000 // about 0.2 s
)

// placeable is how many names, by the number of live brokers, take about 3,000
// generations to place.
var placeable = [Size + 1]int{1: 7, 2: 20}

// recentKeys is a set of groups and transactional ids, newest first.
type recentKeys struct{ names []string }

func (r *recentKeys) touch(name string) {
	if i := slices.Index(r.names, name); i >= 0 {
		r.names = slices.Delete(r.names, i, i+1)
	} else if len(r.names) >= maxKeys {
		r.names = r.names[:maxKeys-1]
	}
	r.names = slices.Insert(r.names, 0, name)
}

// coordinator returns a live broker for a group or a transactional id, and false
// when there is none.
func (c *Cluster) coordinator(ctx context.Context, name string) (int32, bool) {
	c.st.Lock()
	c.keys.touch(name)
	c.st.Unlock()
	node := c.coordinatorOf(name)
	if node >= 0 && !c.brokers[node].alive() {
		c.ops.Lock()
		err := c.rehomeLocked(ctx, name)
		c.ops.Unlock()
		if err != nil {
			c.log.Warn("move coordinators", "error", err)
			return 0, false
		}
		node = c.coordinatorOf(name)
	}
	return node, node >= 0 && c.brokers[node].alive()
}

func (c *Cluster) coordinatorOf(name string) int32 {
	node := int32(-1)
	_ = c.module(func(k *kfake.Cluster) error {
		node = k.CoordinatorFor(name)
		return nil
	})
	return node
}

// rehomeLocked changes the generation until the coordinators live: of first, of
// what was asked for lately, and of every group and transactional id there is, as
// far as that can be had.
func (c *Cluster) rehomeLocked(ctx context.Context, first string) error {
	alive := c.aliveIDs()
	if len(alive) == 0 || len(alive) == Size {
		return nil
	}
	names, err := c.names(ctx, first)
	if err != nil {
		return err
	}
	names = names[:min(len(names), placeable[len(alive)])]
	return c.module(func(k *kfake.Cluster) error {
		lives := func(name string) bool { return slices.Contains(alive, k.CoordinatorFor(name)) }
		for budget := maxQuestions; len(names) > 0; {
			bad := slices.IndexFunc(names, func(n string) bool { budget--; return !lives(n) })
			if bad < 0 {
				return nil
			}
			if budget <= 0 {
				// Out of luck: the older half has to ask again.
				names, budget = names[:len(names)/2], maxQuestions
				continue
			}
			k.RehashCoordinators()
		}
		return nil
	})
}

// names returns every group and transactional id, the ones in use first.
func (c *Cluster) names(ctx context.Context, first string) ([]string, error) {
	var names []string
	add := func(n string) {
		if n != "" && !slices.Contains(names, n) && len(names) < maxKeys {
			names = append(names, n)
		}
	}
	add(first)
	c.st.Lock()
	for _, n := range c.keys.names {
		add(n)
	}
	c.st.Unlock()
	for i := range c.brokers {
		req := kmsg.NewPtrListGroupsRequest()
		req.Version = 4
		resp, err := ask[*kmsg.ListGroupsResponse](ctx, c, int32(i), req)
		if err != nil {
			return nil, err
		}
		for _, g := range resp.Groups {
			add(g.Group)
		}
	}
	txns, err := c.transactions(ctx)
	if err != nil {
		return nil, err
	}
	for _, t := range txns {
		add(t.TransactionalID)
	}
	return names, nil
}

// transactions lists the transactional ids; the module answers for all brokers at once.
func (c *Cluster) transactions(ctx context.Context) ([]kmsg.ListTransactionsResponseTransactionState, error) {
	req := kmsg.NewPtrListTransactionsRequest()
	req.Version = 1
	req.DurationFilterMillis = -1
	resp, err := ask[*kmsg.ListTransactionsResponse](ctx, c, 0, req)
	if err != nil {
		return nil, err
	}
	return resp.TransactionStates, nil
}
