package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/weir-project/weir/internal/cli"
)

// version is set by the linker for a release (-X main.version=v1.2.3).
var version = ""

type versionInfo struct {
	Version  string `json:"version"`
	Revision string `json:"revision,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	Kgo      string `json:"franz_go"`
	Kfake    string `json:"kfake"`
}

func buildVersion() versionInfo {
	v := versionInfo{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	if v.Version == "" {
		v.Version = info.Main.Version
	}
	if v.Version == "" {
		v.Version = "(devel)"
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			v.Revision = s.Value
		case "vcs.modified":
			v.Modified = s.Value == "true"
		}
	}
	for _, d := range info.Deps {
		switch d.Path {
		case "github.com/twmb/franz-go":
			v.Kgo = d.Version
		case "github.com/twmb/franz-go/pkg/kfake":
			v.Kfake = d.Version
		}
	}
	return v
}

func newVersion(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version of weir and of its main libraries",
		Example: `  weir version
  weir version -o json`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			v := buildVersion()
			if a.output == cli.FormatTable {
				_, err := fmt.Fprintf(a.stdout, "weir %s (%s, %s; franz-go %s, kfake %s)\n", v.Version, v.Go, v.Platform, v.Kgo, v.Kfake)
				return err
			}
			return a.write(v, []any{v}, nil)
		},
	}
	a.outputFlag(cmd, cli.FormatTable, cli.FormatJSON, cli.FormatJSONL)
	return cmd
}
