package wire

import (
	"strconv"
	"strings"
	"testing"
)

func TestPrintable(t *testing.T) {
	for s, want := range map[string]string{
		"plain text, Grüße":  "plain text, Grüße",
		`a "quoted" a\b 🙂`:   `a "quoted" a\b 🙂`,
		"":                   "",
		"\x1b[31mred":        `"\x1b[31mred"`,
		"\x1b]0;title\a":     `"\x1b]0;title\a"`,
		"a\nb\r\t\x00":       `"a\nb\r\t\x00"`,
		"\x7f\u0085":         `"\x7f\u0085"`,
		"\xff\xc0\xafok":     `"\xff\xc0\xafok"`,
		"\u202eleft":         `"\u202eleft"`,
		"\u2066\u200f\ufeff": `"\u2066\u200f\ufeff"`,
		"\u2028":             `"\u2028"`,
	} {
		if got := Printable(s); got != want {
			t.Errorf("Printable(%q) = %s, want %s", s, got, want)
		}
	}
}

// Whatever Unicode calls text is shown as it is.
func TestPrintableKeepsText(t *testing.T) {
	for what, s := range map[string]string{
		"a family, joined":           "👨\u200d👩\u200d👧",
		"Persian, with a non-joiner": "می\u200cخواهم",
		"Devanagari":                 "क्\u200dष",
		"Sinhala":                    "ශ්\u200dරී ලංකා",
		"Hebrew, with a mark":        "שלום!\u200f (1)",
		"a keycap, a presentation":   "1\ufe0f\u20e3 ❤\ufe0f",
		"a flag of letters":          "🇮🇷",
		"the flag of Wales":          "🏴\U000e0067\U000e0062\U000e0077\U000e006c\U000e0073\U000e007f",
		"an emoji of Unicode 16":     "\U0001fae9",
		"French, a narrow space":     "Quoi\u202f?",
		"Japanese, a wide space":     "東京\u3000都",
		"German, a soft hyphen":      "Donau\u00addampfschiff",
		"an Arabic number sign":      "\u0600١٢",
		"combining marks":            "a\u0301\u0323",
		"a replacement character":    "\ufffd",
	} {
		if got := Printable(s); got != s {
			t.Errorf("%s: %s", what, got)
		}
	}
}

// What moves other text, hides in it, or is no character, is quoted wherever it stands.
func TestPrintableRefuses(t *testing.T) {
	for _, ranges := range [][2]rune{
		{0, 0x1f}, {0x7f, 0x9f}, {0x2028, 0x202e}, {0x2066, 0x206f}, {0xfeff, 0xfeff}, {0xfff9, 0xfffb},
		{0xe000, 0xe000}, {0xf8ff, 0xf8ff}, {0xffff, 0xffff}, {0xe0000, 0xe007f}, {0x10ffff, 0x10ffff},
	} {
		for r := ranges[0]; r <= ranges[1]; r++ {
			for _, s := range []string{string(r), "می\u200cخواهم" + string(r), string(r) + "🙂", "🏴 " + string(r)} {
				if got := Printable(s); got != strconv.Quote(s) {
					t.Errorf("%q is shown as it is", s)
				}
			}
		}
	}
	for _, s := range []string{"\xff", "ok\xed\xa0\x80", "\ufffd\xc0", "\xef\xbf", "\xef", "🏴" + strings.Repeat("\U000e0061", 1<<16)} {
		if got := Printable(s); got != strconv.Quote(s) {
			t.Errorf("%.20q is shown as it is", s)
		}
	}
}
