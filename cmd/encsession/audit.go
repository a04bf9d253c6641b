package main

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/fleet"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"
)

func (a *app) auditCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "audit",
		Short: "Count what lies in all sessions, and which key opens it",
		Long: "Count what lies in all sessions, and which key opens it. Nothing is changed.\n\n" +
			"Without a key, audit tells what can be seen from outside, and can be forged by anybody who can write to the store: how\n" +
			"many items are sealed, and when, by the clear part of their tokens.",
		Args: noArguments, ValidArgsFunction: noCompletion,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.audit(cmd) },
	}
	a.flags.storeFlags(cmd.Flags())
	a.flags.fleetFlags(cmd.Flags())
	a.flags.ttlFlag(cmd.Flags())
	return cmd
}

func (a *app) audit(cmd *cobra.Command) error {
	ring, err := a.keys()
	if err != nil {
		return err
	}
	s, shown, err := a.openStore(cmd.Flags(), false)
	if err != nil {
		return err
	}
	defer s.Close()

	total := newCounts(ring)
	claims := claimedTimes{of: make(map[string]*Span)}
	open := a.opener(s, ring, encsession.WithTTL(a.flags.ttl))
	if ring == nil {
		open, err = claims.opener(s)
	}
	if err != nil {
		return err
	}
	r := a.newReport(cmd, s, []string{"audit"}, auditHeader(ring))
	summary, err := fleet.Audit(r.ctx, r.sessions(), open, r.options(func(result fleet.Result) {
		total.add(result.Report)
		one := newCounts(ring)
		one.add(result.Report)
		if ring == nil {
			one.Span = claims.take(result.Session.ID)
			total.widen(one.Oldest)
			total.widen(one.Newest)
			if result.Err == nil { // an item that a made-up key cannot open is no finding
				result.Skipped.Undecryptable = 0
			}
		}
		line := sessionLine{Counts: &one}
		row := auditRow(one)
		if result.Err != nil {
			line.Counts, row = nil, table.Row{string(result.Outcome)}
		}
		r.session(result, line, row)
	})...)
	if ring == nil {
		summary.Findings = r.findings
	}
	outcome, code := outcomeOf(cmd.Context(), summary, err)
	if r.output != nil {
		return r.output
	}
	line := a.summary("audit", shown, summary, outcome, err)
	authenticated := ring != nil
	line.Authenticated, line.Counts = &authenticated, &total
	if err := r.finish(line, auditFooter(total, summary), func(w io.Writer) { auditNotes(w, a, ring, total, summary, outcome) }); err != nil {
		return err
	}
	return a.end(code, err)
}

// opener opens sessions only for reading.
func (a *app) opener(s store, ring *encsession.Keyring, options ...encsession.Option) fleet.OpenFunc {
	return func(_ context.Context, id string) (*encsession.EncryptedSession, error) {
		return encsession.New(looking{Session: s.Session(id)}, *ring, options...)
	}
}

// claimedTimes collects the times that the tokens of each session claim, while
// work on the session lasts.
type claimedTimes struct {
	mu sync.Mutex
	of map[string]*Span
}

// opener opens sessions without the user's key, under a new random one. That
// key opens nothing, but an EncryptedSession still recognises envelopes with
// it.
func (c *claimedTimes) opener(s store) (fleet.OpenFunc, error) {
	key, err := encsession.ParseKey(encsession.GenerateKey())
	return func(_ context.Context, id string) (*encsession.EncryptedSession, error) {
		times := new(Span)
		c.mu.Lock()
		c.of[id] = times
		c.mu.Unlock()
		see := func(item encsession.Item) { times.widen(claimedTime(item)) }
		return encsession.New(looking{s.Session(id), see}, key, encsession.WithSessionID("any"), encsession.WithTTL(encsession.NoExpiry))
	}, err
}

