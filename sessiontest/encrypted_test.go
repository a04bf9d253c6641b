package sessiontest

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

// brokenDecorators break one rule of RunEncrypted each, as brokenStores do for
// Run.
var brokenDecorators = []struct {
	name   string
	open   func(t testing.TB, store *encsession.MemorySession) encsession.Session
	caught string
	also   string
}{
	{"does not encrypt", func(_ testing.TB, store *encsession.MemorySession) encsession.Session {
		return store
	}, "add-hides", "rewrite-hides printing-hides equal-items-differ moved-item-unreadable altered-items"},
	{"encodes in base64", func(_ testing.TB, store *encsession.MemorySession) encsession.Session {
		asItIs := func(item []byte) []byte { return item }
		return coded{store, asItIs, asItIs}
	}, "add-hides", "rewrite-hides equal-items-differ moved-item-unreadable altered-items"},
	{"encrypts equal items equally", func(_ testing.TB, store *encsession.MemorySession) encsession.Session {
		return coded{store, keystream(store.SessionID()), keystream(store.SessionID())}
	}, "equal-items-differ", "altered-items"},
	{"encrypts without authentication", func(_ testing.TB, store *encsession.MemorySession) encsession.Session {
		seal, open := withNonce(store.SessionID())
		return fourMethods{coded{store, seal, open}}
	}, "altered-items", ""},
	{"pops without authentication", func(_ testing.TB, store *encsession.MemorySession) encsession.Session {
		_, open := withNonce(store.SessionID())
		return fourMethods{popsUnchecked{authenticated(store), open}}
	}, "altered-items", ""},
	{"has one key for all sessions", func(t testing.TB, store *encsession.MemorySession) encsession.Session {
		key, err := encsession.ParseKey(outerKey)
		require.NoError(t, err)
		s, err := encsession.New(store, key, encsession.WithSessionID("constant"))
		require.NoError(t, err)
		return s
	}, "moved-item-unreadable", ""},
	{"rewrites without encrypting", func(_ testing.TB, store *encsession.MemorySession) encsession.Session {
		return rewritesPlaintext{authenticated(store)}
	}, "rewrite-hides", ""},
	{"shows envelopes to edit", func(_ testing.TB, store *encsession.MemorySession) encsession.Session {
		return showsEnvelopes{authenticated(store)}
	}, "rewrite-hides", ""},
	{"quotes items in errors", func(t testing.TB, store *encsession.MemorySession) encsession.Session {
		return quoting{encrypt(t, store, outerKey)}
	}, "errors-hide", ""},
	{"keeps items in errors", func(_ testing.TB, store *encsession.MemorySession) encsession.Session {
		return carrying{authenticated(store)}
	}, "errors-hide", ""},
	{"remembers what it was given", func(t testing.TB, store *encsession.MemorySession) encsession.Session {
		return &remembering{EncryptedSession: encrypt(t, store, outerKey)}
	}, "printing-hides", ""},
	{"adds an item of its own", func(t testing.TB, store *encsession.MemorySession) encsession.Session {
		return padding{encrypt(t, store, outerKey)}
	}, "one-for-one", "rewrite-hides pop-removes clear-empties"},
	{"encrypts again what a pop leaves", func(t testing.TB, store *encsession.MemorySession) encsession.Session {
		return restless{encrypt(t, store, outerKey)}
	}, "pop-removes", ""},
	{"only hides what is cleared", func(t testing.TB, store *encsession.MemorySession) encsession.Session {
		return &hiding{EncryptedSession: encrypt(t, store, outerKey)}
	}, "clear-empties", "rewrite-hides"},
}

func TestBrokenDecorators(t *testing.T) {
	caught := map[string]bool{}
	for _, decorator := range brokenDecorators {
		t.Run(decorator.name, func(t *testing.T) {
			t.Parallel()
			failed := failing(t, encryptedChecks, func() subject {
				m := newMemory()
				return subject{open: func(id string) (_, _ encsession.Session) {
					return decorator.open(t, m.session(id)), m.session(id)
				}}
			})
			require.ElementsMatch(t, append(strings.Fields(decorator.also), decorator.caught), failed)
		})
		caught[decorator.caught] = true
	}
	for _, c := range encryptedChecks {
		require.True(t, caught[c.name], "no broken decorator shows what %s is for", c.name)
	}
}

func TestAuthenticatedDecoratorPasses(t *testing.T) {
	for _, checks := range [][]check{sessionChecks, encryptedChecks} {
		require.Empty(t, failing(t, checks, func() subject {
			m := newMemory()
			return subject{open: func(id string) (_, _ encsession.Session) {
				return authenticated(m.session(id)), m.session(id)
			}}
		}))
	}
}

// coded encodes items in base64, after a transformation.
type coded struct {
	*encsession.MemorySession
	transform, back func([]byte) []byte
}

