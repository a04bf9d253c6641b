package encsession_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

const bubbleStart = 946684800 // the Unix time at which a synctest bubble starts

// editedStore is a store with a hook that runs after each edit, before the
// store changes anything. The hook gets the number of the batch, from 1. If it
// returns an error, the store leaves the batch alone and returns the error.
type editedStore struct {
	*faultyStore
	edited func(batch int, new []encsession.Item) error
}

func (s editedStore) RewriteItems(ctx context.Context, first int, edit func([]encsession.Item) ([]encsession.Item, bool)) (int, error) {
	var failed error
	batch := 0
	changed, err := s.faultyStore.RewriteItems(ctx, first, func(stored []encsession.Item) ([]encsession.Item, bool) {
		new, more := edit(stored)
		batch++
		if failed = s.edited(batch, new); failed != nil {
			return nil, false
		}
		return new, more
	})
	if failed != nil {
		err = failed
	}
	return changed, err
}

// breaksAt returns a hook of editedStore that fails once: at the n-th batch
// that edit wants to change.
func breaksAt(n int) func(int, []encsession.Item) error {
	changes := 0
	return func(_ int, new []encsession.Item) error {
		if new != nil {
			changes++
		}
		if new != nil && changes == n {
			return errBroken
		}
		return nil
	}
}

// replacing returns an edit that replaces these items in the whole session; nil
// removes an item.
func replacing(replacements map[string]encsession.Item) func([]encsession.Item) ([]encsession.Item, bool) {
	return func(stored []encsession.Item) ([]encsession.Item, bool) {
		new := slices.Clone(stored)
		for i, item := range stored {
			if replacement, ok := replacements[string(item)]; ok {
				new[i] = replacement
			}
		}
		return new, true
	}
}

func removeAll(stored []encsession.Item) ([]encsession.Item, bool) {
	return make([]encsession.Item, len(stored)), true
}

// sealedAt returns the time in an envelope.
func sealedAt(t testing.TB, stored string) uint64 {
	t.Helper()
	var members struct{ Payload string }
	require.NoError(t, json.Unmarshal([]byte(stored), &members))
	token, err := base64.URLEncoding.DecodeString(members.Payload)
	require.NoError(t, err)
	return binary.BigEndian.Uint64(token[1:])
}

func rotated(t testing.TB) encsession.Keyring {
	t.Helper()
	return encsession.Keyring{Current: testKey(t, 0), Older: []encsession.Key{testKey(t, 1)}}
}

func TestRekey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, older := newForger(testIKM(1), sessionID), newForger(testIKM(2), sessionID)
		current, foreign := newForger(testIKM(0), sessionID), newForger(testIKM(9), sessionID)
		untouched := []encsession.Item{
			numbered(0), // injected or old plaintext, which Rekey never seals
			current.envelope(bubbleStart, `{"i":1}`),
			foreign.envelope(bubbleStart, `{"i":2}`),
			envelope("x"),
		}
		store := encsession.NewMemorySession(sessionID)
		require.NoError(t, store.AddItems(t.Context(), untouched...))
		require.NoError(t, store.AddItems(t.Context(),
			old.envelope(bubbleStart-5, ` {"i" : 4}`),
			older.envelope(bubbleStart-99999, `{"i":5}`),
			old.envelope(math.MaxUint64, `{"i":6}`),
			old.envelope(bubbleStart-7, `NaN`),
			encsession.Item(`{"payload":"`+encode(old.token(bubbleStart-8, []byte(`{"i":8}`)))+`","v":1,"x":2,"kid":"hkdf-v1","__enc__":1}`),
		))
		same := old.envelope(bubbleStart-9, `{"i":9}`)
		require.NoError(t, store.AddItems(t.Context(), same, same))

		both := newSession(t, store, encsession.Keyring{Current: testKey(t, 0), Older: []encsession.Key{testKey(t, 1), testKey(t, 2)}}, encsession.WithPlaintext())
		before := audit(t, both)
		readBefore := getItems(t, both, 0)
		changed, err := both.Rekey(t.Context())
		skipped := new(encsession.SkippedError)
		require.ErrorAs(t, err, &skipped)
		require.Equal(t, encsession.SkippedError{Undecryptable: 1, Malformed: 1}, *skipped)
		require.Equal(t, 7, changed)

		after := audit(t, both)
		require.Equal(t, keyCounts(t, "012", 1, 6, 1), before.Keys)
		require.Equal(t, keyCounts(t, "012", 8, 0, 0), after.Keys)
		before.Keys, after.Keys = nil, nil
		require.Equal(t, before, after, "every item is in the class in which it was, and as old")
		require.Equal(t, readBefore, getItems(t, both, 0))
		require.Equal(t, texts(untouched), getItems(t, store, 0)[:4])
		alone := newSession(t, store, testKey(t, 0), encsession.WithTTL(encsession.NoExpiry))
		require.Contains(t, getItems(t, alone, 0), ` {"i" : 4}`)

		unchanged := getItems(t, store, 0)
		changed, err = both.Rekey(t.Context())
		require.ErrorAs(t, err, &skipped)
		require.Zero(t, changed)
		require.Equal(t, unchanged, getItems(t, store, 0))
	})
}

func TestSealPlaintext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &rawStore{MemorySession: encsession.NewMemorySession(sessionID), items: []encsession.Item{
			numbered(0), encsession.Item("not JSON: secret"), numbered(2), envelope("x"),
			newForger(testIKM(9), sessionID).envelope(0, `{}`), encsession.Item(` {"i" : 5}`), numbered(2),
		}}
		before := slices.Clone(store.items)
		session := newSession(t, store, testKey(t, 0))
		require.Empty(t, getItems(t, session, 0))
		changed, err := session.SealPlaintext(t.Context())
		require.Zero(t, changed)
		require.ErrorIs(t, err, encsession.ErrUndecryptable, "the key may be a wrong one")
		require.ErrorContains(t, err, "encsession: SealPlaintext: session ")
		require.NotErrorAs(t, err, new(*encsession.SkippedError))
		require.Equal(t, before, store.items)

		store.items = append(store.items, newForger(testIKM(0), sessionID).envelope(bubbleStart, `{"i":7}`)) // the key is right
		changed, err = session.SealPlaintext(t.Context())
		require.Equal(t, 2, changed, "those above what cannot be read")
		require.Equal(t, encsession.SkippedError{Malformed: 2, Plaintext: 2}, skippedBy(t, err))
		require.Equal(t, []string{` {"i" : 5}`, `{"i":2}`, `{"i":7}`}, getItems(t, session, 0))

		changed, err = newSession(t, store, testKey(t, 0), encsession.WithUnreadableHistory()).SealPlaintext(t.Context())
		require.Equal(t, 2, changed)
		require.Equal(t, encsession.SkippedError{Malformed: 2}, skippedBy(t, err))
		require.ErrorContains(t, err, "encsession: SealPlaintext: ")
		require.NotContains(t, err.Error(), "secret")
		require.Equal(t, []string{`{"i":0}`, `{"i":2}`, ` {"i" : 5}`, `{"i":2}`, `{"i":7}`}, getItems(t, session, 0))
		require.Equal(t, "not JSON: secret", string(store.items[1]))

		report := audit(t, session)
		require.Zero(t, report.Plaintext)
		require.Equal(t, time.Unix(bubbleStart, 0).UTC(), report.Oldest, "sealed as of now")
	})
}

func skippedBy(t testing.TB, err error) encsession.SkippedError {
	t.Helper()
	skipped := new(encsession.SkippedError)
	require.ErrorAs(t, err, &skipped)
	return *skipped
}

