package wire

import (
	"strconv"
	"unicode"
	"unicode/utf8"
)

// Printable returns s unchanged if it is text that a terminal shows as it is, and
// quoted as in Go otherwise. Text is letters, marks, digits, punctuation, symbols and
// spaces of any script, with the format characters that scripts and emoji need: a
// zero-width joiner in an emoji family, a zero-width non-joiner in Persian, a
// right-to-left mark, a soft hyphen. Not text are control characters, line and
// paragraph separators, embeddings, overrides and isolates of the direction of
// writing (UAX #9 §2, "Trojan Source"), deprecated and private characters, and bytes
// that are not UTF-8. Programs print the strings of a peer, values among them, only
// through Printable.
func Printable(s string) string {
	if !utf8.ValidString(s) {
		return strconv.Quote(s)
	}
	for i, r := range s {
		if !isText(r) && !(isTag(r) && inFlag(s[:i])) {
			return strconv.Quote(s)
		}
	}
	return s
}

// isText reports whether r may stand in a text by itself.
func isText(r rune) bool {
	switch {
	case unicode.IsGraphic(r): // the categories L, M, N, P, S and Zs
		return true
	case r >= 0x1f000 && r <= 0x1faff:
		return true // UTS #51 reserves the block for emoji; a new one need not wait for a new Go
	case r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x206f: // direction, and deprecated
		return false
	case r == 0xfeff, r >= 0xfff9 && r <= 0xfffb, isTag(r):
		return false
	}
	return unicode.Is(unicode.Cf, r)
}

// isTag reports whether r is an invisible copy of an ASCII character, which only the
// flags of regions use (UTS #51 §1.4.9, emoji tag sequence).
func isTag(r rune) bool { return r >= 0xe0000 && r <= 0xe007f }

// inFlag reports whether before ends with a black flag and tags.
func inFlag(before string) bool {
	for tags := 0; tags < 16; tags++ { // a bound: otherwise time grows with the square of the tags
		r, size := utf8.DecodeLastRuneInString(before)
		if !isTag(r) {
			return r == '\U0001f3f4'
		}
		before = before[:len(before)-size]
	}
	return false
}
