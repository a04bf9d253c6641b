package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/fleet"
	"github.com/spf13/cobra"
)

// fleetFunc is an operation of fleet without further arguments.
type fleetFunc func(context.Context, listing, fleet.OpenFunc, ...fleet.Option) (fleet.Summary, error)

func (f fleetFunc) run(ctx context.Context, sessions listing, open fleet.OpenFunc, _ store, opts ...fleet.Option) (fleet.Summary, error) {
	return f(ctx, sessions, open, opts...)
}

// changeCommand adds the flags that changes have in common.
func (a *app) changeCommand(cmd *cobra.Command) *cobra.Command {
	cmd.ValidArgsFunction = noCompletion
	a.flags.storeFlags(cmd.Flags())
	a.flags.fleetFlags(cmd.Flags())
	a.flags.changeFlags(cmd.Flags())
	a.flags.ttl = encsession.NoExpiry
	return cmd
}

func (a *app) rekeyCommand() *cobra.Command {
	cmd := a.changeCommand(&cobra.Command{
		Use:   "rekey",
		Short: "Seal the items of older keys again, under the current key",
		Long: "Seal again under the current key every item that an older key opens, with the time of sealing kept.\n\n" +
			"It refuses to start unless the current key opens an item of the store, or --first-use names its fingerprint: a mistyped\n" +
			"key would make everything unreadable for the services.",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ring, err := a.neededKeys("rekey")
			if err != nil {
				return err
			}
			if len(ring.Older) == 0 {
				return fmt.Errorf("rekey needs the keys to change from: set %s, or %s", olderKeysVariable, pythonOlderKeysVariable)
			}
			return a.change(cmd, change{
				command: "rekey",
				does:    "seal the items of older keys again, under the current key",
				done:    "sealed again under the current key",
				would:   "would be sealed again under the current key",
				after:   "Next: encsession audit says whether an older key is still needed.",
				proves:  true,
				ring:    ring,
				run:     fleetFunc(fleet.Rekey).run,
			})
		},
	})
	a.flags.ttlFlag(cmd.Flags())
	a.flags.firstUseFlag(cmd.Flags())
	return cmd
}

func (a *app) sealCommand() *cobra.Command {
	cmd := a.changeCommand(&cobra.Command{
		Use:   "seal",
		Short: "Seal what is not encrypted",
		Long: "Seal every item that is not encrypted, and so declare it genuine: once, while everybody who can write to the store is\n" +
			"trusted. Like rekey, it refuses a current key that opens no item, unless --first-use names its fingerprint.",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ring, err := a.neededKeys("seal")
			if err != nil {
				return err
			}
			c := change{
				command: "seal",
				does:    "seal what is not encrypted under the current key, and so declare it genuine",
				done:    "sealed under the current key",
				would:   "would be sealed under the current key",
				after:   "Once no plaintext is left, drop WithPlaintext from every service.",
				proves:  true,
				ring:    ring,
				run:     fleetFunc(fleet.SealPlaintext).run,
			}
			if a.flags.unreadableHistory {
				c.does += ", below unreadable items too"
				c.options = []encsession.Option{encsession.WithUnreadableHistory()}
			}
			return a.change(cmd, c)
		},
	})
	a.flags.firstUseFlag(cmd.Flags())
	cmd.Flags().BoolVar(&a.flags.unreadableHistory, "unreadable-history", false,
		"seal plaintext below unreadable items too, and in sessions where no key opens an item;\nmake sure first that the key is right")
	return cmd
}

func (a *app) purgeCommand() *cobra.Command {
	f := &a.flags
	cmd := a.changeCommand(&cobra.Command{
		Use:   "purge (--older-than AGE | --idle AGE)",
		Short: "Remove items that are old, or all items of sessions that are idle",
		Long: "With --older-than, remove every item that was sealed longer ago. With --idle, remove all items of each session in\n" +
			"which nothing was sealed within that time; a session with items that cannot be judged stays whole. Only authentic\n" +
			"items have an age that counts: everybody who can write to the store can change the times in it.",
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ring, err := a.neededKeys("purge")
			if err != nil {
				return err
			}
			c := change{command: "purge", done: "removed", would: "would be removed", ring: ring}
			switch {
			case f.olderThanSet == f.idleSet:
				return errors.New("give one of --older-than and --idle")
			case f.olderThanSet:
				c.does = "remove items that were sealed more than " + ageText(f.olderThan) + " ago"
				c.run = func(ctx context.Context, sessions listing, open fleet.OpenFunc, _ store, opts ...fleet.Option) (fleet.Summary, error) {
					return fleet.Purge(ctx, sessions, open, f.olderThan, opts...)
				}
			default:
				c.does = "remove all items of sessions in which nothing was sealed for " + ageText(f.idle)
				c.run = func(ctx context.Context, sessions listing, open fleet.OpenFunc, _ store, opts ...fleet.Option) (fleet.Summary, error) {
					return fleet.ClearIdle(ctx, sessions, open, f.idle, opts...)
				}
			}
			return a.change(cmd, c)
		},
	})
	cmd.Flags().Var(&value{kind: "AGE", set: func(s string) (err error) {
		f.olderThan, err = parseAge(s, 0)
		f.olderThanSet = true
		return err
	}}, "older-than", "remove items that were sealed longer ago than this, as in 36h or 30d")
	cmd.Flags().Var(&value{kind: "AGE", set: func(s string) (err error) {
		f.idle, err = parseAge(s, time.Second)
		f.idleSet = true
		return err
	}}, "idle", "remove all items of sessions that have been idle for longer than this")
	return cmd
}