func TestPurge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(999 * time.Millisecond)
		f, read := newForger(testIKM(0), sessionID), newForger(testIKM(1), sessionID)
		all := []encsession.Item{
			f.envelope(0, `{"i":0}`),                                // purged
			f.envelope(bubbleStart-61, `{"i":1}`),                   // purged
			read.envelope(bubbleStart-61, `{"i":2}`),                // purged
			f.envelope(bubbleStart-61, `NaN`),                       // purged: authentic
			f.envelope(bubbleStart-60, `{"i":4}`),                   // not older than that
			f.envelope(math.MaxUint64, `{"i":5}`),                   // from the future
			newForger(testIKM(9), sessionID).envelope(0, `{"i":6}`), // not authentic, but it claims to be old
			numbered(7),   // plaintext
			envelope("x"), // malformed
			newForger(testIKM(0), "another").envelope(bubbleStart, `{"i": 9}`), // not authentic
		}
		for name, ttl := range map[string]time.Duration{"NoExpiry": encsession.NoExpiry, "1s": time.Second, "1h": time.Hour} {
			store := encsession.NewMemorySession(sessionID)
			require.NoError(t, store.AddItems(t.Context(), all...))
			session := newSession(t, store, rotated(t), encsession.WithTTL(ttl))
			removed, err := session.Purge(t.Context(), time.Minute)
			require.Equal(t, encsession.SkippedError{Undecryptable: 1}, skippedBy(t, err), name)
			require.Equal(t, 4, removed)
			require.Equal(t, texts(all[4:]), getItems(t, store, 0))
			removed, err = session.Purge(t.Context(), 0)
			require.Equal(t, encsession.SkippedError{Undecryptable: 1}, skippedBy(t, err), name)
			require.Equal(t, 1, removed)
			removed, err = session.Purge(t.Context(), math.MaxInt64/time.Second*time.Second)
			require.NoError(t, err, "nothing claims to be so old")
			require.Zero(t, removed)
		}
	})
}

func TestPurgeByTheTTLRemovesWhatHasExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		session := newSession(t, encsession.NewMemorySession(sessionID), testKey(t, 0), encsession.WithTTL(time.Minute))
		for range 5 {
			require.NoError(t, session.AddItems(t.Context(), numbered(0)))
			time.Sleep(20*time.Second + 300*time.Millisecond)
		}
		report := audit(t, session)
		removed, err := session.Purge(t.Context(), time.Minute)
		require.NoError(t, err)
		require.Equal(t, report.Expired, removed)
		require.NotZero(t, removed)
		require.Len(t, getItems(t, session.Unwrap(), 0), report.Readable)
	})
}

func TestPurgeRefuses(t *testing.T) {
	store := stored(t, "rx")
	for _, age := range []time.Duration{encsession.NoExpiry, -time.Second, 1, 1500 * time.Millisecond, math.MinInt64} {
		removed, err := newSession(t, store, testKey(t, 0)).Purge(t.Context(), age)
		require.Zero(t, removed)
		require.ErrorContains(t, err, "age of "+age.String())
	}
	require.Len(t, contents(t, store), 2)
}

// kinds are the kinds of stored items by their letters: the key that has sealed
// an item, if any, the time, and the payload.
var kinds = map[rune]struct {
	key     byte   // 0 is the current one, 1 an older one, 9 a foreign one
	sealed  uint64 // 0 if the item is no envelope
	payload string
}{
	'o': {0, bubbleStart, `{"i":%d}`}, 'O': {0, bubbleStart - 601, `{"i":%d}`}, 'f': {0, 4102444800, `{"i":%d}`},
	'a': {1, bubbleStart, `{"i":%d}`}, 'A': {1, bubbleStart - 601, `{"i":%d}`},
	'u': {9, bubbleStart, `{"i":%d}`}, 'U': {9, bubbleStart - 601, `{"i":%d}`}, 'F': {9, 4102444800, `{"i":%d}`},
	'n': {0, bubbleStart, `[%d]`}, 'p': {0, 0, `{"i":%d}`}, 'm': {0, 0, `{"__enc__":1,"i":%d}`},
}

var kindForgers = map[byte]forger{0: newForger(testIKM(0), sessionID), 1: newForger(testIKM(1), sessionID), 9: newForger(testIKM(9), sessionID)}

// kind returns item i of a session, of this kind.
func kind(letter rune, i int) encsession.Item {
	k := kinds[letter]
	payload := fmt.Sprintf(k.payload, i)
	if k.sealed == 0 {
		return encsession.Item(payload)
	}
	return kindForgers[k.key].envelope(k.sealed, payload)
}

// words returns all words of these letters up to a length.
func words(letters string, length int) []string {
	all := []string{""}
	for begin := 0; length > 0; length-- {
		end := len(all)
		for _, word := range all[begin:end] {
			for _, letter := range letters {
				all = append(all, word+string(letter))
			}
		}
		begin = end
	}
	return all
}

// outcome is the result of an operation over a session of several kinds of
// items, by the design. Item i becomes what[i], which is k for kept, r for
// removed, and s for sealed under the current key.
type outcome struct {
	what    []byte
	skipped encsession.SkippedError
	cause   error // the operation changes nothing
	seen    []string
}

// design is a plain form of the text of the design about operations and items.
func design(operation, word string, plaintext, unreadable bool) outcome {
	out := outcome{what: bytes.Repeat([]byte{'k'}, len(word))}
	if operation == "SealPlaintext" && strings.ContainsAny(word, "uUF") && !strings.ContainsAny(word, "oOfn") && !unreadable {
		out.cause = encsession.ErrUndecryptable
		return out
	}
	var barrier error
	for i, letter := range slices.Backward([]rune(word)) {
		if barrier == nil && strings.ContainsRune("uUF", letter) {
			barrier = encsession.ErrUndecryptable
		}
		if barrier == nil && strings.ContainsRune("mn", letter) {
			barrier = encsession.ErrMalformed
		}
		switch operation {
		case "Rekey":
			switch letter {
			case 'a', 'A':
				out.what[i] = 's'
			case 'u', 'F':
				out.skipped.Undecryptable++
			case 'm':
				out.skipped.Malformed++
			}
		case "Purge": // of the items older than 600 s
			switch letter {
			case 'O', 'A':
				out.what[i] = 'r'
			case 'U':
				out.skipped.Undecryptable++
			}
		case "DeleteItems": // of all
			switch letter {
			case 'u', 'U', 'F':
				out.skipped.Undecryptable++
			case 'm', 'n':
				out.skipped.Malformed++
			case 'p':
				if !plaintext || barrier != nil {
					out.skipped.Plaintext++
					continue
				}
				fallthrough
			default:
				out.what[i] = 'r'
				out.seen = append(out.seen, string(numbered(i)))
			}
		case "SealPlaintext":
			switch {
			case letter == 'm' || letter == 'n':
				out.skipped.Malformed++
			case letter == 'p' && barrier != nil && !unreadable:
				out.skipped.Plaintext++
			case letter == 'p':
				out.what[i] = 's'
			}
		case "RewriteItems": // of all, to remove them
			if letter == 'p' && plaintext && barrier != nil {
				out.cause, out.what = barrier, bytes.Repeat([]byte{'k'}, len(word))
				return out
			}
			if letter == 'o' || letter == 'a' || letter == 'p' && plaintext {
				out.what[i] = 'r'
			}
		}
	}
	return out
}

