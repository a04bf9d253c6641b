package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// say prints the heading of a step, and the reason for its place.
func (r *rotation) say(title, why string) {
	fmt.Fprintf(r.w, "\n%s\n%s\n", title, strings.Repeat("=", len(title)))
	for line := range strings.Lines(strings.TrimSpace(why)) {
		fmt.Fprintln(r.w, strings.TrimSpace(line))
	}
}

// keys names the keys that a service has.
func (s *service) keys() string {
	line := "Current: " + s.key.name
	for _, k := range s.older {
		line += ", Older: " + k.name
	}
	return line
}

// audit prints the keys of the services. For every session it prints the number
// of items under each key, and the number that each service reads.
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
	for info, err := range r.operator.store.Sessions(ctx) {
		if err != nil {
			return err
		}
		counts, err := r.auditSession(ctx, info.ID)
		if err != nil {
			return fmt.Errorf("session %q: %w", info.ID, err)
		}
		row := table.Row{info.ID}
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
	under := map[string]int{} // a fingerprint
	for _, k := range report.Keys {
		under[k.Fingerprint] += k.Items
	}
	writerReads, err := r.writer.count(ctx, sessionID)
	if err != nil {
		return counts, err
	}
	readerReads, err := r.reader.count(ctx, sessionID)
	return [5]int{
		report.Items, under[r.old.Fingerprint()], under[r.new.Fingerprint()], writerReads, readerReads,
	}, err
}
