package main

import (
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"
)

// A buildInfo says what this program was built from.
type buildInfo struct {
	Version  string `json:"version"`          // of the module; "(devel)" if built without version control
	Commit   string `json:"commit,omitempty"` // hash, if known
	Date     string `json:"date,omitempty"`   // of the commit, RFC 3339
	Modified bool   `json:"modified"`         // the tree differed from the commit
	Go       string `json:"go"`
	OS       string `json:"os"`
	Arch     string `json:"arch"`
}

// readBuildInfo reads what the go command has stamped into the program.
func readBuildInfo() buildInfo {
	b := buildInfo{Version: "(devel)", Go: runtime.Version(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	if info.Main.Version != "" {
		b.Version = info.Main.Version
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			b.Commit = s.Value
		case "vcs.time":
			b.Date = s.Value
		case "vcs.modified":
			b.Modified = s.Value == "true"
		}
	}
	return b
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show what this program was built from",
		Long: `Version prints the program's version, the commit that it was built from, whether
the source differed from that commit, and the version of Go. A build without
version control (go build -buildvcs=false) knows no commit.`,
		Args: takesNone,
		RunE: func(*cobra.Command, []string) error {
			a.version()
			return nil
		},
	}
}

func (a *app) version() {
	b := readBuildInfo()
	a.object(b)
	a.print("kad      %s", b.Version)
	switch {
	case b.Commit == "":
		a.print("commit   not known")
	case b.Modified:
		a.print("commit   %s of %s, modified since", b.Commit, b.Date)
	default:
		a.print("commit   %s of %s", b.Commit, b.Date)
	}
	a.print("go       %s %s/%s", b.Go, b.OS, b.Arch)
}
