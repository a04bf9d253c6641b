package encsession

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// guardItems is the number of newest items that the guard looks at, at most.
const guardItems = 16

// guard returns an error if the keys do not fit the history. So a writer with a
// wrong key does not split a history, and a forgotten WithPlaintext does not
// hide one. If the keys fit, the guard remembers that in the keyset. It does
// not remember a refusal.
func (s *EncryptedSession) guard(ctx context.Context, keys *keyset) error {
	if s.unreadableHistory || keys.fits.Load() {
		return nil
	}
	openers := keys.sealer.openers()
	var stored []Item
	var err error
	for _, limit := range []int{1, guardItems} { // the newest item alone is nearly always enough
		if stored, err = s.store().GetItems(ctx, limit); err != nil {
			return fmt.Errorf("store: %w", err)
		}
		opens := func(item Item) bool { o, _ := keys.sealer.authenticate(item, openers); return o.key == current }
		if len(stored) == 0 || slices.ContainsFunc(stored, opens) {
			keys.fits.Store(true)
			return nil
		}
	}
	err = s.fit(keys, stored)
	keys.fits.Store(err == nil)
	return err
}

// fit judges the keys by the newest items. The current key opens none of these.
func (s *EncryptedSession) fit(keys *keyset, stored []Item) error {
	now, openers := unixTime(time.Now()), keys.sealer.openers()
	decided, authentic, plaintext := false, false, false
	for _, item := range slices.Backward(stored) {
		o, err := keys.sealer.authenticate(item, openers)
		undecryptable := errors.Is(err, ErrUndecryptable)
		authentic = authentic || err == nil
		plaintext = plaintext || errors.Is(err, ErrPlaintext)
		if decided || err != nil && !undecryptable || inFuture(o.sealed, now) || keys.sealer.expired(o.sealed, now) {
			continue
		}
		decided = true // the newest envelope that is neither expired nor ahead of the clock
		if undecryptable {
			return s.unfit(keys, err, "no key opens its newest items")
		}
	}
	if plaintext && !authentic && !s.plaintext {
		return fmt.Errorf("the newest items of session %q are not encrypted, and reads would hide them: "+
			"if you know who wrote them, run SealPlaintext, or set WithPlaintext; to write anyway, set WithUnreadableHistory: %w", s.sessionID, ErrPlaintext)
	}
	return nil
}

// unfit is the error for a wrong key.
func (s *EncryptedSession) unfit(keys *keyset, reason error, why string) error {
	return fmt.Errorf("session %q: %s (%s): check the key and the session ID, or add the missing key to Keyring.Older; "+
		"to write anyway, set WithUnreadableHistory: %w", s.sessionID, why, keys.ring.names(), reason)
}
