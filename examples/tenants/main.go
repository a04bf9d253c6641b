// Tenants keeps the conversations of two customers on SQLite, each under a key
// of its own. It changes the key of one customer, and then erases that
// customer. After each step it shows the sessions that each process can read.
// At the end it shows the sessions that an old copy of the databases still
// gives away.
//
// The files are in a new temporary folder, which stays.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/fleet"
)

func main() {
	folder, err := os.MkdirTemp("", "encsession-tenants-")
	if err == nil {
		err = run(os.Stdout, folder)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tenants:", err)
		os.Exit(1)
	}
}

func run(w io.Writer, folder string) (err error) {
	t := &tenants{w: w, folder: folder}
	defer func() { err = errors.Join(err, t.close()) }()
	fmt.Fprintf(w, "Sessions and keys are in separate databases, in %s\n", folder)
	ctx := context.Background()
	for _, step := range []func(context.Context) error{t.begin, t.rotate, t.rekey, t.copy, t.erase, t.readCopy, t.loseWrappingKey} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// tenants are two customers, acme and globex, and two processes that serve
// them.
type tenants struct {
	w        io.Writer
	folder   string
	old, new wrappingKey // in production, these are in a KMS
	a, b     *process
	copied   string   // the folder of the copy
	fromCopy *process // somebody who has the copy
}

// sessionIDs begin with the name of the tenant.
var sessionIDs = []string{"acme/ann", "acme/ben", "globex/gil"}

func tenantOf(sessionID string) string {
	tenant, _, _ := strings.Cut(sessionID, "/")
	return tenant
}

func (t *tenants) begin(ctx context.Context) (err error) {
	t.say("1. Two customers", "Each gets a key, which is stored wrapped. Both processes read and write.")
	if t.old, err = newWrappingKey("kms-2026"); err != nil {
		return err
	}
	if t.a, err = openProcess(ctx, "process A", t.folder, t.old); err != nil {
		return err
	}
	if t.b, err = openProcess(ctx, "process B", t.folder, t.old); err != nil {
		return err
	}
	for _, tenant := range []string{"acme", "globex"} {
		info, err := t.a.keys.Create(ctx, tenant)
		if err != nil {
			return err
		}
		fmt.Fprintf(t.w, "%-7s key %d, fingerprint %s, wrapped by %s\n", tenant, info.Number, info.Fingerprint, info.Wrapper)
	}
	for i, id := range sessionIDs {
		for n := range 2 + i {
			item := fmt.Sprintf(`{"role":"user","content":"message %d of %s"}`, n, id)
			if err := t.a.add(ctx, id, encsession.Item(item)); err != nil {
				return err
			}
		}
	}
	return t.show(ctx, t.a, t.b)
}

func (t *tenants) rotate(ctx context.Context) error {
	t.say("2. A new key for acme", `
		Both processes can read with it at once, or as soon as they ask again. Nobody writes under it before all of
		them have asked.`)
	info, err := t.a.keys.Rotate(ctx, "acme", 1)
	if err != nil {
		return err
	}
	fmt.Fprintf(t.w, "key %d, fingerprint %s, becomes current in %v\n", info.Number, info.Fingerprint, info.ActiveAt.Sub(info.CreatedAt).Round(time.Second))
	ring, err := t.a.keys.Keys(ctx, "acme/ann")
	if err != nil {
		return err
	}
	fmt.Fprintf(t.w, "now    current %s, older %s\n", ring.Current.Fingerprint(), ring.Older[0].Fingerprint())
	if err := t.pass(ctx); err != nil {
		return err
	}
	if ring, err = t.a.keys.Keys(ctx, "acme/ann"); err != nil {
		return err
	}
	fmt.Fprintf(t.w, "later  current %s, older %s\n", ring.Current.Fingerprint(), ring.Older[0].Fingerprint())
	return nil
}

// pass lets five minutes pass, for the table and the processes. It sets the
// times in the table back, and starts the processes afresh. Only an example
// that has no time to wait may do that.
func (t *tenants) pass(ctx context.Context) (err error) {
	const update = "UPDATE encsession_keys SET created_at = created_at - ?, active_at = active_at - ?"
	d := (5 * time.Minute).Microseconds()
	if _, err := t.a.keysDB.ExecContext(ctx, update, d, d); err != nil {
		return err
	}
	for _, p := range []**process{&t.a, &t.b} {
		if err := (*p).close(); err != nil {
			return err
		}
		if *p, err = openProcess(ctx, (*p).name, t.folder, t.old); err != nil {
			return err
		}
	}
	return nil
}

func (t *tenants) rekey(ctx context.Context) error {
	t.say("3. The sessions of acme are rekeyed, and its first key is retired", `
		A program makes these keys, so that fleet.Rekey needs no proof that nobody mistyped one.`)
	summary, err := fleet.Rekey(ctx, listing, t.a.open, fleet.WithManagedKeys())
	if err != nil {
		return err
	}
	fmt.Fprintf(t.w, "sealed again: %d items in %d sessions\n", summary.Items, summary.Changed)

	// A key is retired only if an audit of all sessions shows that it opens nothing.
	ring, err := t.a.keys.Keys(ctx, "acme/ann")
	if err != nil {
		return err
	}
	audit, err := fleet.Audit(ctx, listing, t.a.open)
	if err != nil {
		return err
	}
	for _, key := range audit.Report.Keys {
		if key.Fingerprint == ring.Older[0].Fingerprint() && key.Items > 0 {
			return fmt.Errorf("the first key of acme still opens %d items", key.Items)
		}
	}
	fmt.Fprintf(t.w, "audited: %d sessions, the first key of acme opens no item\n", audit.Sessions)
	if err := t.a.keys.Retire(ctx, "acme", 1); err != nil {
		return err
	}
	return t.show(ctx, t.a, t.b)
}

func (t *tenants) copy(ctx context.Context) (err error) {
	t.say("4. Somebody copies both databases", "A backup, a replica, a thief: each has the wrapped keys and the sessions of this moment.")
	t.copied, err = t.a.copyTo(ctx, t.folder)
	return err
}

func (t *tenants) erase(ctx context.Context) error {
	t.say("5. acme is erased", `
		Destroy returns the time from which this holds in every process. Until then, one that has the key in memory
		may use it. The sessions of globex go on.`)
	from, err := t.a.keys.Destroy(ctx, "acme")
	if err != nil {
		return err
	}
	if err := t.show(ctx, t.a, t.b); err != nil {
		return err
	}
	fmt.Fprintf(t.w, "... %v later\n", maxAge)
	select {
	case <-time.After(time.Until(from)):
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := t.show(ctx, t.b); err != nil {
		return err
	}
	ledger, err := t.a.keys.Ledger(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(t.w, "the ledger, to be kept elsewhere: %d tenant, %s\n", len(ledger), ledger[0].Tenant)
	_, err = t.a.keys.Create(ctx, "acme")
	fmt.Fprintf(t.w, "and acme stays erased: %v\n", err)
	if !errors.Is(err, encsession.ErrKeyDestroyed) {
		return errors.New("a destroyed tenant came back")
	}
	return nil
}

func (t *tenants) readCopy(ctx context.Context) (err error) {
	t.say("6. The copy still gives acme away", `
		Destroy erases the rows of the live table, and no copy. Whoever has a copy of both databases and may ask the
		KMS reads everything.`)
	if t.fromCopy, err = openProcess(ctx, "the copy", t.copied, t.old); err != nil {
		return err
	}
	return t.show(ctx, t.fromCopy)
}

func (t *tenants) loseWrappingKey(ctx context.Context) (err error) {
	t.say("7. The old wrapping key is destroyed", `
		First the keys that live are wrapped by a new one. Then all copies of the table from before are worthless,
		those of globex too: this is why old backups must not be needed any more.`)
	if t.new, err = newWrappingKey("kms-2027"); err != nil {
		return err
	}
	// In production, every process gets both wrapping keys before Rewrap, and
	// loses the old one after it.
	operator, err := openProcess(ctx, "operator", t.folder, t.new, t.old)
	if err != nil {
		return err
	}
	rewrapped, err := operator.keys.Rewrap(ctx)
	if err = errors.Join(err, operator.close(), t.b.close()); err != nil {
		return err
	}
	fmt.Fprintf(t.w, "keys wrapped again: %d\n", rewrapped)
	if err := t.old.Close(); err != nil {
		return err
	}
	if t.b, err = openProcess(ctx, "process B", t.folder, t.new); err != nil {
		return err
	}
	if err := t.fromCopy.close(); err != nil {
		return err
	}
	if t.fromCopy, err = openProcess(ctx, "the copy", t.copied, t.old); err != nil {
		return err
	}
	return t.show(ctx, t.b, t.fromCopy)
}

// show prints the number of items that processes read in each session.
func (t *tenants) show(ctx context.Context, processes ...*process) error {
	for _, p := range processes {
		for _, id := range sessionIDs {
			n, err := p.count(ctx, id)
			switch {
			case err == nil:
				fmt.Fprintf(t.w, "%s  %-10s  %d items\n", p.name, id, n)
			case errors.Is(err, encsession.ErrKeyDestroyed):
				fmt.Fprintf(t.w, "%s  %-10s  erased: %v\n", p.name, id, encsession.ErrKeyDestroyed)
			default:
				fmt.Fprintf(t.w, "%s  %-10s  cannot be read: %v\n", p.name, id, err)
			}
		}
	}
	return nil
}

func (t *tenants) say(title, why string) {
	fmt.Fprintf(t.w, "\n%s\n%s\n", title, strings.Repeat("=", len(title)))
	for line := range strings.Lines(strings.TrimSpace(why)) {
		fmt.Fprintln(t.w, strings.TrimSpace(line))
	}
	fmt.Fprintln(t.w)
}

func (t *tenants) close() (err error) {
	for _, p := range []*process{t.a, t.b, t.fromCopy} {
		if p != nil {
			err = errors.Join(err, p.close())
		}
	}
	return err
}

// listing lists the sessions. In a real program, the store lists them.
func listing(yield func(encsession.SessionInfo, error) bool) {
	for _, id := range sessionIDs {
		if !yield(encsession.SessionInfo{ID: id}, nil) {
			return
		}
	}
}
