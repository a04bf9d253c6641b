package encsession

import (
	"bytes"
	"crypto/aes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fernet/fernet-go"
)

// The layout of an envelope of version 1: what Go writes, and RedisSession and SQLAlchemySession of the Python
// SDK too.
const (
	envelopeHead = `{"__enc__":1,"v":1,"kid":"hkdf-v1","payload":"`
	envelopeTail = `"}`
)

// envelopeHeadSpaced is how the SQLite sessions of the Python SDK write envelopeHead.
const envelopeHeadSpaced = `{"__enc__": 1, "v": 1, "kid": "hkdf-v1", "payload": "`

// Sizes of a token before base64, from the Fernet spec: version, time, IV, ciphertext, HMAC.
const (
	tokenVersion  = 0x80
	tokenPrefix   = 1 + 8                                     // version and time
	tokenOverhead = tokenPrefix + aes.BlockSize + sha256.Size // all but the ciphertext
)

// maxClockSkew is how many seconds ahead of the clock a token may be, as in pyca/cryptography.
const maxClockSkew = 60

// NoExpiry as a TTL means that items are readable whatever their age, those sealed in the future included.
const NoExpiry time.Duration = -1

// Sealer seals and opens the items of one session, whatever stores them: it turns items into envelopes and back.
// EncryptedSession is made of a Sealer and a Session. A Sealer is immutable, safe for concurrent use, and never
// shows a key, however it is printed. NewSealer makes one; the zero Sealer returns errors.
type Sealer struct {
	sessionID string
	ttl       time.Duration

	// keys returns the keys of the session: the current one and then the read keys. It is a func for the
	// reason given at Key.
	keys func() []fernet.Key
}

// NewSealer returns the Sealer of a session. It seals under the key that is derived from key and sessionID, and
// opens with that and with what is derived from readKeys.
//
// The TTL is in whole seconds, at least one, or NoExpiry. The session ID must not be empty, must be UTF-8, and
// must not hold U+0000.
func NewSealer(sessionID string, ttl time.Duration, key Key, readKeys ...Key) (*Sealer, error) {
	s, err := newSealer(sessionID, ttl, key, readKeys)
	if err != nil {
		return nil, fmt.Errorf("encsession: NewSealer: %w", err)
	}
	return &s, nil
}

func newSealer(sessionID string, ttl time.Duration, key Key, readKeys []Key) (Sealer, error) {
	if err := checkSessionID(sessionID); err != nil {
		return Sealer{}, err
	}
	if ttl != NoExpiry && (ttl < time.Second || ttl%time.Second != 0) {
		return Sealer{}, fmt.Errorf("TTL of %v is neither NoExpiry nor whole seconds, at least one", ttl)
	}
	keys := make([]fernet.Key, 1+len(readKeys))
	if err := key.derive(sessionID, &keys[0]); err != nil {
		return Sealer{}, err
	}
	for i, readKey := range readKeys {
		if err := readKey.derive(sessionID, &keys[1+i]); err != nil {
			return Sealer{}, fmt.Errorf("read key %d: %w", i, err)
		}
	}
	return Sealer{sessionID: sessionID, ttl: ttl, keys: func() []fernet.Key { return keys }}, nil
}

// check returns an error for a Sealer that NewSealer did not make.
func (s *Sealer) check() error {
	if s == nil || s.keys == nil {
		return errors.New("this Sealer was not made by NewSealer")
	}
	return nil
}

// Seal returns the envelope of an item, sealed now under the current key. The item is sealed byte for byte; one
// that looks like an envelope itself is sealed like any other. What is not a JSON object in valid UTF-8 is an
// ErrInvalidItem.
func (s *Sealer) Seal(item Item) (Item, error) {
	err := s.check()
	if err == nil {
		item, err = s.seal(item, time.Now())
	}
	if err != nil {
		return nil, fmt.Errorf("encsession: Seal: %w", err)
	}
	return item, nil
}

func (s *Sealer) seal(item Item, now time.Time) (Item, error) {
	if !isObject(item) {
		return nil, ErrInvalidItem
	}
	return s.sealAt(item, now)
}

func (s *Sealer) sealAt(payload []byte, sealed time.Time) (Item, error) {
	token, err := fernet.EncryptAndSignAtTime(payload, &s.keys()[0], sealed)
	if err != nil {
		return nil, fmt.Errorf("no randomness: %w", err)
	}
	return slices.Concat([]byte(envelopeHead), token, []byte(envelopeTail)), nil
}

