package encsession

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// DefaultTTL is the TTL of an EncryptedSession without WithTTL, the same as in the Python SDK.
const DefaultTTL = 10 * time.Minute

// Option is an option of New. Where two options set the same thing, the later one counts; keys of several
// WithReadKeys add up. The nil Option is an error.
type Option func(*config) error

type config struct {
	sessionID       string
	ttl             time.Duration
	readKeys        []Key
	refusePlaintext bool
	strict          bool
	onDrop          func(context.Context, Drop)
}

// WithTTL sets how long after sealing an item is readable: whole seconds, at least one, or NoExpiry. Anything else
// is an error of New. The TTL is a policy of this reader: it is not stored, and hides items without removing them. Age is
// counted in whole seconds of Unix time, as at Sealer.Open: with a TTL of a second, an item is readable for between one
// and two seconds.
func WithTTL(ttl time.Duration) Option {
	return func(c *config) error {
		c.ttl = ttl
		return nil
	}
}

// WithReadKeys makes items readable that were sealed under one of these keys. Nothing is sealed under them. They
// are for keys that are being retired, not for keys that others may know: whoever holds a read key can forge items.
func WithReadKeys(keys ...Key) Option {
	return func(c *config) error {
		c.readKeys = append(c.readKeys, keys...)
		return nil
	}
}

// WithSessionID derives the key for this ID instead of the store's, for stores whose IDs are not known, change, or
// differ from what other services use. SessionID and Drop report it. Give every session an ID of its own: a
// constant would give all sessions one key, so that an item moved from one to another is readable there.
func WithSessionID(sessionID string) Option {
	return func(c *config) error {
		c.sessionID = sessionID
		if err := checkSessionID(sessionID); err != nil {
			return fmt.Errorf("WithSessionID: %w", err)
		}
		return nil
	}
}

// WithoutPlaintext makes stored items that are not envelopes unreadable: they are dropped with ErrPlaintext. Without
// it they pass through as they are, which is how an existing store is migrated, and which means that whoever can
// write to the database can put words into the history. Use it on every store that has no plaintext to migrate.
func WithoutPlaintext() Option {
	return func(c *config) error {
		c.refusePlaintext = true
		return nil
	}
}

// WithStrictReads makes GetItems and PopItem return an error, with no items, where they would otherwise drop an item for
// another reason than ErrExpired. The error wraps that reason. So does ReplaceItems, which reads too. Nothing is removed
// then but what PopItem has removed before, as its comment says. It does not check the key: what lies further back than
// a read with a limit gets is not looked at.
func WithStrictReads() Option {
	return func(c *config) error {
		c.strict = true
		return nil
	}
}

// WithDropHandler sets a function that is told of every item that GetItems or PopItem leaves out, once a call,
// newest first. It is called by the goroutine that reads, when the read is done and with no lock held, and it may
// use the session. Concurrent reads call it concurrently. Expired items are to be expected, again in every read that comes
// upon them: count them rather than log each. A read that returns an error reports nothing, except the
// expired items that it has removed.
func WithDropHandler(handle func(context.Context, Drop)) Option {
	return func(c *config) error {
		if handle == nil {
			return errors.New("WithDropHandler: handler is nil")
		}
		c.onDrop = handle
		return nil
	}
}

// Drop tells a drop handler of an item that was left out. It holds no item content and no key.
type Drop struct {
	SessionID string // as EncryptedSession.SessionID returns it
	Err       error  // says which item, and wraps ErrExpired, ErrFuture, ErrUndecryptable, ErrMalformed or ErrPlaintext
}

func newConfig(opts []Option) (config, error) {
	c := config{ttl: DefaultTTL}
	for i, opt := range opts {
		if opt == nil {
			return config{}, fmt.Errorf("option %d is nil", i)
		}
		if err := opt(&c); err != nil {
			return config{}, fmt.Errorf("option %d: %w", i, err)
		}
	}
	return c, nil
}
