package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
)

// escape returns JSON that is safe to print. It is the same JSON, with escapes
// for runes that are not graphic. These include control characters, which steer
// a terminal, and invisible ones that change the direction of text. In JSON
// without white space between its tokens, such runes occur only in strings,
// where escapes are allowed. The runes of keep stay.
func escape(s string, keep ...rune) string {
	var b strings.Builder
	for _, r := range s {
		switch {
		case unicode.IsGraphic(r) || slices.Contains(keep, r):
			b.WriteRune(r)
		case r > 0xffff:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}

// name returns a session ID as it is, or quoted with escapes if it could be
// misread.
func name(sessionID string) string {
	quoted := strconv.Quote(sessionID)
	if quoted != `"`+sessionID+`"` || sessionID == "" || strings.TrimSpace(sessionID) != sessionID {
		return quoted
	}
	return sessionID
}
