package wire

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Printable returns s as it is if a terminal shows it as it is, otherwise quoted
// as in Go: if it holds control characters, line ends among them, changes of the
// direction of writing, or what is not UTF-8. What a peer says, values among it,
// reaches a terminal only so.
func Printable(s string) string {
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}
