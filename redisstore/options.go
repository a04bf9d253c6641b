package redisstore

import (
	"errors"
	"fmt"
	"time"
)

// Option is an option of New. Where two options set the same thing, the later one counts. The nil Option is an error.
type Option func(*config) error

type config struct {
	naming
	ttl time.Duration // 0: keys do not expire
}

// WithPrefix sets what all keys begin with, which otherwise is agents:session, as in Python. It may be anything but
// empty, and without braces where WithHashTag is given too.
//
// Stores with different prefixes are different stores, unless one prefix is the beginning of the other, with a colon
// behind it: the session b:c under the prefix a has the keys of c under a:b, and the sessions messages and counter under
// a:b have keys of the session b under a. Methods then return errors where they see by the hash, or by the type of a key,
// that it belongs to another session, and where the hash is missing they cannot see it. Do not use such prefixes together.
func WithPrefix(prefix string) Option {
	return func(c *config) error {
		if prefix == "" {
			return errors.New("the prefix is empty")
		}
		c.prefix = prefix
		return nil
	}
}

// WithKeyTTL lets Redis delete a whole session that long after the last AddItems, on the server's clock: every AddItems
// of at least one item sets the expiry of all the session's keys, as Python does. Nothing else changes it. It is not the TTL of
// EncryptedSession, which hides single items.
//
// It must be at least a millisecond, and whole milliseconds. Without it AddItems sets no expiry. It leaves one that another
// client has set, unless the session had no items any more: a session that begins anew does not expire.
func WithKeyTTL(ttl time.Duration) Option {
	return func(c *config) error {
		if ttl < time.Millisecond || ttl%time.Millisecond != 0 {
			return fmt.Errorf("a key TTL of %v is not one of whole milliseconds, at least one", ttl)
		}
		c.ttl = ttl
		return nil
	}
}

// WithHashTag puts the prefix and the ID into braces, so that Redis Cluster keeps the three keys of a session in one
// slot: {agents:session:user-123} and {agents:session:user-123}:messages. A cluster client needs it. Sessions under
// these keys are not shared with Python, whose keys have no braces.
func WithHashTag() Option {
	return func(c *config) error {
		c.tagged = true
		return nil
	}
}
