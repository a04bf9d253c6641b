package encsession

import (
	"errors"
	"fmt"
)

// The errors that callers test for with [errors.Is]. An error of this package
// wraps the one of these that is its cause. If it is about an item, it says
// which: an argument by its index, a stored item by its position from the
// newest, which is 0. None holds a key, a plaintext, a token or other stored
// text. Errors of a store and of a KeySource are wrapped as they are.
//
// The first five say why a stored item is not readable. [Sealer.Open] returns
// them. [EncryptedSession] leaves such items out of its reads and tells its
// observers the reason, or returns it under [WithStrictReads]. Over a store
// that is not a [Rewriter], PopItem also returns the reason if it cannot get
// past such an item.
var (
	// ErrExpired is the reason for an authentic item that is older than the
	// TTL. WithStrictReads does not make it an error of a read.
	ErrExpired = errors.New("item has expired")

	// ErrFuture is the reason for an authentic item that was sealed more than
	// 60 seconds ahead of the clock of this machine.
	ErrFuture = errors.New("item was sealed in the future")

	// ErrUndecryptable is the reason for a well-formed envelope that no key
	// opens: it was sealed under another key or for another session, or it was
	// altered. A token with a good signature and bad padding is undecryptable
	// too. Sealer.Reseal also returns it. AddItems and SealPlaintext return it
	// if the keys do not fit the history. PopItem and RewriteItems return it if
	// they would have to remove or replace plaintext that lies below such an
	// item. A SkippedError can wrap it.
	ErrUndecryptable = errors.New("item is not authentic: another key, another session, or altered")

	// ErrMalformed is the reason for stored bytes that cannot be an item under
	// any key: not a JSON object, an envelope of another shape or version, or a
	// token that is not canonical. It is also the reason for an authentic
	// payload that is not a JSON object. Sealer.Reseal also returns it. PopItem
	// and RewriteItems return it if they would have to remove or replace
	// plaintext that lies below such an item. A SkippedError can wrap it.
	ErrMalformed = errors.New("item is malformed")

	// ErrPlaintext is the reason for a stored item that is not an envelope,
	// unless WithPlaintext is set. Sealer.Reseal also returns it. AddItems
	// returns it if the history is not encrypted. A SkippedError can wrap it.
	ErrPlaintext = errors.New("item is not encrypted")

	// ErrInvalidItem is returned by AddItems, RewriteItems and Sealer.Seal for
	// an item that is not a JSON object in valid UTF-8.
	ErrInvalidItem = errors.New("item is not a JSON object in valid UTF-8")

	// ErrAmbiguousKey is returned by ParsePythonKey for a string that different
	// versions of Python read as different keys.
	ErrAmbiguousKey = errors.New("key is ambiguous")

	// ErrKeyChanged is returned by Rekey, SealPlaintext, Purge, DeleteItems and
	// RewriteItems if the current key has changed between two batches. The
	// batches before that are done; run the operation again for the rest.
	ErrKeyChanged = errors.New("current key has changed during the operation")

	// ErrKeyDestroyed is returned by a KeySource for keys that were destroyed
	// on purpose, and so by every call that needs them. It tells a session that
	// was erased for good from one under a wrong key.
	ErrKeyDestroyed = errors.New("key was destroyed")
)

// SkippedError is the error of an operation that has finished but has passed
// over items that it could not judge. It counts them. It wraps
// [ErrUndecryptable], [ErrMalformed] and [ErrPlaintext], each only if its count
// is not 0.
type SkippedError struct {
	Undecryptable, Malformed, Plaintext int
}

// Error returns a text with the count for each reason.
func (e *SkippedError) Error() string {
	return fmt.Sprintf("finished, but could not judge all items: %d undecryptable, %d malformed, %d not encrypted; Audit shows which keys open the session", e.Undecryptable, e.Malformed, e.Plaintext)
}

// Unwrap returns the reasons whose counts are not 0.
func (e *SkippedError) Unwrap() (reasons []error) {
	for reason, n := range map[error]int{ErrUndecryptable: e.Undecryptable, ErrMalformed: e.Malformed, ErrPlaintext: e.Plaintext} {
		if n != 0 {
			reasons = append(reasons, reason)
		}
	}
	return reasons
}

// or returns err if it is not nil, or else the SkippedError if that counts
// anything, or else nil.
func (e *SkippedError) or(err error) error {
	if err != nil || *e == (SkippedError{}) {
		return err
	}
	return e
}

// wrap says which function an error comes from.
func wrap(name string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("encsession: %s: %w", name, err)
}
