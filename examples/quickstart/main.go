// Quickstart keeps an agent's conversation in a store, encrypted, and shows what the store holds beside what the
// session returns. Then it opens the store under a wrong key, and lets the conversation expire.
package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"time"

	"github.com/encsession/encsession"
)

// conversationFile is an invented conversation of the shape that agents really store, one item a line.
//
//go:embed conversation.jsonl
var conversationFile []byte

func conversation() []encsession.Item {
	var items []encsession.Item
	for line := range bytes.Lines(conversationFile) {
		items = append(items, bytes.TrimSpace(line))
	}
	return items
}

func main() {
	if err := run(os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

func run(w io.Writer) error {
	ctx := context.Background()
	store := encsession.NewMemorySession("user-123") // any Session will do
	key, err := newKey()
	if err != nil {
		return err
	}
	if err := addAndShow(ctx, w, store, key); err != nil {
		return err
	}
	if err := tryWrongKey(ctx, w, store, key); err != nil {
		return err
	}
	return expire(ctx, w, store, key)
}

// newKey makes a key for this run. A service generates its key once, keeps it in a secret manager, and parses it at
// every start.
func newKey() (encsession.Key, error) {
	return encsession.ParseKey(encsession.GenerateKey())
}

// open wraps the store in an EncryptedSession, whose reads count in drops what they leave out.
func open(store encsession.Session, key encsession.Key, ttl time.Duration) (*encsession.EncryptedSession, drops, error) {
	left := drops{}
	session, err := encsession.New(store, key,
		encsession.WithoutPlaintext(), // a fresh store: what is not encrypted was not written by us
		encsession.WithTTL(ttl),
		encsession.WithDropHandler(left.add))
	return session, left, err
}

func addAndShow(ctx context.Context, w io.Writer, store encsession.Session, key encsession.Key) error {
	session, _, err := open(store, key, time.Hour)
	if err != nil {
		return err
	}
	if err := session.AddItems(ctx, conversation()...); err != nil {
		return err
	}
	stored, err := session.Unwrap().GetItems(ctx, 0)
	if err != nil {
		return err
	}
	returned, err := session.GetItems(ctx, 0)
	if err != nil {
		return err
	}
	if len(stored) != len(returned) {
		return fmt.Errorf("the store holds %d items, the session returns %d", len(stored), len(returned))
	}

	heading(w, "1. A conversation of %d items in the session %q", len(stored), session.SessionID())
	fmt.Fprintln(w, `Each stored item is {"__enc__":1,"v":1,"kid":"hkdf-v1","payload":"<the encrypted item>"}. An … stands for a cut.`)
	fmt.Fprintf(w, "\n%s\n", compare(stored, returned))
	return nil
}

func tryWrongKey(ctx context.Context, w io.Writer, store encsession.Session, key encsession.Key) error {
	heading(w, "2. The same store under a wrong key")
	wrongKey, err := newKey()
	if err != nil {
		return err
	}
	if err := showRead(ctx, w, "Wrong key", store, wrongKey, time.Hour); err != nil {
		return err
	}
	if err := showPop(ctx, w, store, wrongKey); err != nil {
		return err
	}
	if err := showStored(ctx, w, store); err != nil {
		return err
	}
	return showRead(ctx, w, "Right key", store, key, time.Hour)
}

func expire(ctx context.Context, w io.Writer, store encsession.Session, key encsession.Key) error {
	heading(w, "3. The same store under the right key, 2 seconds later")
	time.Sleep(2 * time.Second) // age is counted in whole seconds: after a shorter sleep it may still be one
	if err := showRead(ctx, w, "TTL of 1s", store, key, time.Second); err != nil {
		return err
	}
	if err := showStored(ctx, w, store); err != nil {
		return err
	}
	if err := showRead(ctx, w, "NoExpiry", store, key, encsession.NoExpiry); err != nil {
		return err
	}
	fmt.Fprintln(w, "\nA TTL hides items from its reader; it does not delete them.")
	return nil
}

// showRead shows how many items a reader gets, whether they are the whole conversation, and what it does not get.
func showRead(ctx context.Context, w io.Writer, who string, store encsession.Session, key encsession.Key, ttl time.Duration) error {
	session, left, err := open(store, key, ttl)
	if err != nil {
		return err
	}
	items, err := session.GetItems(ctx, 0)
	if err != nil {
		return err
	}
	line := fmt.Sprintf("reads %d items", len(items))
	if reflect.DeepEqual(items, conversation()) {
		line += ", byte for byte as they were added"
	}
	for reason, count := range left {
		line += fmt.Sprintf(", leaves out %d (%v)", count, reason)
	}
	showLine(w, who, line)
	return nil
}

func showPop(ctx context.Context, w io.Writer, store encsession.Session, key encsession.Key) error {
	session, _, err := open(store, key, time.Hour)
	if err != nil {
		return err
	}
	item, err := session.PopItem(ctx)
	if err != nil {
		return err
	}
	result := "gets nothing"
	if item != nil {
		result = "gets an item"
	}
	showLine(w, "Its pop", result)
	return nil
}

// showStored shows how many items the store holds, readable or not.
func showStored(ctx context.Context, w io.Writer, store encsession.Session) error {
	stored, err := store.GetItems(ctx, 0)
	if err != nil {
		return err
	}
	showLine(w, "Store", fmt.Sprintf("still holds %d items", len(stored)))
	return nil
}

// drops counts the items that reads leave out, by the reason.
type drops map[error]int

// add is a drop handler. It needs no lock, as this program reads from one goroutine.
func (d drops) add(_ context.Context, drop encsession.Drop) {
	for _, reason := range []error{
		encsession.ErrExpired, encsession.ErrFuture, encsession.ErrUndecryptable,
		encsession.ErrMalformed, encsession.ErrPlaintext,
	} {
		if errors.Is(drop.Err, reason) {
			d[reason]++
		}
	}
}