func (c *claimedTimes) take(sessionID string) Span {
	c.mu.Lock()
	defer c.mu.Unlock()
	times := c.of[sessionID]
	delete(c.of, sessionID)
	if times == nil {
		return Span{}
	}
	return *times
}

func auditHeader(ring *encsession.Keyring) table.Row {
	if ring == nil {
		return table.Row{"session", "items", "sealed", "plaintext", "malformed", "oldest", "newest"}
	}
	return table.Row{
		"session", "items", "readable", "by older\nkeys", "expired", "future", "undecrypt-\nable",
		"plain-\ntext", "mal-\nformed", "oldest", "newest",
	}
}

func auditRow(c Counts) table.Row {
	if c.Opened == nil {
		return table.Row{c.Items, some(c.Sealed), some(c.Plaintext), some(c.Malformed), day(c.Oldest), day(c.Newest)}
	}
	return table.Row{
		c.Items, some(c.Readable), some(c.byOlderKeys()), some(c.Expired), some(c.Future),
		some(c.Undecryptable), some(c.Plaintext), some(c.Malformed), day(c.Oldest), day(c.Newest),
	}
}

func auditFooter(c Counts, summary fleet.Summary) footer {
	return footer{"all " + plural(summary.Sessions, "session", "sessions"), auditRow(c)}
}

// auditNotes explains the table, and says for each key whether it is needed.
func auditNotes(w io.Writer, a *app, ring *encsession.Keyring, c Counts, summary fleet.Summary, outcome string) {
	if ring == nil {
		fmt.Fprintln(w, "\nNo key is set, so nothing here is authenticated: anyone who can write to the store can forge it.")
		fmt.Fprintln(w, "Sealed: encrypted, under any key. Oldest and newest: the sealing times that the items claim, in UTC.")
		return
	}
	fmt.Fprintln(w, "\nOldest and newest: the sealing times of the items that a key opens, in UTC.\n"+aboutTTL(a.flags.ttl))
	raw := false
	for place := range c.Keys {
		fmt.Fprintln(w, aboutKey(ring, place, c, outcome, a.flags.shardText()))
		raw = raw || c.Keys[place].Fingerprint == rawFingerprint
	}
	if raw {
		fmt.Fprintln(w, "A raw key is a text that is not a Fernet key: a mistyped key is one too.")
	}
	switch n := c.Undecryptable; {
	case n == 0:
	case c.Keys[0].Items+c.byOlderKeys() == 0:
		fmt.Fprintf(w, "No key opens anything, and %s undecryptable: is the key right?\n", plural(n, "item is", "items are"))
	default:
		fmt.Fprintf(w, "Undecryptable: %s under a key that is not given, or of another session, or altered.\n", plural(n, "item", "items"))
	}
}

func aboutTTL(ttl time.Duration) string {
	if ttl == encsession.NoExpiry {
		return "Without --ttl, nothing counts as expired or future."
	}
	return "Expired: older than " + ageText(ttl) + "."
}

// aboutKey says whether a key is needed. It advises retiring a key only if
// nothing is left in doubt.
func aboutKey(ring *encsession.Keyring, place int, c Counts, outcome, shard string) string {
	key := c.Keys[place]
	line := fmt.Sprintf("The %s opens %s in %s", keyName(ring, place), plural(key.Items, "item", "items"),
		plural(key.Sessions, "session", "sessions"))
	switch {
	case place == 0:
	case key.Items > 0:
		line += ": it is still needed"
	case outcome != "done" && outcome != "findings":
		line += ": not all sessions were looked at"
	case c.Undecryptable > 0:
		line += ": is it the right one? Something is undecryptable"
	case c.Keys[0].Items == 0:
		line += ", and neither does the current key: are they the right ones?"
	case shard != "":
		line += " of shard " + shard + ": it may be retired if that holds for all shards, and no writer uses it any more"
	default:
		line += ": when no writer uses it any more, it may be retired"
	}
	return line + "."
}
