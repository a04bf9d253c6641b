package encsession

import (
	"bytes"
	"context"
	"crypto/fips140"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/fernet/fernet-go"
	"golang.org/x/crypto/hkdf"
)

// keySize is the number of bytes in a Fernet key, and so in every derived key.
const keySize = len(fernet.Key{})

// The info parameters of HKDF (RFC 5869, section 2.3). hkdfInfo is the constant
// of EncryptedSession in the OpenAI Agents SDK for Python. The key ID hkdf-v1
// in an envelope stands for it.
const (
	hkdfInfo        = "agents.session-store.hkdf.v1"
	fingerprintInfo = "encsession.key-fingerprint.v1"
)

// Key is one master key, from which the key of every session is derived.
// [ParseKey], [ParsePythonKey] and [NewKey] make one. Everything that takes a
// Key refuses the zero Key. A Key never shows its secret, however it is
// printed, logged or encoded. It is immutable and safe for concurrent use.
//
// A Key is a [KeySource] that always gives itself.
type Key struct {
	secret hidden[[]byte]
	raw    bool // whether secret is the text given to ParsePythonKey, which may be weak
}

// String returns a placeholder.
func (Key) String() string { return "encsession.Key(hidden)" }

// GoString returns a placeholder.
func (Key) GoString() string { return "encsession.Key(hidden)" }

// Fingerprint returns 16 hexadecimal digits that tell keys apart, in logs and
// between machines. They are 8 bytes of HKDF-SHA256 (RFC 5869) of the key,
// without a salt and with the info encsession.key-fingerprint.v1. A fingerprint
// may stand in logs, errors and audit lines, but is not meant for metric
// attributes.
//
// Every raw secret of [ParsePythonKey] has the fingerprint "raw", since a real
// one would help to guess a weak secret. The fingerprint of the zero Key is the
// empty string.
func (k Key) Fingerprint() string {
	switch {
	case k.secret == nil:
		return ""
	case k.raw:
		return "raw"
	}
	sum := make([]byte, 8)
	_ = expand(k.secret(), "", fingerprintInfo, sum) // 8 bytes are less than HKDF can give
	return hex.EncodeToString(sum)
}

// expand writes the output of HKDF-SHA256 (RFC 5869) to all of out.
func expand(secret []byte, salt, info string, out []byte) error {
	_, err := io.ReadFull(hkdf.New(sha256.New, secret, []byte(salt), []byte(info)), out)
	return err
}

// Keys implements [KeySource].
func (k Key) Keys(context.Context, string) (Keyring, error) { return Keyring{Current: k}, nil }

// Keyring is the set of keys that a session works with. It is a [KeySource]
// that always gives itself.
type Keyring struct {
	// Current is the key that seals new items.
	Current Key

	// Older keys open items and never seal any. They are for keys that are
	// being retired, not for keys that others may know: whoever holds one can
	// forge items.
	Older []Key
}

// Keys implements [KeySource].
func (r Keyring) Keys(context.Context, string) (Keyring, error) { return r, nil }

// all returns the keys of the keyring, the current one first.
func (r Keyring) all() []Key { return append([]Key{r.Current}, r.Older...) }

// names lists the keys for an error.
func (r Keyring) names() string {
	names := "current key " + r.Current.Fingerprint()
	for _, older := range r.Older {
		names += ", older key " + older.Fingerprint()
	}
	return names
}

// equal reports whether two keyrings hold the same secrets in the same order.
func (r Keyring) equal(s Keyring) bool {
	return r.Current.equal(s.Current) && slices.EqualFunc(r.Older, s.Older, Key.equal)
}

// equal compares the secrets of two keys in constant time.
func (k Key) equal(other Key) bool {
	return k.secret != nil && other.secret != nil && subtle.ConstantTimeCompare(k.secret(), other.secret()) == 1
}

// KeySource looks up the keys of sessions at run time, from a KMS or a table of
// tenants for example. [New] takes one; [Key] and [Keyring] are KeySources too.
type KeySource interface {
	// Keys returns the keys for a session. Every call that needs keys calls it
	// once, in the goroutine of the call. Rekey, SealPlaintext, Purge,
	// DeleteItems and RewriteItems call it again before each further batch and
	// pass. It must be safe for concurrent use and should end with the context.
	// Caching, if any, is its own affair. It must not change the keyring after
	// returning it.
	//
	// Its error becomes the error of the call, which then changes nothing more.
	// If the keys of the session were destroyed on purpose, it returns an error
	// that wraps [ErrKeyDestroyed].
	Keys(ctx context.Context, sessionID string) (Keyring, error)
}

