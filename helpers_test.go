package encsession_test

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"sync/atomic"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/hkdf"

	"github.com/encsession/encsession"
)

const sessionID = "user-123"

// testKey returns the n-th of the Fernet keys that the tests share. Its secret
// is testIKM(n).
func testKey(t testing.TB, n byte) encsession.Key {
	t.Helper()
	key, err := encsession.NewKey(testIKM(n))
	require.NoError(t, err)
	return key
}

func testIKM(n byte) []byte { return bytes.Repeat([]byte{'K', n}, 16) }

// messages returns n different items. message returns one.
func messages(n int) []encsession.Item {
	items := make([]encsession.Item, n)
	for i := range items {
		items[i] = message(fmt.Sprintf("message %d", i))
	}
	return items
}

func message(content string) encsession.Item {
	item, err := json.Marshal(map[string]string{"role": "user", "content": content})
	if err != nil {
		panic(err)
	}
	return item
}

func texts(items []encsession.Item) []string {
	out := make([]string, len(items))
	for i, item := range items {
		out[i] = string(item)
	}
	return out
}

// decorated is an EncryptedSession in a decorator of its user.
type decorated struct{ *encsession.EncryptedSession }

// fourMethods hides that a store is a Rewriter.
type fourMethods struct{ encsession.Session }

// faultyStore is a store with hooks that run before each method. If a hook
// returns an error, the method returns it.
type faultyStore struct {
	*encsession.MemorySession
	get     func(limit int) error
	add     func() error
	pop     func() error
	clear   func() error
	rewrite func() error

	gets, adds, pops, rewrites atomic.Int64
}

func newFaultyStore() *faultyStore {
	return &faultyStore{MemorySession: encsession.NewMemorySession(sessionID)}
}

func (s *faultyStore) GetItems(ctx context.Context, limit int) ([]encsession.Item, error) {
	s.gets.Add(1)
	if s.get != nil {
		if err := s.get(limit); err != nil {
			return nil, err
		}
	}
	return s.MemorySession.GetItems(ctx, limit)
}

func (s *faultyStore) AddItems(ctx context.Context, items ...encsession.Item) error {
	s.adds.Add(1)
	if s.add != nil {
		if err := s.add(); err != nil {
			return err
		}
	}
	return s.MemorySession.AddItems(ctx, items...)
}

func (s *faultyStore) PopItem(ctx context.Context) (encsession.Item, error) {
	s.pops.Add(1)
	if s.pop != nil {
		if err := s.pop(); err != nil {
			return nil, err
		}
	}
	return s.MemorySession.PopItem(ctx)
}

func (s *faultyStore) ClearSession(ctx context.Context) error {
	if s.clear != nil {
		if err := s.clear(); err != nil {
			return err
		}
	}
	return s.MemorySession.ClearSession(ctx)
}

func (s *faultyStore) RewriteItems(ctx context.Context, first int, edit func([]encsession.Item) ([]encsession.Item, bool)) (int, error) {
	s.rewrites.Add(1)
	if s.rewrite != nil {
		if err := s.rewrite(); err != nil {
			return 0, err
		}
	}
	return s.MemorySession.RewriteItems(ctx, first, edit)
}

// rawStore can hold any bytes, like a database that somebody else has written
// to.
type rawStore struct {
	*encsession.MemorySession
	items []encsession.Item
}

func (s *rawStore) GetItems(_ context.Context, limit int) ([]encsession.Item, error) {
	items := s.items
	if limit > 0 && limit < len(items) {
		items = items[len(items)-limit:]
	}
	out := make([]encsession.Item, len(items))
	for i, item := range items {
		out[i] = bytes.Clone(item)
	}
	return out, nil
}

// RewriteItems gives all items to edit in one batch.
func (s *rawStore) RewriteItems(ctx context.Context, _ int, edit func([]encsession.Item) ([]encsession.Item, bool)) (int, error) {
	stored, err := s.GetItems(ctx, 0)
	if err != nil || len(stored) == 0 {
		return 0, err
	}
	slices.Reverse(stored)
	new, _ := edit(stored)
	changed, kept := 0, []encsession.Item{}
	for i, item := range new {
		if item == nil || !bytes.Equal(item, stored[i]) {
			changed++
		}
		if item != nil {
			kept = append(kept, bytes.Clone(item))
		}
	}
	if new != nil {
		slices.Reverse(kept)
		s.items = kept
	}
	return changed, nil
}

func newSealer(t testing.TB, key encsession.Key, older ...encsession.Key) *encsession.Sealer {
	t.Helper()
	sealer, err := encsession.NewSealer(sessionID, encsession.Keyring{Current: key, Older: older}, encsession.NoExpiry)
	require.NoError(t, err)
	return sealer
}

func newSession(t testing.TB, store encsession.Session, keys encsession.KeySource, opts ...encsession.Option) *encsession.EncryptedSession {
	t.Helper()
	session, err := encsession.New(store, keys, opts...)
	require.NoError(t, err)
	return session
}

func seal(t testing.TB, key encsession.Key, item encsession.Item) encsession.Item {
	t.Helper()
	sealed, err := newSealer(t, key).Seal(item)
	require.NoError(t, err)
	return sealed
}

func getItems(t testing.TB, s encsession.Session, limit int) []string {
	t.Helper()
	items, err := s.GetItems(t.Context(), limit)
	require.NoError(t, err)
	require.NotNil(t, items)
	return texts(items)
}

// dropLog is an observer that keeps the drops.
type dropLog struct{ drops []encsession.Drop }

func (l *dropLog) option() encsession.Option {
	return encsession.WithObserver(func(_ context.Context, e encsession.Event) { l.drops = append(l.drops, e.Drops...) })
}

