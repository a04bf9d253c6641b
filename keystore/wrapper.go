package keystore

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"reflect"

	"github.com/encsession/encsession"
)

// Wrapper encrypts and decrypts keys, usually by asking a key management
// service (KMS). *secrets.Keeper of gocloud.dev implements it. A Wrapper must
// be safe for concurrent use, and its methods should return when the context
// ends.
//
// Its encryption must be authenticated: nobody who cannot call Encrypt may be
// able to make bytes that Decrypt accepts. Encryption to a public key, such as
// RSA-OAEP, is not authenticated. Everybody has the public key, so everybody
// who can write to the table could plant keys. A Store recognises RSA by the
// length of its output, and refuses it. It cannot recognise other schemes with
// a public key.
//
// A Wrapper must not keep or change the slices that it is given. The Store
// clears the slice that Decrypt returns, so it must be another one each time.
type Wrapper interface {
	Encrypt(ctx context.Context, plaintext []byte) (ciphertext []byte, err error)
	Decrypt(ctx context.Context, ciphertext []byte) (plaintext []byte, err error)
}

// NamedWrapper is a [Wrapper] with the name under which the table refers to it.
// The table stores the name with every key that the wrapper has wrapped. So the
// name must never be given to another wrapping key: kms-2026 is a good name,
// and current is not.
type NamedWrapper struct {
	Name string
	Wrapper
}

const (
	secretSize = 32
	boundSize  = 1 + sha256.Size + secretSize

	// maxWrapped is far more than any service returns for 65 bytes. It fits a
	// BLOB of MySQL, which would cut longer values without strict mode.
	maxWrapped = 16 << 10
)

// bind returns the bytes that are wrapped: a 1, a hash, and the secret. The
// hash binds the secret to its row. A row that was copied or renumbered does
// not open.
func bind(tenant string, number int64, secret []byte) []byte {
	h := sha256.New()
	h.Write([]byte("encsession/keystore/v1\x00"))
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(number)))
	h.Write([]byte(tenant))
	return append(h.Sum([]byte{1}), secret...)
}

// wrap wraps a secret with the current wrapper. It then makes sure that the
// wrapper opens the result, since a key that does not open is lost.
func (s *Store) wrap(ctx context.Context, tenant string, number int64, secret []byte) ([]byte, error) {
	text := bind(tenant, number, secret)
	defer clear(text)
	wrapped, err := s.encrypt(ctx, text)
	if err != nil {
		return nil, err
	}
	if bytes.Contains(wrapped, secret) {
		return nil, fmt.Errorf("wrapper %q does not encrypt", s.current.Name)
	}
	if isModulus(len(wrapped)) {
		probe, err := s.encrypt(ctx, []byte("encsession/keystore: how long is this?"))
		if err != nil {
			return nil, err
		}
		if len(probe) == len(wrapped) {
			return nil, fmt.Errorf("wrapper %q seems to encrypt to a public key, because its output always has %d bytes, a length of RSA: "+
				"whoever can write to the table could plant keys; use a symmetric key", s.current.Name, len(wrapped))
		}
	}
	opened, err := s.current.Decrypt(ctx, bytes.Clone(wrapped))
	if err != nil {
		return nil, fmt.Errorf("wrapper %q: Decrypt: %w", s.current.Name, notFinal(err))
	}
	defer clear(opened)
	if subtle.ConstantTimeCompare(opened, text) != 1 {
		return nil, fmt.Errorf("wrapper %q does not decrypt to the bytes that it has encrypted", s.current.Name)
	}
	return wrapped, nil
}

func (s *Store) encrypt(ctx context.Context, text []byte) ([]byte, error) {
	wrapped, err := s.current.Encrypt(ctx, bytes.Clone(text))
	if err != nil {
		return nil, fmt.Errorf("wrapper %q: Encrypt: %w", s.current.Name, notFinal(err))
	}
	if len(wrapped) == 0 || len(wrapped) > maxWrapped {
		return nil, fmt.Errorf("wrapper %q: Encrypt returned %d bytes, which is not from 1 to %d", s.current.Name, len(wrapped), maxWrapped)
	}
	return wrapped, nil
}

// isModulus reports whether n bytes is the length of an RSA ciphertext.
func isModulus(n int) bool { return n == 128 || n == 256 || n == 384 || n == 512 }

// unwrap opens a row and returns its secret. The caller clears it.
func (s *Store) unwrap(ctx context.Context, tenant string, r row) ([]byte, error) {
	wrapper := s.wrapper(r.wrapper)
	if wrapper == nil {
		return nil, fmt.Errorf("key %d is wrapped by %q, which this Store does not have: give it to New, or to WithOlderWrappers", r.number, r.wrapper)
	}
	text, err := wrapper.Decrypt(ctx, bytes.Clone(r.wrapped))
	if err != nil {
		return nil, fmt.Errorf("key %d: wrapper %q: Decrypt: %w", r.number, r.wrapper, notFinal(err))
	}
	defer clear(text)
	if len(text) != boundSize {
		return nil, altered(r.number, "it does not hold a key of this format")
	}
	secret := bytes.Clone(text[boundSize-secretSize:])
	want := bind(tenant, r.number, secret)
	defer clear(want)
	if subtle.ConstantTimeCompare(text, want) != 1 {
		clear(secret)
		return nil, altered(r.number, "it was wrapped for another tenant or number")
	}
	key, err := encsession.NewKey(secret)
	if err == nil && subtle.ConstantTimeCompare([]byte(key.Fingerprint()), []byte(r.fingerprint)) != 1 {
		err = altered(r.number, "its fingerprint is that of another key")
	}
	if err != nil {
		clear(secret)
		return nil, err
	}
	return secret, nil
}

func (s *Store) wrapper(name string) Wrapper {
	if name == s.current.Name {
		return s.current.Wrapper
	}
	return s.older[name]
}

func altered(number int64, why string) error {
	return fmt.Errorf("key %d: %w: %s", number, ErrAltered, why)
}

// notFinal returns the error of a Wrapper so that it is not final. A Wrapper
// knows nothing of tenants, so it cannot say that a tenant's key was destroyed.
func notFinal(err error) error {
	if final(err) {
		return errors.New(err.Error())
	}
	return err
}

// isNil reports whether a Wrapper is nil, or holds a nil pointer.
func isNil(w Wrapper) bool {
	if named, ok := w.(NamedWrapper); ok {
		return isNil(named.Wrapper)
	}
	value := reflect.ValueOf(w)
	return !value.IsValid() || value.Kind() == reflect.Pointer && value.IsNil()
}

// errNoWrapper is for a nil Wrapper, in New and in WithOlderWrappers.
var errNoWrapper = errors.New("its Wrapper is nil")
