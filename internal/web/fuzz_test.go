package web

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
)

// FuzzQuery reads what to read from addresses of any text. What is not understood is the client's fault,
// and what is taken is within its bounds.
func FuzzQuery(f *testing.F) {
	f.Add("from=offset&offset=-5&n=7&partition=3&partition=4")
	f.Add("from=time&time=2h&isolation=uncommitted&text=x&regexp=a%2B&header=kind%3Dx&path=.a.b")
	f.Add("cursor=older.eyIwIjo1fQ&key=k")
	f.Add("cursor=eyIwIjotNX0")
	f.Fuzz(func(t *testing.T, query string) {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
		r.URL = &url.URL{Path: "/", RawQuery: query}
		r.SetPathValue("topic", "t")
		q, err := readQuery(r)
		if err != nil {
			var known *statusError
			if !errors.As(err, &known) || known.status != http.StatusBadRequest {
				t.Errorf("%q: %v", query, err)
			}
			return
		}
		if q.n < 1 || q.n > maxShown || q.Topic != "t" {
			t.Errorf("%q: %d messages of %q", query, q.n, q.Topic)
		}
		for _, p := range q.Partitions {
			if p < 0 {
				t.Errorf("%q: partition %d", query, p)
			}
		}
	})
}
