package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/encsession/encsession"
)

// matchText reads the text of --match.
func (a *app) matchText() (string, error) {
	var content []byte
	var err error
	if a.flags.match == "-" {
		if !a.flags.yes && !a.flags.dryRun {
			return "", errors.New("--match - reads standard input, so no question can be answered there: give --yes or --dry-run")
		}
		content, err = io.ReadAll(a.stdin)
	} else {
		content, err = os.ReadFile(a.flags.match)
	}
	if err != nil {
		return "", fmt.Errorf("--match: %w", err)
	}
	text := strings.TrimSpace(strings.TrimPrefix(string(content), "\ufeff"))
	switch {
	case text == "":
		return "", errors.New("--match: the file holds no text, which would match everything")
	case !utf8.ValidString(text):
		return "", errors.New("--match: the file is not UTF-8")
	case strings.ContainsAny(text, "\r\n"):
		return "", errors.New("--match: the file has several lines, and would match only items that hold all of them in a row: give one text at a time")
	}
	return text, nil
}

// newMatcher returns a func that reports whether an item holds a text in the
// name or the value of a member. It compares the text as people read it. Python
// writes é as \u00e9, so comparing bytes would miss many items. Unicode has more
// than one way to write many characters, so both sides are compared in its
// normal form NFKC. Any white space counts as one space, since a name may stand
// at the end of a line.
func newMatcher(text string, ignoreCase bool) func(encsession.Item) bool {
	plain := func(s string) string {
		s = strings.Join(strings.Fields(norm.NFKC.String(s)), " ")
		if ignoreCase {
			s = strings.ToLower(s)
		}
		return s
	}
	text = plain(text)
	holds := func(s string) bool { return strings.Contains(plain(s), text) }
	return func(item encsession.Item) bool { return jsonHolds(item, holds, maxNested) }
}

// maxNested is the depth to which strings of JSON inside JSON are searched.
const maxNested = 8

// jsonHolds reports whether holds is true for a string or number of a JSON
// text.
func jsonHolds(text []byte, holds func(string) bool, nested int) bool {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	for {
		token, err := decoder.Token()
		if err != nil {
			return false // the end: items are JSON
		}
		switch token := token.(type) {
		case json.Number:
			if holds(token.String()) {
				return true
			}
		case string:
			if holds(token) {
				return true
			}
			inner := strings.TrimSpace(token)
			if nested > 0 && inner != "" && strings.ContainsRune(`{["`, rune(inner[0])) && json.Valid([]byte(inner)) &&
				jsonHolds([]byte(inner), holds, nested-1) {
				return true
			}
		}
	}
}
