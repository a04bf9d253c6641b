package encsession

import (
	"time"

	"github.com/fernet/fernet-go"
)

// The funcs below are for the tests of package encsession_test.

// SealerOf returns a Sealer with these derived keys. No master key has to be
// found for them.
func SealerOf(ttl time.Duration, keys ...fernet.Key) *Sealer {
	return &Sealer{ttl: ttl, keys: hide(keys), number: len(keys)}
}

// SealAt seals any payload as of this time.
func (s *Sealer) SealAt(payload []byte, sealed time.Time) (Item, error) {
	return s.sealAt(payload, unixTime(sealed))
}

// OpenAt opens an envelope as of this time.
func (s *Sealer) OpenAt(stored Item, now time.Time) (Item, error) {
	o, err := s.open(stored, unixTime(now), s.openers())
	return o.payload, err
}

// Authenticate opens an envelope whatever its age and payload. It also returns
// the index of the key that has opened it.
func (s *Sealer) Authenticate(stored Item) (payload []byte, sealed uint64, key int, err error) {
	o, err := s.authenticate(stored, s.openers())
	return o.payload, o.sealed, o.key, err
}
