package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/fleet"
	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/spf13/cobra"
)

// change is a command that changes data.
type change struct {
	command string
	does    string              // the change in words, as in "remove items"
	done    string              // the fate of the items, as in "removed"
	would   string              // their fate in a dry run
	after   string              // advice for afterwards; may be empty
	nothing string              // advice if no item is concerned; may be empty
	proves  bool                // whether it first checks that the current key opens anything
	session string              // the only one that it is about; may be empty
	ring    *encsession.Keyring // nil if it needs none
	options []encsession.Option // to open sessions with

	// run makes the change. It is an operation of fleet, or follows the same
	// rules.
	run func(context.Context, listing, fleet.OpenFunc, store, ...fleet.Option) (fleet.Summary, error)
}

// plan returns a description of the change, to show before it happens.
func (a *app) plan(c change, shown string) string {
	var out strings.Builder
	verb := "will "
	if a.flags.dryRun {
		verb = "dry run, which changes nothing: would "
	}
	where := "in all sessions"
	switch {
	case c.session != "":
		where = fmt.Sprintf("in session %q", c.session)
	case a.flags.shards > 1:
		where = "in shard " + a.flags.shardText() + " of the sessions"
	}
	fmt.Fprintf(&out, "%s: %s%s, %s of %s\n", c.command, verb, c.does, where, shown)
	if c.ring != nil {
		for place := range len(c.ring.Older) + 1 {
			fmt.Fprintf(&out, "  %s\n", keyName(c.ring, place))
		}
	}
	return out.String()
}

// change runs a change. It says what the change will do, asks, makes the
// change, and reports the result.
func (a *app) change(cmd *cobra.Command, c change) error {
	if c.ring != nil && a.flags.firstUse != "" && a.flags.firstUse != c.ring.Current.Fingerprint() {
		return fmt.Errorf("--first-use names %s, but the current key here is %s, so one of them is wrong; nothing was changed",
			a.flags.firstUse, c.ring.Current.Fingerprint())
	}
	s, shown, err := a.openStore(cmd.Flags(), !a.flags.dryRun)
	if err != nil {
		return err
	}
	defer s.Close()
	if c.session != "" {
		if err := checkExists(cmd, s, c.session); err != nil {
			return err
		}
		s = single{s, c.session}
	}
	fmt.Fprint(a.stderr, escape(a.plan(c, shown), '\n'))
	var t *trace
	if !a.flags.dryRun {
		if err := a.confirm(cmd.Context()); err != nil {
			return err
		}
		if t, err = a.openTrace(c.command, c.does, shown, c.ring); err != nil {
			return err
		}
		defer t.close()
		if t != nil {
			t.line.Session = c.session
		}
		if err := t.write("started", nil, nil); err != nil {
			return err
		}
	}

	doing := []string{c.command}
	if a.flags.dryRun {
		doing[0] += " (dry run)"
	}
	if c.proves {
		doing = []string{c.command + ", first look at the keys", doing[0]}
	}
	header := table.Row{"session", "outcome", doneHeader(c, a.flags.dryRun), "undecrypt-\nable", "mal-\nformed", "plain-\ntext"}
	r := a.newReport(cmd, s, doing, header)
	summary, err := c.run(r.ctx, r.sessions(), a.changer(s, c), s, r.options(func(result fleet.Result) {
		line := sessionLine{Changed: &result.Changed, Skipped: skippedOf(1, result.Skipped)}
		r.session(result, line, table.Row{string(result.Outcome), some(result.Changed),
			some(result.Skipped.Undecryptable), some(result.Skipped.Malformed), some(result.Skipped.Plaintext)})
	})...)
	outcome, code := outcomeOf(cmd.Context(), summary, err)
	line := a.summary(c.command, shown, summary, outcome, err)
	line.DryRun, line.Changed = a.flags.dryRun, &changed{summary.Items, summary.Changed}
	line.Skipped = skippedOf(summary.Findings, summary.Skipped)
	count := &traceCount{summary.Sessions, summary.Failed, summary.Items, line.Skipped}
	if code == exitWell || code == exitFindings {
		err = nil
	}
	untraced := t.write(outcome, count, err)

	if r.output == nil {
		r.output = r.finish(line, footer{}, func(w io.Writer) { changeNotes(w, c, a.flags.dryRun, line) })
	}
	switch {
	case untraced != nil:
		err := errors.Join(fmt.Errorf("%s were %s, but the audit file does not say so: %w", plural(summary.Items, "item", "items"), c.done, untraced), err)
		if summary.Items > 0 {
			return exitCode{exitPartly, err}
		}
		return err
	case r.output != nil && summary.Items > 0 && !a.flags.dryRun:
		return exitCode{exitPartly, r.output}
	case r.output != nil:
		return r.output
	}
	return a.end(code, err)
}

