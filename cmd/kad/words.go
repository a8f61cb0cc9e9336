package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/kadquic/kadquic/wire"
)

// splitWords takes a command line of the testnet apart:
//
//	insert 3 "hello world" 'as it stands'   # to the end of the line: a comment
//
// Words are set apart by blanks. Within "…" a backslash begins \" \\ \n \r \t or
// \xNN, one byte; within '…' everything stands for itself; outside quotes a
// backslash takes the next character as it is. Quoted and bare parts that touch
// are one word, and "" is an empty one.
func splitWords(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	in := false // within a word
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == ' ' || c == '\t' || c == '\r':
			if in {
				words = append(words, word.String())
				word.Reset()
				in = false
			}
		case c == '#' && !in:
			return words, nil
		case c == '\'':
			n := strings.IndexByte(line[i+1:], '\'')
			if n < 0 {
				return nil, errors.New("a ' has no end")
			}
			word.WriteString(line[i+1 : i+1+n])
			i += 1 + n
			in = true
		case c == '"':
			n, err := doubleQuoted(&word, line[i+1:])
			if err != nil {
				return nil, err
			}
			i += n
			in = true
		case c == '\\':
			i++
			if i == len(line) {
				return nil, errors.New("a \\ ends the line")
			}
			word.WriteByte(line[i])
			in = true
		default:
			word.WriteByte(c)
			in = true
		}
	}
	if in {
		words = append(words, word.String())
	}
	return words, nil
}

// doubleQuoted appends to word what s holds up to its closing quote, and returns
// the number of bytes read, that quote included.
func doubleQuoted(word *strings.Builder, s string) (int, error) {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '"':
			return i + 1, nil
		case '\\':
			i++
			if i == len(s) {
				return 0, errors.New("a \" has no end")
			}
			switch s[i] {
			case '"', '\\':
				word.WriteByte(s[i])
			case 'n':
				word.WriteByte('\n')
			case 'r':
				word.WriteByte('\r')
			case 't':
				word.WriteByte('\t')
			case 'x':
				b, ok := hexByte(s[i+1:])
				if !ok {
					return 0, errors.New(`\x needs two hex digits`)
				}
				word.WriteByte(b)
				i += 2
			default:
				return 0, fmt.Errorf("unknown escape \\%s within \"…\"", wire.Printable(s[i:i+1]))
			}
		default:
			word.WriteByte(s[i])
		}
	}
	return 0, errors.New("a \" has no end")
}

func hexByte(s string) (byte, bool) {
	if len(s) < 2 {
		return 0, false
	}
	var b byte
	for _, c := range []byte(s[:2]) {
		switch {
		case '0' <= c && c <= '9':
			b = b<<4 | (c - '0')
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			b = b<<4 | (c | 0x20 - 'a' + 10)
		default:
			return 0, false
		}
	}
	return b, true
}