// keystream returns a function that XORs its argument with bytes that follow
// from the ID.
func keystream(id string) func([]byte) []byte {
	return func(b []byte) []byte {
		b = bytes.Clone(b)
		for i := 0; i < len(b); i += sha256.Size {
			block := sha256.Sum256(fmt.Appendf(nil, "%d %s", i, id))
			for j := range min(sha256.Size, len(b)-i) {
				b[i+j] ^= block[j]
			}
		}
		return b
	}
}

// withNonce returns a function that encrypts an item, each time with a
// keystream of its own, and one that decrypts it.
func withNonce(id string) (seal, open func([]byte) []byte) {
	size := len(random())
	seal = func(item []byte) []byte {
		nonce := random()
		return append([]byte(nonce), keystream(id+nonce)(item)...)
	}
	open = func(sealed []byte) []byte {
		n := min(len(sealed), size)
		return keystream(id + string(sealed[:n]))(sealed[n:])
	}
	return seal, open
}

// tag returns the tag that authenticates a sealed item.
func tag(id string, sealed []byte) []byte {
	mac := hmac.New(sha256.New, []byte(id))
	mac.Write(sealed)
	return mac.Sum(nil)
}

// cutTag returns a sealed item and its tag.
func cutTag(tagged []byte) (sealed, tag []byte) {
	n := max(0, len(tagged)-sha256.Size)
	return tagged[:n], tagged[n:]
}

// authenticated returns a decorator that breaks no rule.
func authenticated(store *encsession.MemorySession) coded {
	id := store.SessionID()
	seal, open := withNonce(id)
	return coded{store,
		func(item []byte) []byte {
			sealed := seal(item)
			return append(sealed, tag(id, sealed)...)
		},
		func(tagged []byte) []byte {
			sealed, found := cutTag(tagged)
			if !bytes.Equal(found, tag(id, sealed)) {
				return nil
			}
			return open(sealed)
		},
	}
}

// popsUnchecked checks the tags of items that it reads, but not of those that
// it pops.
type popsUnchecked struct {
	coded
	open func([]byte) []byte
}

func (s popsUnchecked) PopItem(ctx context.Context) (encsession.Item, error) {
	unchecked := coded{MemorySession: s.MemorySession, back: func(tagged []byte) []byte {
		sealed, _ := cutTag(tagged)
		return s.open(sealed)
	}}
	return unchecked.PopItem(ctx)
}

func (s coded) seal(items []encsession.Item) ([]encsession.Item, error) {
	sealed := make([]encsession.Item, len(items))
	for i, item := range items {
		if item == nil {
			continue
		}
		if !json.Valid(item) || !utf8.Valid(item) {
			return nil, encsession.ErrInvalidItem
		}
		sealed[i] = object("coded", base64.StdEncoding.EncodeToString(s.transform(item)))
	}
	return sealed, nil
}

func (s coded) open(stored []encsession.Item) []encsession.Item {
	var items []encsession.Item
	for _, item := range stored {
		var envelope struct{ Coded []byte }
		if json.Unmarshal(item, &envelope) == nil && json.Valid(s.back(envelope.Coded)) {
			items = append(items, s.back(envelope.Coded))
		}
	}
	return items
}

func (s coded) AddItems(ctx context.Context, items ...encsession.Item) error {
	sealed, err := s.seal(items)
	if err != nil {
		return err
	}
	return s.MemorySession.AddItems(ctx, sealed...)
}

func (s coded) GetItems(ctx context.Context, limit int) ([]encsession.Item, error) {
	stored, err := s.MemorySession.GetItems(ctx, limit)
	return s.open(stored), err
}

func (s coded) PopItem(ctx context.Context) (encsession.Item, error) {
	stored, err := s.MemorySession.PopItem(ctx)
	if items := s.open([]encsession.Item{stored}); len(items) > 0 {
		return items[0], err
	}
	return nil, err
}

func (s coded) RewriteItems(ctx context.Context, first int, edit edit) (int, error) {
	var refused error
	changed, err := s.MemorySession.RewriteItems(ctx, first, func(stored []encsession.Item) ([]encsession.Item, bool) {
		opened := s.open(stored)
		if len(opened) != len(stored) {
			return nil, true // enough for these checks
		}
		new, more := edit(opened)
		if new == nil {
			return nil, more
		}
		if len(new) != len(opened) {
			return []encsession.Item{}, false
		}
		sealed, err := s.seal(new)
		if refused = err; err != nil {
			return nil, false
		}
		for i := range new {
			if bytes.Equal(new[i], opened[i]) {
				sealed[i] = stored[i]
			}
		}
		return sealed, more
	})
	return changed, errors.Join(refused, err)
}

// rewritesPlaintext shows edit the added items, and stores the items that edit
// returns as they are.
type rewritesPlaintext struct{ coded }

