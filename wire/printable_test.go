package wire

import "testing"

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
