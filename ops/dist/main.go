// Command dist builds one weir binary for each operating system, to hand out to people who have no
// Go, and a file of their checksums:
//
//	go run ./ops/dist                       # all six, into the directory dist
//	go run ./ops/dist -o out windows/amd64  # only this one
//
// Windows needs it: a plain go build compiles there, but its embedded brokers cannot write. They
// replace files that they have not yet closed, which Windows refuses for files that os.OpenFile
// opened. So binaries for Windows are built with a copy of the brokers' module in which one line
// is another.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

const (
	kfake   = "github.com/twmb/franz-go/pkg/kfake"
	brokers = "github.com/weir-project/weir/internal/cluster/embedded"
)

// targets are the systems that students and servers have.
var targets = []string{"darwin/amd64", "darwin/arm64", "linux/amd64", "linux/arm64", "windows/amd64", "windows/arm64"}

// shared is what the module does, and what it does in the copy. A file that is opened through
// os.Root can be renamed, replaced and deleted while it is open, on Windows too.
var shared = strings.NewReplacer(
	"\treturn os.OpenFile(name, flag, perm)\n", `	root, err := os.OpenRoot(filepath.Dir(name))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.OpenFile(filepath.Base(name), flag, perm)
`,
	"\t\"os\"\n", "\t\"os\"\n\t\"path/filepath\"\n")

func main() {
	out := flag.String("o", "dist", "directory of the binaries")
	version := flag.String("version", "", "what weir version prints, such as v1.2.3 (default the commit)")
	flag.Parse()
	if err := run(*out, *version, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "dist:", err)
		os.Exit(1)
	}
}

func run(out, version string, wanted []string) error {
	if len(wanted) == 0 {
		wanted = targets
	}
	temp, err := os.MkdirTemp("", "weir-dist-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(temp)
	if err := os.MkdirAll(out, 0o750); err != nil {
		return err
	}
	var sums bytes.Buffer
	for _, target := range wanted {
		system, arch, ok := strings.Cut(target, "/")
		if !ok {
			return fmt.Errorf("%q is not SYSTEM/ARCHITECTURE, such as %s", target, targets[0])
		}
		name := "weir-" + system + "-" + arch
		args, flags := []string{"build", "-trimpath"}, "-s -w"
		if version != "" {
			flags += " -X main.version=" + version
		}
		if system == "windows" {
			name += ".exe"
			modfile, err := withSharedFiles(temp)
			if err != nil {
				return err
			}
			args, flags = append(args, "-modfile", modfile), flags+" -X "+brokers+".sharedFiles=yes"
		}
		if err := build(append(args, "-ldflags", flags, "-o", filepath.Join(out, name), "./cmd/weir"), system, arch); err != nil {
			return err
		}
		sum, err := checksum(filepath.Join(out, name))
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%s  %s\n", sum, name)
		fmt.Printf("%s  %s\n", sum, filepath.Join(out, name)) //nolint:forbidigo // this is what the command is for
	}
	return os.WriteFile(filepath.Join(out, "SHA256SUMS"), sums.Bytes(), 0o644) //nolint:gosec // G306: to hand out
}

func build(args []string, system, arch string) error {
	cmd := exec.Command("go", args...)
	cmd.Env = append(os.Environ(), "GOOS="+system, "GOARCH="+arch, "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("build for %s/%s: %w", system, arch, err)
	}
	return nil
}

func checksum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// withSharedFiles returns a go.mod that names a copy of the brokers' module whose files can be
// replaced while they are open. The copy is made once, below temp.
func withSharedFiles(temp string) (modfile string, err error) {
	modfile = filepath.Join(temp, "go.mod")
	if _, err := os.Stat(modfile); err == nil {
		return modfile, nil
	}
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", kfake).Output()
	if err != nil {
		return "", fmt.Errorf("find %s: %w", kfake, err)
	}
	copied := filepath.Join(temp, "kfake")
	if err := copyModule(copied, strings.TrimSpace(string(dir))); err != nil {
		return "", err
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		b, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			return "", errors.New("run it in the directory of weir's go.mod")
		} else if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(temp, name), b, 0o600); err != nil { //nolint:gosec // G703: temp is this command's own
			return "", err
		}
	}
	if b, err := exec.Command("go", "mod", "edit", "-replace", kfake+"="+copied, modfile).CombinedOutput(); err != nil {
		return "", fmt.Errorf("replace %s: %w: %s", kfake, err, b)
	}
	return modfile, nil
}

// copyModule copies the files of a module's packages, and changes how the brokers open files.
func copyModule(to, from string) error {
	const opener = "persist_fs.go"
	if err := os.MkdirAll(to, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	changed := false
	for _, e := range entries {
		if e.IsDir() || strings.HasSuffix(e.Name(), "_test.go") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(from, e.Name()))
		if err != nil {
			return err
		}
		if e.Name() == opener {
			mended := []byte(shared.Replace(string(b)))
			changed = bytes.Count(b, []byte("os.OpenFile")) == 1 && !bytes.Contains(mended, []byte("os.OpenFile"))
			b = mended
		}
		if err := os.WriteFile(filepath.Join(to, e.Name()), b, 0o600); err != nil { //nolint:gosec // G703: the names of files in a directory
			return err
		}
	}
	if !changed {
		return fmt.Errorf("%s of %s is another than this command knows: see whether it still opens its files with os.OpenFile", opener, kfake)
	}
	return nil
}