func (s rewritesPlaintext) RewriteItems(ctx context.Context, first int, edit edit) (int, error) {
	return s.MemorySession.RewriteItems(ctx, first, func(stored []encsession.Item) ([]encsession.Item, bool) {
		if opened := s.open(stored); len(opened) == len(stored) {
			return edit(opened)
		}
		return nil, true
	})
}

// showsEnvelopes seals the items that edit returns, but shows edit the store's
// items.
type showsEnvelopes struct{ coded }

func (s showsEnvelopes) RewriteItems(ctx context.Context, first int, edit edit) (int, error) {
	var refused error
	changed, err := s.MemorySession.RewriteItems(ctx, first, func(stored []encsession.Item) ([]encsession.Item, bool) {
		new, more := edit(stored)
		sealed, err := s.seal(new)
		if refused = err; new == nil || err != nil {
			return nil, more
		}
		return sealed, more
	})
	return changed, errors.Join(refused, err)
}

// quoting quotes in its errors the items that it could not add.
type quoting struct{ *encsession.EncryptedSession }

func (s quoting) AddItems(ctx context.Context, items ...encsession.Item) error {
	if err := s.EncryptedSession.AddItems(ctx, items...); err != nil {
		return fmt.Errorf("%w: %s", err, items)
	}
	return nil
}

// carrying keeps in its errors the items that edit returned.
type carrying struct{ coded }

type carriedError struct{ items []encsession.Item }

func (*carriedError) Error() string { return "items could not be rewritten" }

func (s carrying) RewriteItems(ctx context.Context, first int, edit edit) (int, error) {
	var last []encsession.Item
	changed, err := s.coded.RewriteItems(ctx, first, func(stored []encsession.Item) (new []encsession.Item, more bool) {
		last, more = edit(stored)
		return last, more
	})
	if err != nil {
		return changed, &carriedError{last}
	}
	return changed, nil
}

// remembering has a cache of the items that were added last.
type remembering struct {
	*encsession.EncryptedSession
	last []encsession.Item
}

func (s *remembering) AddItems(ctx context.Context, items ...encsession.Item) error {
	s.last = items
	return s.EncryptedSession.AddItems(ctx, items...)
}

// padding adds an item to the store that does not belong to the session.
type padding struct{ *encsession.EncryptedSession }

func (s padding) AddItems(ctx context.Context, items ...encsession.Item) error {
	if err := s.EncryptedSession.AddItems(ctx, items...); err != nil {
		return err
	}
	return s.Unwrap().AddItems(ctx, object("version", random()))
}

// restless writes all items again after a pop.
type restless struct{ *encsession.EncryptedSession }

func (s restless) PopItem(ctx context.Context) (encsession.Item, error) {
	popped, errPop := s.EncryptedSession.PopItem(ctx)
	items, errGet := s.GetItems(ctx, 0)
	errClear := s.ClearSession(ctx)
	return popped, errors.Join(errPop, errGet, errClear, s.AddItems(ctx, items...))
}

// hiding remembers how many items are cleared, and leaves them in the store.
type hiding struct {
	*encsession.EncryptedSession
	cleared int
}

func (s *hiding) GetItems(ctx context.Context, limit int) ([]encsession.Item, error) {
	items, err := s.EncryptedSession.GetItems(ctx, limit)
	return items[min(s.cleared, len(items)):], err
}

func (s *hiding) ClearSession(ctx context.Context) error {
	items, err := s.EncryptedSession.GetItems(ctx, 0)
	s.cleared = len(items)
	return err
}

func TestSecretIsFound(t *testing.T) {
	s := newSecret()
	b := []byte(s.text)
	found := map[string]string{
		"plain":       "before " + s.text + " behind",
		"lower case":  strings.ToLower(s.text),
		"upper case":  strings.ToUpper(s.text),
		"hex":         fmt.Sprintf("%x", "a"+s.text+"b"),
		"upper hex":   fmt.Sprintf("%X", b),
		"spaced hex":  fmt.Sprintf("% x", b),
		"bytes":       fmt.Sprint(append([]byte("a"), b...)),
		"go bytes":    fmt.Sprintf("%#v", b),
		"raw message": fmt.Sprintf("%#v", encsession.Item(b)),
	}
	for before := range 7 {
		for _, encoding := range []*base64.Encoding{base64.StdEncoding, base64.URLEncoding, base64.RawStdEncoding} {
			text := strings.Repeat("a", before) + s.text + strings.Repeat("b", before%4)
			found[fmt.Sprintf("base64 %d %p", before, encoding)] = encoding.EncodeToString([]byte(text))
		}
	}
	for what, text := range found {
		_, ok := s.findIn(text)
		require.True(t, ok, "%s: %s", what, text)
	}
	for _, text := range []string{"", "nothing", newSecret().text, s.text[1:], s.text[:len(s.text)-1]} {
		disguise, ok := s.findIn(text)
		require.False(t, ok, "%s: %s", disguise, text)
	}
}