// TestOperationsByTheDesign runs every operation over short sessions of all
// kinds of items.
func TestOperationsByTheDesign(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seen []string
		run := map[string]func(*encsession.EncryptedSession) (int, error){
			"Rekey":         func(s *encsession.EncryptedSession) (int, error) { return s.Rekey(t.Context()) },
			"SealPlaintext": func(s *encsession.EncryptedSession) (int, error) { return s.SealPlaintext(t.Context()) },
			"Purge":         func(s *encsession.EncryptedSession) (int, error) { return s.Purge(t.Context(), 10*time.Minute) },
			"DeleteItems": func(s *encsession.EncryptedSession) (int, error) {
				return s.DeleteItems(t.Context(), func(item encsession.Item) bool {
					seen = append(seen, string(item))
					clear(item) // the item belongs to the caller
					return true
				})
			},
			"RewriteItems": func(s *encsession.EncryptedSession) (int, error) { return s.RewriteItems(t.Context(), 10, removeAll) },
		}
		sealer := newSealer(t, testKey(t, 0))
		for _, word := range append(words("oOfaAuUFnmp", 2), words("oauUmp", 3)...) {
			before := make([]encsession.Item, len(word))
			for i, letter := range word {
				before[i] = kind(letter, i)
			}
			for flags := range 4 {
				plaintext, unreadable := flags&1 > 0, flags&2 > 0
				var opts []encsession.Option
				if plaintext {
					opts = append(opts, encsession.WithPlaintext())
				}
				if unreadable {
					opts = append(opts, encsession.WithUnreadableHistory())
				}
				for operation, call := range run {
					how := fmt.Sprintf("%s of %q, plaintext %v, unreadable %v", operation, word, plaintext, unreadable)
					store := encsession.NewMemorySession(sessionID)
					require.NoError(t, store.AddItems(t.Context(), before...))
					seen = nil
					changed, err := call(newSession(t, store, rotated(t), opts...))
					want := design(operation, word, plaintext, unreadable)
					switch {
					case want.cause != nil:
						require.ErrorIs(t, err, want.cause, how)
						require.NotErrorAs(t, err, new(*encsession.SkippedError), how)
					case want.skipped != encsession.SkippedError{}:
						require.Equal(t, want.skipped, skippedBy(t, err), how)
					default:
						require.NoError(t, err, how)
					}
					require.Equal(t, len(word)-bytes.Count(want.what, []byte("k")), changed, how)
					require.Equal(t, want.seen, seen, how)
					after := getItems(t, store, 0)
					for i, what := range want.what {
						switch what {
						case 'k':
							require.Equal(t, string(before[i]), after[0], how)
						case 's':
							opened, err := sealer.Open(encsession.Item(after[0]))
							require.NoError(t, err, how)
							require.Equal(t, string(numbered(i)), string(opened), how)
							sealed := kinds[rune(word[i])].sealed
							if sealed == 0 {
								sealed = bubbleStart // plaintext, as of now
							}
							require.Equal(t, sealed, sealedAt(t, after[0]), how)
						case 'r':
							continue
						}
						after = after[1:]
					}
					require.Empty(t, after, how)
				}
			}
		}
	})
}

// TestTheBarrierProtectsPlaintextUnderAWrongKey uses the history of a migrated
// session: plaintext, and above it items that K1 has sealed. A handle with K2
// cannot take the plaintext from K1.
func TestTheBarrierProtectsPlaintextUnderAWrongKey(t *testing.T) {
	store := newFaultyStore()
	require.NoError(t, store.MemorySession.AddItems(t.Context(), numbered(0), seal(t, testKey(t, 1), numbered(1))))
	before := contents(t, store)
	wrong := newSession(t, store, testKey(t, 2), encsession.WithPlaintext())
	unreadable := newSession(t, store, testKey(t, 2), encsession.WithPlaintext(), encsession.WithUnreadableHistory())
	for _, session := range []*encsession.EncryptedSession{wrong, unreadable} {
		for name, edit := range map[string]func([]encsession.Item) ([]encsession.Item, bool){
			"remove": removeAll, "replace": replacing(map[string]encsession.Item{string(numbered(0)): message("overwritten")}),
		} {
			n, err := session.RewriteItems(t.Context(), 1, edit)
			require.Zero(t, n, name)
			require.ErrorIs(t, err, encsession.ErrUndecryptable, name)
			require.ErrorContains(t, err, "item 0 from the newest", name)
		}
		n, err := session.RewriteItems(t.Context(), 1, replacing(nil))
		require.NoError(t, err, "to leave it alone is no error")
		require.Zero(t, n)
		n, err = session.DeleteItems(t.Context(), func(encsession.Item) bool { panic("it must not be shown") })
		require.Zero(t, n)
		require.Equal(t, encsession.SkippedError{Undecryptable: 1, Plaintext: 1}, skippedBy(t, err))
	}
	n, err := wrong.SealPlaintext(t.Context())
	require.Zero(t, n)
	require.ErrorIs(t, err, encsession.ErrUndecryptable)
	require.Equal(t, before, contents(t, store))

	right := newSession(t, store, testKey(t, 1), encsession.WithPlaintext())
	require.Equal(t, numberedAll(0, 1), getItems(t, right, 0))
	n, err = right.RewriteItems(t.Context(), 1, replacing(map[string]encsession.Item{string(numbered(0)): numbered(7)}))
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Equal(t, numberedAll(7, 1), getItems(t, right, 0))

	require.NoError(t, store.MemorySession.ClearSession(t.Context()))
	require.NoError(t, store.MemorySession.AddItems(t.Context(), numbered(0), seal(t, testKey(t, 1), numbered(1))))
	n, err = unreadable.SealPlaintext(t.Context())
	require.NoError(t, err)
	require.Equal(t, 1, n, "the one thing that the option lifts the barrier for")
}

// TestTheBarrierIsKeptFromBatchToBatch puts the barrier in the first batch of a
// walk, and plaintext in the third.
func TestTheBarrierIsKeptFromBatchToBatch(t *testing.T) {
	store := newFaultyStore()
	require.NoError(t, store.MemorySession.AddItems(t.Context(), numbered(0)))
	require.NoError(t, newSession(t, store.MemorySession, testKey(t, 0), encsession.WithPlaintext()).AddItems(t.Context(), messages(2500)...))
	require.NoError(t, store.MemorySession.AddItems(t.Context(), envelope("x")))
	session := newSession(t, store, testKey(t, 0), encsession.WithPlaintext())
	n, err := session.SealPlaintext(t.Context())
	require.Zero(t, n)
	require.Equal(t, encsession.SkippedError{Malformed: 1, Plaintext: 1}, skippedBy(t, err))
	n, err = session.DeleteItems(t.Context(), func(item encsession.Item) bool { return bytes.Equal(item, numbered(0)) })
	require.Zero(t, n)
	require.Equal(t, encsession.SkippedError{Malformed: 1, Plaintext: 1}, skippedBy(t, err))
	n, err = session.RewriteItems(t.Context(), 1, replacing(map[string]encsession.Item{string(numbered(0)): nil}))
	require.Zero(t, n)
	require.ErrorIs(t, err, encsession.ErrMalformed)
	require.ErrorContains(t, err, "item 0 from the newest")
}

func TestSkippedErrorUnwrapsWhatItCounts(t *testing.T) {
	for _, counts := range []encsession.SkippedError{{}, {Undecryptable: 1}, {Malformed: 2}, {Plaintext: 3}, {4, 5, 6}} {
		err := error(&counts)
		require.Equal(t, counts.Undecryptable > 0, errors.Is(err, encsession.ErrUndecryptable))
		require.Equal(t, counts.Malformed > 0, errors.Is(err, encsession.ErrMalformed))
		require.Equal(t, counts.Plaintext > 0, errors.Is(err, encsession.ErrPlaintext))
		require.NotErrorIs(t, err, encsession.ErrExpired)
		require.ErrorContains(t, err, fmt.Sprintf("%d undecryptable, %d malformed, %d not encrypted", counts.Undecryptable, counts.Malformed, counts.Plaintext))
	}
}

// operations are the methods that change stored items.
var operations = map[string]func(*encsession.EncryptedSession, context.Context) (int, error){
	"Rekey":         (*encsession.EncryptedSession).Rekey,
	"SealPlaintext": (*encsession.EncryptedSession).SealPlaintext,
	"Purge": func(s *encsession.EncryptedSession, ctx context.Context) (int, error) {
		return s.Purge(ctx, 0)
	},
	"DeleteItems": func(s *encsession.EncryptedSession, ctx context.Context) (int, error) {
		return s.DeleteItems(ctx, func(encsession.Item) bool { return true })
	},
	"RewriteItems": func(s *encsession.EncryptedSession, ctx context.Context) (int, error) {
		return s.RewriteItems(ctx, 1000, removeAll)
	},
}

func TestOperationsNeedARewriter(t *testing.T) {
	for name, operation := range operations {
		memory := stored(t, "rpx")
		before := contents(t, memory)
		for _, store := range []encsession.Session{
			fourMethods{memory},
			decorated{newSession(t, fourMethods{memory}, testKey(t, 1))},
			decorated{newSession(t, fourMethods{encsession.NewMemorySession(sessionID)}, testKey(t, 1))}, // even if there is nothing to do
		} {
			changed, err := operation(newSession(t, store, testKey(t, 0)), t.Context())
			require.Zero(t, changed)
			require.ErrorIs(t, err, errors.ErrUnsupported, name)
			require.ErrorContains(t, err, "encsession: "+name+": ")
			require.ErrorContains(t, err, "store is not a Rewriter")
		}
		require.Equal(t, before, contents(t, memory))
	}
}

