package main

import (
	"fmt"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

func openedTable(d Document) string {
	header := table.Row{
		"session", "items", "readable", "by read\nkeys", "expired", "future", "undecrypt-\nable",
		"plain-\ntext", "mal-\nformed", "oldest", "newest",
	}
	return render(d, header, func(name string, c Counts) table.Row {
		return table.Row{
			name, c.Items, some(c.Readable), some(c.byReadKeys()), some(c.Expired), some(c.Future),
			some(c.Undecryptable), some(c.Plaintext), some(c.Malformed), day(c.Oldest), day(c.Newest),
		}
	})
}

func unopenedTable(d Document) string {
	header := table.Row{"session", "items", "sealed", "plaintext", "malformed", "oldest", "newest"}
	return render(d, header, func(name string, c Counts) table.Row {
		return table.Row{
			name, c.Items, some(c.Sealed), some(c.Plaintext), some(c.Malformed), day(c.Oldest), day(c.Newest),
		}
	})
}

// render returns the table, with session IDs cut as far as it takes to make it fit.
func render(d Document, header table.Row, row func(name string, c Counts) table.Row) string {
	longest := 0
	for _, s := range d.Sessions {
		longest = max(longest, text.StringWidth(name(s.ID)))
	}
	out := renderCut(d, header, row, longest)
	if excess := text.LongestLineLen(out) - width; excess > 0 {
		out = renderCut(d, header, row, max(longest-excess, 1))
	}
	return out
}

func renderCut(d Document, header table.Row, row func(name string, c Counts) table.Row, idWidth int) string {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault
	t.Style().Format.Footer = text.FormatDefault
	t.Style().Options.DrawBorder = false
	t.Style().Options.SeparateColumns = false
	t.SuppressTrailingSpaces()
	var columns []table.ColumnConfig
	for n := 2; n <= len(header); n++ {
		columns = append(columns, table.ColumnConfig{
			Number: n, Align: text.AlignRight, AlignHeader: text.AlignRight, AlignFooter: text.AlignRight,
		})
	}
	t.SetColumnConfigs(columns)

	t.AppendHeader(header)
	for _, s := range d.Sessions {
		id := cut(name(s.ID), idWidth)
		if s.Counts == nil {
			t.AppendRow(table.Row{id, "error"})
			continue
		}
		t.AppendRow(row(id, *s.Counts))
	}
	if len(d.Sessions) != 1 {
		t.AppendFooter(row("all "+plural(len(d.Sessions), "session", "sessions"), d.Totals))
	}
	return t.Render()
}

// cut takes the middle out of a text that is too wide: what tells session IDs apart may be at either end.
func cut(s string, wide int) string {
	if runes := []rune(s); len(runes) > 8*wide { // characters without a width can be any number: measure a few of them
		s = string(runes[:4*wide]) + "…" + string(runes[len(runes)-4*wide:])
	}
	if text.StringWidth(s) <= wide {
		return s
	}
	head := text.Trim(s, wide/2)
	var tail string
	for runes := []rune(s); ; runes = runes[:len(runes)-1] {
		longer := string(runes[len(runes)-1]) + tail
		if text.StringWidth(head+"…"+longer) > wide {
			return head + "…" + tail
		}
		tail = longer
	}
}

// some returns a count for a cell, in which none is a dot, so that what is there stands out.
func some(n int) string {
	if n == 0 {
		return "·"
	}
	return fmt.Sprint(n)
}

// day returns a time for a cell: the time of day where that is today.
func day(t *time.Time) string {
	switch {
	case t == nil:
		return "·"
	case t.Format(time.DateOnly) == time.Now().UTC().Format(time.DateOnly):
		return "today " + t.Format("15:04")
	}
	return t.Format(time.DateOnly)
}
