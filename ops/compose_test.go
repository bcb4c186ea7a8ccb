package ops

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func lines(t *testing.T, name string) []string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", name))
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(raw), "\n")
}

var (
	anchor = regexp.MustCompile(`^x-[a-z-]+: &([a-z-]+)$`)
	merge  = regexp.MustCompile(`^ +<<: \*([a-z-]+)$`)
	name   = regexp.MustCompile(`^  ([a-z0-9]+):$`)
	port   = regexp.MustCompile(`^    ports: \["127\.0\.0\.1:[0-9]+:[0-9]+"\]$`)
	image  = regexp.MustCompile(`^ +image: (\S+)$`)
)

// services returns the services of compose.yaml, each with the lines of what it
// merges in. It reads the form in which the file is written, not all of YAML: the
// tier that runs `docker-compose config` reads the rest.
func services(t *testing.T) map[string][]string {
	t.Helper()
	anchors, all := map[string][]string{}, map[string][]string{}
	var add func(string)
	inServices := false
	for _, l := range lines(t, "compose.yaml") {
		if l == "" || strings.HasPrefix(strings.TrimSpace(l), "#") {
			continue
		}
		if strings.Contains(l, "\t") {
			t.Errorf("a tab, which YAML does not take: %q", l)
		}
		if l[0] != ' ' {
			inServices, add = l == "services:", func(string) {}
			if m := anchor.FindStringSubmatch(l); m != nil {
				add = func(l string) { anchors[m[1]] = append(anchors[m[1]], l) }
			}
			continue
		}
		if m := name.FindStringSubmatch(l); m != nil && inServices {
			add = func(l string) { all[m[1]] = append(all[m[1]], l) }
			add("")
			continue
		}
		if m := merge.FindStringSubmatch(l); m != nil {
			if anchors[m[1]] == nil {
				t.Errorf("nothing is called %s above %q", m[1], l)
			}
			shift := strings.Repeat(" ", len(l)-len(strings.TrimLeft(l, " "))-2)
			for _, merged := range anchors[m[1]] {
				add(shift + merged)
			}
			continue
		}
		add(l)
	}
	return all
}

// TestCompose: every service is hardened, healthy only when it says so, keeps its
// data, and is reached from this machine only.
func TestCompose(t *testing.T) {
	all := services(t)
	for _, want := range []string{"kafka1", "kafka2", "kafka3", "redis", "weir"} {
		s := all[want]
		for _, line := range []string{"    cap_drop: [ALL]", `    security_opt: ["no-new-privileges:true"]`, "    healthcheck:", "    restart: unless-stopped"} {
			if !slices.Contains(s, line) {
				t.Errorf("%s lacks %q", want, strings.TrimSpace(line))
			}
		}
		if n := count(s, port); n != 1 {
			t.Errorf("%s publishes %d lines of ports on the loopback address", want, n)
		}
		for _, l := range s {
			switch key := strings.TrimSpace(l); {
			case strings.HasPrefix(key, "ports:") && !port.MatchString(l):
				t.Errorf("%s publishes on more than the loopback address: %s", want, key)
			case strings.HasPrefix(key, "user:") && (strings.Contains(key, `"0`) || strings.Contains(key, "root")):
				t.Errorf("%s runs as root", want)
			case strings.HasPrefix(key, "privileged:"), strings.HasPrefix(key, "cap_add:"), strings.HasPrefix(key, "network_mode:"):
				t.Errorf("%s has %s", want, key)
			}
			if m := image.FindStringSubmatch(l); m != nil {
				_, tag, _ := strings.Cut(m[1], ":")
				if tag == "" || tag == "latest" {
					t.Errorf("%s runs whatever %s is today", want, m[1])
				}
			}
		}
		if count(s, image) != 1 || count(s, regexp.MustCompile(`^    user: "[0-9]+:[0-9]+"$`)) != 1 {
			t.Errorf("%s does not name one image and one user", want)
		}
		if count(s, regexp.MustCompile(`^    volumes: \["`+want+`:/`)) != 1 || !slices.Contains(lines(t, "compose.yaml"), "  "+want+":") {
			t.Errorf("%s keeps nothing in a volume of its own", want)
		}
	}
	if len(all) != 5 {
		t.Errorf("there are %d services", len(all))
	}
	for _, want := range []string{"redis", "weir"} {
		if !slices.Contains(all[want], "    read_only: true") {
			t.Errorf("%s can write to its image", want)
		}
	}
	redis := strings.Join(all["redis"], "\n")
	for _, want := range []string{`"--appendonly", "yes"`, `"--maxmemory-policy", "noeviction"`} {
		if !strings.Contains(redis, want) {
			t.Errorf("redis lacks %s", want)
		}
	}
}

func count(lines []string, re *regexp.Regexp) (n int) {
	for _, l := range lines {
		if re.MatchString(l) {
			n++
		}
	}
	return n
}

// TestDockerfile: the image has a user without rights, no moving base, and the
// data directory that compose mounts.
func TestDockerfile(t *testing.T) {
	d := lines(t, "Dockerfile")
	version := ""
	for _, l := range lines(t, "go.mod") {
		if v, ok := strings.CutPrefix(l, "go "); ok {
			version = strings.Join(strings.Split(v, ".")[:2], ".")
		}
	}
	for _, want := range []string{"FROM golang:" + version + " AS build", "FROM scratch", "USER 65532:65532", "ENV WEIR_DATA=/data TMPDIR=/data", "VOLUME /data"} {
		if !slices.Contains(d, want) {
			t.Errorf("the Dockerfile lacks %q", want)
		}
	}
	if !slices.Contains(services(t)["weir"], `    user: "65532:65532"`) {
		t.Error("compose runs weir as another user than the one its data directory belongs to")
	}
}