func TestOperationErrors(t *testing.T) {
	for name, operation := range operations {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fresh := func() *faultyStore {
					store := stored(t, "pxp")
					require.NoError(t, store.MemorySession.AddItems(t.Context(), newForger(testIKM(1), sessionID).envelope(0, `{}`)))
					return store
				}
				run := func(store encsession.Session, ctx context.Context) (int, error) {
					return operation(newSession(t, store, rotated(t), encsession.WithPlaintext()), ctx)
				}
				changed, err := run(fresh(), t.Context())
				require.NoError(t, err)
				require.NotZero(t, changed)

				store := fresh()
				store.rewrite = func() error { return errBroken }
				before := contents(t, store)
				changed, err = run(store, t.Context())
				require.Zero(t, changed)
				require.ErrorIs(t, err, errBroken)
				require.ErrorContains(t, err, "encsession: "+name+": store: ")
				require.Equal(t, before, contents(t, store))

				store = fresh()
				before = contents(t, store)
				changed, err = run(editedStore{store, breaksAt(1)}, t.Context())
				require.Zero(t, changed)
				require.ErrorIs(t, err, errBroken)
				require.Equal(t, before, contents(t, store))

				for left := 0; ; left++ { // cancelled at every point
					store, before := fresh(), []string{}
					before = append(before, contents(t, store)...)
					changed, err = run(store, &countdown{t.Context(), left})
					if err == nil {
						require.Greater(t, left, 6, "the decorator, the store, and each item")
						break
					}
					require.ErrorIs(t, err, context.Canceled)
					if changed == 0 {
						require.Equal(t, before, contents(t, store))
					} else {
						require.NotEqual(t, before, contents(t, store), "all of the batch was done")
					}
				}

				_, err = operation(new(encsession.EncryptedSession), t.Context())
				require.ErrorContains(t, err, "the error of New was ignored")
			})
		})
	}
	session := newSession(t, encsession.NewMemorySession(sessionID), testKey(t, 0))
	_, err := session.DeleteItems(t.Context(), nil)
	require.EqualError(t, err, "encsession: DeleteItems: match is nil")
	_, err = session.RewriteItems(t.Context(), 1, nil)
	require.EqualError(t, err, "encsession: RewriteItems: edit is nil")
}

// TestOperationsLookAtTheirContextBetweenItems cancels the context in the
// middle of a batch that needs no change. The operation does not even open the
// rest of it.
func TestOperationsLookAtTheirContextBetweenItems(t *testing.T) {
	for name, operation := range map[string]func(*encsession.EncryptedSession, context.Context) (int, error){
		"Rekey":         operations["Rekey"],
		"SealPlaintext": operations["SealPlaintext"],
		"Purge": func(s *encsession.EncryptedSession, ctx context.Context) (int, error) {
			return s.Purge(ctx, time.Hour)
		},
		"DeleteItems": func(s *encsession.EncryptedSession, ctx context.Context) (int, error) {
			return s.DeleteItems(ctx, func(encsession.Item) bool { return false })
		},
		"RewriteItems": func(s *encsession.EncryptedSession, ctx context.Context) (int, error) {
			return s.RewriteItems(ctx, 1000, func(stored []encsession.Item) ([]encsession.Item, bool) {
				t.Errorf("edit sees %d items of a batch of 100", len(stored))
				return nil, true
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			const n = 100
			store := newFaultyStore()
			var last encsession.Event
			session := newSession(t, store, testKey(t, 0), encsession.WithObserver(func(_ context.Context, e encsession.Event) { last = e }))
			require.NoError(t, session.AddItems(t.Context(), messages(n)...))
			left := 20
			if name == "SealPlaintext" {
				left += n + 4 // its first walk, whose items do not count
			}
			changed, err := operation(session, &countdown{t.Context(), left})
			require.ErrorIs(t, err, context.Canceled)
			require.Zero(t, changed)
			require.LessOrEqual(t, last.Opened, 20)
			require.Greater(t, last.Opened, 10)
		})
	}
}

func TestOperationsWithoutRandomness(t *testing.T) {
	store := stored(t, "p")
	require.NoError(t, store.MemorySession.AddItems(t.Context(), newForger(testIKM(1), sessionID).envelope(0, `{}`)))
	before := contents(t, store)
	session := newSession(t, store, rotated(t), encsession.WithPlaintext())
	defer func(reader any) { rand.Reader = reader.(interface{ Read([]byte) (int, error) }) }(rand.Reader)
	rand.Reader = noRandomness{}
	_, err := session.Rekey(t.Context())
	require.ErrorContains(t, err, "item 0 from the newest: no randomness")
	_, err = session.SealPlaintext(t.Context())
	require.ErrorContains(t, err, "item 1 from the newest: no randomness")
	_, err = session.RewriteItems(t.Context(), 1, replacing(map[string]encsession.Item{string(numbered(0)): numbered(1)}))
	require.ErrorContains(t, err, "no randomness")
	require.Equal(t, before, contents(t, store))
}

type noRandomness struct{}

func (noRandomness) Read([]byte) (int, error) { return 0, errBroken }

// fill puts n items of a kind into a store.
func fill(t testing.TB, store encsession.Session, letter rune, n int) {
	t.Helper()
	items := make([]encsession.Item, n)
	for i := range items {
		items[i] = kind(letter, i)
	}
	require.NoError(t, store.AddItems(t.Context(), items...))
}

// ofKind is the kind of items that each operation changes, and whether they are
// left afterwards.
var ofKind = map[string]struct {
	letter rune
	left   bool
}{
	"Rekey": {'a', true}, "SealPlaintext": {'p', true}, "Purge": {'o', false}, "DeleteItems": {'o', false}, "RewriteItems": {'o', false},
}

// TestOperationsWorkInBatches lets each operation fail after its first batch,
// and runs it again.
func TestOperationsWorkInBatches(t *testing.T) {
	const n = 2500
	for name, operation := range operations {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newFaultyStore()
				fill(t, store.MemorySession, ofKind[name].letter, n)
				time.Sleep(2 * time.Second) // for Purge
				session := newSession(t, editedStore{store, breaksAt(2)}, rotated(t), encsession.WithTTL(encsession.NoExpiry), encsession.WithPlaintext())
				want := getItems(t, session, 0)
				require.Len(t, want, n)
				changed, err := operation(session, t.Context())
				require.ErrorIs(t, err, errBroken)
				require.Equal(t, 1000, changed, "the count says what is done")
				if ofKind[name].left {
					require.Equal(t, want, getItems(t, session, 0))
				} else {
					require.Equal(t, want[:n-1000], getItems(t, session, 0))
				}
				changed, err = operation(session, t.Context())
				require.NoError(t, err)
				require.Equal(t, n-1000, changed)
				alone := newSession(t, store, testKey(t, 0))
				if ofKind[name].left {
					require.Equal(t, want, getItems(t, alone, 0))
				} else {
					require.Empty(t, getItems(t, alone, 0))
				}
			})
		})
	}
}

