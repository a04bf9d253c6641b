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
	"github.com/jedib0t/go-pretty/v6/text"
)

// showSession counts the items of a session and opens them.
func (i *inspector) showSession(ctx context.Context, sessionID string) (Session, error) {
	session, err := i.session(ctx, sessionID, nil)
	if err != nil {
		return Session{}, err
	}
	if session.Error != "" {
		return Session{}, errors.New(session.Error)
	}
	sealer, err := i.sealer(sessionID)
	if err != nil {
		return Session{}, err
	}
	stored, err := i.store.Session(sessionID).GetItems(ctx, 0)
	if err != nil {
		return Session{}, err
	}
	content := make([]StoredItem, len(stored))
	for n, item := range stored {
		content[n] = i.open(sealer, item)
	}
	session.Content = &content
	return session, nil
}

func (i *inspector) open(sealer *encsession.Sealer, stored encsession.Item) StoredItem {
	item, err := sealer.Open(stored)
	result := StoredItem{State: state(err), Sealed: claimedTime(stored), Item: item}
	switch {
	case errors.Is(err, encsession.ErrPlaintext):
		result.Item, result.Sealed = stored, nil
	case errors.Is(err, encsession.ErrMalformed):
		result.Sealed = nil
	case i.keys == nil:
		result.State = "sealed"
	}
	if result.Item != nil {
		result.Item = oneLine(result.Item)
	}
	return result
}

// state says what a Sealer makes of an item.
func state(err error) string {
	switch {
	case err == nil:
		return "readable"
	case errors.Is(err, encsession.ErrExpired):
		return "expired"
	case errors.Is(err, encsession.ErrFuture):
		return "future"
	case errors.Is(err, encsession.ErrUndecryptable):
		return "undecryptable"
	case errors.Is(err, encsession.ErrPlaintext):
		return "plaintext"
	}
	return "malformed"
}

// oneLine returns the item without white space between its tokens, and nothing in its strings that is not graphic.
func oneLine(item encsession.Item) encsession.Item {
	var b bytes.Buffer
	if json.Compact(&b, item) != nil {
		return nil // it cannot be: an item is JSON
	}
	return encsession.Item(escape(b.String()))
}

// writeContent prints the items one below the other.
func writeContent(w io.Writer, items []StoredItem) {
	for n, item := range items {
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
}
