package main

import (
	"bytes"
	"fmt"
	"io"
	"time"

	"github.com/encsession/encsession"
)

const (
	width      = 120 // that nothing printed exceeds
	timeFormat = "2006-01-02 15:04:05 MST"
)

// writeText prints the document for people.
func writeText(w io.Writer, c config, d Document) error {
	var out bytes.Buffer
	if d.Operation != nil {
		fmt.Fprintf(&out, "%s\n%s\n\n", d.Operation.summary(c.operation), afterwards(c.operation))
	}
	if d.Authenticated {
		fmt.Fprintln(&out, openedTable(d))
	} else {
		fmt.Fprintln(&out, keyVariable, "is not set, so that nothing below is authenticated: who can write to the database")
		fmt.Fprintln(&out, "can forge it.")
		fmt.Fprintln(&out)
		fmt.Fprintln(&out, unopenedTable(d))
	}
	notes(&out, c, d)
	for _, s := range d.Sessions {
		switch {
		case s.Content == nil:
		case len(*s.Content) == 0:
			fmt.Fprintf(&out, "\nSession %q has no items.\n", s.ID)
		default:
			fmt.Fprintf(&out, "\nThe items of session %q, oldest first:\n", s.ID)
			writeContent(&out, *s.Content)
		}
	}
	_, err := w.Write(out.Bytes())
	return err
}

// summary says what an operation has done, and what it has left.
func (o Operation) summary(of *operation) string {
	done := fmt.Sprintf("%s: %s %s, in %s.",
		of.doing, plural(o.Items, "item", "items"), of.done, plural(o.Sessions, "session", "sessions"))
	if s := o.Skipped; s != nil {
		done += fmt.Sprintf("\nIt could not judge %s in %s: %d undecryptable, %d malformed, %d not encrypted.",
			plural(s.Undecryptable+s.Malformed+s.Plaintext, "item", "items"), plural(s.Sessions, "session", "sessions"),
			s.Undecryptable, s.Malformed, s.Plaintext)
	}
	return done
}

// afterwards says what to think of after an operation.
func afterwards(o *operation) string {
	advice := "Old bytes may remain in the database's files and logs, and in backups. What lies there now:"
	if o == &sealPlaintext {
		advice = "Once no plaintext is left, drop WithPlaintext from every service.\n" + advice
	}
	return advice
}

// notes says how to read the table.
func notes(w io.Writer, c config, d Document) {
	fmt.Fprintln(w)
	if !d.Authenticated {
		fmt.Fprintln(w, "Sealed: encrypted, under whatever key. Oldest and newest: when, in UTC, as the items say.")
		return
	}
	fmt.Fprintln(w, "Oldest and newest: when, in UTC, what the keys open was sealed.", aboutTTL(c.ttl))
	if c.show == nil {
		raw := false
		for i, key := range d.Totals.Keys {
			fmt.Fprintln(w, aboutKey(i, d))
			raw = raw || key.Fingerprint == "raw"
		}
		if raw {
			fmt.Fprintln(w, "A raw key is a text that is not a Fernet key: a mistyped key is one too.")
		}
	}
	switch n := d.Totals.Undecryptable; {
	case n == 0:
	case c.show == nil && d.Totals.byAnyKey() == 0:
		fmt.Fprintf(w, "No key opens anything, and %s undecryptable: is %s right?\n",
			plural(n, "item is", "items are"), keyVariable)
	default:
		fmt.Fprintf(w, "Undecryptable: %s under a key that is not here, or of another session, or altered.\n",
			plural(n, "item", "items"))
	}
}

func aboutTTL(ttl time.Duration) string {
	if ttl == encsession.NoExpiry {
		return "Without -ttl, nothing counts as expired or future."
	}
	return "Expired: older than " + age(ttl) + "."
}

// age returns a duration in days where it is whole days.
func age(d time.Duration) string {
	const day = 24 * time.Hour
	if d%day == 0 {
		return plural(int(d/day), "day", "days")
	}
	return d.String()
}

// aboutKey says whether a key is needed.
func aboutKey(i int, d Document) string {
	key, sessions := d.Totals.Keys[i], 0
	for _, s := range d.Sessions {
		if s.Counts != nil && s.Keys[i].Items > 0 {
			sessions++
		}
	}
	line := fmt.Sprintf("(%s) opens %s in %s",
		key.Fingerprint, plural(key.Items, "item", "items"), plural(sessions, "session", "sessions"))
	if i == 0 {
		return "The current key " + line + "."
	}
	line = fmt.Sprintf("Read key %d %s", i, line)
	switch {
	case key.Items > 0:
		line += ": it is still needed"
	case d.Totals.Undecryptable > 0:
		line += ": is it the right one? Something is undecryptable"
	case d.problems() == 0:
		line += ": when no writer uses it any more, it may be retired"
	}
	return line + "."
}

// plural returns a count and what is counted.
func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprint(n) + " " + many
}
