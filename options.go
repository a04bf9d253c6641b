package encsession

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// DefaultTTL is the TTL of an EncryptedSession without [WithTTL], the same as
// in the Python SDK.
const DefaultTTL = 10 * time.Minute

// Option is an option of [New]. If two options set the same thing, the later
// one counts; several observers add up. The nil Option is an error.
type Option func(*config) error

type config struct {
	sessionID         string
	ttl               time.Duration
	plaintext         bool
	strict            bool
	unreadableHistory bool
	observers         []func(context.Context, Event)
}

// WithTTL sets how long an item is readable after it was sealed: whole seconds,
// at least one, or [NoExpiry]. Anything else is an error of New. The default is
// [DefaultTTL]. The TTL is a policy of this reader: it is not stored, and it
// hides items without removing them. Age is counted in whole seconds of Unix
// time, as by [Sealer.Open]. So with a TTL of one second, an item is readable
// for between one and two seconds.
func WithTTL(ttl time.Duration) Option {
	return func(c *config) error { c.ttl = ttl; return checkTTL(ttl) }
}

// WithSessionID derives the keys for this ID instead of the store's. It is for
// stores whose IDs are unknown, may change, or differ from the IDs that other
// services use. SessionID returns this ID, and KeySources and events get it.
// Give every session an ID of its own: a constant would give all sessions one
// key, so that an item moved from one to another is readable there.
func WithSessionID(sessionID string) Option {
	return func(c *config) error { c.sessionID = sessionID; return checkSessionID(sessionID) }
}

// WithPlaintext makes stored items that are not envelopes readable: they are
// returned as they are, at any age. It is for the time of a migration, until
// [EncryptedSession.SealPlaintext] has run over every session. With it, whoever
// can write to the database can put words into the history; without it, such
// items are dropped with [ErrPlaintext].
func WithPlaintext() Option {
	return func(c *config) error { c.plaintext = true; return nil }
}

// WithStrictReads makes GetItems, PopItem and RewriteItems return an error,
// with no items, if they would otherwise drop an item for another reason than
// [ErrExpired]. The error wraps that reason. Nothing is removed then, except
// for expired items in one case that [EncryptedSession.PopItem] describes.
// WithStrictReads is no check of the key: a read with a limit does not look at
// the items further back.
func WithStrictReads() Option {
	return func(c *config) error { c.strict = true; return nil }
}

// WithUnreadableHistory lets AddItems and SealPlaintext work even if the keys
// do not fit the history, which otherwise is an error. It is for a session
// whose old items nobody can or should read any more: the key was lost, or was
// dropped because it was stolen. It is also for database users who may insert
// but not read.
func WithUnreadableHistory() Option {
	return func(c *config) error { c.unreadableHistory = true; return nil }
}

// WithObserver sets a func that is called once for every call of a method, at
// its end, even if it has failed. Several observers are told in the order in
// which they were given. [LogDrops] makes one.
//
// The observer runs in the goroutine of the call, with no lock held, and may
// use the session. Concurrent calls run it concurrently. The call waits for it.
// If it panics, the panic reaches the caller; the work of the call is done by
// then.
func WithObserver(observe func(context.Context, Event)) Option {
	return func(c *config) error {
		if observe == nil {
			return errors.New("WithObserver: observer is nil")
		}
		c.observers = append(c.observers, observe)
		return nil
	}
}

func newConfig(store Session, opts []Option) (config, error) {
	c := config{ttl: DefaultTTL}
	for i, opt := range opts {
		if opt == nil {
			return config{}, fmt.Errorf("option %d is nil", i)
		}
		if err := opt(&c); err != nil {
			return config{}, fmt.Errorf("option %d: %w", i, err)
		}
	}
	if c.sessionID == "" {
		c.sessionID = store.SessionID()
	}
	return c, checkSessionID(c.sessionID)
}