// KeyFunc is a func that is a [KeySource].
type KeyFunc func(ctx context.Context, sessionID string) (Keyring, error)

// Keys calls f.
func (f KeyFunc) Keys(ctx context.Context, sessionID string) (Keyring, error) {
	if f == nil {
		return Keyring{}, errors.New("KeyFunc is nil")
	}
	return f(ctx, sessionID)
}

// GenerateKey returns a new random master key, written as a Fernet key: 44
// characters that [ParseKey] reads, and Python too. Put it into a secret
// manager.
func GenerateKey() string {
	key := make([]byte, keySize)
	rand.Read(key) // never fails
	return base64.URLEncoding.EncodeToString(key)
}

// NewKey makes a master key of 32 random bytes, such as a key management
// service returns. It refuses 32 equal bytes, which are not random. It keeps no
// reference to secret.
func NewKey(secret []byte) (Key, error) {
	key, err := newKey(secret)
	return key, wrap("NewKey", err)
}

func newKey(secret []byte) (Key, error) {
	if len(secret) != keySize {
		return Key{}, fmt.Errorf("secret has %d bytes, not %d; ParseKey reads a key that is text", len(secret), keySize)
	}
	if bytes.Count(secret, secret[:1]) == keySize {
		return Key{}, fmt.Errorf("all %d bytes of the secret are equal, so it is not random: make one with GenerateKey", keySize)
	}
	return Key{secret: hide(bytes.Clone(secret))}, nil
}

// ParseKey reads a master key that is written as a Fernet key, as [GenerateKey]
// returns it: 44 characters of base64 that end in "=". It takes either alphabet
// of base64, so the output of openssl rand -base64 32 is a key too. It ignores
// ASCII white space around the key, since files end in a newline.
//
// Any other string is an error. The error says why, and never shows the key.
// [ParsePythonKey] reads other strings as the Python SDK does.
func ParseKey(s string) (Key, error) {
	key, err := parseKey(strings.Trim(s, " \t\n\v\f\r"))
	return key, wrap("ParseKey", err)
}

// placeholder matches a shell variable that nobody has replaced by its value.
// No key looks like it, so an error may name it.
var placeholder = regexp.MustCompile(`^\$\{[A-Z][A-Z0-9_]*\}$`)

func parseKey(s string) (Key, error) {
	const size = 44
	_, notHex := hex.DecodeString(s)
	switch n := utf8.RuneCountInString(s); {
	case s == "":
		return Key{}, errors.New("key is empty: give the text that GenerateKey returned")
	case placeholder.MatchString(s):
		return Key{}, fmt.Errorf("key is the placeholder %s, which nothing has filled in: set the variable", s)
	case strings.ContainsAny(s, `"'`):
		return Key{}, errors.New("key has quotes in it: remove them")
	case n == 64 && notHex == nil:
		return Key{}, errors.New("key is 64 hexadecimal digits: decode them and use NewKey, " +
			"or use ParsePythonKey if a Python service has this text as its key")
	case n != size:
		return Key{}, fmt.Errorf("key has %d characters and a Fernet key has %d: make one with GenerateKey and copy all of it, "+
			"parse several keys one by one, or use ParsePythonKey for a text that a Python service has as its key", n, size)
	case strings.ContainsAny(s, "-_") && strings.ContainsAny(s, "+/"):
		return Key{}, errors.New("key mixes the two alphabets of base64, - or _ with + or /: copy it again")
	}
	secret, err := strictBase64.DecodeString(urlAlphabet.Replace(s))
	if err != nil || len(secret) != keySize {
		return Key{}, errors.New(`key is not a Fernet key: its 44 characters are not 32 bytes in base64 with a "=" at the end; ` +
			"copy it again, or use ParsePythonKey for a text that a Python service has as its key")
	}
	return newKey(secret)
}

// ParsePythonKey returns the master key that EncryptedSession of the OpenAI
// Agents SDK for Python takes from the same string: the 32 bytes that a Fernet
// key stands for, or else the string itself as a raw secret. Use it if a Python
// service shares the sessions and its key is not a Fernet key; otherwise use
// [ParseKey].
//
// As in Python, nearly every string is a key. A key that lost a character on
// its way is another key, and "changeme" is a key too. Like Python,
// ParsePythonKey decodes leniently and trims nothing. If a key from a file ends
// in a newline, a Fernet key stays the same, since decoding skips the newline.
// A raw secret becomes another secret. HKDF does not harden a password, so a
// raw secret must be as hard to guess as a key. 64 hexadecimal digits are a raw
// secret of 64 bytes.
//
// Versions of Python differ in how they read a Fernet key without its "=", or
// with text behind it. Such a string is an [ErrAmbiguousKey]. An empty string,
// and one that is not UTF-8, are errors too.
func ParsePythonKey(s string) (Key, error) {
	key, err := parsePythonKey(s)
	return key, wrap("ParsePythonKey", err)
}