func (a *app) deleteCommand() *cobra.Command {
	f := &a.flags
	cmd := a.changeCommand(&cobra.Command{
		Use:   "delete [SESSION] [--match FILE | --destroyed]",
		Short: "Erase a session, all items that hold a text, or the sessions of destroyed keys",
		Long: "With a session alone, remove all that it holds; this needs no key. With --match, remove every item that holds the\n" +
			"text in a file, in all sessions or in the one that is given. The text is compared with the strings and numbers of an\n" +
			"item, after all escapes, also within JSON that stands in a string, such as the arguments of a tool. White space counts\n" +
			"as one space, and characters are compared in the normal form NFKC of Unicode. The file keeps the text out of the list\n" +
			"of processes; - stands for standard input.\n\n" +
			"With --destroyed, remove all items of tenants whose keys were destroyed in a keystore. This needs no key and no\n" +
			"key service. The tenant of a session is its ID, or the part of it before --tenant-end.\n\n" +
			"delete cannot judge items that no key opens, malformed items and plaintext. If there are any, it says so and exits\n" +
			"with 1: the erasure is not complete.",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 1 {
				return errors.New("encsession delete takes at most one argument, the ID of a session")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			c := change{command: "delete", done: "removed", would: "would be removed"}
			if len(args) == 1 {
				if c.session = args[0]; c.session == "" {
					return errors.New("the ID of the session is empty")
				}
			}
			if c.session != "" && f.shards > 1 {
				return errors.New("--shard cannot be used with a single session")
			}
			if !f.destroyed && (f.keystoreSet || f.tenantEnd != "") {
				return errors.New("--keystore and --tenant-end go with --destroyed")
			}
			switch {
			case f.destroyed:
				return a.deleteDestroyed(cmd, c)
			case f.matchSet:
				return a.deleteMatches(cmd, c)
			}
			return a.deleteSession(cmd, c)
		},
	})
	cmd.Flags().Var(&value{kind: "FILE", set: func(s string) error { f.match, f.matchSet = s, true; return nil }}, "match",
		"remove the items that hold the text in this file; - is standard input")
	cmd.Flags().BoolVar(&f.ignoreCase, "ignore-case", false, "with --match: ignore the difference between small and capital letters")
	cmd.Flags().BoolVar(&f.plaintext, "plaintext", false, "with --match: look at items that are not encrypted too")
	cmd.Flags().BoolVar(&f.destroyed, "destroyed", false, "remove the sessions of tenants whose keys were destroyed")
	cmd.Flags().Var(&value{kind: "URL", set: func(s string) error { f.keystore, f.keystoreSet = s, true; return nil }}, "keystore",
		"with --destroyed: the keystore, sqlite:FILE, postgres:// or mysql://user@host:port/name;\n"+
			"one with a password goes into "+keystoreVariable+" or "+keystoreVariable+fileSuffix)
	cmd.Flags().StringVar(&f.tenantEnd, "tenant-end", "", "with --destroyed: the `text` that ends the tenant in a session ID, as in / for acme/user-123")
	return cmd
}

// deleteSession removes a whole session.
func (a *app) deleteSession(cmd *cobra.Command, c change) error {
	switch {
	case c.session == "":
		return errors.New("give the ID of a session, or --match with a file that holds the text to erase")
	case a.flags.ignoreCase || a.flags.plaintext:
		return errors.New("--ignore-case and --plaintext go with --match")
	}
	c.does = "remove all items"
	c.run = func(ctx context.Context, _ listing, _ fleet.OpenFunc, s store, _ ...fleet.Option) (fleet.Summary, error) {
		items, err := count(ctx, s.Session(c.session))
		if err == nil && !a.flags.dryRun {
			err = s.Session(c.session).ClearSession(ctx)
		}
		if err != nil {
			return fleet.Summary{}, fmt.Errorf("session %q: %w", c.session, err)
		}
		return fleet.Summary{Sessions: 1, Changed: min(items, 1), Items: items}, nil
	}
	return a.change(cmd, c)
}

// count counts the items that a session stores, without holding them in memory.
func count(ctx context.Context, session encsession.Session) (items int, err error) {
	counter := looking{session, func(encsession.Item) { items++ }}
	_, err = counter.RewriteItems(ctx, 1000, func([]encsession.Item) ([]encsession.Item, bool) { return nil, true })
	return items, err
}

// deleteMatches removes the items that hold a text.
func (a *app) deleteMatches(cmd *cobra.Command, c change) (err error) {
	if c.ring, err = a.neededKeys("delete --match"); err != nil {
		return err
	}
	text, err := a.matchText()
	if err != nil {
		return err
	}
	c.does = "remove every item that holds the text of --match"
	c.nothing = "No item holds the text. Is it spelled as in the items, and in capital letters where they are?"
	if a.flags.ignoreCase {
		c.nothing = "No item holds the text. Is it spelled as in the items?"
	}
	if a.flags.plaintext {
		c.options = []encsession.Option{encsession.WithPlaintext()}
	}
	match := newMatcher(text, a.flags.ignoreCase)
	c.run = func(ctx context.Context, sessions listing, open fleet.OpenFunc, _ store, opts ...fleet.Option) (fleet.Summary, error) {
		return fleet.DeleteItems(ctx, sessions, open, func(_ string, item encsession.Item) bool { return match(item) }, opts...)
	}
	return a.change(cmd, c)
}
