package fleet_test

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"iter"
	"sync"
	"testing"

	"github.com/encsession/encsession"
	"github.com/encsession/encsession/fleet"
	"github.com/fernet/fernet-go"
	"github.com/stretchr/testify/require"
)

// newKey returns the n-th of the keys of the tests.
func newKey(t testing.TB, n byte) encsession.Key {
	key, err := encsession.NewKey(secret(n))
	require.NoError(t, err)
	return key
}

func secret(n byte) []byte { return append(bytes.Repeat([]byte{n}, 31), 255) }

// notJSON returns an authentic item of session a, under the n-th key, whose
// payload is not an item.
func notJSON(t testing.TB, n byte) string {
	derived, err := hkdf.Key(sha256.New, secret(n), []byte("a"), "agents.session-store.hkdf.v1", 32)
	require.NoError(t, err)
	token, err := fernet.EncryptAndSign([]byte("no JSON"), (*fernet.Key)(derived))
	require.NoError(t, err)
	return fmt.Sprintf(`{"__enc__":1,"v":1,"kid":"hkdf-v1","payload":"%s"}`, token)
}

// rawKey returns a raw secret, such as Python uses.
func rawKey(t testing.TB, secret string) encsession.Key {
	key, err := encsession.ParsePythonKey(secret)
	require.NoError(t, err)
	require.Equal(t, "raw", key.Fingerprint())
	return key
}

// store is a store of sessions in memory that can fail.
type store struct {
	t      testing.TB
	ids    []string
	keys   encsession.KeySource
	opts   []encsession.Option
	mu     sync.Mutex
	stored map[string]*encsession.MemorySession

	opening func(ctx context.Context, id string) error // runs before a session is opened; may be nil
	listing func(pass, n int) error                    // runs before a listing gives its n-th session; may be nil
	passes  int
}

func newStore(t testing.TB, keys encsession.KeySource, opts ...encsession.Option) *store {
	return &store{t: t, keys: keys, opts: append([]encsession.Option{encsession.WithTTL(encsession.NoExpiry)}, opts...),
		stored: make(map[string]*encsession.MemorySession)}
}

// session returns the stored session with this ID, and lists it from then on.
func (s *store) session(id string) *encsession.MemorySession {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stored[id] == nil {
		s.stored[id] = encsession.NewMemorySession(id)
		s.ids = append(s.ids, id)
	}
	return s.stored[id]
}

// add adds items, sealed under a key.
func (s *store) add(id string, key encsession.KeySource, n int) {
	session, err := encsession.New(s.session(id), key, encsession.WithUnreadableHistory())
	require.NoError(s.t, err)
	for i := range n {
		require.NoError(s.t, session.AddItems(s.t.Context(), encsession.Item(fmt.Sprintf(`{"n":%d}`, i))))
	}
}

// put stores an item as it is.
func (s *store) put(id, item string) {
	require.NoError(s.t, s.session(id).AddItems(s.t.Context(), encsession.Item(item)))
}

// The items that nobody can judge.
const (
	plaintext = `{"role":"user"}`
	malformed = `{"__enc__":1,"v":1,"kid":"hkdf-v1","payload":"?"}`
)

// items returns the stored items of a session as one string.
func (s *store) items(id string) string {
	items, err := s.session(id).GetItems(context.Background(), 0)
	require.NoError(s.t, err)
	return fmt.Sprintf("%s", items)
}

// all returns the stored items of all sessions.
func (s *store) all() (all []string) {
	for _, id := range s.ids {
		all = append(all, s.items(id))
	}
	return all
}

// sessions is the listing.
func (s *store) sessions() iter.Seq2[encsession.SessionInfo, error] {
	return func(yield func(encsession.SessionInfo, error) bool) {
		s.passes++
		for n := 0; n < len(s.ids); n++ {
			if s.listing != nil {
				if err := s.listing(s.passes, n); err != nil {
					yield(encsession.SessionInfo{}, err)
					return
				}
			}
			if !yield(encsession.SessionInfo{ID: s.ids[n]}, nil) {
				return
			}
		}
	}
}

func (s *store) open(ctx context.Context, id string) (*encsession.EncryptedSession, error) {
	if s.opening != nil {
		if err := s.opening(ctx, id); err != nil {
			return nil, err
		}
	}
	return encsession.New(s.session(id), s.keys, s.opts...)
}

// operations are all operations, with arguments that make them change
// something.
var operations = map[string]func(context.Context, iter.Seq2[encsession.SessionInfo, error], fleet.OpenFunc, ...fleet.Option) (fleet.Summary, error){
	"Audit":         fleet.Audit,
	"Rekey":         fleet.Rekey,
	"SealPlaintext": fleet.SealPlaintext,
	"Purge": func(ctx context.Context, sessions iter.Seq2[encsession.SessionInfo, error], open fleet.OpenFunc, opts ...fleet.Option) (fleet.Summary, error) {
		return fleet.Purge(ctx, sessions, open, 0, opts...)
	},
	"ClearIdle": func(ctx context.Context, sessions iter.Seq2[encsession.SessionInfo, error], open fleet.OpenFunc, opts ...fleet.Option) (fleet.Summary, error) {
		return fleet.ClearIdle(ctx, sessions, open, 1e9, opts...)
	},
	"DeleteItems": func(ctx context.Context, sessions iter.Seq2[encsession.SessionInfo, error], open fleet.OpenFunc, opts ...fleet.Option) (fleet.Summary, error) {
		return fleet.DeleteItems(ctx, sessions, open, func(string, encsession.Item) bool { return true }, opts...)
	},
}

var errFault = errors.New("fault")
