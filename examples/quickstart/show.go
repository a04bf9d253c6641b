package main

import (
	"encoding/json"
	"fmt"
	"io"
	"regexp"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/examples/internal/show"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// showLine writes a line, and breaks it if it is too long for a terminal.
func showLine(w io.Writer, who, what string) {
	for _, line := range show.Wrap(what, 100) {
		fmt.Fprintf(w, "%-10s %s\n", who, line)
		who = ""
	}
}

// rowsShown is the number of rows that leave room for the rest on one screen.
const rowsShown = 10

// cellWidth is the number of columns for an item. With it a row fits into 120.
const cellWidth = 38

// compare returns a table of the rows of the file beside the items that the
// session returns.
func compare(rows []show.Row, items []encsession.Item) string {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault
	// Terminals do not agree on the width of some emoji. A right border would
	// be ragged.
	t.Style().Options.DrawBorder = false
	t.SuppressTrailingSpaces()

	t.AppendHeader(table.Row{"id", "kind", "bytes", "message_data in the file", "what the session returns"})
	for i, item := range items {
		t.AppendRow(table.Row{rows[i].ID, kind(item), len(item), show.Envelope(rows[i].MessageData, cellWidth), shortItem(item)})
	}
	return t.Render()
}

// kind returns the kind of an item, such as "user message" or "function_call".
func kind(item encsession.Item) string {
	var head struct{ Type, Role string }
	if err := json.Unmarshal(item, &head); err != nil {
		return "?"
	}
	if head.Role != "" {
		return show.Printable(head.Role + " message")
	}
	return show.Printable(head.Type)
}

// telling finds the member that a person wants to read. Types and IDs stand
// before it.
var telling = regexp.MustCompile(`"(content|text|arguments|output)":"`)

// shortItem shows an item from its telling member on, or from its beginning if
// it has none.
func shortItem(item encsession.Item) string {
	s := show.Printable(string(item))
	if at := telling.FindStringIndex(s); at != nil {
		s = "…" + s[at[0]:]
	}
	return text.Snip(s, cellWidth, "…")
}