// TestOperationsBesideOthers runs all operations at once on one session, again
// and again.
func TestOperationsBesideOthers(t *testing.T) {
	const writers, each = 3, 60
	store := encsession.NewMemorySession(sessionID)
	// The rotation follows the documented order: the writer with the old key
	// can already read items under the new one.
	old := newSession(t, store, encsession.Keyring{Current: testKey(t, 1), Older: []encsession.Key{testKey(t, 0)}})
	current := newSession(t, store, rotated(t))
	var mu sync.Mutex
	popped, deleted := map[string]int{}, 0
	var adding, working sync.WaitGroup
	done := make(chan struct{})
	for w := range writers {
		adding.Go(func() {
			for i := range each {
				session := []*encsession.EncryptedSession{old, current}[i%2]
				if err := session.AddItems(t.Context(), numbered(w*each+i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	forever := func(f func() error) {
		working.Go(func() {
			for {
				if err := f(); err != nil {
					t.Error(err)
					return
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for range 2 {
		forever(func() error { _, err := current.Rekey(t.Context()); return err })
	}
	forever(func() error { _, err := current.Audit(t.Context()); return err })
	forever(func() error { _, err := current.Purge(t.Context(), time.Hour); return err })
	forever(func() error { _, err := current.SealPlaintext(t.Context()); return err })
	matched := func(item encsession.Item) bool { return bytes.HasSuffix(item, []byte(`7}`)) }
	for range 2 {
		forever(func() error {
			n, err := current.DeleteItems(t.Context(), matched)
			mu.Lock()
			defer mu.Unlock()
			deleted += n
			return err
		})
	}
	forever(func() error {
		item, err := current.PopItem(t.Context())
		if item != nil {
			mu.Lock()
			defer mu.Unlock()
			popped[string(item)]++
		}
		return err
	})
	adding.Wait()
	close(done)
	working.Wait()
	_, err := current.Rekey(t.Context())
	require.NoError(t, err)
	n, err := current.DeleteItems(t.Context(), matched)
	require.NoError(t, err)
	deleted += n
	for _, item := range getItems(t, newSession(t, store, testKey(t, 0)), 0) {
		require.False(t, matched(encsession.Item(item)))
		popped[item]++
	}
	require.Equal(t, writers*each, len(popped)+deleted)
	for item, n := range popped {
		require.Equal(t, 1, n, item)
	}
}

// TestRekeyDoesNotBringBackWhatWasCleared clears the session between the look
// and the swap.
func TestRekeyDoesNotBringBackWhatWasCleared(t *testing.T) {
	store := newFaultyStore()
	require.NoError(t, newSession(t, store.MemorySession, testKey(t, 1)).AddItems(t.Context(), messages(3)...))
	cleared := editedStore{store, func(int, []encsession.Item) error {
		require.NoError(t, store.MemorySession.ClearSession(t.Context()))
		return store.MemorySession.AddItems(t.Context(), numbered(0))
	}}
	changed, err := newSession(t, cleared, rotated(t)).Rekey(t.Context())
	require.NoError(t, err)
	require.Zero(t, changed)
	require.Equal(t, numberedAll(0), contents(t, store))
}

// TestOperationsThroughADecorator works on the envelopes of the outer session,
// which lie inside those of the inner one.
func TestOperationsThroughADecorator(t *testing.T) {
	inner := newSession(t, encsession.NewMemorySession(sessionID), testKey(t, 5))
	require.NoError(t, newSession(t, decorated{inner}, testKey(t, 1)).AddItems(t.Context(), messages(3)...))
	outer := newSession(t, decorated{inner}, rotated(t))
	changed, err := outer.Rekey(t.Context())
	require.NoError(t, err)
	require.Equal(t, 3, changed)
	require.Equal(t, keyCounts(t, "01", 3, 0), audit(t, outer).Keys)
	require.Equal(t, texts(messages(3)), getItems(t, outer, 0))
	require.Equal(t, 3, audit(t, inner).Readable)
}

// TestErrorsOfSeveralBatches puts a malformed item in the second batch, and
// lets the store fail in the third.
func TestErrorsOfSeveralBatches(t *testing.T) {
	store := newFaultyStore()
	for i := range 2500 {
		item := numbered(i)
		if i == 1200 {
			item = encsession.Item(`{"__enc__":2}`)
		}
		require.NoError(t, store.MemorySession.AddItems(t.Context(), item))
	}
	all := newSession(t, editedStore{store, breaksAt(3)}, testKey(t, 0), encsession.WithUnreadableHistory())
	session := newSession(t, store, testKey(t, 0))
	changed, err := session.SealPlaintext(t.Context())
	require.Equal(t, 1299, changed)
	require.Equal(t, encsession.SkippedError{Malformed: 1, Plaintext: 1200}, skippedBy(t, err))

	_, err = newSession(t, store, rotated(t)).RewriteItems(t.Context(), 1, removeAll)
	require.NoError(t, err)
	require.Len(t, contents(t, store), 1201)
	require.NoError(t, store.MemorySession.ClearSession(t.Context()))
	fill(t, store.MemorySession, 'p', 1200)
	fill(t, store.MemorySession, 'm', 1)
	fill(t, store.MemorySession, 'p', 1299)
	changed, err = all.SealPlaintext(t.Context())
	require.Equal(t, 1999, changed)
	require.ErrorIs(t, err, errBroken)
	require.NotErrorAs(t, err, new(*encsession.SkippedError), "it has not finished")
	changed, err = all.SealPlaintext(t.Context())
	require.Equal(t, 500, changed)
	require.Equal(t, encsession.SkippedError{Malformed: 1}, skippedBy(t, err))
}

// TestOperationsPause uses a store that locks out all others while it changes a
// batch.
func TestOperationsPause(t *testing.T) {
	for name, operation := range operations {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store := newFaultyStore()
				slow := editedStore{store, func(_ int, new []encsession.Item) error {
					if new != nil {
						time.Sleep(time.Second)
					}
					return nil
				}}
				session := newSession(t, slow, rotated(t), encsession.WithPlaintext())
				fill(t, store.MemorySession, ofKind[name].letter, 2500)
				time.Sleep(2 * time.Second) // for Purge
				start := time.Now()
				changed, err := operation(session, t.Context())
				require.NoError(t, err)
				require.Equal(t, 2500, changed)
				require.Equal(t, 5*time.Second, time.Since(start), "three batches and two pauses")

				require.NoError(t, store.MemorySession.ClearSession(t.Context()))
				fill(t, store.MemorySession, ofKind[name].letter, 2500)
				ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
				defer cancel()
				changed, err = operation(session, ctx)
				require.ErrorIs(t, err, context.DeadlineExceeded, "a pause ends with the context")
				require.Equal(t, 1000, changed)
			})
		})
	}
}

// slow returns a store that takes a second for each batch.
func slow(store *faultyStore) editedStore {
	return editedStore{store, func(int, []encsession.Item) error {
		time.Sleep(time.Second)
		return nil
	}}
}

// detached is a context that is never done, but has the deadline of another.
type detached struct{ context.Context }

func (detached) Done() <-chan struct{} { return nil }

func (detached) Err() error { return nil }

func TestAPauseEndsInADetachedContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFaultyStore()
		fill(t, store.MemorySession, 'a', 2500)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		changed, err := newSession(t, slow(store), rotated(t)).Rekey(detached{ctx})
		require.NoError(t, err)
		require.Equal(t, 2500, changed)
	})
}

// TestNoPauseAfterABatchWithoutChanges uses a slow store and a session without
// anything to change.
func TestNoPauseAfterABatchWithoutChanges(t *testing.T) {
	for _, name := range []string{"Rekey", "Purge", "DeleteItems", "RewriteItems"} {
		synctest.Test(t, func(t *testing.T) {
			store := newFaultyStore()
			slow := editedStore{store, func(_ int, new []encsession.Item) error {
				require.Nil(t, new, name)
				time.Sleep(time.Second)
				return nil
			}}
			fill(t, store.MemorySession, 'o', 2500)
			start := time.Now()
			require.NoError(t, calls[name](newSession(t, slow, rotated(t)), t.Context()))
			require.Equal(t, 3*time.Second, time.Since(start), name)
		})
	}
}

// TestAPauseIsForTheLastBatchAlone needs a change only in the newest of three
// batches.
func TestAPauseIsForTheLastBatchAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFaultyStore()
		fill(t, store.MemorySession, 'o', 2000)
		fill(t, store.MemorySession, 'a', 1000)
		start := time.Now()
		_, err := newSession(t, slow(store), rotated(t)).Rekey(t.Context())
		require.NoError(t, err)
		require.Equal(t, 4*time.Second, time.Since(start), "three batches and one pause")
	})
}

// TestDeleteItemsIsForErasure removes everything that one person said, under
// two keys, expired or not, and nothing else.
func TestDeleteItemsIsForErasure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFaultyStore()
		by := func(n byte, sealed uint64, who string) encsession.Item {
			return newForger(testIKM(n), sessionID).envelope(sealed, `{"by":"`+who+`"}`)
		}
		all := []encsession.Item{
			by(1, 0, "ann"), by(0, bubbleStart, "bob"), by(1, bubbleStart, "ann"), by(0, math.MaxUint64, "ann"),
			by(1, 0, "bob"), encsession.Item(`{"by":"ann"}`), by(0, bubbleStart, "ann"),
		}
		require.NoError(t, store.MemorySession.AddItems(t.Context(), all...))
		said := func(item encsession.Item) bool { return bytes.Contains(item, []byte(`"ann"`)) }
		removed, err := newSession(t, store, rotated(t)).DeleteItems(t.Context(), said)
		require.Equal(t, 4, removed)
		require.Equal(t, encsession.SkippedError{Plaintext: 1}, skippedBy(t, err), "match did not see the plaintext: the erasure is not complete")
		require.Equal(t, texts([]encsession.Item{all[1], all[4], all[5]}), contents(t, store))
		removed, err = newSession(t, store, rotated(t), encsession.WithPlaintext()).DeleteItems(t.Context(), said)
		require.NoError(t, err)
		require.Equal(t, 1, removed)
		require.Equal(t, texts([]encsession.Item{all[1], all[4]}), contents(t, store))
	})
}

