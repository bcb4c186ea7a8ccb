package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// assets serves the static files, and the one page under every other path: the
// router in the browser shows what the path names. A file is packed when it is first
// asked for. The page names them under a path with their digest, where browsers keep
// them for good: a new build is asked for under a new path.
type assets struct {
	files  map[string]asset // by name; index.html is the page
	prefix string           // v/DIGEST/
}

type asset struct {
	kind, etag string
	plain      []byte
	packed     func() []byte
}

const page = "index.html"

// routed are the first words of paths that the router in the browser knows. What
// follows can be any name, such as one that looks like a file's.
var routed = []string{"topics", "groups", "brokers", "produce", "verify", "labs", "docs"}

// newAssets reads the files. The page names where, the flags with which its commands find
// this cluster.
func newAssets(files fs.FS, where Where) (*assets, error) {
	a := &assets{files: map[string]asset{}}
	var names []string
	all := sha256.New()
	err := fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := fs.ReadFile(files, name)
		if err != nil {
			return err
		}
		names = append(names, name)
		fmt.Fprintf(all, "%s\x00%d\x00%s", name, len(b), b)
		a.files[name] = asset{plain: b}
		return nil
	})
	if err != nil {
		return nil, err
	}
	a.prefix = "v/" + hex.EncodeToString(all.Sum(nil)[:8]) + "/"
	flags, err := json.Marshal(where)
	if err != nil {
		return nil, err
	}
	head := []byte(`<meta name="weir-where" content="` + html.EscapeString(string(flags)) + `">` + "\n</head>")
	a.files[page] = asset{plain: bytes.Replace(a.name(a.files[page].plain, names), []byte("</head>"), head, 1)}
	for name, f := range a.files {
		a.files[name] = newAsset(name, f.plain)
	}
	return a, nil
}

// name makes the page ask for files where they are kept for good, and for all
// modules at once: one that is found by its import costs a round of its own.
func (a *assets) name(index []byte, names []string) []byte {
	text := string(index)
	var preload strings.Builder
	slices.Sort(names)
	for _, n := range names {
		text = strings.ReplaceAll(text, `"/`+n+`"`, `"/`+a.prefix+n+`"`)
		if path.Ext(n) == ".js" && n != "app.js" {
			fmt.Fprintf(&preload, `<link rel="modulepreload" href="/%s%s">`+"\n", a.prefix, n)
		}
	}
	return []byte(strings.Replace(text, `<script type="module"`, preload.String()+`<script type="module"`, 1))
}

func newAsset(name string, plain []byte) asset {
	sum := sha256.Sum256(plain)
	f := asset{kind: mime.TypeByExtension(path.Ext(name)), etag: `"` + hex.EncodeToString(sum[:8]) + `"`, plain: plain}
	if path.Ext(name) == ".js" {
		f.kind = "text/javascript; charset=utf-8" // whatever this machine's tables say
	}
	f.packed = sync.OnceValue(func() []byte {
		var b bytes.Buffer
		w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // a level that exists
		_, _ = w.Write(plain)                                 // to memory
		_ = w.Close()
		return b.Bytes()
	})
	return f
}

func (a *assets) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		http.Error(w, "pages are only read", http.StatusMethodNotAllowed)
		return
	}
	name := strings.TrimPrefix(path.Clean(r.URL.Path), "/")
	name, kept := strings.CutPrefix(name, a.prefix)
	f, ok := a.files[name]
	first, _, _ := strings.Cut(name, "/")
	h := w.Header()
	switch {
	case ok && kept:
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	case !ok && (kept || path.Ext(name) != "" && !slices.Contains(routed, first)):
		http.NotFound(w, r)
		return
	default:
		h.Set("Cache-Control", "no-cache")
	}
	if !ok {
		f = a.files[page]
	}
	h.Set("Content-Type", f.kind)
	h.Set("ETag", f.etag)
	h.Set("Vary", "Accept-Encoding")
	b := f.plain
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") && len(f.packed()) < len(f.plain) {
		b = f.packed()
		h.Set("Content-Encoding", "gzip")
		h.Set("Content-Length", strconv.Itoa(len(b)))
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(b))
}
