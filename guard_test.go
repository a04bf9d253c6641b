package encsession_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

// guardStore puts a session of several kinds of items into a store.
func guardStore(t testing.TB, word string) *faultyStore {
	t.Helper()
	store := newFaultyStore()
	for i, letter := range word {
		require.NoError(t, store.MemorySession.AddItems(t.Context(), kind(letter, i)))
	}
	return store
}

// guarded returns the result of the first AddItems over a history of these
// kinds of items, by the design: how often it looks at the store, and its
// refusal, if any. The keyring has the keys 0 and 1, and the TTL is 600 s or
// none.
func guarded(word string, noExpiry, plaintext, unreadable bool) (looks int64, refusal error) {
	newest := word[max(0, len(word)-16):]
	switch {
	case unreadable:
		return 0, nil
	case word == "", strings.ContainsAny(word[len(word)-1:], "oOfn"):
		return 1, nil
	case strings.ContainsAny(newest, "oOfn"): // those that the current key opens
		return 2, nil
	}
	for _, letter := range slices.Backward([]rune(newest)) {
		decides := "au" // neither expired nor ahead of the clock
		if noExpiry {
			decides = "aAuU"
		}
		if strings.ContainsRune(decides, letter) {
			if letter == 'u' || letter == 'U' {
				return 2, encsession.ErrUndecryptable
			}
			break
		}
	}
	if !plaintext && strings.Contains(newest, "p") && !strings.ContainsAny(newest, "aA") {
		return 2, encsession.ErrPlaintext
	}
	return 2, nil
}

// readShows reports whether a read of all items proves the keys: the current
// key opens an item, or there are no items.
func readShows(word string) bool { return word == "" || strings.ContainsAny(word, "oOfn") }

// namedHistories are written by hand, with the refusal of the guard for each:
// without WithPlaintext and with it, at a TTL of 600 s.
var namedHistories = []struct {
	name, word       string
	without, with    error
	withoutUnderNone error // at NoExpiry, without WithPlaintext
}{
	{"empty", "", nil, nil, nil},
	{"own", "ooooo", nil, nil, nil},
	{"own, expired", "OOO", nil, nil, nil},
	{"own, from the future", "f", nil, nil, nil},
	{"own, and its payload is not JSON", "n", nil, nil, nil},
	{"other key, recent", "uuu", encsession.ErrUndecryptable, encsession.ErrUndecryptable, encsession.ErrUndecryptable},
	{"other key, older than the TTL", "UUU", nil, nil, encsession.ErrUndecryptable},
	{"other key, recent above old", "Uu", encsession.ErrUndecryptable, encsession.ErrUndecryptable, encsession.ErrUndecryptable},
	{"other key, old above recent", "uU", encsession.ErrUndecryptable, encsession.ErrUndecryptable, encsession.ErrUndecryptable},
	{"own above recent", "uo", nil, nil, nil},
	{"own below recent", "ou", nil, nil, nil},
	{"older key, recent", "aaa", nil, nil, nil},
	{"older key, expired", "AAA", nil, nil, nil},
	{"older key above another", "uua", nil, nil, nil},
	{"older key below another: a mistyped current key", "aau", encsession.ErrUndecryptable, encsession.ErrUndecryptable, encsession.ErrUndecryptable},
	{"plaintext", "ppp", encsession.ErrPlaintext, nil, encsession.ErrPlaintext},
	{"plaintext under own", "ppo", nil, nil, nil},
	{"plaintext above own", "opp", nil, nil, nil},
	{"plaintext beside an older key", "pAp", nil, nil, nil},
	{"plaintext and another key", "pu", encsession.ErrUndecryptable, encsession.ErrUndecryptable, encsession.ErrUndecryptable},
	{"another key and plaintext", "up", encsession.ErrUndecryptable, encsession.ErrUndecryptable, encsession.ErrUndecryptable},
	{"plaintext and another key, expired", "pU", encsession.ErrPlaintext, nil, encsession.ErrUndecryptable},
	{"malformed", "mmm", nil, nil, nil},
	{"malformed above another key", "um", encsession.ErrUndecryptable, encsession.ErrUndecryptable, encsession.ErrUndecryptable},
	{"from the future", "F", nil, nil, nil},
	{"a junk row of today above a good history", "oooou", nil, nil, nil},
	{"a junk row of 2100 above a good history", "ooooF", nil, nil, nil},
	{"15 junk rows of today above a good history", "oo" + strings.Repeat("u", 15), nil, nil, nil},
	{"16 junk rows of today above a good history", "oo" + strings.Repeat("u", 16), encsession.ErrUndecryptable, encsession.ErrUndecryptable, encsession.ErrUndecryptable},
	{"16 junk rows of 2100 above a good history", "oo" + strings.Repeat("F", 16), nil, nil, nil},
	{"16 junk rows of 2100 above another key", "u" + strings.Repeat("F", 16), nil, nil, nil},
	{"16 malformed rows above another key", "u" + strings.Repeat("m", 16), nil, nil, nil},
	{"plaintext behind 16 malformed rows", "p" + strings.Repeat("m", 16), nil, nil, nil},
}