// TestMatchSeesNoMalformedItem has authentic items that are not JSON objects,
// one of which has expired.
func TestMatchSeesNoMalformedItem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFaultyStore()
		for _, sealed := range []uint64{0, bubbleStart} {
			require.NoError(t, store.MemorySession.AddItems(t.Context(), newForger(testIKM(0), sessionID).envelope(sealed, `["ann"]`)))
		}
		removed, err := newSession(t, store, testKey(t, 0)).DeleteItems(t.Context(), func(item encsession.Item) bool {
			t.Errorf("match sees %s", item)
			return true
		})
		require.Zero(t, removed)
		require.Equal(t, encsession.SkippedError{Malformed: 2}, skippedBy(t, err))
	})
}

// TestAnErasureUnderAWrongKeyIsAnError shows that DeleteItems then removes
// nothing and says so.
func TestAnErasureUnderAWrongKeyIsAnError(t *testing.T) {
	store := stored(t, "rrrr")
	removed, err := newSession(t, store, testKey(t, 9)).DeleteItems(t.Context(), func(encsession.Item) bool { return true })
	require.Zero(t, removed)
	require.Equal(t, encsession.SkippedError{Undecryptable: 4}, skippedBy(t, err))
	require.ErrorIs(t, err, encsession.ErrUndecryptable)
	require.Len(t, contents(t, store), 4)
}

// TestMatchSeesEachItemOnce uses the session within match, keeps the items and
// changes them.
func TestMatchSeesEachItemOnce(t *testing.T) {
	for _, letter := range "op" {
		store := newFaultyStore()
		session := newSession(t, store, testKey(t, 0), encsession.WithPlaintext(), encsession.WithTTL(encsession.NoExpiry))
		fill(t, store.MemorySession, letter, 2500)
		want := getItems(t, session, 0)
		slices.Reverse(want)
		var kept []encsession.Item
		var shown []string
		removed, err := session.DeleteItems(t.Context(), func(item encsession.Item) bool {
			shown = append(shown, string(item))
			kept = append(kept, item)
			if len(kept)%500 == 0 { // no lock is held, and match does not see added items
				if err := session.AddItems(t.Context(), message("added meanwhile")); err != nil {
					t.Error(err)
				}
			}
			return len(kept)%2 == 0
		})
		require.NoError(t, err)
		require.Equal(t, 1250, removed)
		require.Equal(t, want, shown)
		require.Equal(t, want, texts(kept), "nobody else writes to them")
		left := getItems(t, session, 0)
		require.Len(t, left, 1255)
		removed, err = session.DeleteItems(t.Context(), func(item encsession.Item) bool {
			for i := range item {
				item[i] = 'x'
			}
			return false
		})
		require.NoError(t, err)
		require.Zero(t, removed)
		require.Equal(t, left, getItems(t, session, 0))
	}
}

// lendingStore lends its memory to edit. It checks that edit has not changed
// the memory, and then uses it for something else.
type lendingStore struct{ *encsession.MemorySession }

func (s lendingStore) RewriteItems(ctx context.Context, first int, edit func([]encsession.Item) ([]encsession.Item, bool)) (int, error) {
	changed := false
	n, err := s.MemorySession.RewriteItems(ctx, first, func(stored []encsession.Item) ([]encsession.Item, bool) {
		before := texts(stored)
		new, more := edit(stored)
		changed = changed || !slices.Equal(before, texts(stored))
		for i := range new {
			new[i] = bytes.Clone(new[i])
		}
		for _, item := range stored {
			clear(item)
		}
		return new, more
	})
	if changed {
		err = errors.New("edit has changed what it was lent")
	}
	return n, err
}

// TestTheMemoryOfAStoreIsOnlyLent keeps and changes the items that match and
// edit are shown, plaintext and envelopes.
func TestTheMemoryOfAStoreIsOnlyLent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := lendingStore{stored(t, "rprp").MemorySession}
		session := newSession(t, store, testKey(t, 0), encsession.WithPlaintext())
		var kept []encsession.Item
		_, err := session.DeleteItems(t.Context(), func(item encsession.Item) bool {
			kept = append(kept, item)
			return false
		})
		require.NoError(t, err)
		require.Equal(t, numberedAll(3, 2, 1, 0), texts(kept))
		_, err = session.DeleteItems(t.Context(), func(item encsession.Item) bool {
			clear(item)
			return false
		})
		require.NoError(t, err)
		for i := 3; i >= 2; i-- {
			item, err := session.PopItem(t.Context())
			require.NoError(t, err)
			require.Equal(t, string(numbered(i)), string(item))
		}
		require.Equal(t, numberedAll(0, 1), getItems(t, session, 0))
	})
}

func TestAPanicOfMatchReachesTheCaller(t *testing.T) {
	store := stored(t, "rrr")
	session := newSession(t, store, testKey(t, 0))
	before := contents(t, store)
	calls := 0
	require.PanicsWithValue(t, "no match", func() {
		_, _ = session.DeleteItems(t.Context(), func(encsession.Item) bool {
			if calls++; calls == 2 {
				panic("no match")
			}
			return true
		})
	})
	require.Equal(t, before, contents(t, store))
	removed, err := session.DeleteItems(t.Context(), func(encsession.Item) bool { return true })
	require.NoError(t, err, "nothing is locked")
	require.Equal(t, 3, removed)
}

func TestRewriteItems(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := stored(t, "rxurpr") // readable: 0, 3, 4, 5
		session := newSession(t, store, testKey(t, 0), encsession.WithPlaintext())
		before := contents(t, store)
		changed, err := session.RewriteItems(t.Context(), 1, replacing(map[string]encsession.Item{
			string(numbered(0)): message("zero"), string(numbered(1)): nil, string(numbered(2)): nil,
			string(numbered(4)): message("four"), string(numbered(5)): nil,
		}))
		require.NoError(t, err)
		require.Equal(t, 3, changed)
		require.Equal(t, []string{string(message("zero")), string(numbered(3)), string(message("four"))}, getItems(t, session, 0))
		after := contents(t, store)
		require.Len(t, after, 5)
		require.Equal(t, before[1:4], after[1:4], "what was not replaced is untouched")
		for _, stored := range after {
			require.Contains(t, stored, `{"__enc__":1`, "the plaintext item was replaced by a sealed one")
		}
	})
}

func TestAReplacedItemKeepsItsTimeOfSealing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFaultyStore()
		require.NoError(t, store.MemorySession.AddItems(t.Context(),
			newForger(testIKM(0), sessionID).envelope(bubbleStart-300, `{"i":0}`),
			newForger(testIKM(1), sessionID).envelope(bubbleStart+50, `{"i":1}`), numbered(2)))
		session := newSession(t, store, rotated(t), encsession.WithPlaintext())
		time.Sleep(7 * time.Second)
		n, err := session.RewriteItems(t.Context(), 1, func(stored []encsession.Item) ([]encsession.Item, bool) {
			new := make([]encsession.Item, len(stored))
			for i, item := range stored {
				new[i] = encsession.Item(`{"new":` + string(item) + `}`)
			}
			return new, true
		})
		require.NoError(t, err)
		require.Equal(t, 3, n)
		var times []uint64
		for _, item := range contents(t, store) {
			times = append(times, sealedAt(t, item))
		}
		require.Equal(t, []uint64{bubbleStart - 300, bubbleStart + 50, bubbleStart + 7}, times)
		alone := newSession(t, store, testKey(t, 0))
		require.Equal(t, []string{`{"new":{"i":0}}`, `{"new":{"i":1}}`, `{"new":{"i":2}}`}, getItems(t, alone, 0))
	})
}