func doneHeader(c change, dryRun bool) string {
	if dryRun {
		return "would\nchange"
	}
	return "changed"
}

// changeNotes reports the changed items, and those that were left.
func changeNotes(w io.Writer, c change, dryRun bool, line summaryLine) {
	done := c.done
	if dryRun {
		done = c.would
	}
	fmt.Fprintf(w, "%s: %s %s, in %d of %s.\n", c.command, plural(line.Changed.Items, "item", "items"), done,
		line.Changed.Sessions, plural(line.Sessions, "session", "sessions"))
	if s := line.Skipped; s != nil {
		fmt.Fprintf(w, "It could not judge %s in %s: %d undecryptable, %d malformed, %d not encrypted.\n",
			plural(s.Undecryptable+s.Malformed+s.Plaintext, "item", "items"), plural(s.Sessions, "session", "sessions"),
			s.Undecryptable, s.Malformed, s.Plaintext)
	}
	if line.Erased > 0 {
		fmt.Fprintf(w, "Erased, since the key was destroyed: %s.\n", plural(line.Erased, "session", "sessions"))
	}
	if !dryRun && line.Changed.Items > 0 {
		fmt.Fprintln(w, "Old bytes may remain in the database's files and logs, and in backups.")
	}
	if line.Changed.Items == 0 && c.nothing != "" {
		fmt.Fprintln(w, c.nothing)
	}
	if c.after != "" && !dryRun && (line.Outcome == "done" || line.Outcome == "findings") {
		fmt.Fprintln(w, c.after)
	}
}

// changer opens sessions for a change, or for its dry run.
func (a *app) changer(s store, c change) fleet.OpenFunc {
	if c.ring == nil {
		return nil
	}
	options := append([]encsession.Option{encsession.WithTTL(a.flags.ttl)}, c.options...)
	if a.flags.dryRun {
		return a.opener(s, c.ring, options...)
	}
	return func(_ context.Context, id string) (*encsession.EncryptedSession, error) {
		return encsession.New(s.Session(id), *c.ring, options...)
	}
}

// single is a store that lists only one session.
type single struct {
	store
	id string
}

func (s single) Sessions(context.Context) listing {
	return func(yield func(encsession.SessionInfo, error) bool) { yield(encsession.SessionInfo{ID: s.id}, nil) }
}

// confirm asks whether to go on. Without a terminal it wants --yes.
func (a *app) confirm(ctx context.Context) error {
	if a.flags.yes {
		return nil
	}
	if !isTerminal(a.stdin) || !isTerminal(a.stderr) {
		return errors.New("there is no terminal to ask on, so nothing was changed: look with --dry-run, and then give --yes")
	}
	fmt.Fprint(a.stderr, "Go on? [y/N] ")
	answer := make(chan string, 1)
	go func() { // it may read until the process ends
		line, _ := bufio.NewReader(a.stdin).ReadString('\n')
		answer <- line
	}()
	select {
	case <-ctx.Done():
		fmt.Fprintln(a.stderr)
		return exitCode{exitInterrupted, errors.New("interrupted; nothing was changed")}
	case line := <-answer:
		if s := strings.ToLower(strings.TrimSpace(line)); s != "y" && s != "yes" {
			return errors.New("not confirmed, so nothing was changed")
		}
	}
	return nil
}