func TestTheGuardOverNamedHistories(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range namedHistories {
			add := func(opts ...encsession.Option) error {
				return newSession(t, guardStore(t, tt.word), rotated(t), opts...).AddItems(t.Context(), message("new"))
			}
			require.ErrorIs(t, add(), tt.without, tt.name)
			require.ErrorIs(t, add(encsession.WithPlaintext()), tt.with, tt.name)
			require.ErrorIs(t, add(encsession.WithTTL(encsession.NoExpiry)), tt.withoutUnderNone, tt.name)
			require.NoError(t, add(encsession.WithUnreadableHistory()), tt.name)
		}
	})
}

// TestTheGuardByTheDesign compares the guard with guarded, over many histories
// and with all combinations of options.
func TestTheGuardByTheDesign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		histories := words("oOaAuUFpm", 2)
		for _, tt := range namedHistories {
			histories = append(histories, tt.word)
		}
		unrelated := encsession.Keyring{Current: testKey(t, 5)}
		for _, word := range histories {
			store := guardStore(t, word)
			before := contents(t, store)
			for flags := range 64 {
				on := func(bit int) bool { return flags&(1<<bit) != 0 }
				noExpiry, plaintext, unreadable, read, fourOnly, changed := on(0), on(1), on(2), on(3), on(4), on(5)
				if unreadable && plaintext {
					continue
				}
				how := fmt.Sprintf("%q, no expiry %v, plaintext %v, unreadable %v, read %v, four methods %v, changed %v",
					word, noExpiry, plaintext, unreadable, read, fourOnly, changed)
				opts := []encsession.Option{}
				if noExpiry {
					opts = append(opts, encsession.WithTTL(encsession.NoExpiry))
				}
				if plaintext {
					opts = append(opts, encsession.WithPlaintext())
				}
				if unreadable {
					opts = append(opts, encsession.WithUnreadableHistory())
				}
				var asStore encsession.Session = store
				if fourOnly {
					asStore = fourMethods{store}
				}
				ring := rotated(t)
				if changed {
					ring = unrelated
				}
				session := newSession(t, asStore, encsession.KeyFunc(func(context.Context, string) (encsession.Keyring, error) { return ring, nil }), opts...)
				if read {
					getItems(t, session, 0)
				}
				ring = rotated(t)

				looks, refusal := guarded(word, noExpiry, plaintext, unreadable)
				if read && !changed && readShows(word) {
					refusal, looks = nil, 0
				}
				store.gets.Store(0)
				err := session.AddItems(t.Context(), message("new"))
				require.Equal(t, looks, store.gets.Load(), how)
				if refusal != nil {
					require.ErrorIs(t, err, refusal, how)
					require.Equal(t, before, contents(t, store), how)
					// The guard does not remember a refusal.
					require.ErrorIs(t, session.AddItems(t.Context(), message("new")), refusal, how)
					require.Equal(t, 2*looks, store.gets.Load(), how)
					continue
				}
				require.NoError(t, err, how)
				// It remembers that the keys fit.
				require.NoError(t, session.AddItems(t.Context(), message("new")), how)
				require.Equal(t, looks, store.gets.Load(), how)
				for range 2 {
					_, err := store.MemorySession.PopItem(t.Context())
					require.NoError(t, err)
				}
				require.Equal(t, before, contents(t, store), how)
			}
		}
	})
}

// TestARefusalLooksAfreshEachTime repairs the history, and then the keys,
// between two calls.
func TestARefusalLooksAfreshEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := guardStore(t, "u")
		session := newSession(t, store, testKey(t, 0))
		require.ErrorIs(t, session.AddItems(t.Context(), message("a")), encsession.ErrUndecryptable)
		_, err := store.MemorySession.PopItem(t.Context())
		require.NoError(t, err)
		require.NoError(t, session.AddItems(t.Context(), message("a")))

		store = guardStore(t, "u")
		session = newSession(t, store, testKey(t, 0))
		require.ErrorIs(t, session.AddItems(t.Context(), message("a")), encsession.ErrUndecryptable)
		time.Sleep(601 * time.Second) // it expires
		require.NoError(t, session.AddItems(t.Context(), message("a")))
	})
}

