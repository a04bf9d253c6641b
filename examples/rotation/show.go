package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// say prints the heading of a step, and why it comes where it does.
func (r *rotation) say(title, why string) {
	fmt.Fprintf(r.w, "\n%s\n%s\n", title, strings.Repeat("=", len(title)))
	for line := range strings.Lines(strings.TrimSpace(why)) {
		fmt.Fprintln(r.w, strings.TrimSpace(line))
	}
}

// keys says which keys a service has.
func (s *service) keys() string {
	line := "key: " + s.key.name
	for _, k := range s.readKeys {
		line += ", read key: " + k.name
	}
	return line
}

// audit prints which keys the services have, what lies in every session, by the key that opens it, and how much of it
// each service reads.
func (r *rotation) audit(ctx context.Context) error {
	fmt.Fprintf(r.w, "\nwriter  %s\nreader  %s\n", r.writer.keys(), r.reader.keys())
	t := table.NewWriter()
	t.SetStyle(table.StyleLight)
	t.Style().Format.Header = text.FormatDefault
	t.Style().Format.Footer = text.FormatDefault
	t.Style().Options.DrawBorder = false
	t.SuppressTrailingSpaces()
	t.AppendHeader(table.Row{
		"session", "items", "under the old key", "under the new key", "the writer reads", "the reader reads",
	})

	var sums [5]int
	for sessionID, err := range r.operator.store.SessionIDs(ctx) {
		if err != nil {
			return err
		}
		counts, err := r.auditSession(ctx, sessionID)
		if err != nil {
			return fmt.Errorf("session %q: %w", sessionID, err)
		}
		row := table.Row{sessionID}
		for i, n := range counts {
			sums[i] += n
			row = append(row, n)
		}
		t.AppendRow(row)
	}
	footer := table.Row{"all"}
	for _, n := range sums {
		footer = append(footer, n)
	}
	t.AppendFooter(footer)
	_, err := fmt.Fprintf(r.w, "\n%s\n", t.Render())
	return err
}

// auditSession returns the numbers of a row of the table.
func (r *rotation) auditSession(ctx context.Context, sessionID string) (counts [5]int, err error) {
	report, err := r.operator.audit(ctx, sessionID)
	if err != nil {
		return counts, err
	}
	underNew, underOld := report.Keys[0], 0 // the current key, and then the read keys
	if len(report.Keys) > 1 {
		underOld = report.Keys[1]
	}
	writerReads, err := r.writer.count(ctx, sessionID)
	if err != nil {
		return counts, err
	}
	readerReads, err := r.reader.count(ctx, sessionID)
	return [5]int{report.Items, underOld, underNew, writerReads, readerReads}, err
}