func parsePythonKey(s string) (Key, error) {
	switch {
	case s == "":
		return Key{}, errors.New("key is empty")
	case !utf8.ValidString(s):
		return Key{}, errors.New("key is not UTF-8; NewKey takes the bytes of a key")
	}
	switch decoded, err := decodePythonKey(s); {
	case err != nil:
		return Key{}, err
	case decoded != nil:
		return Key{secret: hide(decoded)}, nil
	}
	return Key{secret: hide([]byte(s)), raw: true}, nil
}

// base64Digits is the alphabet of URL-safe base64 (RFC 4648, section 5), and
// urlAlphabet translates from the standard alphabet, which differs in two
// digits.
const base64Digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

var urlAlphabet = strings.NewReplacer("+", "-", "/", "_")

// decodePythonKey returns the 32 bytes that Python's base64.urlsafe_b64decode
// gives for s, or nil if it gives anything else. That decoder takes both
// alphabets of base64 and skips all other ASCII. Its versions differ in the
// meaning of padding. The oldest stop once padding completes a group of four
// characters. Later ones want padding at the very end, and the latest ignore
// it. In all of them, 32 bytes come from 43 characters.
func decodePythonKey(s string) ([]byte, error) {
	const wanted = 43
	var digits strings.Builder // the characters of the alphabet, each of six bits
	padding := 0               // how many "=" have followed the last digit
	stopped := -1              // the number of digits at which the oldest versions stop; -1 before that
	for _, c := range []byte(urlAlphabet.Replace(s)) {
		switch {
		case c >= utf8.RuneSelf:
			return nil, nil
		case c == '=':
			padding++
			if group := digits.Len() % 4; stopped < 0 && group >= 2 && group+padding >= 4 {
				stopped = digits.Len()
			}
		}
		if strings.IndexByte(base64Digits, c) >= 0 {
			digits.WriteByte(c)
			padding = 0
		}
	}

	exact := digits.Len() == wanted // whether 3.15 and later read 32 bytes
	first := stopped == wanted      // whether versions before 3.13.13 and 3.14.4 do
	// The versions between them want 43 digits with padding at the end. If the
	// others agree, these agree too.
	if exact != first {
		advice := "keep the 44 characters of the Fernet key and nothing behind or inside them"
		if exact && padding == 0 {
			advice = `if it is a Fernet key, restore the "=" at its end`
		}
		return nil, fmt.Errorf("%w, because versions of Python read it differently: %s", ErrAmbiguousKey, advice)
	}
	if !exact {
		return nil, nil
	}
	return base64.RawURLEncoding.DecodeString(digits.String()) // 43 digits of the alphabet: it cannot fail
}

// checkSessionID refuses an ID that cannot be the salt of a session's own key.
// Python salts with the UTF-8 of the ID. HMAC pads its key, which the salt is,
// with zeros (RFC 2104), so IDs that differ by trailing zeros would share a
// key.
func checkSessionID(id string) error {
	switch {
	case id == "":
		return errors.New("session ID is empty: give the store one, or set WithSessionID")
	case !utf8.ValidString(id):
		return errors.New("session ID is not UTF-8")
	case strings.ContainsRune(id, 0):
		return errors.New("session ID holds U+0000")
	}
	return nil
}

// derive sets derived to the Fernet key of a session: HKDF-SHA256 (RFC 5869)
// with the master key as input keying material (IKM), the session ID as salt,
// and hkdfInfo. The first half of the key signs, the second encrypts.
func (k Key) derive(sessionID string, derived *fernet.Key) error {
	if k.secret == nil {
		return errors.New("key is the zero Key: make one with ParseKey or NewKey")
	}
	secret := k.secret()
	if fips140.Enforced() && len(secret) < 14 { // HKDF would panic
		return fmt.Errorf("key has %d bytes, and FIPS 140-3 wants at least 14", len(secret))
	}
	return expand(secret, sessionID, hkdfInfo, derived[:])
}