// TestEveryReadSatisfiesTheGuard uses reads and operations of a handle. Each
// sees an item that the current key opens, readable or not.
func TestEveryReadSatisfiesTheGuard(t *testing.T) {
	reads := map[string]func(*encsession.EncryptedSession, context.Context) error{
		"GetItems": func(s *encsession.EncryptedSession, ctx context.Context) error {
			_, err := s.GetItems(ctx, 2)
			return err
		},
		"PopItem": func(s *encsession.EncryptedSession, ctx context.Context) error { _, err := s.PopItem(ctx); return err },
		"Audit":   func(s *encsession.EncryptedSession, ctx context.Context) error { _, err := s.Audit(ctx); return err },
		"Rekey":   func(s *encsession.EncryptedSession, ctx context.Context) error { _, err := s.Rekey(ctx); return err },
		"RewriteItems": func(s *encsession.EncryptedSession, ctx context.Context) error {
			_, err := s.RewriteItems(ctx, 1, removeAll)
			return err
		},
	}
	for name, read := range reads {
		synctest.Test(t, func(t *testing.T) {
			for _, word := range []string{"oo", "OoO", "AO", ""} {
				if word == "" && name != "GetItems" && name != "PopItem" {
					continue // only a read can tell that a session is empty
				}
				store := guardStore(t, word)
				session := newSession(t, store, rotated(t))
				require.NoError(t, read(session, t.Context()), name)
				store.gets.Store(0)
				require.NoError(t, session.AddItems(t.Context(), message("a")))
				require.Zero(t, store.gets.Load(), "%s of %q", name, word)
			}
			store := guardStore(t, "aA") // an older key is not enough
			session := newSession(t, store, rotated(t))
			if name == "Rekey" {
				return // afterwards they are sealed under the current key
			}
			require.NoError(t, read(session, t.Context()), name)
			store.gets.Store(0)
			require.NoError(t, session.AddItems(t.Context(), message("a")))
			require.NotZero(t, store.gets.Load(), name)
		})
	}
}

// TestTheGuardIsForEachHandleAndKeyring uses a new key after a pass, and
// another handle on the same store.
func TestTheGuardIsForEachHandleAndKeyring(t *testing.T) {
	store := newFaultyStore()
	ring := encsession.Keyring{Current: testKey(t, 0)}
	source := encsession.KeyFunc(func(context.Context, string) (encsession.Keyring, error) { return ring, nil })
	session := newSession(t, store, source)
	add := func() error { return session.AddItems(t.Context(), message("a")) }
	require.NoError(t, add())
	require.NoError(t, add())
	require.EqualValues(t, 1, store.gets.Load())

	ring = encsession.Keyring{Current: testKey(t, 9)} // a mistyped one
	require.ErrorIs(t, add(), encsession.ErrUndecryptable)
	ring = encsession.Keyring{Current: testKey(t, 1), Older: []encsession.Key{testKey(t, 0)}} // a rotation
	require.NoError(t, add())
	other := newSession(t, store, testKey(t, 9))
	require.ErrorIs(t, other.AddItems(t.Context(), message("a")), encsession.ErrUndecryptable)
}

func TestTheErrorsOfTheGuardSayWhatToDo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring := rotated(t)
		for word, want := range map[string][]string{
			"pu": {
				`session "` + sessionID + `"`, "current key " + ring.Current.Fingerprint(), "older key " + ring.Older[0].Fingerprint(),
				"check the key", "Keyring.Older", "WithUnreadableHistory",
			},
			"p": {`session "` + sessionID + `"`, "WithPlaintext", "SealPlaintext", "WithUnreadableHistory"},
		} {
			store := guardStore(t, word)
			err := newSession(t, store, ring).AddItems(t.Context(), message("new secret"))
			require.ErrorContains(t, err, "encsession: AddItems: ")
			for _, part := range want {
				require.ErrorContains(t, err, part)
			}
			var secrets []string
			for _, n := range []byte{0, 1} {
				f := newForger(testIKM(n), sessionID)
				for _, secret := range [][]byte{testIKM(n), f.sign, f.encrypt} {
					secrets = append(secrets, string(secret[:8]), hex.EncodeToString(secret[:8]), base64.URLEncoding.EncodeToString(secret)[:10])
				}
			}
			for _, item := range contents(t, store) {
				secrets = append(secrets, item, item[len(item)/2:])
			}
			for _, secret := range append(secrets, "new secret", `"i"`) {
				require.NotContains(t, err.Error(), secret)
			}
		}
	})
}

