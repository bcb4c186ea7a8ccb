package web

import (
	"strings"
	"testing"
)

// TestTokensThatAreWrong: what is not the token lets nobody in, wherever it stands.
func TestTokensThatAreWrong(t *testing.T) {
	srv, _ := newServer(t, func(c *Config) { c.Token = "secret" })
	state := srv.URL + "/api/v1/state"
	for _, wrong := range []string{"", "wrong", "secre", "secrets", "Secret", "secret "} {
		for what, headers := range map[string]map[string]string{
			"cookie": {"Cookie": tokenCookie + "=" + wrong},
			"bearer": {"Authorization": "Bearer " + wrong},
		} {
			if trimmed := strings.TrimSpace(wrong); trimmed == "secret" {
				continue // the space at the end is the header's
			}
			if status, _, _ := request(t, "GET", state, "", headers); status != 401 {
				t.Errorf("%s %q: %d", what, wrong, status)
			}
		}
	}
	for what, headers := range map[string]map[string]string{
		"another cookie": {"Cookie": "session=secret"},
		"another scheme": {"Authorization": "Basic secret"},
		"no scheme":      {"Authorization": "secret"},
	} {
		if status, _, _ := request(t, "GET", state, "", headers); status != 401 {
			t.Errorf("%s: %d", what, status)
		}
	}
	status, h, _ := request(t, "GET", srv.URL+"/?token=secrets", "", nil)
	if status != 401 || h.Get("Set-Cookie") != "" {
		t.Errorf("a link with another token: %d, cookie %q", status, h.Get("Set-Cookie"))
	}
	// A form on another page can send a POST with any address, and no header.
	status, h, _ = request(t, "POST", srv.URL+"/api/v1/groups/g/reset?token=secret", "{}", nil)
	if status != 401 || h.Get("Set-Cookie") != "" {
		t.Errorf("a change with the token in its address: %d, cookie %q", status, h.Get("Set-Cookie"))
	}
}
