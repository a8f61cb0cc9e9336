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

// flushIGD takes out the rules that miniupnpd put in.
const flushIGD = `
flush chain inet filter miniupnpd
flush chain inet igd prerouting_miniupnpd
flush chain inet igd postrouting_miniupnpd
`

// An igd is a running miniupnpd.
type igd struct {
	cancel context.CancelFunc
	ended  chan error
}

// startIGD runs miniupnpd on the NAT until the lab ends, and returns when it serves.
func (n *NAT) startIGD() (*igd, error) {
	if n.lab.dir == "" {
		dir, err := os.MkdirTemp("", "natlab")
		if err != nil {
			return nil, err
		}
		n.lab.dir = dir
	}
	var conf, log bytes.Buffer
	if err := igdTemplate.Execute(&conf, map[string]any{"number": n.number, "lan": n.lan4}); err != nil {
		return nil, err
	}
	confFile := filepath.Join(n.lab.dir, fmt.Sprint(n.number, ".conf"))
	pidFile := filepath.Join(n.lab.dir, fmt.Sprint(n.number, ".pid"))
	if err := os.WriteFile(confFile, conf.Bytes(), 0o600); err != nil {
		return nil, err
	}
	os.Remove(pidFile) // of one that was killed
	// Its multicast would else leave by the uplink.
	if err := n.ns.ip("route replace 224.0.0.0/4 dev lan"); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := n.Command(ctx, "miniupnpd", "-d", "-f", confFile, "-P", pidFile)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, err
	}
	d := &igd{cancel: cancel, ended: make(chan error, 1)}
	go func() { d.ended <- cmd.Wait() }()
	for range 1000 { // it writes its number when it listens
		if b, _ := os.ReadFile(pidFile); len(b) > 0 {
			return d, nil
		}
		select {
		case err := <-d.ended:
			cancel()
			return nil, fmt.Errorf("miniupnpd: %w: %s", err, log.Bytes())
		case <-time.After(10 * time.Millisecond):
		}
	}
	d.stop()
	return nil, errors.New("miniupnpd does not start")
}

func (d *igd) stop() {
	d.cancel()
	<-d.ended
}
