package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/fleet"
	"github.com/jedib0t/go-pretty/v6/text"
	"github.com/spf13/cobra"
)

func (a *app) showCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "show SESSION",
		Short: "Print the content of a session",
		Long: "Print the items of a session, oldest first, with escapes for everything that could steer a terminal. This is the only\n" +
			"command that prints content. Without a key it shows what is not encrypted.",
		Args: oneSession, ValidArgsFunction: noCompletion,
		RunE: func(cmd *cobra.Command, args []string) error { return a.show(cmd, args[0]) },
	}
	a.flags.storeFlags(cmd.Flags())
	a.flags.ttlFlag(cmd.Flags())
	a.flags.auditFileFlag(cmd.Flags())
	return cmd
}

func (a *app) show(cmd *cobra.Command, sessionID string) error {
	ring, err := a.keys()
	if err != nil {
		return err
	}
	s, shown, err := a.openStore(cmd.Flags(), false)
	if err != nil {
		return err
	}
	defer s.Close()
	items, total, err := a.open(cmd.Context(), s, ring, sessionID)
	if err != nil {
		return fmt.Errorf("session %q: %w", sessionID, err)
	}
	if len(items) == 0 {
		if err := checkExists(cmd, s, sessionID); err != nil {
			return err
		}
	}
	t, err := a.openTrace("show", "print the content of a session", shown, ring)
	if err != nil {
		return err
	}
	defer t.close()
	if t != nil {
		t.line.Session = sessionID
	}
	summary := fleet.Summary{Sessions: 1}
	if total.Plaintext+total.Malformed > 0 || total.Opened != nil && total.Undecryptable > 0 {
		summary.Findings = 1
	}
	outcome, code := outcomeOf(cmd.Context(), summary, nil)
	// The trace comes before anything is shown: nobody reads without a trace.
	if err := t.write(outcome, &traceCount{Sessions: 1, Items: len(items)}, nil); err != nil {
		return err
	}
	if a.flags.json {
		err = a.showLines(items, shown, ring != nil, summary, outcome, total)
	} else {
		err = a.showText(items, sessionID, ring != nil, total)
	}
	if err != nil {
		return fmt.Errorf("standard output: %w", err)
	}
	return a.end(code, nil)
}

func (a *app) showLines(items []itemLine, shown string, authenticated bool, summary fleet.Summary, outcome string, total Counts) error {
	for _, item := range items {
		if err := writeLine(a.stdout, item); err != nil {
			return err
		}
	}
	line := a.summary("show", shown, summary, outcome, nil)
	line.Authenticated, line.Counts = &authenticated, &total
	return writeLine(a.stdout, line)
}

func (a *app) showText(items []itemLine, sessionID string, authenticated bool, total Counts) error {
	var out bytes.Buffer
	if len(items) == 0 {
		fmt.Fprintf(&out, "Session %q has no items.\n", sessionID)
	} else {
		fmt.Fprintf(&out, "The items of session %q, oldest first:\n", sessionID)
	}
	for n, item := range items {
		writeContent(&out, n, item)
	}
	switch {
	case !authenticated:
		fmt.Fprintln(&out, "\nNo key is set, so nothing here is authenticated.")
	case total.Undecryptable > 0:
		fmt.Fprintf(&out, "\nUndecryptable: %s under a key that is not given, or of another session, or altered.\n",
			plural(total.Undecryptable, "item", "items"))
	}
	_, err := a.stdout.Write(out.Bytes())
	return err
}

// open opens and counts the items of a session.
func (a *app) open(ctx context.Context, s store, ring *encsession.Keyring, sessionID string) (items []itemLine, total Counts, err error) {
	total = newCounts(ring)
	keys, id, ttl := ring, sessionID, a.flags.ttl
	if ring == nil { // as claimedTimes does
		key, err := encsession.ParseKey(encsession.GenerateKey())
		if err != nil {
			return nil, total, err
		}
		keys, id, ttl = &encsession.Keyring{Current: key}, "any", encsession.NoExpiry
	}
	sealer, err := encsession.NewSealer(id, *keys, ttl)
	if err != nil {
		return nil, total, err
	}
	stored, err := s.Session(sessionID).GetItems(ctx, 0)
	if err != nil {
		return nil, total, err
	}
	session, err := encsession.New(held{s.Session(sessionID), stored}, keys, encsession.WithSessionID(id), encsession.WithTTL(ttl))
	if err != nil {
		return nil, total, err
	}
	report, err := session.Audit(ctx)
	if err != nil {
		return nil, total, err
	}
	total.add(report)
	for _, item := range stored {
		line := openItem(sealer, ring != nil, item)
		line.Head, line.Session = Head{lineVersion, "item"}, sessionID
		items = append(items, line)
		if ring == nil {
			total.widen(line.Sealed)
		}
	}
	return items, total, nil
}

// held is a session that has been read. An audit of it does not read the store
// again, which may hold other items by then.
type held struct {
	encsession.Session
	items []encsession.Item
}

func (h held) GetItems(context.Context, int) ([]encsession.Item, error) { return h.items, nil }

func openItem(sealer *encsession.Sealer, authenticated bool, stored encsession.Item) itemLine {
	item, err := sealer.Open(stored)
	line := itemLine{State: state(err), Sealed: claimedTime(stored), Item: item}
	switch {
	case errors.Is(err, encsession.ErrPlaintext):
		line.Item, line.Sealed = stored, nil
	case errors.Is(err, encsession.ErrMalformed):
		line.Sealed = nil
	case !authenticated:
		line.State = "sealed"
	}
	if line.Item != nil {
		line.Item = oneLine(line.Item)
	}
	return line
}

// state returns the state of an item, given the error of a Sealer.
func state(err error) string {
	for _, state := range []struct {
		name string
		err  error
	}{
		{"expired", encsession.ErrExpired}, {"future", encsession.ErrFuture}, {"undecryptable", encsession.ErrUndecryptable},
		{"plaintext", encsession.ErrPlaintext}, {"malformed", encsession.ErrMalformed},
	} {
		if errors.Is(err, state.err) {
			return state.name
		}
	}
	return "readable"
}

// oneLine returns the item without white space between its tokens. In its
// strings it escapes every rune that is not graphic.
func oneLine(item encsession.Item) encsession.Item {
	var b bytes.Buffer
	if json.Compact(&b, item) != nil {
		return nil // impossible: an item is JSON
	}
	return encsession.Item(escape(b.String()))
}

// writeContent prints an item; n counts from 0.
func writeContent(w io.Writer, n int, item itemLine) {
	fmt.Fprintf(w, "\n%d. %s", n+1, item.State)
	switch {
	case item.Sealed == nil:
	case item.State == "undecryptable" || item.State == "sealed":
		fmt.Fprintf(w, ", says that it was sealed %s", item.Sealed.Format(timeFormat))
	default:
		fmt.Fprintf(w, ", sealed %s", item.Sealed.Format(timeFormat))
	}
	fmt.Fprintln(w)
	if item.Item != nil {
		for line := range strings.Lines(text.WrapText(string(item.Item), width-4)) {
			fmt.Fprintf(w, "    %s\n", strings.TrimSuffix(line, "\n"))
		}
	}
}
