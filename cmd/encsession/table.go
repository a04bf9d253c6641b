package main

import (
	"fmt"
	"io"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

const (
	width      = 120 // no printed line is wider
	timeFormat = "2006-01-02 15:04:05 MST"
	pageRows   = 1000
)

// pages prints a table in pages. A page has so few rows that memory use stays
// small.
type pages struct {
	w      io.Writer
	header table.Row
	before func() // is called before a page is printed
	ids    []string
	rows   []table.Row // without the ID
}

// add adds a row.
func (p *pages) add(sessionID string, row table.Row) error {
	p.ids, p.rows = append(p.ids, name(sessionID)), append(p.rows, row)
	if len(p.rows) < pageRows {
		return nil
	}
	return p.print("", nil)
}

// print prints the rows that are left, and a footer if there is one.
func (p *pages) print(title string, footer table.Row) error {
	if p.before != nil {
		p.before()
	}
	longest := text.StringWidth(title)
	for _, id := range p.ids {
		longest = max(longest, text.StringWidth(id))
	}
	out := p.render(title, footer, longest)
	if excess := text.LongestLineLen(out) - width; excess > 0 {
		out = p.render(title, footer, max(longest-excess, 1))
	}
	p.ids, p.rows = nil, nil
	_, err := fmt.Fprintln(p.w, out)
	return err
}

func (p *pages) render(title string, footer table.Row, idWidth int) string {
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault
	t.Style().Format.Footer = text.FormatDefault
	t.Style().Options.DrawBorder = false
	t.Style().Options.SeparateColumns = false
	t.SuppressTrailingSpaces()
	var columns []table.ColumnConfig
	for n := 2; n <= len(p.header); n++ {
		columns = append(columns, table.ColumnConfig{
			Number: n, Align: text.AlignRight, AlignHeader: text.AlignRight, AlignFooter: text.AlignRight,
		})
	}
	t.SetColumnConfigs(columns)
	t.AppendHeader(p.header)
	for i, row := range p.rows {
		t.AppendRow(append(table.Row{cut(p.ids[i], idWidth)}, row...))
	}
	if footer != nil {
		t.AppendFooter(append(table.Row{title}, footer...))
	}
	return t.Render()
}

// cut takes the middle out of a text that is too wide. Session IDs may differ
// only at one of their ends.
func cut(s string, wide int) string {
	if runes := []rune(s); len(runes) > 8*wide { // there can be any number of characters without a width: measure a few of them
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

// some returns a count for a cell. It shows 0 as a dot, so that other counts
// stand out.
func some(n int) string {
	if n == 0 {
		return "·"
	}
	return fmt.Sprint(n)
}

// day returns a time for a cell: the time of day if that is today.
func day(t *time.Time) string {
	switch {
	case t == nil || t.IsZero():
		return "·"
	case t.UTC().Format(time.DateOnly) == time.Now().UTC().Format(time.DateOnly):
		return "today " + t.UTC().Format("15:04")
	}
	return t.UTC().Format(time.DateOnly)
}
