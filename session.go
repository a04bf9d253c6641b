package encsession

import (
	"context"
	"encoding/json"
	"time"

	"github.com/encsession/encsession/internal/jsonobject"
)

// Item is one item of a conversation, such as a message, a tool call, a tool's
// output or a piece of reasoning. It is a JSON object in UTF-8, nested at most
// 10,000 levels deep; [ValidItem] checks that. It is an alias, so that a store
// can implement [Session] without importing this package.
type Item = json.RawMessage

// Session is the history of one conversation. This comment is the specification
// that a store implements; the package sessiontest checks a store against it.
//
// Methods are safe for concurrent use, through one handle and through several
// handles on one session. A method does not change the item slices that it is
// given, and does not keep them after it returns. Slices that it returns belong
// to the caller, who may change them. If the context is done, a method changes
// nothing and returns the context's error ([errors.Is] finds it). A method that
// returns an error has changed nothing. There is one exception: if a connection
// breaks in the middle of a commit, the outcome is open.
//
// Two different session IDs are two sessions that never see each other's items,
// even if the IDs differ only by case, accents, Unicode normal form or a
// trailing space. A store that cannot hold an ID returns an error from every
// method; it never stores under another ID.
type Session interface {
	// SessionID returns the ID of the session. It never changes.
	SessionID() string

	// GetItems returns the newest limit items of the session in the order in
	// which they were added, so that the newest comes last. A limit of 0 or
	// less means all items. It returns fewer items than limit only if there are
	// no more: a store must not cap the number by itself. A session without
	// items, or one that nobody has written to yet, gives an empty slice and no
	// error. Items come back as JSON equal to the added JSON: a store may
	// change white space and the order of members, but not the value of a
	// number.
	GetItems(ctx context.Context, limit int) ([]Item, error)

	// AddItems appends items to the session in the order given: all of them or,
	// with an error, none. Items of concurrent calls are not mixed with one
	// another. An item that is not JSON is an error; a store may be stricter
	// and refuse whatever [ValidItem] refuses. Adding no items is no error.
	AddItems(ctx context.Context, items ...Item) error

	// PopItem removes the newest item and returns it. It returns nil and no
	// error if there is none. Under concurrent calls each item comes back once.
	PopItem(ctx context.Context) (Item, error)

	// ClearSession removes all items of the session, which can be used again
	// afterwards. Clearing a session without items is no error.
	ClearSession(ctx context.Context) error
}

// Rewriter is an optional capability of a Session: one pass over the stored
// items, newest first, that can change them in place. [EncryptedSession] needs
// it to remove an item that lies below others, and for Rekey, SealPlaintext,
// Purge and DeleteItems. RewriteItems follows the rules of [Session] for
// concurrency, contexts, errors and slice ownership.
//
// A decorator implements Rewriter by forwarding to its store, and returns an
// error that wraps [errors.ErrUnsupported] if that store is not a Rewriter.
// Beware of embedding: a type that embeds a Rewriter is one too, and
// EncryptedSession then pops through its RewriteItems, not its PopItem.
type Rewriter interface {
	// RewriteItems hands the stored items to edit in batches, and changes each
	// batch as edit says.
	//
	//  1. Every item that is stored throughout the pass goes to edit exactly
	//     once. The batches come newest first, and so do the items within a
	//     batch. Items that are added after the start do not go to edit.
	//  2. The first batch has at most first items; a first below 1 counts as 1.
	//     Later batches have at most 1,000 items, and end once they reach 1
	//     MiB. A store should begin with a small batch and double its size,
	//     since a pop often ends early. There are no empty batches: if the
	//     session is empty, edit is not called.
	//  3. If edit returns a nil new, the batch stays as it is. Otherwise new
	//     has the length of stored: new[i] with equal bytes leaves stored[i]
	//     alone, nil removes it, and any other item takes its place and keeps
	//     its time. A new of another length, or a new[i] that AddItems would
	//     refuse, is an error.
	//  4. An item changes only if its row still holds the bytes that edit saw.
	//     Other items are passed over and not counted. Rows are compared by
	//     identity, then by content: an equal item elsewhere is another item.
	//     An identity is never used again, as with AUTOINCREMENT in SQLite. (A
	//     store without row IDs may take the nearest equal item below, if
	//     positions have moved.)
	//  5. A batch is one atomic step. After an error its batch is unchanged,
	//     earlier batches stay changed, and the result counts these.
	//  6. edit runs in the caller's goroutine. The store holds no lock, no
	//     transaction and no connection meanwhile, so edit may sleep and may
	//     use the session. It must not keep or change stored. The store may
	//     retry a change, but never calls edit twice for one batch.
	//  7. The store checks the context before each batch. If edit returns false
	//     for more, the pass ends after this batch.
	//  8. A store that cannot rewrite returns an error that wraps
	//     [errors.ErrUnsupported], before it calls edit.
	//
	// The result is the number of items that were changed or removed.
	RewriteItems(ctx context.Context, first int, edit func(stored []Item) (new []Item, more bool)) (changed int, err error)
}

// SessionInfo describes a session in the listing of a store. The times are the
// store's own, and zero if it does not know them. Whoever can write to the
// store can change them.
type SessionInfo struct {
	ID                   string
	CreatedAt, UpdatedAt time.Time
}

// ValidItem reports whether b is an item: a JSON object (RFC 8259) in valid
// UTF-8, nested at most 10,000 levels deep, as encoding/json reads it. It is
// several times as fast as [json.Valid], so stores can check what they read.
func ValidItem(b []byte) bool { return jsonobject.Valid(b) }
