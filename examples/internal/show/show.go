// Package show helps the examples to show the contents of a database to a
// person, in little room.
package show

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"strings"
	"unicode"

	"github.com/jedib0t/go-pretty/v6/text"
)

// Heading writes a heading.
func Heading(w io.Writer, format string, args ...any) {
	title := fmt.Sprintf(format, args...)
	fmt.Fprintf(w, "\n%s\n%s\n", title, strings.Repeat("=", text.StringWidth(title)))
}

// Wrap breaks a text into lines of at most width columns.
func Wrap(s string, width int) []string {
	lines := strings.Split(text.WrapSoft(s, width), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimSpace(line) // WrapSoft fills lines up
	}
	return lines
}

// Row is a row of agent_messages.
type Row struct {
	ID          int64
	MessageData string
}

// Rows reads the rows of a database, without the help of the library.
func Rows(ctx context.Context, db *sql.DB) ([]Row, error) {
	found, err := db.QueryContext(ctx, "SELECT id, message_data FROM agent_messages ORDER BY id")
	if err != nil {
		return nil, err
	}
	defer found.Close()
	var rows []Row
	for found.Next() {
		var r Row
		if err := found.Scan(&r.ID, &r.MessageData); err != nil {
			return nil, err
		}
		rows = append(rows, r)
	}
	return rows, found.Err()
}

// Envelope shortens a row's data. It shows the beginning, and the end, where no
// two payloads are alike. Tokens that were made in the same second all begin
// alike. If the data is no envelope, Envelope cuts it to width.
func Envelope(messageData string, width int) string {
	const payload = `"payload":"`
	s := Printable(messageData)
	head, token, ok := strings.Cut(s, payload)
	if !ok {
		return text.Snip(s, width, "…")
	}
	head = text.Trim(head, len(`{"__enc__":1,`))
	end := token[max(0, len(token)-12):]
	return head + "…" + payload + "…" + end
}

// Printable replaces runes that could steer the terminal. These are control
// characters, and the invisible ones that change the direction of text. The
// words of users and tools may contain them.
func Printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}
