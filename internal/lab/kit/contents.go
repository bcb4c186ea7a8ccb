package kit

import "fmt"

// Contents is what topics hold, compared with what was written to them: events with the numbers from
// 0, each of which must be there once, and those of one key in their order.
type Contents struct {
	Lost    int64 // that are not there
	Twice   int64 // that were there already
	Foreign int64 // whose number was not written
	Late    int64 // that came after a later one of their key

	there  []bool
	newest map[string]int64 // by key
}

// Expect returns the contents of which nothing was found yet, of so many events.
func Expect(events int64) Contents {
	return Contents{Lost: events, there: make([]bool, events), newest: map[string]int64{}}
}

// Find notes an event. Whatever its key is, an event that comes again is not late.
func (c *Contents) Find(n int64, key string) {
	switch {
	case n < 0 || n >= int64(len(c.there)):
		c.Foreign++
	case c.there[n]:
		c.Twice++
	default:
		c.there[n] = true
		c.Lost--
		if n < c.newest[key] {
			c.Late++
		}
		c.newest[key] = max(c.newest[key], n)
	}
}

// Has reports whether an event was found.
func (c *Contents) Has(n int64) bool { return c.there[n] }

// Hole is the most events in a row that were not found.
func (c *Contents) Hole() (longest int64) {
	run := int64(0)
	for _, ok := range c.there {
		if run++; ok {
			run = 0
		}
		longest = max(longest, run)
	}
	return longest
}

// String lists what must not be there.
func (c *Contents) String() string {
	return fmt.Sprintf("%d lost, %d duplicated, %d late", c.Lost, c.Twice, c.Late)
}
