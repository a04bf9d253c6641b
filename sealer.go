package encsession

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fernet/fernet-go"
)

// maxClockSkew is the number of seconds that a token may be ahead of the clock,
// as in pyca/cryptography.
const maxClockSkew = 60

// NoExpiry, used as a TTL, makes items readable whatever their age, even if
// they were sealed in the future.
const NoExpiry time.Duration = -1

// Sealer seals and opens the items of one session, wherever they are stored: it
// turns items into envelopes and back. An [EncryptedSession] uses a Sealer and
// a [Session]. A Sealer is immutable, safe for concurrent use, and never shows
// a key, however it is printed. [NewSealer] makes one; the zero Sealer returns
// errors.
type Sealer struct {
	ttl    time.Duration
	keys   hidden[[]fernet.Key] // of this session: the current key, then the older ones
	number int                  // of the keys
}

// NewSealer returns the Sealer of a session. It seals under the key that is
// derived from keys.Current and sessionID, and opens with all keys of the
// keyring.
//
// The TTL is in whole seconds, at least one, or [NoExpiry]. The session ID must
// not be empty, must be UTF-8, and must not hold U+0000.
func NewSealer(sessionID string, keys Keyring, ttl time.Duration) (*Sealer, error) {
	s, err := newSealer(sessionID, keys, ttl)
	if err != nil {
		return nil, wrap("NewSealer", err)
	}
	return &s, nil
}

func newSealer(sessionID string, ring Keyring, ttl time.Duration) (Sealer, error) {
	if err := cmp.Or(checkSessionID(sessionID), checkTTL(ttl)); err != nil {
		return Sealer{}, err
	}
	keys := make([]fernet.Key, 1+len(ring.Older))
	if err := ring.Current.derive(sessionID, &keys[current]); err != nil {
		return Sealer{}, fmt.Errorf("current key: %w", err)
	}
	for i, older := range ring.Older {
		if err := older.derive(sessionID, &keys[1+i]); err != nil {
			return Sealer{}, fmt.Errorf("older key %d: %w", i, err)
		}
	}
	return Sealer{ttl: ttl, keys: hide(keys), number: len(keys)}, nil
}

func checkTTL(ttl time.Duration) error {
	if ttl != NoExpiry && (ttl < time.Second || ttl%time.Second != 0) {
		return fmt.Errorf("TTL of %v is neither NoExpiry nor whole seconds, at least one: write 24*time.Hour, for example", ttl)
	}
	return nil
}

// check returns an error for a Sealer that NewSealer did not make.
func (s *Sealer) check() error {
	if s == nil || s.keys == nil {
		return errors.New("this Sealer was not made by NewSealer")
	}
	return nil
}

// Seal returns the envelope of an item, sealed now under the current key. The
// item is sealed byte for byte, even if it looks like an envelope. An item that
// is not a JSON object in valid UTF-8 is an [ErrInvalidItem].
func (s *Sealer) Seal(item Item) (sealed Item, err error) {
	if err = s.check(); err == nil && !ValidItem(item) {
		err = ErrInvalidItem
	}
	if err == nil {
		sealed, err = s.sealAt(item, unixTime(time.Now()))
	}
	return sealed, wrap("Seal", err)
}

// sealAt returns the envelope of a payload, sealed under the current key at a
// Unix time in seconds.
func (s *Sealer) sealAt(payload []byte, sealed uint64) (Item, error) {
	// fernet-go converts the time back to unsigned seconds.
	token, err := fernet.EncryptAndSignAtTime(payload, &s.keys()[current], time.Unix(int64(sealed), 0))
	if err != nil {
		return nil, fmt.Errorf("no randomness: %w", err)
	}
	return slices.Concat([]byte(envelopeHead), token, []byte(envelopeTail)), nil
}

