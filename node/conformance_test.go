package node

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/kadquic/kadquic/internal/simnet"
)

// A rule is a sentence of SPEC.md with "must" or "breaks the rules", or a row of the table of a
// receiver's reactions to invalid frames.
type rule struct {
	sentence string // some words of it, found in no other rule
	test     func(t *testing.T, n *Node, s *testNetwork)
	reason   string // why there is no test
}

var rules = []rule{
	{sentence: "say everything that a program in any language must know", reason: "states what SPEC.md is for"},
	{sentence: "*Must* is checked by the peer", reason: "defines the word"},

	{sentence: "A peer ID must be canonically encoded", test: testWeakKeys},
	{sentence: "Its point must not be of small order", test: testWeakKeys},
	{sentence: "A receiver refuses an ID that is not valid wherever it names a peer", test: testWeakKeys},
	{sentence: "Both sides must show exactly one X.509 certificate", test: testCertificates},
	{sentence: "must abort the handshake if the certificate holds another key", test: testWrongKey},
	{sentence: "The first frame each way must be HELLO", test: testFirstFrame},

	{sentence: "| a length over 65536 or in too many bytes; a frame that is not protobuf, has no body or two |", test: testMalformedFrames},
	{sentence: "| a first frame other than a valid HELLO |", test: testFirstFrame},
	{sentence: "| an unknown field, or a known one of another wire type |", test: testUnknownFields},
	{sentence: "| a request of an unknown type |", test: testUnknownTypes},
	{sentence: "| an answer or notice of an unknown type |", test: testUnknownTypes},
	{sentence: "| a request whose body breaks a rule of this file | answer", test: testInvalidRequests},
	{sentence: "| an answer or notice whose body breaks a rule |", test: testInvalidAnswers},

	{sentence: "a message field that occurs twice breaks the rules", test: testFieldsTwice},
	{sentence: "Groups (wire types 3 and 4) break the rules anywhere", test: testGroups},
	{sentence: "Strings must be UTF-8", test: testInvalidHello},
	{sentence: "a message beyond them breaks the rules", test: testLimits},
	{sentence: "Keys and peer IDs must have 32 bytes", test: testLengths},
	{sentence: "Another length breaks the rules, also where the field has no meaning", test: testLengths},
	{sentence: "One after 253402300799999", test: testInvalidHello},
	{sentence: "A Signed whose payload is empty or too long", test: testSigned},
	{sentence: "A SERVER must carry out", test: testServer},
	{sentence: "A mode that the receiver does not know counts as CLIENT; 0 breaks the rules", test: testInvalidHello},
	{sentence: "So a HELLO breaks the rules only by", test: testInvalidHello},
	{sentence: "more than 4 break the rules", test: testInvalidAnswers},
	{sentence: "A kind of 0 breaks the rules", test: testKinds},
	{sentence: "another number of codes breaks the rules", test: testInvalidAnswers},
	{sentence: "DIALLED must have `by`", test: testInvalidAnswers},
	{sentence: "the request must have `padding`", test: testPadding},
	{sentence: "A CALL must have `peer`, and CALL and CALLED must have `intro`", test: testCall},
	{sentence: "| kind | key must be |", test: testKeys},
	{sentence: "| BAD_REQUEST | the request breaks a rule of this file |", test: testInvalidRequests},
}

// readRules returns the rules of SPEC.md: sentences, and rows of tables.
func readRules(t *testing.T) (found []string) {
	b, err := os.ReadFile("../wire/SPEC.md")
	if err != nil {
		t.Fatal(err)
	}
	text := regexp.MustCompile("(?s)```.*?```").ReplaceAllString(strings.ReplaceAll(string(b), "\r\n", "\n"), "")
	says := regexp.MustCompile(`(?i)\bmust\b|\bbreaks? (the rules|a rule)\b`)
	ends := regexp.MustCompile(`[.?!]\)? +`)
	reactions := false
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		switch {
		case !strings.HasPrefix(line, "|"):
			reactions = false
		case strings.HasPrefix(line, "| received |"):
			reactions = true
			continue
		}
		for len(line) > 0 {
			to := len(line)
			if end := ends.FindStringIndex(line); end != nil && line[0] != '|' {
				to = end[1]
			}
			if says.MatchString(line[:to]) || reactions && !strings.HasPrefix(line, "|---") {
				found = append(found, line[:to])
			}
			line = line[to:]
		}
	}
	return found
}

func TestEveryRuleOfSpecHasATest(t *testing.T) {
	claimed := map[string]int{}
	for _, sentence := range readRules(t) {
		claims := 0
		for _, r := range rules {
			if strings.Contains(sentence, r.sentence) {
				claims++
				claimed[r.sentence]++
			}
		}
		if claims != 1 {
			t.Errorf("%d tests, want 1, claim the rule of SPEC.md:\n\t%s", claims, sentence)
		}
	}
	for _, r := range rules {
		if claimed[r.sentence] != 1 {
			t.Errorf("%d rules of SPEC.md, want 1, are claimed by %q", claimed[r.sentence], r.sentence)
		}
		if (r.test == nil) == (r.reason == "") {
			t.Errorf("%q needs a test or a reason, and not both", r.sentence)
		}
	}
}

func TestRulesOfSpec(t *testing.T) {
	for _, r := range rules {
		if r.test != nil {
			t.Run(r.sentence, func(t *testing.T) {
				inAskingSwarm(t, 1, simnet.Options{Delay: 5 * time.Millisecond}, func(t *testing.T, a *askers) {
					r.test(t, a.nodes[0], a.testNetwork)
				})
			})
		}
	}
}
