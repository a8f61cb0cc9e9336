package main

import (
	"bufio"
	"cmp"
	"errors"

	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"github.com/kadquic/kadquic/node"
	"github.com/kadquic/kadquic/wire"
)

const (
	fileProtocol = "/kadquic/chat/file/1" // a stream for each
	stalled      = time.Minute            // a file of which nothing moves is given up
	maxFile      = 4 << 30
)

// A parcel offers a file. The answer takes it or says No; so does another when Size
// bytes have come.
type parcel struct {
	Name, No string
	Size     int64
}

// offer sends a file to a peer, if that takes it. In update.
func (c *chat) offer(p *peer, path string) {
	title := plain(filepath.Base(path), 100) + " to " + p.name
	c.moving++
	c.work.Go(func() {
		err := c.sendFile(p.id, path, title)
		c.update(func() {
			if c.moving--; err != nil {
				c.print("* %s: %s", title, plain(err.Error(), 300))
			}
		})
	})
}

func (c *chat) sendFile(to wire.PeerID, path, title string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	s, err := c.node.Dial(c.ctx, to, fileProtocol)
	if err != nil {
		return err
	}
	defer s.Close()
	s.SetDeadline(time.Now().Add(stalled))
	in := bufio.NewReaderSize(s, maxFrame)
	var a parcel
	err = cmp.Or(send(s, parcel{Name: info.Name(), Size: info.Size()}), receive(in, &a))
	if err == nil && a.No == "" {
		if err = c.move(s, f, s, info.Size(), title); err == nil {
			err = receive(in, &a)
		}
	}
	if err == nil && a.No != "" {
		err = errors.New("they say: " + plain(a.No, 80))
	}
	return err
}

// takeFile stores a file that a peer sends, if there is a directory for that.
func (c *chat) takeFile(s net.Conn) (err error) {
	s.SetDeadline(time.Now().Add(patience))
	in := bufio.NewReaderSize(s, maxFrame)
	var o parcel
	if err := receive(in, &o); err != nil {
		return err
	}
	id, _ := node.PeerOf(s)
	title, path := safeName(o.Name), filepath.Join(c.downloads, safeName(o.Name))
	c.update(func() {
		if p := c.peers[id]; p == nil || p.streams == 0 || o.Size < 0 || o.Size > maxFile {
			err = errors.New("refused")
		} else if title += " from " + p.name; c.downloads == "" {
			err = errors.New("files are taken only with --downloads DIR")
			c.print("* %s: %v", title, err)
		}
	})
	var f *os.File
	if err == nil {
		f, err = os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600) // never in place of another
	}
	if err != nil {
		return send(s, parcel{No: strings.ReplaceAll(err.Error(), path, title)})
	}
	err = cmp.Or(send(s, parcel{}), c.move(f, in, s, o.Size, title))
	if err = cmp.Or(err, f.Close()); err != nil {
		os.Remove(path)
		return send(s, parcel{No: "it did not come whole"})
	}
	return send(s, parcel{Size: o.Size})
}

// move copies n bytes, telling how far it is, and fails when nothing moves.
func (c *chat) move(dst io.Writer, src io.Reader, s net.Conn, n int64, title string) (err error) {
	began, told, done := time.Now(), time.Now(), int64(0)
	for k := int64(0); done < n && err == nil; done += k {
		s.SetDeadline(time.Now().Add(stalled))
		k, err = io.CopyN(dst, src, min(n-done, 256<<10))
		if time.Since(told) > 2*time.Second || err != nil || done+k == n {
			told = time.Now()
			rate := float64(done+k) / 1e6 / time.Since(began).Seconds()
			c.update(func() { c.print("* %s: %d of %d bytes, %.1f MB/s", title, done+k, n, rate) })
		}
	}
	return err
}

// safeName makes the name of a file of what somebody else calls one.
func safeName(s string) string {
	s = strings.Map(func(r rune) rune {
		if unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("._-() ", r) {
			return r
		}
		return '_'
	}, s[strings.LastIndexAny(s, `/\`)+1:])
	s = strings.Trim(strings.ToValidUTF8(s[:min(len(s), 100)], ""), ". ")
	if s == "" || !filepath.IsLocal(s) { // Windows has names that are no files
		s = "file-" + s
	}
	return s
}