// Open returns the item in an envelope that the current key or a read key opens. With every error the item is
// nil. The errors are ErrExpired and ErrFuture for an authentic envelope, by the TTL and the clock;
// ErrUndecryptable; ErrMalformed; and ErrPlaintext for an item that is not an envelope.
//
// Age is counted as pyca/cryptography counts it, in whole seconds of Unix time: an item has expired when
// now > sealed + TTL, and is from the future when sealed > now + 60.
func (s *Sealer) Open(stored Item) (Item, error) {
	err := s.check()
	var item Item
	if err == nil {
		item, err = s.open(stored, time.Now())
	}
	if err != nil {
		return nil, fmt.Errorf("encsession: Open: %w", err)
	}
	return item, nil
}

func (s *Sealer) open(stored Item, now time.Time) (Item, error) {
	t, err := s.authenticate(stored)
	if err != nil {
		return nil, err
	}
	if err := s.judge(t, now); err != nil {
		return nil, err
	}
	return t.payload, nil
}

// Reseal returns the same payload sealed under the current key, with the time of the old envelope, and true,
// where a read key opens the envelope. Where the current key opens it, Reseal returns a copy of it and false. It
// does not look at the age, and it takes an authentic payload that is not JSON as it is. The errors are
// ErrUndecryptable, ErrMalformed and ErrPlaintext; with each, sealed is nil.
func (s *Sealer) Reseal(stored Item) (sealed Item, changed bool, err error) {
	err = s.check()
	if err == nil {
		sealed, changed, err = s.reseal(stored)
	}
	if err != nil {
		return nil, false, fmt.Errorf("encsession: Reseal: %w", err)
	}
	return sealed, changed, nil
}

func (s *Sealer) reseal(stored Item) (Item, bool, error) {
	t, err := s.authenticate(stored)
	if err != nil {
		return nil, false, err
	}
	if t.key == 0 {
		return bytes.Clone(stored), false, nil
	}
	sealed, err := s.sealAt(t.payload, time.Unix(int64(t.sealed), 0)) // fernet-go converts back to unsigned
	return sealed, true, err
}

// opened is what an authentic token holds.
type opened struct {
	payload []byte
	sealed  uint64 // Unix time in seconds
	key     int    // which key opened it: 0 the current one, i the read key i-1
}

// authenticate opens an envelope whatever its age and payload. Its errors are ErrUndecryptable, ErrMalformed
// and ErrPlaintext.
func (s *Sealer) authenticate(stored Item) (opened, error) {
	if token, ok := cutLayout(stored); ok {
		if t, err := s.openToken(token); err == nil || isBase64(token) {
			return t, err
		}
	}
	token, err := findToken(stored)
	if err != nil {
		return opened{}, err
	}
	return s.openToken(token)
}

// openToken opens a token, which may be any bytes: what it opens is in canonical base64. Its errors are ErrUndecryptable
// and ErrMalformed.
func (s *Sealer) openToken(token []byte) (opened, error) {
	sealed, size, err := parseToken(token)
	if err != nil {
		return opened{}, err
	}
	keys := s.keys()
	for i := range keys {
		payload := fernet.VerifyAndDecrypt(token, 0, []*fernet.Key{&keys[i]}) // a TTL of 0: age is judged elsewhere
		if payload == nil {
			continue
		}
		// fernet-go takes any length of padding; pyca/cryptography refuses all but these, and so do we.
		padding := size - tokenOverhead - len(payload)
		if padding < 1 || padding > aes.BlockSize {
			break
		}
		// And it takes for the token what encoding/base64 decodes before it stops at something else. That is whole blocks,
		// and so is size: if anything is missing, it is at least a block, and counts as padding here. So padding of a
		// whole block may be none, which leaves a last byte of 0, and a block that is missing.
		if padding == aes.BlockSize && bytes.HasSuffix(payload, []byte{0}) && !isBase64(token) {
			break
		}
		return opened{payload: payload, sealed: sealed, key: i}, nil
	}
	return opened{}, ErrUndecryptable
}

// judge returns ErrExpired, ErrFuture, ErrMalformed or nil for what is authentic. The time of sealing is unsigned and can
// be any number.
func (s *Sealer) judge(t opened, now time.Time) error {
	clock := unixTime(now)
	switch {
	case s.ttl != NoExpiry && t.sealed > clock+maxClockSkew:
		return ErrFuture
	case s.ttl != NoExpiry && olderBy(t.sealed, clock, s.ttl):
		return ErrExpired
	case !isObject(t.payload):
		return fmt.Errorf("%w: authentic, but its payload is not a JSON object", ErrMalformed)
	}
	return nil
}

// unixTime returns the time in whole seconds, as tokens have it.
func unixTime(t time.Time) uint64 { return uint64(max(t.Unix(), 0)) }

