package main

import (
	"fmt"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// results are the columns of a whole run, and the contenders to compare.
type results struct {
	hardware string
	software string
	text     string // the tables, and notes
	title    string // of the chart
	unit     string // of the table
	note     string // of the chart
	names    []string
	base     int     // the contender to which each cell compares the others; -1 for none
	ratios   []ratio // rows of the table
	panels   []panel
	charted  []int // the contenders in the chart; nil for all
}

// panel has columns for one size of items, or for one store.
type panel struct {
	name    string
	columns []column
}

// ratio is a row that says how many times longer over took than under.
type ratio struct {
	name        string
	over, under int
}

// sizes returns the results as a single table in Markdown, with its columns
// aligned, so that it is readable as text too.
func (r results) sizes() string {
	var columns []column
	for _, p := range r.panels {
		for _, c := range p.columns {
			c.title += " " + p.name
			columns = append(columns, c)
		}
	}
	return r.markdown(columns)
}

// stores returns a table for each panel.
func (r results) stores() string {
	var tables []string
	for _, p := range r.panels {
		tables = append(tables, p.name+":\n\n"+r.markdown(p.columns))
	}
	return strings.Join(tables, "\n\n")
}

func (r results) markdown(columns []column) string {
	t := table.NewWriter()
	t.Style().Markdown.PadContent = true
	header := table.Row{r.unit}
	var numbers []table.ColumnConfig
	for i, c := range columns {
		header = append(header, c.title)
		numbers = append(numbers, table.ColumnConfig{Number: i + 2, Align: text.AlignRight, AlignHeader: text.AlignRight})
	}
	t.AppendHeader(header)
	t.SetColumnConfigs(numbers)
	for i, name := range r.names {
		row := table.Row{name}
		for _, c := range columns {
			row = append(row, r.cell(c, i))
		}
		t.AppendRow(row)
	}
	for _, ratio := range r.ratios {
		row := table.Row{ratio.name}
		for _, c := range columns {
			row = append(row, ratio.cell(c))
		}
		t.AppendRow(row)
	}
	return t.RenderMarkdown()
}

func (r results) cell(c column, contender int) string {
	switch {
	case !c.done(contender):
		return ""
	case r.base < 0:
		return number(c.micros(contender))
	}
	return fmt.Sprintf("%s (%s×)", number(c.micros(contender)), number(c.ratio(contender, r.base)))
}

func (r ratio) cell(c column) string {
	if !c.done(r.over) || !c.done(r.under) {
		return ""
	}
	return number(c.ratio(r.over, r.under)) + "×"
}

// number formats a number with two or three significant digits.
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
