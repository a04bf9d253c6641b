// Rotation changes the master key of two services that work on one SQLite file, step by step, and audits every session
// after each step. The file is in a new temporary folder, which stays.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/examples/internal/sample"
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

// rotation is a change of keys. The services hold the keys that their configuration would give them: in life, each
// change of such a field is a deployment.
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
		the old key and no other. The audit is that of an operator who has both keys.`)
	return r.audit(ctx)
}

func (r *rotation) readersLearn(ctx context.Context) error {
	r.writer.readKeys = []key{r.new}
	r.reader.readKeys = []key{r.new}
	r.say("1. Every reader learns the new key, as a read key", `
		First, because from the first item under the new key on, every reader has to know that key: to one that does not,
		the item is undecryptable, and left out. A service that writes reads too. Nothing is written with the new key yet,
		so this step may take days, and can be undone.`)
	return r.audit(ctx)
}

func (r *rotation) writersSwitch(ctx context.Context) error {
	r.writer.key, r.writer.readKeys = r.new, []key{r.old}
	items := sample.Conversation()
	if err := r.writer.add(ctx, "user-123", items[50:54]...); err != nil {
		return err
	}
	r.say("2. The writers switch to the new key, and keep the old one as a read key", `
		Now that every reader knows the new key; and before Rekey, which would otherwise have no end: what is added under
		the old key meanwhile, it leaves for the next run. The writer adds 4 items. Do not take this step while a Python
		service reads with the old key: its pop deletes what it cannot read.`)
	return r.audit(ctx)
}

func (r *rotation) rekey(ctx context.Context) error {
	changed, err := r.operator.rekeyAll(ctx)
	if err != nil {
		return err
	}
	r.say("3. Rekey, in every session", `
		Now that, as far as we know, nobody writes under the old key any more. Rekey seals what is under the old key
		again, with the same content and the same time of sealing, beside services that go on reading and writing.`)
	fmt.Fprintf(r.w, "\nRekey has sealed %d items again.\n", changed)
	return r.audit(ctx)
}

func (r *rotation) check(ctx context.Context) error {
	// An instance of the writer that has not been restarted since step 1.
	forgotten := *r.writer
	forgotten.key, forgotten.readKeys = r.old, []key{r.new}
	if err := forgotten.add(ctx, "user-456", sample.Conversation()[54:]...); err != nil {
		return err
	}
	r.say("4. Audit: is the count of the old key 0, in every session?", `
		Before the old key goes, because whatever is left under it would then be lost to every reader. And it is not 0:
		an instance of the writer was forgotten in step 2, and has added 2 items since.`)
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
		s.key, s.readKeys = r.new, nil
	}
	r.say("5. The old key is retired", `
		Last, and safely: no service knows it any more, and each still reads everything. Older backups still need
		the old key: lock it away for as long as you keep them.`)
	if err := r.audit(ctx); err != nil {
		return err
	}
	fmt.Fprintf(r.w, "\nWhoever has only the old key reads %d of %d items.\n", readable, all)
	return nil
}

// countUnder counts what somebody with this key alone would read.
func (r *rotation) countUnder(ctx context.Context, key key) (readable, all int, err error) {
	somebody := &service{db: r.reader.db, store: r.reader.store, key: key}
	for sessionID, err := range somebody.store.SessionIDs(ctx) {
		if err != nil {
			return 0, 0, err
		}
		report, err := somebody.audit(ctx, sessionID)
		if err != nil {
			return 0, 0, err
		}
		readable += report.Readable
		all += report.Items
	}
	return readable, all, nil
}
