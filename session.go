package encsession

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"
)

// Item is one item of a conversation (a message, a tool call, a tool's output, a piece of reasoning): a JSON
// object in UTF-8, of at most 10,000 levels of nesting, which is what encoding/json reads. It is an alias, so
// that a store can implement Session without importing this package.
type Item = json.RawMessage

// Session is the history of one conversation. This comment is the specification that a store implements; the
// package sessiontest checks a store against it.
//
// Methods are safe for concurrent use, through one handle and through several handles on one session. Item
// slices that are passed in are not changed, and not kept after the method returns; slices that are returned
// belong to the caller, who may change them. A context that is done makes a method return its error (errors.Is finds
// it) and change nothing. Where a method returns an error, it has changed nothing; only where a connection breaks
// in the middle of a commit may the outcome be open.
//
// Two different session IDs are two sessions that never see each other's items, even where the IDs differ
// only by case, accents, Unicode normal form or a trailing space. A store that cannot hold an ID returns an
// error from every method; it never stores under another ID.
type Session interface {
	// SessionID returns the ID of the session. It never changes.
	SessionID() string

	// GetItems returns the newest limit items of the session, in the order in which they were added, so that
	// the newest comes last. A limit of 0 or less means all items. It returns fewer items than limit only
	// when there are no more: a store must not cap the number by itself. A session without items, or one that
	// nobody has written to yet, gives an empty slice and no error. Items come back as JSON equal to what was
	// added; a store may change white space and the order of members, but not the value of a number.
	GetItems(ctx context.Context, limit int) ([]Item, error)

	// AddItems appends items to the session in the order given: all of them or, with an error, none. Items of
	// concurrent calls are not mixed with one another. An item that is not JSON is an error; a store may be
	// stricter and refuse what is not a JSON object in valid UTF-8. To add no items is no error.
	AddItems(ctx context.Context, items ...Item) error

	// PopItem removes the newest item and returns it. It returns nil and no error when there is none. Under
	// concurrent calls each item comes back once.
	PopItem(ctx context.Context) (Item, error)

	// ClearSession removes all items of the session, which can be used again afterwards. Clearing a session
	// without items is no error.
	ClearSession(ctx context.Context) error
}

// Rewriter is an optional capability of a Session: one pass over what is stored,
// newest first, that can change items in their places. [EncryptedSession] needs
// it to remove an item from below others, and for Rekey, SealPlaintext, Purge
// and DeleteItems. RewriteItems follows the rules of [Session] for concurrency,
// contexts, errors and slice ownership.
//
// A decorator implements Rewriter by forwarding to its store, and returns an
// error that wraps errors.ErrUnsupported if that store is not a Rewriter. Beware
// of embedding: a type that embeds a Rewriter is one too, and EncryptedSession
// then pops through its RewriteItems, not its PopItem.
type Rewriter interface {
	// RewriteItems hands the stored items to edit in batches, and changes each
	// batch as edit says.
	//
	//  1. Every item that is stored throughout the pass goes to edit exactly
	//     once, newest first; so do the items within a batch. Items that are
	//     added after the start do not.
	//  2. The first batch has at most first items; a first below 1 counts as 1.
	//     Later batches have at most 1,000 items, and end once they reach 1 MiB.
	//     A store should begin small and double, since a pop often ends early.
	//     There are no empty batches: over an empty session edit is not called.
	//  3. If edit returns a nil new, the batch stays as it is. Otherwise new has
	//     the length of stored: new[i] with equal bytes leaves stored[i] alone,
	//     nil removes it, and any other item takes its place and keeps its time.
	//     A new of another length, or a new[i] that AddItems would refuse, is an
	//     error.
	//  4. An item changes only if its row still holds the bytes that edit saw.
	//     Other items are passed over and not counted. Rows are compared by
	//     identity, then by content: an equal item elsewhere is another item. (A
	//     store without row IDs may take the nearest equal item below for the
	//     row, if other clients have moved the positions.)
	//  5. A batch is one atomic step. After an error its batch is unchanged,
	//     earlier batches stay changed, and the result counts these.
	//  6. edit runs in the caller's goroutine. The store holds no lock, no
	//     transaction and no connection meanwhile, so edit may sleep and may use
	//     the session. It must not keep or change stored. The store may retry a
	//     change, but never calls edit twice for one batch.
	//  7. The store checks the context before each batch. If edit returns more
	//     as false, the pass ends after this batch.
	//  8. A store that cannot rewrite returns an error that wraps
	//     errors.ErrUnsupported, before it calls edit.
	//
	// The result is the number of items that were changed or removed.
	RewriteItems(ctx context.Context, first int, edit func(stored []Item) (new []Item, more bool)) (changed int, err error)
}

// SessionInfo describes a session in the listing of a store. The times are the
// store's own, and zero if it does not know them. Whoever can write to the store
// can change them.
type SessionInfo struct {
	ID                   string
	CreatedAt, UpdatedAt time.Time
}

// ValidItem reports whether b is an item: a JSON object (RFC 8259) in valid
// UTF-8, nested at most 10,000 levels deep, as encoding/json reads it. It is
// several times as fast as json.Valid, so stores can check what they read.
func ValidItem(b []byte) bool { return isObject(b) }

// Replacer is an optional capability of a Session: it changes stored items in place. EncryptedSession needs it
// to remove the newest readable item from below unreadable ones.
//
// A decorator round a Session implements Replacer by forwarding to the store underneath, and returns an error
// that wraps errors.ErrUnsupported where that store is not a Replacer. Beware of embedding: a type that embeds a
// store which is a Replacer is one too, and EncryptedSession then pops through its ReplaceItems, not its PopItem.
// What is said at Session of concurrency, contexts, errors and slices goes for ReplaceItems too.
type Replacer interface {
	// ReplaceItems replaces stored items: old[i] becomes new[i] in the same place, and a nil new[i] removes it.
	//
	// Each old[i] matches at most one stored item: the newest one whose bytes equal old[i], as GetItems
	// returned it, and that no earlier pair matched. Bytes are compared, not collated text and not JSON
	// values. Pairs without a match are passed over. All pairs are matched against the items as they were
	// before the call, and the whole is one atomic step.
	//
	// Slices of unequal length, or a new[i] that is neither nil nor JSON, are an error and change nothing. An error that
	// wraps errors.ErrUnsupported says that this store can never replace, and that nothing has been changed; it says so for
	// no items, too. The result is the number of pairs that matched.
	ReplaceItems(ctx context.Context, old, new []Item) (int, error)
}

// matchItems finds the partner of each old item among items, which are oldest first, by the rule of
// Replacer.ReplaceItems. It returns an index into items for each old item, or -1.
func matchItems(items, old []Item) []int {
	wanted := make(map[string][]int, len(old)) // indices of the old items that have these bytes
	for i, item := range old {
		wanted[string(item)] = append(wanted[string(item)], i)
	}
	matches := slices.Repeat([]int{-1}, len(old))
	left := len(old)
	for i := len(items) - 1; i >= 0 && left > 0; i-- {
		if indices := wanted[string(items[i])]; len(indices) > 0 {
			matches[indices[0]], wanted[string(items[i])] = i, indices[1:]
			left--
		}
	}
	return matches
}

// checkReplacement checks the arguments of ReplaceItems.
func checkReplacement(old, new []Item) error {
	if len(old) != len(new) {
		return fmt.Errorf("%d old items and %d new ones", len(old), len(new))
	}
	for i, item := range new {
		if item != nil && !isObject(item) {
			return fmt.Errorf("new item %d: %w", i, ErrInvalidItem)
		}
	}
	return nil
}
