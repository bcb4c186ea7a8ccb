package interop

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// TestJava runs the two large programs of Apache Kafka that are clients of its brokers,
// Kafka Connect and Kafka Streams, on both of weir's engines.
func TestJava(t *testing.T) {
	jars := os.Getenv("WEIR_TEST_JAVA")
	if jars == "" {
		t.Skip("needs a JDK, kcat, and the jars of interop/java/pom.xml: .ci/run java, or WEIR_TEST_JAVA=JARS go -C interop test -run Java .")
	}
	bin := t.TempDir()
	build(t, "..", bin, "./cmd/weir")
	javac := exec.CommandContext(t.Context(), "javac", "-cp", filepath.Join(jars, "*"), "-d", bin, filepath.Join("java", "WordCount.java"))
	if out, err := javac.CombinedOutput(); err != nil {
		t.Fatalf("compile WordCount.java: %v\n%s", err, out)
	}
	for _, engine := range kafkas {
		t.Run(engine, func(t *testing.T) {
			c := clients{weir: weir{t: t, bin: filepath.Join(bin, "weir"), data: t.TempDir()}, jars: jars}
			c.start(engine)
			t.Run("together", func(t *testing.T) {
				for name, test := range map[string]func(clients){
					"connect":                  clients.copyFile,
					"streams, exactly_once_v2": func(c clients) { c.countInStreams("exactly_once_v2") },
					"streams, at_least_once":   func(c clients) { c.countInStreams("at_least_once") },
				} {
					t.Run(name, func(t *testing.T) {
						t.Parallel()
						test(c.in(t))
					})
				}
			})
		})
	}
}

// startJava runs a Java class that needs the jars, until it is stopped.
func (c clients) startJava(name, class string, args ...string) *process {
	c.t.Helper()
	classes := filepath.Join(c.jars, "*") + string(os.PathListSeparator) + filepath.Dir(c.bin)
	return start(c.t, name, nil, "java", append([]string{"-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
		"-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", classes, class}, args...)...)
}
