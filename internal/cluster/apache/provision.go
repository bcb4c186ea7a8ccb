package apache

import (
	"bytes"
	"context"
	_ "embed" // the pom
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// minJava is the oldest Java that Apache Kafka 4's brokers run on.
const minJava = 17

//go:embed pom.xml
var pom []byte

// version is Apache Kafka's version in the pom: the jars' directory is named for it.
var version = func() string {
	m := regexp.MustCompile(`<artifactId>kafka_2\.13</artifactId><version>([0-9.]+)</version>`).FindSubmatch(pom)
	return string(m[1])
}()

// findJava returns a java command that is new enough, and what it prints as its version.
func findJava(ctx context.Context) (path, printed string, err error) {
	java := "java"
	if home := os.Getenv("JAVA_HOME"); home != "" {
		java = filepath.Join(home, "bin", "java")
	}
	path, err = exec.LookPath(java)
	if err != nil {
		return "", "", fmt.Errorf("no %s here, and Apache Kafka needs Java %d or later: install a JDK or JRE, or set JAVA_HOME", java, minJava)
	}
	out, err := exec.CommandContext(ctx, path, "-version").CombinedOutput()
	if err != nil {
		return "", "", fmt.Errorf("ask %s for its version: %w: %s", path, err, bytes.TrimSpace(out))
	}
	m := regexp.MustCompile(`version "(\d+)`).FindSubmatch(out)
	if m == nil {
		return path, string(out), nil // an unusual Java: let it try
	}
	if v, err := strconv.Atoi(string(m[1])); err == nil && v < minJava {
		return "", "", fmt.Errorf("%s is Java %d, and Apache Kafka needs %d or later: install a newer one, or set JAVA_HOME", path, v, minJava)
	}
	return path, string(out), nil
}

// haveJars returns a directory that holds the brokers' jars, or where there is none yet
// the Maven that can fetch them.
func haveJars(cfg Config) (libs, mvn string, err error) {
	if cfg.Home != "" {
		libs = filepath.Join(cfg.Home, "libs")
		if jars, err := filepath.Glob(filepath.Join(libs, "kafka_2.13-*.jar")); err != nil || len(jars) == 0 {
			return "", "", fmt.Errorf("KAFKA_HOME is %s, and %s holds no kafka_2.13 jar: point it at an unpacked Apache Kafka 4, or unset it to let Maven fetch the jars", cfg.Home, libs)
		}
		return libs, "", nil
	}
	libs = filepath.Join(cfg.Cache, "apache-kafka-"+version)
	if exists(libs) {
		return libs, "", nil
	}
	if mvn, err = exec.LookPath("mvn"); err != nil {
		return "", "", errors.New("no Maven (mvn) here to fetch Apache Kafka's jars: install Maven, or unpack the official distribution and set KAFKA_HOME")
	}
	return libs, mvn, nil
}

// provide finds Java and the brokers' jars, fetching them where need be. The error
// names everything that is missing.
func provide(ctx context.Context, cfg Config) (program, error) {
	java, printed, err := findJava(ctx)
	libs, mvn, jarsErr := haveJars(cfg)
	switch {
	case err != nil && jarsErr != nil:
		err = fmt.Errorf("%w; and %w", err, jarsErr)
	case err == nil && jarsErr != nil:
		err = jarsErr
	case err == nil && mvn != "":
		if err = fetch(ctx, mvn, libs, cfg.Progress); err != nil {
			err = fmt.Errorf("fetch Apache Kafka %s with Maven: %w", version, err)
		}
	}
	return newProgram(java, printed, libs, cfg.Cache), err
}

const (
	fetching = "fetch-" // begins the names of directories that jars are fetched into
	// staleAfter is when nobody can be fetching any more.
	staleAfter = 24 * time.Hour
)

// sweep removes what processes that were killed while they fetched have left in dir
// since before a time.
func sweep(dir string, before time.Time) error {
	left, err := filepath.Glob(filepath.Join(dir, fetching+"*"))
	if err != nil {
		return err
	}
	for _, path := range left {
		if info, err := os.Stat(path); err == nil && info.ModTime().Before(before) {
			if err := os.RemoveAll(path); err != nil {
				return err
			}
		}
	}
	return nil
}

// fetch lets Maven copy the jars into a directory that appears only when it is complete.
func fetch(ctx context.Context, mvn, libs string, progress func(string)) error {
	if err := os.MkdirAll(filepath.Dir(libs), 0o700); err != nil {
		return err
	}
	if err := sweep(filepath.Dir(libs), time.Now().Add(-staleAfter)); err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Dir(libs), fetching)
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	if err := os.WriteFile(filepath.Join(work, "pom.xml"), pom, 0o600); err != nil {
		return err
	}
	jars := filepath.Join(work, "libs")
	cmd := exec.CommandContext(ctx, mvn, "-B", "-Dstyle.color=never", "-f", filepath.Join(work, "pom.xml"),
		"org.apache.maven.plugins:maven-dependency-plugin:copy-dependencies", "-DoutputDirectory="+jars, "-DincludeScope=runtime")
	var out mavenOutput
	cmd.Stdout, cmd.Stderr = &out, &out // one writer: one goroutine copies both
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	for start := time.Now(); ; {
		select {
		case err := <-done:
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				return fmt.Errorf("%w: %s", err, out.errors())
			}
			if err := os.Rename(jars, libs); err != nil && !exists(libs) { // another process may have been quicker
				return err
			}
			return nil
		case <-tick.C:
			files, size := out.downloaded()
			progress(fmt.Sprintf("fetching Apache Kafka %s with Maven, once: %d files, %.0f of some 65 MB, after %v", version, files, size/1e6, time.Since(start).Truncate(time.Second)))
		}
	}
}

// mavenOutput is what Maven prints.
type mavenOutput struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (m *mavenOutput) Write(p []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.b.Write(p)
}

// fetchedFile is Maven's line of a file that has come, with its size.
var fetchedFile = regexp.MustCompile(`Downloaded from .* \((\d+(?:\.\d+)?) ([kMG]?B) at`)

// downloaded returns how many files have come, and their size in bytes, to the two
// figures that Maven prints.
func (m *mavenOutput) downloaded() (files int, size float64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, f := range fetchedFile.FindAllSubmatch(m.b.Bytes(), -1) {
		n, _ := strconv.ParseFloat(string(f[1]), 64) // as the expression wants it
		files, size = files+1, size+n*map[string]float64{"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}[string(f[2])]
	}
	return files, size
}

// errors returns the first of Maven's lines that tell of one, or else the last lines.
func (m *mavenOutput) errors() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	for line := range bytes.Lines(m.b.Bytes()) {
		if text, ok := bytes.CutPrefix(line, []byte("[ERROR] ")); ok {
			return string(bytes.TrimSpace(text))
		}
	}
	return lastLines(m.b.Bytes(), 3)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// lastLines returns the end of what a program printed, in one line.
func lastLines(b []byte, n int) string {
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], " | ")
}
