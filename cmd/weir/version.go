package main

import (
	"cmp"
	"context"
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
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
	v.Version = cmp.Or(v.Version, info.Main.Version, "(devel)")
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
	return a.command("version", useOutput, nil, func(context.Context, []string) error {
		v := buildVersion()
		return a.writeOne(v, func() string {
			return fmt.Sprintf("weir %s (%s, %s; franz-go %s, kfake %s)", v.Version, v.Go, v.Platform, v.Kgo, v.Kfake)
		})
	})
}
