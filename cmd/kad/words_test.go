package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSplitWords(t *testing.T) {
	for line, want := range map[string][]string{
		``:                               nil,
		"  \t ":                          nil,
		`# a comment`:                    nil,
		`get 3 key # a comment`:          {"get", "3", "key"},
		`get 3 a#b`:                      {"get", "3", "a#b"},
		`insert 3 "hello world" 'b " w'`: {"insert", "3", "hello world", `b " w`},
		`insert 3 "" ''`:                 {"insert", "3", "", ""},
		`a"b c"d'e f'`:                   {"ab cde f"},
		`"\"\\\n\r\t\x00\xfF"`:           {"\"\\\n\r\t\x00\xff"},
		`'\n'`:                           {`\n`},
		`a\ b \" \#`:                     {"a b", `"`, "#"},
		`ключ "значение два"`:            {"ключ", "значение два"},
		"quit\r":                         {"quit"},
	} {
		got, err := splitWords(line)
		if err != nil {
			t.Errorf("splitWords(%q): %v", line, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("splitWords(%q):\n%s", line, diff)
		}
	}
	for line, want := range map[string]string{
		`insert 3 "hello`: "no end",
		`insert 3 'hello`: "no end",
		`"a\`:             "no end",
		`a\`:              "ends the line",
		`"\q"`:            `unknown escape \q`,
		`"\x1"`:           "two hex digits",
		`"\xzz"`:          "two hex digits",
	} {
		if _, err := splitWords(line); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("splitWords(%q): %v, want an error that says %q", line, err, want)
		}
	}
}

// What is quoted as Go quotes it comes back as it was, so that any value can be
// typed.
func FuzzSplitWords(f *testing.F) {
	f.Add(`insert 3 "hello world" 'x'`)
	f.Add(`"\x00`)
	f.Fuzz(func(t *testing.T, line string) {
		words, err := splitWords(line)
		if err != nil {
			return
		}
		var quoted []string
		for _, w := range words {
			quoted = append(quoted, doubleQuote(w))
		}
		again, err := splitWords(strings.Join(quoted, " "))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(words, again); diff != "" {
			t.Fatalf("%q, quoted and split again:\n%s", words, diff)
		}
	})
}

func doubleQuote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, c := range []byte(s) {
		b.WriteString(`\x`)
		b.WriteByte("0123456789abcdef"[c>>4])
		b.WriteByte("0123456789abcdef"[c&15])
	}
	b.WriteByte('"')
	return b.String()
}

// The help that users read lists the commands there are.
func TestCommandsHelp(t *testing.T) {
	for _, c := range shellCommands {
		usage := strings.TrimSpace(c.name + " " + c.args)
		found := false
		for line := range strings.Lines(commandsHelp) {
			found = found || strings.HasPrefix(line, "  "+usage+"  ") && strings.HasSuffix(line, "  "+c.help+"\n")
		}
		if !found {
			t.Errorf("the help has no line for %q, %q", usage, c.help)
		}
	}
}
