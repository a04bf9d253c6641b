// Rotation changes the master key of two services that work on one SQLite file,
// step by step, and audits every session after each step. The file is in a new
// temporary folder, which stays.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/examples/internal/sample"
	"github.com/encsession/encsession/examples/internal/show"
)

func main() {
	folder, err := os.MkdirTemp("", "encsession-rotation-")
	if err == nil {
		err = run(os.Stdout, folder)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "rotation:", err)
		os.Exit(1)
	}
}

const databaseName = "conversations.db"

func run(w io.Writer, folder string) error {
	ctx := context.Background()
	file := filepath.Join(folder, databaseName)
	fmt.Fprintf(w, "A new SQLite file: %s\n", file)
	r := &rotation{w: w}
	defer r.close()
	if err := r.begin(ctx, file); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{
		r.start, r.readersLearn, r.writersSwitch, r.rekey, r.check, r.retire,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// rotation is a change of keys. The services hold the keys that their
// configuration would give them. In production, each change of such a field is
// a deployment.
type rotation struct {
	w        io.Writer
	old, new key

	writer   *service // adds to the conversations, and reads them
	reader   *service // only reads them
	operator *service // knows both keys, for Rekey and Audit
}

func (r *rotation) begin(ctx context.Context, file string) error {
	var err error
	if r.old, err = newKey("old"); err != nil {
		return err
	}
	if r.new, err = newKey("new"); err != nil {
		return err
	}
	if r.writer, err = openService(ctx, file, r.old); err != nil {
		return err
	}
	if r.reader, err = openService(ctx, file, r.old); err != nil {
		return err
	}
	r.operator, err = openService(ctx, file, r.new, r.old)
	return err
}

func (r *rotation) close() {
	for _, s := range []*service{r.writer, r.reader, r.operator} {
		if s != nil {
			s.db.Close()
		}
	}
}

func (r *rotation) start(ctx context.Context) error {
	items := sample.Conversation()
	for sessionID, items := range map[string][]encsession.Item{
		"user-123": items[:24], "user-456": items[24:40], "user-789": items[40:50],
	} {
		if err := r.writer.add(ctx, sessionID, items...); err != nil {
			return err
		}
	}
	r.say("Before", `
		Two services work on this file: a writer, which adds to conversations and reads them, and a reader. Both know
		the old key and no other. The audit is that of an operator who has both keys. Fingerprints tell keys apart, in
		audits, logs and errors, and show nothing of them.`)
	fmt.Fprintf(r.w, "\nold key  %s\nnew key  %s\n", r.old.Fingerprint(), r.new.Fingerprint())
	return r.audit(ctx)
}

func (r *rotation) readersLearn(ctx context.Context) error {
	r.writer.older = []key{r.new}
	r.reader.older = []key{r.new}
	r.say("1. Every reader gets the new key, in Keyring.Older", `
		First, because every reader must know the new key before the first item is sealed under it: a reader that does not
		would drop the item. A service that writes reads too. Nothing is sealed under the new key yet, so this step may
		take days, and can be undone.`)
	return r.audit(ctx)
}

func (r *rotation) writersSwitch(ctx context.Context) error {
	r.writer.key, r.writer.older = r.new, []key{r.old}
	items := sample.Conversation()
	if err := r.writer.add(ctx, "user-123", items[50:54]...); err != nil {
		return err
	}
	r.say("2. The writers switch: the new key is Keyring.Current, and the old one goes to Keyring.Older", `
		Every reader knows the new key now. This comes before Rekey, which would otherwise have no end: it leaves items
		that are added under the old key meanwhile for the next run. The writer adds 4 items. Do not take this step while
		a Python service reads with the old key: its pop deletes every item that it cannot read.`)
	return r.audit(ctx)
}

func (r *rotation) rekey(ctx context.Context) error {
	changed, err := r.operator.rekeyAll(ctx)
	if err != nil {
		return err
	}
	r.say("3. Rekey, in every session", `
		As far as we know, nobody writes under the old key any more. Rekey seals the items of the old key again, with the
		same content and the same time of sealing, beside services that go on reading and writing. If there were items
		that no key opens, it would return an error that counts them.`)
	fmt.Fprintf(r.w, "\nRekey has sealed %d items again.\n", changed)
	return r.audit(ctx)
}

func (r *rotation) check(ctx context.Context) error {
	// This is an instance of the writer that has not been restarted since step
	// 1.
	forgotten := *r.writer
	forgotten.key, forgotten.older = r.old, []key{r.new}
	if err := forgotten.add(ctx, "user-456", sample.Conversation()[54:]...); err != nil {
		return err
	}
	r.say("4. Audit: is the count of the old key 0, in every session?", `
		This comes before the old key goes, because items that are left under it would then be lost to every reader. And
		the count is not 0: an instance of the writer was forgotten in step 2, and has added 2 items since.`)
	if err := r.audit(ctx); err != nil {
		return err
	}
	changed, err := r.operator.rekeyAll(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintln(r.w, "\nNothing is lost. That instance is restarted with the new key, and Rekey and Audit are run again.")
	fmt.Fprintf(r.w, "Rekey has sealed %d items again.\n", changed)
	return r.audit(ctx)
}

func (r *rotation) retire(ctx context.Context) error {
	readable, all, err := r.countUnder(ctx, r.old)
	if err != nil {
		return err
	}
	for _, s := range []*service{r.writer, r.reader, r.operator} {
		s.key, s.older = r.new, nil
	}
	r.say("5. The old key is retired", `
		This comes last, and is safe: no service knows the old key any more, and each still reads everything. Older
		backups still need it: lock it away for as long as you keep them.`)
	if err := r.audit(ctx); err != nil {
		return err
	}
	fmt.Fprintf(r.w, "\nWhoever has only the old key reads %d of %d items,\n", readable, all)
	return r.refused(ctx, r.old)
}

// refused shows that a service with only this key cannot write. An instance
// that was forgotten fails loudly, and splits no history.
func (r *rotation) refused(ctx context.Context, key key) error {
	somebody := &service{db: r.reader.db, store: r.reader.store, key: key}
	err := somebody.add(ctx, "user-123", sample.Conversation()[0])
	if !errors.Is(err, encsession.ErrUndecryptable) {
		return fmt.Errorf("an add under a retired key is not refused: %w", err)
	}
	fmt.Fprintf(r.w, "and adds none:\n%s\n", strings.Join(show.Wrap(err.Error(), 116), "\n"))
	return nil
}

// countUnder counts the items that a service with only this key would read.
func (r *rotation) countUnder(ctx context.Context, key key) (readable, all int, err error) {
	somebody := &service{db: r.reader.db, store: r.reader.store, key: key}
	for info, err := range somebody.store.Sessions(ctx) {
		if err != nil {
			return 0, 0, err
		}
		report, err := somebody.audit(ctx, info.ID)
		if err != nil {
			return 0, 0, err
		}
		readable += report.Readable
		all += report.Items
	}
	return readable, all, nil
}
