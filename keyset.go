package encsession

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
)

// keyset is a keyring, with the derived keys and the state that one handle
// keeps for it.
type keyset struct {
	ring   Keyring
	sealer Sealer
	fits   atomic.Bool // whether the keys fit the history, so that the guard need not look again
}

// derive derives the keys of the session from a keyring, and keeps them.
func (s *EncryptedSession) derive(keys *keyset, ring Keyring) (err error) {
	keys.ring = Keyring{Current: ring.Current, Older: slices.Clone(ring.Older)} // Older is the caller's
	if keys.sealer, err = newSealer(s.sessionID, ring, s.ttl); err == nil {
		s.keys.Store(keys)
	}
	return err
}

// currentKeys returns the keys for a call. It derives them only if the source
// has returned another keyring than before.
func (s *EncryptedSession) currentKeys(ctx context.Context) (*keyset, error) {
	held := s.keys.Load()
	if s.source == nil {
		return held, nil
	}
	ring, err := s.source().Keys(ctx, s.sessionID)
	if err == nil && (held == nil || !held.ring.equal(ring)) {
		held = new(keyset)
		err = s.derive(held, ring)
	}
	if err != nil {
		s.keys.Store(nil)
		return nil, fmt.Errorf("key source: %w", err)
	}
	return held, nil
}

// prepare checks the session and the context, and asks for the keys, before a
// call or a batch of it. If the current key is not that of the previous batch,
// the error is an ErrKeyChanged.
func (s *EncryptedSession) prepare(ctx context.Context, c *call) error {
	if err := s.check(ctx); err != nil {
		return err
	}
	keys, err := s.currentKeys(ctx)
	if err != nil {
		return err
	}
	if c.keys != nil && !c.keys.ring.Current.equal(keys.ring.Current) {
		return fmt.Errorf("%w, from %s to %s: run the operation again", ErrKeyChanged, c.keys.ring.Current.Fingerprint(), keys.ring.Current.Fingerprint())
	}
	c.keys = keys
	return nil
}