// TestEditSeesReadableItemsInBatches checks rules 1 and 2 of Rewriter over
// stores whose batches hold few readable items, none, or many.
func TestEditSeesReadableItemsInBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, word := range []string{
			"", "r", "rrrrr", "uuu", "rrrrrrrruuu", "rrrrrrrru", "ruuuuuuuuuuuu", "rururururururur",
			strings.Repeat("r", 50) + strings.Repeat("u", 40), strings.Repeat("r", 2100), strings.Repeat("r", 1500) + strings.Repeat("x", 1500),
		} {
			store := stored(t, word)
			session := newSession(t, store, testKey(t, 0))
			want := getItems(t, session, 0)
			slices.Reverse(want)
			for _, first := range []int{math.MinInt, -1, 0, 1, 2, 3, 10, 1000, 5000, math.MaxInt} {
				var seen []string
				calls := 0
				n, err := session.RewriteItems(t.Context(), first, func(stored []encsession.Item) ([]encsession.Item, bool) {
					require.NotEmpty(t, stored)
					if calls++; calls == 1 {
						require.LessOrEqual(t, len(stored), max(first, 1), "first batch of %.20q", word)
					}
					require.LessOrEqual(t, len(stored), 1000)
					require.Equal(t, len(stored), cap(stored))
					seen = append(seen, texts(stored)...)
					return nil, true
				})
				require.NoError(t, err)
				require.Zero(t, n)
				require.True(t, slices.Equal(want, seen), "%.20q from %d on", word, first)

				calls = 0
				n, err = session.RewriteItems(t.Context(), first, func([]encsession.Item) ([]encsession.Item, bool) {
					calls++
					return nil, false
				})
				require.NoError(t, err)
				require.Zero(t, n)
				require.Equal(t, min(1, len(want)), calls, "more was false")
			}
		}
	})
}

// heedless is a store that does not look at the context of RewriteItems.
type heedless struct{ *encsession.MemorySession }

func (s heedless) RewriteItems(ctx context.Context, first int, edit func([]encsession.Item) ([]encsession.Item, bool)) (int, error) {
	return s.MemorySession.RewriteItems(context.WithoutCancel(ctx), first, edit)
}

// TestACancelledEditChangesNothing cancels the context in the first of two
// calls of edit for one batch of the store.
func TestACancelledEditChangesNothing(t *testing.T) {
	store := stored(t, "rru") // the newest item is undecryptable, so the second batch of the store has two for edit
	session := newSession(t, heedless{store.MemorySession}, testKey(t, 0))
	want := getItems(t, session, 0)
	require.Len(t, want, 2)
	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	changed, err := session.RewriteItems(ctx, 1, func(stored []encsession.Item) ([]encsession.Item, bool) {
		calls++
		cancel()
		return make([]encsession.Item, len(stored)), true
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Zero(t, changed)
	require.Equal(t, 1, calls)
	require.Equal(t, want, getItems(t, session, 0))
}

// TestRewriteItemsLeavesEqualItemsAlone returns the same items from edit, in
// the same memory and in other memory.
func TestRewriteItemsLeavesEqualItemsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := stored(t, "rpurr")
		before := contents(t, store)
		session := newSession(t, store, testKey(t, 0), encsession.WithPlaintext())
		for name, edit := range map[string]func([]encsession.Item) []encsession.Item{
			"nil":  func([]encsession.Item) []encsession.Item { return nil },
			"same": func(stored []encsession.Item) []encsession.Item { return stored },
			"equal": func(stored []encsession.Item) []encsession.Item {
				new := make([]encsession.Item, len(stored))
				for i := range stored {
					new[i] = bytes.Clone(stored[i])
				}
				return new
			},
		} {
			n, err := session.RewriteItems(t.Context(), 1, func(stored []encsession.Item) ([]encsession.Item, bool) { return edit(stored), true })
			require.NoError(t, err, name)
			require.Zero(t, n, name)
			require.Equal(t, before, contents(t, store), name)
		}
	})
}

func TestRewriteItemsRefuses(t *testing.T) {
	store := stored(t, "rr")
	session := newSession(t, store, testKey(t, 0))
	before := contents(t, store)
	try := func(new ...encsession.Item) error {
		n, err := session.RewriteItems(t.Context(), 2, func([]encsession.Item) ([]encsession.Item, bool) { return new, true })
		require.Zero(t, n)
		require.Error(t, err)
		require.Equal(t, before, contents(t, store))
		return err
	}
	require.ErrorContains(t, try(nil), "edit returned 1 items for a batch of 2")
	require.ErrorContains(t, try(nil, nil, nil), "edit returned 3 items for a batch of 2")
	require.ErrorContains(t, try([]encsession.Item{}...), "edit returned 0 items for a batch of 2", "empty is not nil")
	for name, item := range invalidItems {
		if item == nil {
			continue // removes
		}
		err := try(nil, item)
		require.ErrorIs(t, err, encsession.ErrInvalidItem, name)
		require.ErrorContains(t, err, "encsession: RewriteItems: edit: item 1 of a batch: ")
		require.NotContains(t, err.Error(), "secret")
	}
	n, err := newSession(t, fourMethods{store}, testKey(t, 0)).RewriteItems(t.Context(), 1, func([]encsession.Item) ([]encsession.Item, bool) {
		panic("there is nothing to edit")
	})
	require.Zero(t, n)
	require.ErrorIs(t, err, errors.ErrUnsupported)
}

func TestRewriteItemsUnderStrictReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for word, want := range map[string]error{
			"urr": encsession.ErrUndecryptable, "rpxr": encsession.ErrPlaintext, "rmr": encsession.ErrMalformed, "frx": encsession.ErrFuture, "rxr": nil,
		} {
			store := stored(t, word)
			before := contents(t, store)
			n, err := newSession(t, store, testKey(t, 0), encsession.WithStrictReads()).RewriteItems(t.Context(), 10, removeAll)
			if want == nil {
				require.NoError(t, err)
				require.Equal(t, 2, n)
				continue
			}
			require.Zero(t, n)
			require.ErrorIs(t, err, want, word)
			require.ErrorContains(t, err, "from the newest")
			require.Equal(t, before, contents(t, store))
		}
	})
}

// TestEditMayUseTheSession shows that no lock is held during edit, and that
// edit does not see added items.
func TestEditMayUseTheSession(t *testing.T) {
	session := newSession(t, encsession.NewMemorySession(sessionID), testKey(t, 0))
	require.NoError(t, session.AddItems(t.Context(), messages(5)...))
	seen := 0
	n, err := session.RewriteItems(t.Context(), 1, func(stored []encsession.Item) ([]encsession.Item, bool) {
		seen += len(stored)
		require.NoError(t, session.AddItems(t.Context(), message("added")))
		_, err := session.GetItems(t.Context(), 0)
		require.NoError(t, err)
		return make([]encsession.Item, len(stored)), true
	})
	require.NoError(t, err)
	require.Equal(t, 5, n)
	require.Equal(t, 5, seen)
	for _, item := range getItems(t, session, 0) {
		require.Equal(t, string(message("added")), item)
	}
}

