package sqlstore

import (
	"errors"
	"fmt"
	"unicode/utf8"
)

// column describes the text that a column can hold. Text that does not fit must
// not reach the database, because not every database refuses it. MySQL outside
// its strict mode cuts it off, and PostgreSQL cuts off spaces at the end.
type column struct {
	maxChars, maxBytes int64           // 0 if there is no limit
	holds              func(rune) bool // nil if the column holds every character
	charset            string          // for the error if holds returns false
}

// check returns an error if the column cannot hold the text. The error says
// why, and does not quote the text.
func (c column) check(text string) error {
	if !utf8.ValidString(text) {
		return errors.New("it is not valid UTF-8")
	}
	if c.maxBytes > 0 && int64(len(text)) > c.maxBytes {
		return fmt.Errorf("it has %d bytes and the database holds %d", len(text), c.maxBytes)
	}
	if n := int64(utf8.RuneCountInString(text)); c.maxChars > 0 && n > c.maxChars {
		return fmt.Errorf("it has %d characters and the column holds %d", n, c.maxChars)
	}
	if c.holds == nil {
		return nil
	}
	for _, r := range text {
		if !c.holds(r) {
			return fmt.Errorf("it has the character %U, which text in %s cannot hold", r, c.charset)
		}
	}
	return nil
}
