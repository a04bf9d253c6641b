package encsession

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/fernet/fernet-go"
	"golang.org/x/crypto/hkdf"
)

// keySize is the number of bytes in a Fernet key, and so in what HKDF derives.
const keySize = len(fernet.Key{})

// hkdfInfo is the info that HKDF is given, of RFC 5869, section 2.3. It is the constant of EncryptedSession in
// the OpenAI Agents SDK for Python, where key ID hkdf-v1 stands for it.
const hkdfInfo = "agents.session-store.hkdf.v1"

// Key is a master key, from which the key of every session is derived. ParseKey and NewKey make one; the zero
// Key is refused wherever a Key is wanted. A Key never shows its secret, however it is printed, logged or
// encoded. It is safe for concurrent use.
type Key struct {
	// ikm returns the input keying material of HKDF. It is a func because fmt prints unexported fields without
	// asking their methods, follows pointers under %s, and shows nothing of what a func returns.
	ikm func() []byte
}

func makeKey(ikm []byte) Key {
	return Key{ikm: func() []byte { return ikm }}
}

// String returns a placeholder.
func (Key) String() string { return "encsession.Key(hidden)" }

// GoString returns a placeholder.
func (Key) GoString() string { return "encsession.Key(hidden)" }

// GenerateKey returns a new random master key, written as a Fernet key: 44 characters that ParseKey reads, and
// Python too. Put it into a secret manager.
func GenerateKey() string {
	key := make([]byte, keySize)
	rand.Read(key) // never fails
	return base64.URLEncoding.EncodeToString(key)
}

// NewKey returns the master key of the given 32 bytes, as a key management service returns them. It keeps no
// reference to secret.
func NewKey(secret []byte) (Key, error) {
	if len(secret) != keySize {
		return Key{}, fmt.Errorf("encsession: NewKey: secret has %d bytes, not %d", len(secret), keySize)
	}
	return makeKey(bytes.Clone(secret)), nil
}

// ParseKey returns the master key that EncryptedSession of the OpenAI Agents SDK for Python takes from the same
// string: the 32 bytes that a Fernet key such as GenerateKey returns stands for, or else the string itself as a
// raw secret.
//
// Like Python it decodes leniently and trims nothing. A Fernet key read from a file may keep its newline, which
// decoding skips; a raw secret keeps it too, and is another secret than without. HKDF does not harden a
// password: a raw secret must be as hard to guess as a key, so prefer GenerateKey. 64 hexadecimal digits are
// a raw secret of 64 bytes.
//
// As in Python, nearly every string is a key: one that lost a character on its way is another one, and so is "changeme".
// A program that wants nothing but what GenerateKey returns can decode it with base64.URLEncoding and use NewKey.
//
// Versions of Python differ in what they make of a Fernet key without its "=" and of one with text behind it.
// Such a string is an ErrAmbiguousKey. An empty string, and one that is not UTF-8, are errors too.
func ParseKey(s string) (Key, error) {
	if s == "" {
		return Key{}, errors.New("encsession: ParseKey: key is empty")
	}
	if !utf8.ValidString(s) {
		return Key{}, errors.New("encsession: ParseKey: key is not UTF-8; NewKey takes the bytes of a key")
	}
	decoded, err := decodeKey(s)
	if err != nil {
		return Key{}, fmt.Errorf("encsession: ParseKey: %w", err)
	}
	if decoded != nil {
		return makeKey(decoded), nil
	}
	return makeKey([]byte(s)), nil
}

// decodeKey returns the 32 bytes that Python's base64.urlsafe_b64decode gives for s, or nil where it gives
// anything else. That decoder takes both alphabets of base64 and skips all other ASCII, and its versions differ
// in what padding means to them: the first stops where padding completes a group of four characters, later ones
// want padding at the very end, the latest do not care for it. In all of them, 32 bytes come from 43 characters.
func decodeKey(s string) ([]byte, error) {
	const wanted = 43
	var digits strings.Builder // the characters that stand for six bits each, in the URL-safe alphabet
	padding := 0               // how many "=" have come since the last of them
	stopped := -1              // the number of digits where the first generation stops, once it has
	for _, c := range []byte(s) {
		switch {
		case c >= utf8.RuneSelf:
			return nil, nil
		case c == '=':
			padding++
			if group := digits.Len() % 4; stopped < 0 && group >= 2 && group+padding >= 4 {
				stopped = digits.Len()
			}
		case c == '+':
			c = '-'
		case c == '/':
			c = '_'
		}
		if base64url[c] {
			digits.WriteByte(c)
			padding = 0
		}
	}

	exact := digits.Len() == wanted // what 3.15 and later want
	first := stopped == wanted      // what versions before 3.13.13 and 3.14.4 want
	// Those between want exactly as many and padding behind them: where the others agree, they do too.
	if exact != first {
		advice := "keep the 44 characters of the Fernet key and nothing behind or inside them"
		if exact && padding == 0 {
			advice = `if it is a Fernet key, restore the "=" at its end`
		}
		return nil, fmt.Errorf("%w, for versions of Python read it differently: %s", ErrAmbiguousKey, advice)
	}
	if !exact {
		return nil, nil
	}
	return base64.RawURLEncoding.DecodeString(digits.String()) // 43 digits of the alphabet: it cannot fail
}

// checkSessionID refuses what cannot be the salt of a session's own key. Python salts with the UTF-8 of the ID.
// HMAC pads its key, which the salt is, with zeros (RFC 2104), so that IDs that differ by trailing zeros would
// share a key.
func checkSessionID(id string) error {
	switch {
	case id == "":
		return errors.New("session ID is empty")
	case !utf8.ValidString(id):
		return errors.New("session ID is not UTF-8")
	case strings.ContainsRune(id, 0):
		return errors.New("session ID holds U+0000")
	}
	return nil
}

// derive sets derived to the Fernet key of a session: HKDF-SHA256 (RFC 5869) with the master key as input keying
// material, the session ID as salt, and hkdfInfo. The first half of the key signs, the second encrypts.
func (k Key) derive(sessionID string, derived *fernet.Key) error {
	if k.ikm == nil {
		return errors.New("key is the zero Key; use ParseKey or NewKey")
	}
	_, err := io.ReadFull(hkdf.New(sha256.New, k.ikm(), []byte(sessionID), []byte(hkdfInfo)), derived[:])
	return err
}