// TestPlaintextInBulkLooksAtItsContext removes 40,000 items, until the context
// is done.
func TestPlaintextInBulkLooksAtItsContext(t *testing.T) {
	const n = 40_000
	store := newFaultyStore()
	fill(t, store.MemorySession, 'p', n)
	session := newSession(t, store, testKey(t, 0), encsession.WithPlaintext())

	ctx, cancel := context.WithCancel(t.Context())
	calls := 0
	removed, err := session.RewriteItems(ctx, 100, func(stored []encsession.Item) ([]encsession.Item, bool) {
		if calls++; calls == 3 {
			cancel()
		}
		return removeAll(stored)
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 3, calls)
	require.Equal(t, 100+200, removed)

	ctx, cancel = context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	more, err := session.RewriteItems(ctx, 1, removeAll)
	require.Less(t, time.Since(start), time.Second)
	if err == nil { // a fast machine
		require.Equal(t, n-removed, more)
	} else {
		require.ErrorIs(t, err, context.DeadlineExceeded)
	}
	require.Len(t, contents(t, store), n-removed-more)
}

// TestADecoratorAroundADecorator wraps one decorator in another, over a
// Rewriter and over four methods.
func TestADecoratorAroundADecorator(t *testing.T) {
	for name, store := range map[string]encsession.Session{
		"Rewriter":     encsession.NewMemorySession(sessionID),
		"four methods": fourMethods{encsession.NewMemorySession(sessionID)},
	} {
		t.Run(name, func(t *testing.T) {
			inner := newSession(t, store, testKey(t, 1))
			outer := newSession(t, decorated{inner}, testKey(t, 0))
			require.NoError(t, outer.AddItems(t.Context(), messages(3)...))
			require.Equal(t, texts(messages(3)), getItems(t, outer, 0))
			require.Equal(t, texts(messages(3)[1:]), getItems(t, outer, 2))
			_, err := newSealer(t, testKey(t, 0)).Open(encsession.Item(getItems(t, inner, 1)[0]))
			require.NoError(t, err)
			_, err = newSealer(t, testKey(t, 1)).Open(encsession.Item(getItems(t, store, 1)[0]))
			require.NoError(t, err)

			// An item that only the inner session can read lies on top. A
			// Rewriter can pass over it, and a store with four methods cannot.
			require.NoError(t, inner.AddItems(t.Context(), message("not sealed by the outer one")))
			item, err := outer.PopItem(t.Context())
			edit := replacing(map[string]encsession.Item{string(messages(1)[0]): message("edited")})
			if name == "Rewriter" {
				require.NoError(t, err)
				require.Equal(t, string(messages(3)[2]), string(item))
				require.Equal(t, texts(messages(2)), getItems(t, outer, 0))
				require.Len(t, getItems(t, store, 0), 3)
				changed, err := outer.RewriteItems(t.Context(), 1, edit)
				require.NoError(t, err)
				require.Equal(t, 1, changed)
				require.Equal(t, []string{string(message("edited")), string(messages(2)[1])}, getItems(t, outer, 0))

				rotated := newSession(t, decorated{inner}, encsession.Keyring{Current: testKey(t, 2), Older: []encsession.Key{testKey(t, 0)}})
				changed, err = rotated.Rekey(t.Context())
				require.NoError(t, err)
				require.Equal(t, 2, changed)
				require.Equal(t, 2, audit(t, newSession(t, decorated{inner}, testKey(t, 2))).Readable)
			} else {
				require.ErrorIs(t, err, errors.ErrUnsupported)
				require.ErrorIs(t, err, encsession.ErrPlaintext)
				_, err = inner.PopItem(t.Context())
				require.NoError(t, err)
				item, err = outer.PopItem(t.Context())
				require.NoError(t, err)
				require.Equal(t, string(messages(3)[2]), string(item))
				_, err = outer.RewriteItems(t.Context(), 1, edit)
				require.ErrorIs(t, err, errors.ErrUnsupported)
				_, err = outer.Rekey(t.Context())
				require.ErrorIs(t, err, errors.ErrUnsupported)
			}
			require.NoError(t, outer.ClearSession(t.Context()))
			require.Empty(t, getItems(t, store, 0))
		})
	}
}

// BenchmarkOperationsGrow runs each operation over 10,000 items and over
// 100,000, in turn. ratio is the median of the ratios of the times. It is 10 if
// the time for each item stays the same.
//
//	go test -run '^$' -bench OperationsGrow -benchtime 3x .
func BenchmarkOperationsGrow(b *testing.B) {
	for _, name := range []string{"Rekey", "Purge", "SealPlaintext", "DeleteItems"} {
		b.Run(name, func(b *testing.B) {
			letter := map[string]rune{"Rekey": 'A', "Purge": 'O', "SealPlaintext": 'p', "DeleteItems": 'O'}[name]
			var ratios []float64
			var total [2]time.Duration
			for b.Loop() {
				var took [2]time.Duration
				for i, n := range growth() {
					store := encsession.NewMemorySession(sessionID)
					fill(b, store, letter, n)
					session := newSession(b, store, rotated(b))
					start := time.Now()
					changed, err := operations[name](session, b.Context())
					took[i] = time.Since(start)
					total[i] += took[i]
					require.NoError(b, err)
					require.Equal(b, n, changed)
				}
				ratios = append(ratios, float64(took[1])/float64(took[0]))
			}
			slices.Sort(ratios)
			b.ReportMetric(total[0].Seconds()*1000/float64(b.N), "10k-ms")
			b.ReportMetric(total[1].Seconds()*1000/float64(b.N), "100k-ms")
			b.ReportMetric(ratios[len(ratios)/2], "ratio")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// TestRemovalsBesideARekey lets another client seal items again between the
// look of a removal and its write. An erasure must not leave these items
// without an error.
func TestRemovalsBesideARekey(t *testing.T) {
	store := encsession.NewMemorySession(sessionID)
	older := newSession(t, store, testKey(t, 0), encsession.WithTTL(encsession.NoExpiry))
	require.NoError(t, older.AddItems(t.Context(), messages(3)...))
	ring := encsession.Keyring{Current: testKey(t, 1), Older: []encsession.Key{testKey(t, 0)}}
	session := newSession(t, store, ring, encsession.WithTTL(encsession.NoExpiry))
	other := newSession(t, store, ring, encsession.WithTTL(encsession.NoExpiry))
	removed, err := session.DeleteItems(t.Context(), func(encsession.Item) bool {
		_, err := other.Rekey(t.Context())
		require.NoError(t, err)
		return true
	})
	require.NoError(t, err)
	require.Equal(t, 3, removed)
	require.Empty(t, getItems(t, session, 0))
}

// TestRemovalsGiveUp lets another client change the item in every pass.
func TestRemovalsGiveUp(t *testing.T) {
	store := encsession.NewMemorySession(sessionID)
	session := newSession(t, store, testKey(t, 0))
	require.NoError(t, session.AddItems(t.Context(), messages(2)...))
	passes := 0
	removed, err := session.DeleteItems(t.Context(), func(encsession.Item) bool {
		passes++
		_, err := store.PopItem(t.Context())
		require.NoError(t, err)
		require.NoError(t, store.AddItems(t.Context(), seal(t, testKey(t, 0), message("another"))))
		return true
	})
	require.ErrorContains(t, err, "run the operation again")
	require.Equal(t, 1, removed, "the item below is removed in the first pass")
	require.GreaterOrEqual(t, passes, 10)
	require.Len(t, getItems(t, session, 0), 1)
}

// growth returns the two numbers of items to compare. Under -short, it returns
// a tenth of them: CI runs every benchmark once in this way.
func growth() []int {
	if testing.Short() {
		return []int{1_000, 10_000}
	}
	return []int{10_000, 100_000}
}

// TestEditMayChangeItemsInPlace has edit change the bytes that it was given, as
// works over MemorySession. Plaintext must not be stored as it is.
func TestEditMayChangeItemsInPlace(t *testing.T) {
	store := encsession.NewMemorySession("s")
	require.NoError(t, store.AddItems(t.Context(), encsession.Item(`{"n":1}`)))
	s := newSession(t, store, testKey(t, 0), encsession.WithPlaintext(), encsession.WithUnreadableHistory())
	require.NoError(t, s.AddItems(t.Context(), encsession.Item(`{"n":2}`)))
	changed, err := s.RewriteItems(t.Context(), 2, func(stored []encsession.Item) ([]encsession.Item, bool) {
		for _, item := range stored {
			item[5] = '7'
		}
		return stored, false
	})
	require.NoError(t, err)
	require.Equal(t, 2, changed)
	require.Equal(t, []string{`{"n":7}`, `{"n":7}`}, getItems(t, s, 0))
	for _, stored := range getItems(t, store, 0) {
		require.Contains(t, stored, "__enc__")
	}
}
