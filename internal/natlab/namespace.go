package natlab

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// A namespace is a separate network: interfaces, routes, rules, and the sockets made in it. Only
// an open file of this process holds it, so no cleanup is necessary: however the process ends,
// the kernel removes the namespace with every interface in it.
type namespace struct {
	file *os.File
	path string // of the file, for other processes
}

func newNamespace() (*namespace, error) {
	file, err := unshareNet()
	if err != nil {
		return nil, fmt.Errorf("make a network namespace: %w", err)
	}
	ns := &namespace{file: file, path: fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), file.Fd())}
	// No interface is to come up with an address from a router's advertisement.
	err = ns.sysctl("ipv6/conf/all/disable_ipv6=0", "ipv6/conf/default/disable_ipv6=0",
		"ipv6/conf/all/accept_ra=0", "ipv6/conf/default/accept_ra=0",
		"ipv4/conf/all/rp_filter=0", "ipv4/conf/default/rp_filter=0")
	if err == nil {
		err = ns.ip("link set lo up")
	}
	if err != nil {
		ns.close()
		return nil, err
	}
	return ns, nil
}

// beRouter lets the namespace forward what is not for itself.
func (ns *namespace) beRouter() error {
	// A router that tells hosts of a better first hop would give the lab away.
	return ns.sysctl("ipv4/ip_forward=1", "ipv6/conf/all/forwarding=1",
		"ipv4/conf/all/send_redirects=0", "ipv4/conf/default/send_redirects=0",
		"bridge/bridge-nf-call-iptables=0", "bridge/bridge-nf-call-ip6tables=0")
}

func (ns *namespace) close() { ns.file.Close() }

// do calls f on a thread that is in the namespace. What f opens stays there; the
// goroutines that f starts are elsewhere.
func (ns *namespace) do(f func() error) error { return inNet(ns.file, f) }

// run runs a tool in the namespace and returns its output.
func (ns *namespace) run(input, tool string, args ...string) (string, error) {
	cmd := exec.Command(tool, args...)
	cmd.Stdin = strings.NewReader(input)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := ns.do(cmd.Run); err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(errs.String()))
	}
	return out.String(), nil
}

// ip runs the commands of ip(8) that are the lines of a text.
func (ns *namespace) ip(format string, args ...any) error {
	_, err := ns.run(fmt.Sprintf(format, args...), "ip", "-batch", "-")
	return err
}

// nft loads rules in the language of nft(8), all or none of them.
func (ns *namespace) nft(rules string) error {
	_, err := ns.run(rules, "nft", "-f", "-")
	return err
}

// settle returns when a device that was just set up does its work, for its IPv6
// addresses too. Until the kernel's link watch has seen the device, up to a second
// later, it drops packets; to ask for one device has the watch look at once (since
// Linux 6.8). And an IPv6 address has no route, even one without detection of
// duplicates, before a worker has come by.
func (ns *namespace) settle(dev string, addrs ...netip.Addr) error {
	ask := fmt.Sprintf("link show dev %s\nroute show table local dev %[1]s", dev)
	for range 1000 {
		out, err := ns.run(ask, "ip", "-6", "-batch", "-")
		if err != nil {
			return err
		}
		ready := strings.Contains(out, " state UP ") || strings.Contains(out, " state UNKNOWN ") // as of a TUN
		for _, a := range addrs {
			ready = ready && strings.Contains(out, fmt.Sprintf("local %s ", a))
		}
		if ready {
			return nil
		}
		time.Sleep(5 * time.Millisecond)
	}
	return fmt.Errorf("%s does not come up", dev)
}

// sysctl sets KEY=VALUE below net for this namespace; keys that the kernel lacks are
// passed over.
func (ns *namespace) sysctl(settings ...string) error {
	return ns.do(func() error {
		for _, s := range settings {
			key, value, _ := strings.Cut(s, "=")
			err := os.WriteFile(filepath.Join("/proc/sys/net", key), []byte(value), 0o644)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		return nil
	})
}

// missingTools names the first of the programs that is not installed, and where
// Debian has it.
func missingTools(tools ...string) error {
	packages := map[string]string{"ip": "iproute2", "nft": "nftables", "nsenter": "util-linux", "miniupnpd": "miniupnpd-nftables"}
	for _, tool := range tools {
		if _, err := exec.LookPath(tool); err != nil {
			return fmt.Errorf("no %s; Debian's package is %s", tool, packages[tool])
		}
	}
	return nil
}
