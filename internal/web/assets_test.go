package web

import (
	"compress/gzip"
	"io"
	"io/fs"
	"net/http"
	"path"
	"regexp"
	"strings"
	"testing"
)

// maxAssets is what all files together may weigh on the wire, in bytes.
const maxAssets = 150_000

func TestAssetsAreLightAndKept(t *testing.T) {
	srv, _ := newServer(t, nil)
	status, h, index := request(t, "GET", srv.URL+"/topics/any", "", nil)
	if status != 200 || h.Get("Cache-Control") != "no-cache" || h.Get("ETag") == "" || !strings.HasPrefix(h.Get("Content-Type"), "text/html") {
		t.Fatalf("the page: %d %v", status, h)
	}
	if status, _, body := request(t, "GET", srv.URL+"/", "", map[string]string{"If-None-Match": h.Get("ETag")}); status != 304 || body != "" {
		t.Errorf("the page that is known is sent again: %d, %d bytes", status, len(body))
	}
	// Everything that the page names is there for good, and every module is named.
	named := map[string]bool{}
	total := 0
	for _, m := range regexp.MustCompile(`(?:href|src)="(/v/[0-9a-f]{16}/([^"]+))"`).FindAllStringSubmatch(index, -1) {
		if named[m[2]] {
			continue
		}
		named[m[2]] = true
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, srv.URL+m[1], nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Accept-Encoding", "gzip")
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		packed, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Errorf("%s: %d %v", m[1], resp.StatusCode, err)
			continue
		}
		total += len(packed)
		if !strings.Contains(resp.Header.Get("Cache-Control"), "immutable") {
			t.Errorf("%s is not kept: %v", m[1], resp.Header)
		}
		want, err := fs.ReadFile(static, "static/"+m[2])
		if err != nil {
			t.Errorf("%s is named by the page: %v", m[2], err)
			continue
		}
		got := string(packed)
		if resp.Header.Get("Content-Encoding") == "gzip" {
			z, err := gzip.NewReader(strings.NewReader(got))
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(z)
			if err != nil {
				t.Fatal(err)
			}
			got = string(b)
		}
		if got != string(want) {
			t.Errorf("%s is not what the file holds", m[1])
		}
	}
	err := fs.WalkDir(static, "static", func(name string, d fs.DirEntry, err error) error {
		if path.Ext(name) == ".js" && !named[strings.TrimPrefix(name, "static/")] {
			t.Errorf("the page does not ask for %s at once", name)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d files, %d bytes on the wire", len(named), total)
	if total > maxAssets || len(named) < 15 {
		t.Errorf("%d files weigh %d bytes, want at most %d", len(named), total, maxAssets)
	}
	if status, _, _ := request(t, "GET", srv.URL+"/v/0000000000000000/app.js", "", nil); status != 404 {
		t.Errorf("a file of another build: %d", status)
	}
}
