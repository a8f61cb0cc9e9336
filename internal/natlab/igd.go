package natlab

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"text/template"
	"time"
)

//go:embed igd.conf
var igdText string

var igdTemplate = template.Must(template.New("igd.conf").Parse(igdText))

// startIGD runs miniupnpd on the NAT until the lab ends, and returns when it serves.
func (n *NAT) startIGD() error {
	if err := missingTools("miniupnpd"); err != nil {
		n.lab.t.Skipf("natlab cannot map ports: %v", err)
	}
	var conf, log bytes.Buffer
	if err := igdTemplate.Execute(&conf, map[string]any{"number": n.number, "lan": n.lan4}); err != nil {
		return err
	}
	if n.lab.dir == "" {
		dir, err := os.MkdirTemp("", "natlab")
		if err != nil {
			return err
		}
		n.lab.dir = dir
	}
	confFile := filepath.Join(n.lab.dir, fmt.Sprint(n.number, ".conf"))
	pidFile := filepath.Join(n.lab.dir, fmt.Sprint(n.number, ".pid"))
	if err := os.WriteFile(confFile, conf.Bytes(), 0o600); err != nil {
		return err
	}
	if err := n.ns.ip("route add 224.0.0.0/4 dev lan"); err != nil { // for its multicast
		return err
	}
	cmd := n.Command(context.Background(), "miniupnpd", "-d", "-f", confFile, "-P", pidFile)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // the lab's end kills it
	for range 1000 {                    // it writes its number when it listens
		if b, _ := os.ReadFile(pidFile); len(b) > 0 {
			return nil
		}
		select {
		case err := <-ended:
			return fmt.Errorf("miniupnpd: %w: %s", err, log.Bytes())
		case <-time.After(10 * time.Millisecond):
		}
	}
	return errors.New("miniupnpd does not start")
}
