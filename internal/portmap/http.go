package portmap

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

const (
	// maxBody bounds the bytes that are read of a description or an answer. The largest
	// descriptions have 20 kB.
	maxBody = 256 << 10
	// maxHTTP bounds one exchange.
	maxHTTP = 3 * time.Second
)

// exchange sends one HTTP request over a new connection from local to u, whose host must
// be an IP address. It uses no proxy, follows no redirect and keeps no connection.
func exchange(ctx context.Context, local netip.Addr, method string, u *url.URL, header http.Header, body string) (status int, answer string, err error) {
	ctx, cancel := context.WithTimeout(ctx, maxHTTP)
	defer cancel()
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(local, 0))}
	c, err := d.DialContext(ctx, "tcp4", net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "80")))
	if err != nil {
		return 0, "", err
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	request, err := http.NewRequestWithContext(ctx, method, u.String(), strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	for name, values := range header {
		request.Header[name] = values
	}
	request.Close = true
	if err := request.Write(c); err != nil {
		return 0, "", err
	}
	r, err := http.ReadResponse(bufio.NewReader(io.LimitReader(c, maxBody)), request)
	if err != nil {
		return 0, "", fmt.Errorf("%s %q: %w", method, u, err)
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	return r.StatusCode, string(text), err
}
