package main

import (
	"fmt"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// results are the columns of a whole run, and which of the contenders are compared with others.
type results struct {
	hardware      string
	software      string
	names         []string
	ours          []int // encsession: on all cores, and on one
	fernet        int
	python        int // -1 where there is none
	writes, reads []column
}

// markdown returns the results as a table in Markdown, with its columns aligned, so that it is readable as text too.
func (r results) markdown() string {
	t := table.NewWriter()
	t.Style().Markdown.PadContent = true
	header := table.Row{"µs per item (÷ fernet-go)"}
	var numbers []table.ColumnConfig
	columns := append(r.writes[:len(r.writes):len(r.writes)], r.reads...)
	for i, c := range columns {
		header = append(header, c.direction+" "+sizeName(c.size))
		numbers = append(numbers, table.ColumnConfig{Number: i + 2, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.AppendHeader(header)
	t.SetColumnConfigs(numbers)
	for i, name := range r.names {
		row := table.Row{name}
		for _, c := range columns {
			row = append(row, fmt.Sprintf("%s (%s×)", number(c.perItem(i)), number(c.ratio(i, r.fernet))))
		}
		t.AppendRow(row)
	}
	for _, ours := range r.ours {
		if r.python < 0 {
			break
		}
		row := table.Row{"Python ÷ " + r.names[ours]}
		for _, c := range columns {
			row = append(row, number(c.ratio(r.python, ours))+"×")
		}
		t.AppendRow(row)
	}
	return t.RenderMarkdown()
}

// number formats a number with two or three digits that count.
func number(f float64) string {
	switch {
	case f < 10:
		return fmt.Sprintf("%.2f", f)
	case f < 100:
		return fmt.Sprintf("%.1f", f)
	}
	return fmt.Sprintf("%.0f", f)
}

func sizeName(bytes int) string {
	if bytes < 1000 {
		return fmt.Sprintf("%d B", bytes)
	}
	return fmt.Sprintf("%d kB", bytes/1000)
}
