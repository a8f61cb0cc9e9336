package natlab

import (
	"bufio"
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"io"
	"strings"
	"text/template"
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
	ended  chan struct{}
}

// startIGD runs miniupnpd on the NAT until the lab ends, and returns when it serves.
func (n *NAT) startIGD() (*igd, error) {
	var conf bytes.Buffer
	if err := igdTemplate.Execute(&conf, map[string]any{"number": n.number, "lan": n.lan4}); err != nil {
		return nil, err
	}
	// Its multicast would else leave by the uplink.
	if err := n.ns.ip("route replace 224.0.0.0/4 dev lan"); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	// It needs no file: it goes on without the one that it cannot write its number to.
	cmd := n.Command(ctx, "miniupnpd", "-d", "-f", "/proc/self/fd/0", "-P", "/proc/none")
	cmd.Stdin = &conf
	errs, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		cancel()
		return nil, err
	}
	var log []string
	for lines := bufio.NewScanner(errs); lines.Scan(); {
		log = append(log, lines.Text())
		if !strings.Contains(lines.Text(), "Listening for NAT-PMP") { // the last that it does before it serves
			continue
		}
		d := &igd{cancel, make(chan struct{})}
		go func() {
			io.Copy(io.Discard, errs)
			cmd.Wait()
			close(d.ended)
		}()
		return d, nil
	}
	cancel()
	return nil, fmt.Errorf("miniupnpd: %v: %s", cmd.Wait(), strings.Join(log, "\n"))
}

func (d *igd) stop() {
	d.cancel()
	<-d.ended
}
