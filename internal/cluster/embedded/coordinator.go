package embedded

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// The module derives the coordinator of a group or a transactional ID from a hash of its
// name and a generation, and knows no dead brokers. So generations are tried until the
// coordinators of everything in use live. With n names and one dead broker that takes
// 1.5^n generations on average, with two 3^n. So only as many names as are affordable are
// placed at once, those that clients asked for last. The others are placed when a client
// asks for them.
const (
	maxKeys     = 64     // names that are known
	maxRehashed = 50_000 // about 0.2 s
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
func (c *Cluster) coordinator(name string) (int32, bool) {
	c.st.Lock()
	c.keys.touch(name)
	c.st.Unlock()
	node := c.coordinatorOf(name)
	if node >= 0 && !c.brokers[node].alive() {
		c.ops.Lock()
		err := c.rehomeLocked()
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

// rehomeLocked changes the generation until the coordinators live of what clients asked
// for lately, as far as that can be had. No client uses another name before it has asked.
func (c *Cluster) rehomeLocked() error {
	alive := c.aliveIDs()
	if len(alive) == 0 || len(alive) == Size {
		return nil
	}
	c.st.Lock()
	names := slices.Clone(c.keys.names[:min(len(c.keys.names), placeable[len(alive)])])
	c.st.Unlock()
	return c.module(func(k *kfake.Cluster) error {
		lives := func(name string) bool { return slices.Contains(alive, k.CoordinatorFor(name)) }
		for budget := maxRehashed; len(names) > 0; {
			bad := slices.IndexFunc(names, func(n string) bool { budget--; return !lives(n) })
			if bad < 0 {
				return nil
			}
			if budget <= 0 {
				// Out of luck: the older half has to ask again.
				names, budget = names[:len(names)/2], maxRehashed
				continue
			}
			k.RehashCoordinators()
		}
		return nil
	})
}

// transactions lists the transactional ids; the module answers for all brokers at once.
func (c *Cluster) transactions(ctx context.Context) ([]kmsg.ListTransactionsResponseTransactionState, error) {
	resp, err := rpc[*kmsg.ListTransactionsResponse](ctx, c, 0, &kmsg.ListTransactionsRequest{Version: 1, DurationFilterMillis: -1})
	if err != nil {
		return nil, err
	}
	return resp.TransactionStates, nil
}
