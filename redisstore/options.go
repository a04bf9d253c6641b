package redisstore

import (
	"errors"
	"fmt"
	"time"
)

// Option is an option of [New]. If two options set the same thing, the later
// one counts. A nil Option is an error.
type Option func(*config) error

type config struct {
	naming
	ttl time.Duration // 0: keys do not expire
}

// WithPrefix sets the beginning of all keys. The default is agents:session, as
// in Python. The prefix must not be empty. With [WithHashTag] it must not
// contain braces.
//
// Stores with different prefixes are different stores, with one exception: do
// not use two prefixes together if one is the other followed by a colon and
// more text. The session b:c under the prefix a has the keys of the session c
// under a:b. The sessions messages and counter under a:b have keys of the
// session b under a. Methods return an error if the hash, or the type of a key,
// shows that it belongs to another session. If the hash is missing, they cannot
// see that.
func WithPrefix(prefix string) Option {
	return func(c *config) error {
		if prefix == "" {
			return errors.New("the prefix is empty")
		}
		c.prefix = prefix
		return nil
	}
}

// WithKeyTTL lets Redis delete a whole session once ttl has passed since the
// last AddItems, by the server's clock. Every AddItems of at least one item
// sets the expiry of all the session's keys, as in Python. Nothing else changes
// the expiry. The key TTL is not the TTL of EncryptedSession, which hides
// single items.
//
// The ttl must be whole milliseconds, at least one. Without WithKeyTTL,
// AddItems sets no expiry. It keeps an expiry that another client has set,
// unless the session has no items left: a session that begins anew does not
// expire.
func WithKeyTTL(ttl time.Duration) Option {
	return func(c *config) error {
		if ttl < time.Millisecond || ttl%time.Millisecond != 0 {
			return fmt.Errorf("a key TTL of %v is not a whole number of milliseconds, at least 1", ttl)
		}
		c.ttl = ttl
		return nil
	}
}

// WithHashTag puts the prefix and the ID into braces, so that Redis Cluster
// keeps the three keys of a session in one slot: {agents:session:user-123} and
// {agents:session:user-123}:messages. A cluster client needs it. Python does
// not find sessions under these keys, because its own keys have no braces.
func WithHashTag() Option {
	return func(c *config) error {
		c.tagged = true
		return nil
	}
}
