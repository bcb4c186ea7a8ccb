package local

import "testing"

// TestFree asks for ports again and again: a cluster may ask for those of each listener, and
// none of its brokers has bound one yet.
func TestFree(t *testing.T) {
	seen := map[string]bool{}
	for range 600 {
		addrs, err := Free("127.0.0.1", 3)
		if err != nil || len(addrs) != 3 {
			t.Fatalf("3 addresses: got %v, error %v", addrs, err)
		}
		for _, a := range addrs {
			if seen[a] {
				t.Fatalf("%s was returned twice, the second time after %d others", a, len(seen))
			}
			seen[a] = true
		}
	}
}
