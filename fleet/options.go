package fleet

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"regexp"
	"time"
)

// Option is an option of an operation. If two options set the same thing, the
// later one counts; several [WithFirstUse] add up. The nil Option is an error.
type Option func(*config) error

type config struct {
	workers       int
	pause         time.Duration
	told          func(Result) // may be nil
	shard, shards int
	firstUse      map[string]bool // by fingerprint
	managedKeys   bool
}

// maxWorkers is far more than a database serves at once.
const maxWorkers = 1000

// WithWorkers sets how many sessions are worked on at the same time: 1 to 1000.
// The default is 1. Every worker uses the store, and so takes one of its
// connections.
func WithWorkers(n int) Option {
	return func(c *config) error {
		if n < 1 || n > maxWorkers {
			return fmt.Errorf("WithWorkers: %d is not a number of workers from 1 to %d", n, maxWorkers)
		}
		c.workers = n
		return nil
	}
}

// WithPause makes each worker wait after each session before it takes the next,
// so that other clients of the database get a turn. A session of several
// batches has pauses of its own; see [encsession.EncryptedSession.Rekey].
func WithPause(d time.Duration) Option {
	return func(c *config) error {
		if d < 0 || 0 < d && d < time.Microsecond {
			return fmt.Errorf("WithPause: %v is less than 0, or was not multiplied by a unit: write 50*time.Millisecond, for example", d)
		}
		c.pause = d
		return nil
	}
}

// WithResults sets a func that gets the result of each session, each time that
// the listing names it. The func runs in the goroutine that called the
// operation, so it never runs twice at the same time. Results come in the order
// in which the sessions are finished; with one worker this is the order of the
// listing. The listing waits while the func runs.
//
// The first pass of [Rekey] and [SealPlaintext] has no results. To show its
// progress, count in the listing: the operation ranges over it once per pass.
func WithResults(told func(Result)) Option {
	return func(c *config) error {
		if told == nil {
			return errors.New("WithResults: func is nil")
		}
		c.told = told
		return nil
	}
}

// WithShard makes the operation work on one of n parts of the sessions, so that
// n processes can share the work. i is the number of the part, counted from 0.
// The part of a session depends on nothing but its ID and n, in every version
// of this package. All n parts together are all sessions.
//
// In a shard, [Rekey] and [SealPlaintext] look for an item that proves a key
// only in their own part of the sessions.
func WithShard(i, n int) Option {
	return func(c *config) error {
		if n < 1 || i < 0 || i >= n {
			return fmt.Errorf("WithShard: there is no shard %d of %d: shards are counted from 0 to n-1", i, n)
		}
		c.shard, c.shards = i, n
		return nil
	}
}

// WithFirstUse lets [Rekey] and [SealPlaintext] seal under a current key that
// opens no item yet. The fingerprint must name that key, as
// [encsession.Key.Fingerprint] returns it. Copy it from the startup log of the
// service that uses the key, not from the machine that runs the operation. On
// that machine, a mistyped key would have the same mistyped fingerprint.
//
// A raw secret of [encsession.ParsePythonKey] cannot be named, since the
// fingerprint of every raw secret is "raw". It has to open an item: let the
// service write one first.
//
// The other operations ignore this option.
func WithFirstUse(fingerprint string) Option {
	return func(c *config) error {
		switch {
		case fingerprint == rawFingerprint:
			return errors.New(`WithFirstUse: the fingerprint "raw" names no key, since every raw secret has it: ` +
				"let the service write an item under the key first, or use a Fernet key")
		case !isFingerprint.MatchString(fingerprint):
			return errors.New("WithFirstUse: a fingerprint is 16 hexadecimal digits in lower case: copy it from the startup log of the service")
		}
		if c.firstUse == nil {
			c.firstUse = make(map[string]bool)
		}
		c.firstUse[fingerprint] = true
		return nil
	}
}

// rawFingerprint is the fingerprint of every raw secret.
const rawFingerprint = "raw"

var isFingerprint = regexp.MustCompile(`^[0-9a-f]{16}$`)

// WithManagedKeys says that nobody types the current keys, since a program such
// as a keystore makes and keeps them. [Rekey] and [SealPlaintext] then ask for
// no proof of a key and make no first pass. Do not use it for a key that comes
// from an environment variable, a flag or a file.
//
// The other operations ignore this option.
func WithManagedKeys() Option {
	return func(c *config) error { c.managedKeys = true; return nil }
}

func newConfig(opts []Option) (config, error) {
	c := config{workers: 1, shards: 1}
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

// has reports whether a session belongs to the shard. This must never change:
// processes of two versions may share the work.
func (c *config) has(sessionID string) bool {
	sum := sha256.Sum256([]byte(sessionID))
	return binary.BigEndian.Uint64(sum[:])%uint64(c.shards) == uint64(c.shard)
}
