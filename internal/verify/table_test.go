package verify

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"testing"
)

// TestTable compares the table with a map, full to its limit, over many rounds, with hashes that
// begin at the same entry, and where the number of the round begins again.
func TestTable(t *testing.T) {
	const limit = 100
	r := rand.New(rand.NewPCG(3, 4))
	table := newTable(limit)
	table.round = math.MaxUint32 - 20
	for round := range 50 {
		table.clear()
		want := map[hash]place{}
		for n := range 10 * limit {
			var h hash
			binary.LittleEndian.PutUint64(h[:], r.Uint64N(2))
			binary.LittleEndian.PutUint64(h[8:], r.Uint64N(150)<<(r.IntN(2)*40)) // half of them at entry 0
			at := place{portion: r.Uint32(), offset: r.Int64()}
			e := table.find(h)
			was, ok := want[h]
			if found := e.round == table.round; found != ok || found && e.place() != was {
				t.Fatalf("round %d, step %d: found %t %v, want %t %v", round, n, found, e.place(), ok, was)
			}
			switch {
			case ok:
				e.set(at)
			case len(want) < limit:
				table.put(e, h, at)
			default:
				continue
			}
			want[h] = at
		}
		if table.n != len(want) || table.n != limit {
			t.Fatalf("round %d: %d entries, want %d", round, table.n, len(want))
		}
	}
	if table.round == 0 || table.round > 50 {
		t.Errorf("the number of the round did not begin again: %d", table.round)
	}
}