func TestTheGuardFailsWithTheStore(t *testing.T) {
	for _, failing := range []int64{1, 2} {
		store := stored(t, "rru")
		before := contents(t, store)
		store.get = func(int) error {
			if store.gets.Load() == failing {
				return errBroken
			}
			return nil
		}
		err := newSession(t, store, testKey(t, 0), encsession.WithTTL(encsession.NoExpiry)).AddItems(t.Context(), message("a"))
		require.ErrorIs(t, err, errBroken)
		require.ErrorContains(t, err, "encsession: AddItems: store: ")
		require.Equal(t, before, contents(t, store))
	}
}

// TestUsersWhoMayOnlyInsert uses a store that refuses to be read.
func TestUsersWhoMayOnlyInsert(t *testing.T) {
	store := newFaultyStore()
	store.get = func(int) error { return errBroken }
	require.ErrorIs(t, newSession(t, store, testKey(t, 0)).AddItems(t.Context(), message("a")), errBroken)
	require.NoError(t, newSession(t, store, testKey(t, 0), encsession.WithUnreadableHistory()).AddItems(t.Context(), message("a")))
}

// TestTheGuardOfManyGoroutines starts with many goroutines on one new handle.
func TestTheGuardOfManyGoroutines(t *testing.T) {
	store := newFaultyStore()
	require.NoError(t, newSession(t, store.MemorySession, testKey(t, 9)).AddItems(t.Context(), message("theirs")))
	wrong := newSession(t, store, testKey(t, 0))
	var refused atomic.Int64
	done := make(chan struct{})
	for range 8 {
		go func() {
			for range 20 {
				if wrong.AddItems(t.Context(), message("ours")) != nil {
					refused.Add(1)
				}
			}
			done <- struct{}{}
		}()
	}
	for range 8 {
		<-done
	}
	require.EqualValues(t, 160, refused.Load())
	require.Len(t, contents(t, store), 1)
}

// TestSealPlaintextRefusesAWrongKey shows that SealPlaintext looks at all items
// of the session, however old and however many they are.
func TestSealPlaintextRefusesAWrongKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for word, want := range map[string]error{
			"p": nil, "pa": nil, "pA": nil, "pm": nil, "": nil,
			"pu": encsession.ErrUndecryptable, "pU": encsession.ErrUndecryptable, "pF": encsession.ErrUndecryptable,
			"up": encsession.ErrUndecryptable, "Up": encsession.ErrUndecryptable, "pua": encsession.ErrUndecryptable,
			"up" + strings.Repeat("p", 1500):       encsession.ErrUndecryptable,
			"pu" + strings.Repeat("p", 1500) + "O": nil, "O" + strings.Repeat("p", 1500) + "u": nil,
			"puo": nil, "pUO": nil, "nup": nil, "fup": nil,
		} {
			store := guardStore(t, word)
			before := contents(t, store)
			var log []encsession.Event
			observer := encsession.WithObserver(func(_ context.Context, e encsession.Event) { log = append(log, e) })
			changed, err := newSession(t, store, rotated(t), observer).SealPlaintext(t.Context())
			require.NotErrorIs(t, err, encsession.ErrExpired)
			refused := err != nil && strings.Contains(err.Error(), "no key opens its encrypted items")
			require.Equal(t, want != nil, refused, "%.20q", word)
			require.EqualValues(t, map[bool]int{true: 1, false: 2}[refused], store.rewrites.Load(), "it reads the session twice")
			require.Len(t, log, 1)
			require.Equal(t, changed, log[0].Sealed)
			if !refused {
				require.Equal(t, strings.Count(word, "p"), log[0].Plaintext, "counted once")
				continue
			}
			require.Zero(t, changed)
			require.ErrorIs(t, err, want)
			require.Equal(t, before, contents(t, store))
			for _, part := range []string{sessionID, rotated(t).Current.Fingerprint(), rotated(t).Older[0].Fingerprint(), "WithUnreadableHistory"} {
				require.ErrorContains(t, err, part)
			}
			changed, err = newSession(t, store, rotated(t), encsession.WithUnreadableHistory()).SealPlaintext(t.Context())
			require.NoError(t, err)
			require.Equal(t, strings.Count(word, "p"), changed, "the option lifts the refusal")
		}
	})
}
