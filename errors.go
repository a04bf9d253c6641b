package encsession

import "errors"

// The errors that callers test for with errors.Is. Every error of this package that has one of these causes
// wraps it, and says which item is meant: an argument by its index, a stored item by its position from the
// newest, which is 0. None holds a key, a plaintext, a token or other stored text. What a store returns is wrapped as it
// is.
//
// The first five say why a stored item is not readable. Sealer.Open returns them; EncryptedSession leaves
// such items out of what it reads and gives the error to the handler of WithDropHandler, or returns it, under
// WithStrictReads.
var (
	// ErrExpired is returned by Sealer.Open, and given to the drop handler, for an authentic item that is
	// older than the TTL. WithStrictReads does not make it an error of a read.
	ErrExpired = errors.New("item has expired")

	// ErrFuture is returned by Sealer.Open, and given to the drop handler, for an authentic item that was
	// sealed more than 60 seconds ahead of this machine's clock.
	ErrFuture = errors.New("item was sealed in the future")

	// ErrUndecryptable is returned by Sealer.Open and Sealer.Reseal, and given to the drop handler, for a
	// well-formed envelope that no key at hand opens: it was sealed under another key or for another session,
	// or it was altered. PopItem returns it where it would remove plaintext from below such an item. A token that
	// was signed under the right key, but padded as Fernet does not, is not told from these.
	ErrUndecryptable = errors.New("item is not authentic: another key, another session, or altered")

	// ErrMalformed is returned by Sealer.Open and Sealer.Reseal, and given to the drop handler, for stored
	// bytes of which no key makes an item: not a JSON object, an envelope of another shape or version, or a
	// token that is not canonical. Sealer.Open and the drop handler get it too for an authentic payload that
	// is not a JSON object.
	ErrMalformed = errors.New("item is malformed")

	// ErrPlaintext is returned by Sealer.Open and Sealer.Reseal for a stored item that is not an envelope,
	// and given to the drop handler under WithoutPlaintext.
	ErrPlaintext = errors.New("item is not encrypted")

	// ErrInvalidItem is returned by AddItems, ReplaceItems and Sealer.Seal for an item that is not a JSON
	// object in valid UTF-8.
	ErrInvalidItem = errors.New("item is not a JSON object in valid UTF-8")

	// ErrAmbiguousKey is returned by ParseKey for a string that different versions of Python read as
	// different keys.
	ErrAmbiguousKey = errors.New("key is ambiguous")
)