// requireDrops requires one drop for each cause, in this order, and then
// forgets the drops.
func (l *dropLog) requireDrops(t testing.TB, causes ...error) {
	t.Helper()
	require.Len(t, l.drops, len(causes))
	for i, cause := range causes {
		require.ErrorIs(t, l.drops[i].Err, cause)
	}
	l.drops = nil
}

// The code below forges tokens without fernet-go and without the package under
// test. It follows the Fernet specification and RFC 5869.

type forger struct{ sign, encrypt []byte }

func newForger(ikm []byte, id string) forger {
	key := make([]byte, 32)
	if _, err := io.ReadFull(hkdf.New(sha256.New, ikm, []byte(id), []byte("agents.session-store.hkdf.v1")), key); err != nil {
		panic(err)
	}
	return forger{sign: key[:16], encrypt: key[16:]}
}

// signed returns a token of any version, time, IV and ciphertext, with a good
// signature.
func (f forger) signed(version byte, sealed uint64, iv, ciphertext []byte) []byte {
	token := append([]byte{version}, binary.BigEndian.AppendUint64(nil, sealed)...)
	token = append(append(token, iv...), ciphertext...)
	mac := hmac.New(sha256.New, f.sign)
	mac.Write(token)
	return mac.Sum(token)
}

// padded returns a token of this plaintext, which includes the padding.
func (f forger) padded(sealed uint64, padded []byte) []byte {
	iv := make([]byte, aes.BlockSize)
	rand.Read(iv)
	block, err := aes.NewCipher(f.encrypt)
	if err != nil {
		panic(err)
	}
	ciphertext := make([]byte, len(padded))
	cipher.NewCBCEncrypter(block, iv).CryptBlocks(ciphertext, padded)
	return f.signed(0x80, sealed, iv, ciphertext)
}

// token returns the token of a payload, padded as in Fernet.
func (f forger) token(sealed uint64, payload []byte) []byte {
	n := aes.BlockSize - len(payload)%aes.BlockSize
	return f.padded(sealed, append(bytes.Clone(payload), bytes.Repeat([]byte{byte(n)}, n)...))
}

func (f forger) envelope(sealed uint64, payload string) encsession.Item {
	return envelope(encode(f.token(sealed, []byte(payload))))
}

// open returns the payload of a stored item, or the reason why it cannot be
// read, whatever its age. If the item is authentic but not a JSON object, it
// returns both. It takes no shortcuts.
func (f forger) open(stored []byte) (payload []byte, cause error) {
	var members map[string]json.RawMessage
	if !utf8.Valid(stored) || json.Unmarshal(stored, &members) != nil || members == nil {
		return nil, encsession.ErrMalformed
	}
	if _, ok := members["__enc__"]; !ok {
		return nil, encsession.ErrPlaintext
	}
	var kid, text string
	if string(members["__enc__"]) != "1" || string(members["v"]) != "1" || json.Unmarshal(members["kid"], &kid) != nil ||
		kid != "hkdf-v1" || json.Unmarshal(members["payload"], &text) != nil {
		return nil, encsession.ErrMalformed
	}
	token, err := base64.URLEncoding.Strict().DecodeString(text)
	if err != nil || encode(token) != text || len(token) < 73 || (len(token)-57)%16 != 0 || token[0] != 0x80 {
		return nil, encsession.ErrMalformed
	}
	signed := token[:len(token)-sha256.Size]
	mac := hmac.New(sha256.New, f.sign)
	mac.Write(signed)
	if !hmac.Equal(mac.Sum(nil), token[len(signed):]) {
		return nil, encsession.ErrUndecryptable
	}
	block, err := aes.NewCipher(f.encrypt)
	if err != nil {
		panic(err)
	}
	padded := make([]byte, len(signed)-25)
	cipher.NewCBCDecrypter(block, signed[9:25]).CryptBlocks(padded, signed[25:])
	n := int(padded[len(padded)-1])
	if n < 1 || n > 16 || !bytes.HasSuffix(padded, bytes.Repeat([]byte{byte(n)}, n)) {
		return nil, encsession.ErrUndecryptable
	}
	payload = padded[:len(padded)-n]
	var object map[string]json.RawMessage
	if !utf8.Valid(payload) || json.Unmarshal(payload, &object) != nil || object == nil {
		return payload, encsession.ErrMalformed
	}
	return payload, nil
}

func encode(token []byte) string { return base64.URLEncoding.EncodeToString(token) }

func envelope(token string) encsession.Item {
	return encsession.Item(`{"__enc__":1,"v":1,"kid":"hkdf-v1","payload":"` + token + `"}`)
}

// vectors is the content of testdata/python-v1.json.
type vectors struct {
	Envelopes []vector
	TTL       []struct {
		vector
		TTLSeconds int64 `json:"ttl_seconds"`
		Now        int64
		Readable   bool
	}
	AmbiguousKeys []struct{ Desc, Key string } `json:"ambiguous_keys"`
}

type vector struct {
	Desc, Key, Stored, Item string
	SessionID               string `json:"session_id"`
}

func readVectors(t testing.TB) vectors {
	t.Helper()
	data, err := os.ReadFile("testdata/python-v1.json")
	require.NoError(t, err)
	var v vectors
	require.NoError(t, json.Unmarshal(data, &v))
	require.NotEmpty(t, v.Envelopes)
	require.NotEmpty(t, v.TTL)
	require.NotEmpty(t, v.AmbiguousKeys)
	return v
}

// needsNoRaceDetector skips, under the race detector, a test that tries tens of
// thousands of cases in one goroutine. The detector would find nothing in it,
// and make it take minutes. CI also runs these tests without it.
func needsNoRaceDetector(t *testing.T) {
	t.Helper()
	if raced {
		t.Skip("not under the race detector")
	}
}