// Open returns the item in an envelope that a key of the Sealer opens. If there
// is an error, the item is nil. An authentic envelope that is too old or too
// far ahead of the clock is an [ErrExpired] or an [ErrFuture]. An item that is
// not an envelope is an [ErrPlaintext]. The other errors are [ErrUndecryptable]
// and [ErrMalformed].
//
// Age is counted as pyca/cryptography counts it, in whole seconds of Unix time:
// an item has expired if now > sealed + TTL, and is from the future if sealed >
// now + 60.
func (s *Sealer) Open(stored Item) (Item, error) {
	if err := s.check(); err != nil {
		return nil, wrap("Open", err)
	}
	o, err := s.open(stored, unixTime(time.Now()), s.openers())
	if err != nil {
		return nil, wrap("Open", err)
	}
	return o.payload, nil
}

// openers returns what one goroutine needs to open items.
func (s *Sealer) openers() []opener { return make([]opener, s.number) }

// open opens an envelope and judges it. If the error is ErrExpired, ErrFuture
// or ErrMalformed, the envelope may still be authentic.
func (s *Sealer) open(stored Item, now uint64, openers []opener) (opened, error) {
	o, err := s.authenticate(stored, openers)
	if err == nil {
		err = s.judge(o, now)
	}
	return o, err
}

// Reseal moves an envelope to the current key. If an older key opens the
// envelope, Reseal seals the payload under the current key, with the time of
// the old envelope, and returns the new envelope and true. If the current key
// opens it, Reseal returns a copy of it and false. Reseal ignores the age, and
// an authentic payload need not be JSON. The errors are [ErrUndecryptable],
// [ErrMalformed] and [ErrPlaintext]; with each, sealed is nil.
func (s *Sealer) Reseal(stored Item) (sealed Item, changed bool, err error) {
	if err := s.check(); err != nil {
		return nil, false, wrap("Reseal", err)
	}
	o, err := s.authenticate(stored, s.openers())
	if err == nil && o.key == current {
		return bytes.Clone(stored), false, nil
	}
	if err == nil {
		sealed, err = s.sealAt(o.payload, o.sealed)
	}
	return sealed, err == nil, wrap("Reseal", err)
}

// opened is the content of a stored item.
type opened struct {
	payload Item   // nil unless a key opens it
	sealed  uint64 // Unix time in seconds; proves nothing unless a key opens the item
	key     int    // current, the index of an older key, or noKey
}

// The index, among the keys of a Sealer, of the key that has opened an item:
// the current key comes first, and then the older ones. If no key has opened
// it, the index is noKey.
const (
	current = 0
	noKey   = -1
)

// authenticate opens an envelope whatever its age and payload. Its errors are
// ErrUndecryptable, ErrMalformed and ErrPlaintext. With ErrUndecryptable it
// returns the time of the token too.
func (s *Sealer) authenticate(stored Item, openers []opener) (opened, error) {
	token, err := parseEnvelope(stored)
	if err != nil {
		return opened{key: noKey}, err
	}
	sealed := tokenTime(token)
	payload, key, err := openToken(token, s.keys(), openers)
	if err != nil {
		return opened{sealed: sealed, key: noKey}, err
	}
	return opened{payload: payload, sealed: sealed, key: key}, nil
}

// judge returns ErrExpired, ErrFuture, ErrMalformed or nil for an authentic
// item.
func (s *Sealer) judge(o opened, now uint64) error {
	switch {
	case s.ttl != NoExpiry && inFuture(o.sealed, now):
		return ErrFuture
	case s.expired(o.sealed, now):
		return ErrExpired
	case !ValidItem(o.payload):
		return fmt.Errorf("%w: authentic, but its payload is not a JSON object", ErrMalformed)
	}
	return nil
}

// expired reports whether an item sealed at that time is older than the TTL.
func (s *Sealer) expired(sealed, now uint64) bool {
	return s.ttl != NoExpiry && olderThan(sealed, now, s.ttl)
}

// The times below are Unix times in whole seconds, as in tokens. The time of a
// token can be any number, so a sum could overflow.

func unixTime(t time.Time) uint64 { return uint64(max(t.Unix(), 0)) }

func inFuture(sealed, now uint64) bool { return sealed > now && sealed-now > maxClockSkew }

func olderThan(sealed, now uint64, age time.Duration) bool {
	return now > sealed && now-sealed > uint64(age/time.Second)
}
