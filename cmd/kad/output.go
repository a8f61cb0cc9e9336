package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/kadquic/kadquic/wire"
)

// print writes one line for people to standard output; with --json nothing,
// since there standard output holds objects only.
func (a *app) print(format string, args ...any) {
	if !a.json {
		_, err := fmt.Fprintf(a.out, format+"\n", args...)
		a.wrote(err)
	}
}

// wrote records the first error of standard output, such as a full disk: a lost result
// is a failure. Later writes are tried nevertheless.
func (a *app) wrote(err error) {
	if err != nil && a.outErr == nil && !a.outOptional {
		a.outErr = err
	}
}

// note writes one line to standard error, with --json an object {"note": …}: then
// standard error holds objects only, too. A note that says what an object says already is
// for people only: see remark.
func (a *app) note(format string, args ...any) {
	if a.json {
		writeJSON(a.err, struct {
			Note string `json:"note"`
		}{fmt.Sprintf(format, args...)})
		return
	}
	fmt.Fprintf(a.err, format+"\n", args...)
}

// remark is note for people; with --json it writes nothing.
func (a *app) remark(format string, args ...any) {
	if !a.json {
		a.note(format, args...)
	}
}

// object writes v as one line of JSON to standard output; without --json
// nothing.
func (a *app) object(v any) {
	if a.json {
		a.wrote(writeJSON(a.out, v))
	}
}

// writeJSON writes v on one line, and escapes the control characters that JSON permits
// but a terminal would obey.
func writeJSON(w io.Writer, v any) error {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := w.Write(escapeUnprintable(b.Bytes()))
	return err
}

// escapeUnprintable escapes what strings in JSON hold that is not printable.
func escapeUnprintable(line []byte) []byte {
	unprintable := func(r rune) bool { return r != '\n' && !strconv.IsPrint(r) }
	if !bytes.ContainsFunc(line, unprintable) {
		return line
	}
	var out []byte
	for _, r := range string(line) {
		switch {
		case !unprintable(r):
			out = utf8.AppendRune(out, r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			out = fmt.Appendf(out, `\u%04x\u%04x`, high, low)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
	}
	return out
}

// fail reports the error a command ended with.
func (a *app) fail(err error) {
	code := codeOf(err)
	if a.json {
		writeJSON(a.err, struct {
			Error string   `json:"error"`
			Exit  exitCode `json:"exit"`
		}{plainText(err.Error()), code})
		return
	}
	a.note("kad: %s", oneLine(err.Error()))
}

// oneLine is for errors, whose text may hold a peer's words: joined causes come
// on a line each, and stay on one.
func oneLine(s string) string {
	return wire.Printable(strings.ReplaceAll(plainText(s), "\n", "; "))
}

// packageNames are those with which the errors of the library's packages begin.
var packageNames = regexp.MustCompile(`(?m)(^|: |; )(?:node|quic|wire|peerstore|routing): `)

// plainText is the text of an error without the names of packages, which mean nothing to users.
func plainText(s string) string { return packageNames.ReplaceAllString(s, "$1") }

// shorten cuts s, already printable, for display beside other things.
func shorten(s string, most int) string {
	if utf8.RuneCountInString(s) <= most {
		return s
	}
	return string([]rune(s)[:most]) + "…"
}

// plural is "1 node", "2 nodes".
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// isTerminal reports whether f is a terminal. It asks only whether it is a
// character device other than the null device, which is portable and errs
// towards quiet.
func isTerminal(f any) bool {
	file, ok := f.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}

// A progress is a line that counts: rewritten in place on a terminal, one line
// per step with -v, silent otherwise.
type progress struct {
	w    io.Writer
	live bool // a terminal
	on   bool
}

func (a *app) progress() *progress {
	live := isTerminal(a.err)
	return &progress{w: a.err, live: live, on: !a.json && (live || a.verbose > 0)}
}

func (p *progress) show(format string, args ...any) {
	if !p.on {
		return
	}
	line := fmt.Sprintf(format, args...)
	if p.live {
		fmt.Fprintf(p.w, "\r\x1b[K%s", line)
	} else {
		fmt.Fprintln(p.w, line)
	}
}

// clear removes the line from a terminal.
func (p *progress) clear() {
	if p.on && p.live {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
