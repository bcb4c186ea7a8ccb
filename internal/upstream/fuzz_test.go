package upstream

import (
	"net"
	"strings"
	"testing"
)

// FuzzURL takes what a user can give for a stream. No error has the password in it, and what is taken has
// an address.
func FuzzURL(f *testing.F) {
	f.Add("wss", "h:1/subscribe?x=y#f")
	f.Add("ws", "%zz")
	f.Add("http", "[::1")
	f.Add("https", "h:port/")
	f.Add("#", "h") // the parser finds no user
	const password = "hunter2hunter2"
	f.Fuzz(func(t *testing.T, scheme, rest string) {
		if strings.Contains(scheme+rest, password) {
			t.Skip("another place than that of the password")
		}
		if _, err := ParseURL("x", "y", scheme+"://user:"+password+"@"+rest, "want", "ws", "wss"); err == nil || strings.Contains(err.Error(), password) {
			t.Errorf("a URL with a password: %v", err)
		}
		u, err := ParseURL("x", "y", scheme+"://"+rest, "want", "ws", "wss")
		if err != nil {
			return
		}
		if _, _, err := net.SplitHostPort(Address(u)); err != nil || u.Fragment != "" || u.Hostname() == "" {
			t.Errorf("%q is taken, with the address %q (%v)", rest, Address(u), err)
		}
	})
}
