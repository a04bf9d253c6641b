package encsession

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash"

	"github.com/fernet/fernet-go"

	"github.com/encsession/encsession/internal/jsonobject"
)

// The layout of an envelope of version 1. Go writes it, and so do RedisSession
// and SQLAlchemySession of the Python SDK.
const (
	envelopeHead = `{"__enc__":1,"v":1,"kid":"hkdf-v1","payload":"`
	envelopeTail = `"}`
)

// envelopeHeadSpaced is envelopeHead as the SQLite sessions of the Python SDK
// write it.
const envelopeHeadSpaced = `{"__enc__": 1, "v": 1, "kid": "hkdf-v1", "payload": "`

// A Fernet token is the URL-safe base64 of version, time, IV, ciphertext and
// HMAC, by the Fernet specification (https://github.com/fernet/spec). These are
// the sizes of its parts in bytes, before base64.
const (
	tokenVersion  = 0x80
	tokenPrefix   = 1 + 8                       // version and time
	tokenHeader   = tokenPrefix + aes.BlockSize // and IV
	tokenOverhead = tokenHeader + sha256.Size   // everything but the ciphertext
)

// minTokenText is the length of the smallest token in base64: 73 bytes, of
// which one block is ciphertext.
const minTokenText = (tokenOverhead + aes.BlockSize + 2) / 3 * 4

// strictBase64 refuses text in which an unused bit of the last character is
// set.
var strictBase64 = base64.URLEncoding.Strict()

// parseEnvelope returns the decoded token of a stored item, in memory of its
// own. It does not authenticate the token. The errors are ErrPlaintext, for an
// item that is not an envelope, and ErrMalformed.
func parseEnvelope(stored Item) (token []byte, err error) {
	if text, ok := cutLayout(stored); ok {
		if token, err := decodeToken(text); err == nil {
			return token, nil
		}
	}
	text, err := findToken(stored)
	if err != nil {
		return nil, err
	}
	return decodeToken([]byte(text))
}

// cutLayout finds the token in the exact layouts that Go and Python write. If
// it finds none, or if the token cannot be decoded, the item may still be an
// envelope of another layout.
func cutLayout(stored Item) (text []byte, ok bool) {
	for _, head := range []string{envelopeHead, envelopeHeadSpaced} {
		if rest, ok := bytes.CutPrefix(stored, []byte(head)); ok {
			return bytes.CutSuffix(rest, []byte(envelopeTail))
		}
	}
	return nil, false
}

// findToken finds the token in an envelope of any layout.
func findToken(stored Item) (text string, err error) {
	if !ValidItem(stored) {
		return "", fmt.Errorf("%w: not a JSON object in valid UTF-8", ErrMalformed)
	}
	found := jsonobject.Members(stored, "__enc__", "v", "kid", "payload")
	marker, version := found[0], found[1]
	kid, _ := jsonobject.Text(found[2])
	text, isText := jsonobject.Text(found[3])
	switch {
	case marker == nil:
		return "", ErrPlaintext
	case string(marker) != "1":
		return "", fmt.Errorf("%w: __enc__ is not 1", ErrMalformed)
	case string(version) != "1":
		return "", fmt.Errorf("%w: v is not 1", ErrMalformed)
	case kid != "hkdf-v1":
		return "", fmt.Errorf("%w: kid is not hkdf-v1", ErrMalformed)
	case !isText:
		return "", fmt.Errorf("%w: payload is not a string", ErrMalformed)
	}
	return text, nil
}

// decodeToken decodes a token and checks its size and version. It takes only
// canonical base64: padded, without line breaks, the unused bits zero. The
// error is an ErrMalformed.
func decodeToken(text []byte) ([]byte, error) {
	if len(text) < minTokenText || len(text)%4 != 0 {
		return nil, fmt.Errorf("%w: token has %d characters, which no Fernet token has", ErrMalformed, len(text))
	}
	token := make([]byte, len(text)/4*3)
	n, err := strictBase64.Decode(token, text)
	// The decoder skips line breaks. Then the decoded length is too small.
	if err != nil || n != len(token)-bytes.Count(text[len(text)-2:], []byte("=")) {
		return nil, fmt.Errorf("%w: token is not canonical base64", ErrMalformed)
	}
	switch {
	case (n-tokenOverhead)%aes.BlockSize != 0:
		return nil, fmt.Errorf("%w: token has %d bytes, which no Fernet token has", ErrMalformed, n)
	case token[0] != tokenVersion:
		return nil, fmt.Errorf("%w: token version is not %#x", ErrMalformed, tokenVersion)
	}
	return token[:n], nil
}

// tokenTime returns the time of sealing in a decoded token: Unix time in
// seconds. It can be any number.
func tokenTime(token []byte) uint64 { return binary.BigEndian.Uint64(token[1:]) }

// opener opens the tokens of one key, one at a time. To make it takes a seventh
// of the time of opening a token of 1 kB, so a goroutine that has many tokens to
// open makes it once.
type opener struct {
	mac   hash.Hash         // HMAC-SHA256 under the first half of the key; nil before the first token
	block cipher.Block      // AES-128 under the second half; likewise
	sum   [sha256.Size]byte // memory for a MAC
}

// openToken opens a decoded token under the first key that has signed it, and
// returns the index of that key. openers has one for each key; openToken fills
// in those that it needs. It overwrites the token, and the payload is a part of
// it. The error is an ErrUndecryptable.
func openToken(token []byte, keys []fernet.Key, openers []opener) (payload []byte, key int, err error) {
	signed, tag := token[:len(token)-sha256.Size], token[len(token)-sha256.Size:]
	for i := range keys {
		o := &openers[i]
		if o.mac == nil {
			o.mac = hmac.New(sha256.New, keys[i][:keySize/2])
			o.block, _ = aes.NewCipher(keys[i][keySize/2:]) // 16 bytes are a key of AES-128
		} else {
			o.mac.Reset()
		}
		o.mac.Write(signed)
		if !hmac.Equal(o.mac.Sum(o.sum[:0]), tag) {
			continue
		}
		// The token is this key's. Decryption overwrites the ciphertext, so no
		// other key may be tried afterwards.
		padded := signed[tokenHeader:]
		cipher.NewCBCDecrypter(o.block, signed[tokenPrefix:tokenHeader]).CryptBlocks(padded, padded)
		n := int(padded[len(padded)-1])
		if n < 1 || n > aes.BlockSize || bytes.Count(padded[len(padded)-n:], padded[len(padded)-1:]) != n {
			return nil, 0, ErrUndecryptable
		}
		end := len(padded) - n
		return padded[:end:end], i, nil
	}
	return nil, 0, ErrUndecryptable
}
