package web

import (
	"encoding/base64"
	"testing"
)

// TestCursorsThatAreMadeUp: a cursor is the client's to send, so it can say anything. It is refused, or it
// begins at the next offset that exists; it is never an error of the cluster.
func TestCursorsThatAreMadeUp(t *testing.T) {
	srv, cl := newServer(t, nil)
	produceAll(t, cl, 30)
	for name, c := range map[string]struct {
		text string
		want int
	}{
		"not base64":                      {"", 400},
		"not JSON":                        {"hello", 400},
		"a list":                          {"[1]", 400},
		"an offset that is a text":        {`{"0":"x"}`, 400},
		"a partition beyond 32 bits":      {`{"4294967296":1}`, 400},
		"a negative offset":               {`{"0":-5}`, 200},
		"the largest offset":              {`{"0":9223372036854775807}`, 200},
		"the smallest offset":             {`{"0":-9223372036854775808}`, 200},
		"a partition that does not exist": {`{"99":0}`, 404},
		"a negative partition":            {`{"-1":0}`, 404},
		"no partition":                    {`{}`, 200},
	} {
		cursor := base64.RawURLEncoding.EncodeToString([]byte(c.text))
		if c.text == "" {
			cursor = "!!"
		}
		for _, older := range []string{"", olderCursor} {
			want := c.want
			if older != "" && want == 404 {
				want = 200 // nothing is older there
			}
			if status, _, text := request(t, "GET", srv.URL+"/api/v1/topics/events/messages?cursor="+older+cursor, "", nil); status != want {
				t.Errorf("%s%s: %d, want %d: %.200s", older, name, status, want, text)
			}
		}
	}
}
