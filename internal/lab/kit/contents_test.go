package kit

import "testing"

func TestContents(t *testing.T) {
	t.Parallel()
	c := Expect(10)
	for _, x := range []struct {
		n   int64
		key string
	}{{0, "a"}, {2, "a"}, {1, "a"}, {3, "b"}, {2, "b"}, {3, "b"}, {10, "a"}, {-1, "a"}, {9, "a"}, {8, "c"}} {
		c.Find(x.n, x.key)
	}
	// 1 comes after 2; 2 and 3 come again; 10 and -1 are not expected; 4 to 7 are missing.
	if c.Lost != 4 || c.Twice != 2 || c.Foreign != 2 || c.Late != 1 || c.Hole() != 4 || !c.Has(9) || c.Has(4) {
		t.Errorf("%v, %d foreign, a hole of %d", &c, c.Foreign, c.Hole())
	}
	if text := c.String(); text != "4 lost, 2 duplicated, 1 late" {
		t.Errorf("the text is %q", text)
	}
}
