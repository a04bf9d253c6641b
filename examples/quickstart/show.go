package main

import (
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode"

	"github.com/encsession/encsession"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

func heading(w io.Writer, format string, args ...any) {
	title := fmt.Sprintf(format, args...)
	fmt.Fprintf(w, "\n%s\n%s\n", title, strings.Repeat("=", text.StringWidth(title)))
}

func showLine(w io.Writer, who, what string) {
	fmt.Fprintf(w, "%-10s %s\n", who, what)
}

// sayWhere says how to look at the file.
func sayWhere(w io.Writer, folder string) {
	heading(w, "4. Look for yourself")
	fmt.Fprintln(w, "The file stays until you remove its folder. With the sqlite3 program:")
	fmt.Fprintf(w, "\n    cd %s\n    sqlite3 %s 'select * from agent_messages limit 3'\n", folder, databaseName)
}

// cellWidth is how many columns an item may take, so that a row fits into 120.
const cellWidth = 38

// compare returns a table of what lies in the file beside what the session returns.
func compare(rows []row, items []encsession.Item) string {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault
	// Terminals do not agree on the width of some emoji: a right border would be ragged.
	t.Style().Options.DrawBorder = false
	t.SuppressTrailingSpaces()

	t.AppendHeader(table.Row{"id", "kind", "bytes", "message_data in the file", "what the session returns"})
	for i, item := range items {
		t.AppendRow(table.Row{rows[i].id, kind(item), len(item), shortEnvelope(rows[i].messageData), shortItem(item)})
	}
	return t.Render()
}

// kind says what an item is, such as "user message" or "function_call".
func kind(item encsession.Item) string {
	var head struct{ Type, Role string }
	if err := json.Unmarshal(item, &head); err != nil {
		return "?"
	}
	if head.Role != "" {
		return printable(head.Role + " message")
	}
	return printable(head.Type)
}

// shortEnvelope shows the beginning of a row's data and its end, where no two payloads are alike: tokens that were
// made in the same second all begin alike.
func shortEnvelope(messageData string) string {
	const payload = `"payload":"`
	s := printable(messageData)
	head, token, ok := strings.Cut(s, payload)
	if !ok {
		return text.Snip(s, cellWidth, "…")
	}
	head = text.Trim(head, len(`{"__enc__":1,`))
	end := token[max(0, len(token)-12):]
	return head + "…" + payload + "…" + end
}

// telling finds where an item says something to a person. In front of that stand types and IDs.
var telling = regexp.MustCompile(`"(content|text|arguments|output)":"`)

// shortItem shows an item from where it is telling, or from its beginning.
func shortItem(item encsession.Item) string {
	s := printable(string(item))
	if at := telling.FindStringIndex(s); at != nil {
		s = "…" + s[at[0]:]
	}
	return text.Snip(s, cellWidth, "…")
}

// printable replaces what could steer the terminal: control characters, and the invisible ones that turn the
// direction of text round. What users and tools say is not to be trusted with that.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsGraphic(r) {
			return r
		}
		return unicode.ReplacementChar
	}, s)
}