// olderBy reports whether, by the clock, more than a time of whole seconds has passed since sealed.
func olderBy(sealed, clock uint64, d time.Duration) bool {
	return clock > sealed && clock-sealed > uint64(d/time.Second)
}

// findToken returns the token in a stored item, which is canonical base64 and may be a part of stored. The errors
// are ErrPlaintext, for an item that is not an envelope, and ErrMalformed.
func findToken(stored Item) ([]byte, error) {
	if token, ok := cutLayout(stored); ok && isBase64(token) {
		return token, nil
	}

	if !isObject(stored) {
		return nil, fmt.Errorf("%w: not a JSON object in valid UTF-8", ErrMalformed)
	}
	found := members(stored, "__enc__", "v", "kid", "payload")
	marker, version, kid, payload := found[0], found[1], found[2], found[3]
	switch {
	case marker == nil:
		return nil, ErrPlaintext
	case string(marker) != "1":
		return nil, fmt.Errorf("%w: __enc__ is not 1", ErrMalformed)
	case string(version) != "1":
		return nil, fmt.Errorf("%w: v is not 1", ErrMalformed)
	case !startsWith(kid, '"') || unquote(kid) != "hkdf-v1":
		return nil, fmt.Errorf("%w: kid is not hkdf-v1", ErrMalformed)
	case !startsWith(payload, '"'):
		return nil, fmt.Errorf("%w: payload is not a string", ErrMalformed)
	}
	token := unquote(payload)
	if !isBase64([]byte(token)) {
		return nil, fmt.Errorf("%w: token is not canonical base64", ErrMalformed)
	}
	return []byte(token), nil
}

// cutLayout finds what is a token, if it is base64, in the exact layouts that Go and Python write. Where it finds none, or
// what it finds is not base64, the item may still be an envelope.
func cutLayout(stored Item) (token []byte, ok bool) {
	rest, ok := bytes.CutPrefix(stored, []byte(envelopeHead))
	if !ok {
		rest, ok = bytes.CutPrefix(stored, []byte(envelopeHeadSpaced))
	}
	if !ok {
		return nil, false
	}
	return bytes.CutSuffix(rest, []byte(envelopeTail))
}

// parseToken checks the size and version of a token, the unused bits at its end, and as much of its base64 that fernet-go,
// which stops at what is not base64, gets a header and a block: with less it may panic. It returns the time of sealing,
// which is not authenticated yet, and the size of the token before base64. The error is an ErrMalformed.
func parseToken(token []byte) (sealed uint64, size int, err error) {
	if len(token) < minTokenLen || len(token)%4 != 0 {
		return 0, 0, fmt.Errorf("%w: token of %d characters", ErrMalformed, len(token))
	}
	size = len(token)/4*3 - bytes.Count(token[len(token)-2:], []byte("="))
	if (size-tokenOverhead)%aes.BlockSize != 0 {
		return 0, 0, fmt.Errorf("%w: token of %d bytes", ErrMalformed, size)
	}
	var start [minTokenLen / 4 * 3]byte
	n, _ := base64.URLEncoding.Decode(start[:], token[:minTokenLen])
	if n < tokenOverhead+aes.BlockSize || !isBase64(token[len(token)-4:]) {
		return 0, 0, fmt.Errorf("%w: token is not canonical base64", ErrMalformed)
	}
	if start[0] != tokenVersion {
		return 0, 0, fmt.Errorf("%w: token version is not %#x", ErrMalformed, tokenVersion)
	}
	return binary.BigEndian.Uint64(start[1:]), size, nil
}

// minTokenLen is how many characters of base64 the smallest token has: 73 bytes, of which one block is ciphertext.
const minTokenLen = (tokenOverhead + aes.BlockSize + 2) / 3 * 4

// strictBase64 wants the unused bits of the last character to be zero.
var strictBase64 = base64.URLEncoding.Strict()

// isBase64 reports whether b is URL-safe base64 (RFC 4648, section 5) in its one canonical form: padded, without
// line breaks, the unused bits of the last character zero.
func isBase64(b []byte) bool {
	if len(b) == 0 || len(b)%4 != 0 {
		return false
	}
	for _, c := range b[:len(b)-4] {
		if !base64url[c] {
			return false
		}
	}
	var last [3]byte
	n, err := strictBase64.Decode(last[:], b[len(b)-4:])
	return err == nil && n > 0
}

// base64url says which bytes are of the alphabet of URL-safe base64.
var base64url = func() (member [256]bool) {
	for _, c := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") {
		member[c] = true
	}
	return member
}()
