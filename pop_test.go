package encsession_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

// contents returns the stored items of store, byte for byte.
func contents(t testing.TB, store *faultyStore) []string {
	t.Helper()
	return getItems(t, store.MemorySession, 0)
}

func without(items []string, positions ...int) []string {
	left := []string{}
	for i, item := range items {
		removed := false
		for _, position := range positions {
			removed = removed || i == position
		}
		if !removed {
			left = append(left, item)
		}
	}
	return left
}

func TestPopItem(t *testing.T) {
	none := -1
	for _, tt := range []struct {
		word  string
		want  int    // the index of the popped item, or none, over either kind of store
		drops string // newest first
		fails rune   // the reason why this fails over a store with four methods
	}{
		{"", none, "", 0},
		{"r", 0, "", 0},
		{"rr", 1, "", 0},
		{"rrxx", 1, "xx", 0},
		{"xxrxx", 2, "xx", 0},
		{"xxx", none, "xxx", 0},
		{"rp", 1, "", 0},
		{"pxx", 0, "xx", 0},
		{"ru", 0, "u", 'u'},
		{"rm", 0, "m", 'm'},
		{"rf", 0, "f", 'f'},
		{"rxux", 0, "xux", 'u'},
		{"ux", none, "xu", 'u'},
		{"uuu", none, "uuu", 'u'},
		{"rurum", 2, "mu", 'm'},
	} {
		t.Run("Rewriter/"+tt.word, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, log := stored(t, tt.word), dropLog{}
				before := contents(t, store)
				item, err := newSession(t, store, testKey(t, 0), encsession.WithPlaintext(), log.option()).PopItem(t.Context())
				require.NoError(t, err)
				var want []error
				for _, letter := range tt.drops {
					want = append(want, causes[letter])
				}
				log.requireDrops(t, want...)
				if tt.want == none {
					require.Nil(t, item)
				} else {
					require.Equal(t, string(numbered(tt.want)), string(item))
				}
				require.Equal(t, without(before, tt.want), contents(t, store), "exactly the popped item is gone")
			})
		})
		t.Run("four methods/"+tt.word, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, log := stored(t, tt.word), dropLog{}
				before := contents(t, store)
				session := newSession(t, fourMethods{store}, testKey(t, 0), encsession.WithPlaintext(), log.option())
				item, err := session.PopItem(t.Context())
				if tt.fails != 0 {
					require.Nil(t, item)
					require.ErrorIs(t, err, errors.ErrUnsupported)
					require.ErrorIs(t, err, causes[tt.fails])
					require.ErrorContains(t, err, "encsession: PopItem: ")
					require.Equal(t, before, contents(t, store))
					require.Zero(t, store.pops.Load())
					require.Empty(t, log.drops)
					return
				}
				require.NoError(t, err)
				require.Len(t, log.drops, len(tt.drops))
				for _, d := range log.drops {
					require.ErrorIs(t, d.Err, encsession.ErrExpired)
				}
				if tt.want == none {
					require.Nil(t, item)
					require.Equal(t, before, contents(t, store))
				} else {
					require.Equal(t, string(numbered(tt.want)), string(item))
					require.Equal(t, before[:tt.want], contents(t, store), "popping removes the expired items above too")
				}
			})
		})
	}
}

// TestPlaintextIsDroppedUnlessWanted puts plaintext in places from which
// WithPlaintext would pop it.
func TestPlaintextIsDroppedUnlessWanted(t *testing.T) {
	for word, want := range map[string]int{"rp": 0, "p": -1, "rxpp": 0} {
		synctest.Test(t, func(t *testing.T) {
			store, log := stored(t, word), dropLog{}
			before := contents(t, store)
			item, err := newSession(t, store, testKey(t, 0), log.option()).PopItem(t.Context())
			require.NoError(t, err)
			if want < 0 {
				require.Nil(t, item)
			} else {
				require.Equal(t, string(numbered(want)), string(item))
			}
			require.Equal(t, without(before, want), contents(t, store))
			require.ErrorIs(t, log.drops[0].Err, encsession.ErrPlaintext)

			item, err = newSession(t, fourMethods{stored(t, word)}, testKey(t, 0)).PopItem(t.Context())
			require.Nil(t, item)
			require.ErrorIs(t, err, errors.ErrUnsupported)
			require.ErrorIs(t, err, encsession.ErrPlaintext)
		})
	}
}

// TestAWrongKeyPopsNoPlaintextFromBelow uses a store in the middle of its
// migration.
func TestAWrongKeyPopsNoPlaintextFromBelow(t *testing.T) {
	store := newFaultyStore()
	require.NoError(t, store.MemorySession.AddItems(t.Context(), numbered(0), numbered(1)))
	right := newSession(t, store, testKey(t, 0), encsession.WithPlaintext())
	wrong := newSession(t, store, testKey(t, 1), encsession.WithPlaintext())
	require.NoError(t, right.AddItems(t.Context(), numbered(2)))
	before := contents(t, store)
	for range 3 {
		item, err := wrong.PopItem(t.Context())
		require.Nil(t, item)
		require.ErrorIs(t, err, encsession.ErrUndecryptable)
		require.NotErrorIs(t, err, errors.ErrUnsupported)
		require.ErrorContains(t, err, "item 0 from the newest")
		require.Equal(t, before, contents(t, store))
	}
	for i := 2; i >= 0; i-- { // plaintext on top is popped
		item, err := right.PopItem(t.Context())
		require.NoError(t, err)
		require.Equal(t, string(numbered(i)), string(item))
	}
}

// TestTheBarrierOfAPop puts plaintext below items of all kinds. No option lifts
// the barrier for a pop.
func TestTheBarrierOfAPop(t *testing.T) {
	for word, want := range map[string]error{
		"pu": encsession.ErrUndecryptable, "pm": encsession.ErrMalformed,
		"pxu": encsession.ErrUndecryptable, "pux": encsession.ErrUndecryptable, // wherever it lies above
		"pmu": encsession.ErrUndecryptable, "pum": encsession.ErrMalformed, // the first one counts
		"px": nil, "pf": nil, // authentic, so the key is right
	} {
		synctest.Test(t, func(t *testing.T) {
			store := stored(t, word)
			before := contents(t, store)
			session := newSession(t, store, testKey(t, 0), encsession.WithPlaintext(), encsession.WithUnreadableHistory())
			item, err := session.PopItem(t.Context())
			if want == nil {
				require.NoError(t, err, word)
				require.Equal(t, string(numbered(0)), string(item))
				return
			}
			require.Nil(t, item)
			require.ErrorIs(t, err, want, word)
			require.Equal(t, errors.Is(want, encsession.ErrMalformed), errors.Is(err, encsession.ErrMalformed), word)
			require.Equal(t, before, contents(t, store))
		})
	}
}

// TestAStrictPopRemovesNothing pops from histories with an item that is neither
// readable nor expired.
func TestAStrictPopRemovesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for word, want := range map[string]error{
			"ru": encsession.ErrUndecryptable, "rpx": encsession.ErrPlaintext, "rm": encsession.ErrMalformed, "rf": encsession.ErrFuture, "urx": nil,
		} {
			store, log := stored(t, word), dropLog{}
			before := contents(t, store)
			for _, asStore := range []encsession.Session{store, fourMethods{store}} {
				item, err := newSession(t, asStore, testKey(t, 0), encsession.WithStrictReads(), log.option()).PopItem(t.Context())
				if want == nil { // strict errors are only for items that had to be judged
					require.NoError(t, err)
					require.Equal(t, string(numbered(1)), string(item))
					break
				}
				require.Nil(t, item)
				require.ErrorIs(t, err, want, word)
				require.ErrorContains(t, err, "from the newest")
				require.Empty(t, log.drops)
				require.Equal(t, before, contents(t, store))
			}
		}
	})
}

// TestOnlyRewriteItemsSaysThatItIsNotSupported lets another method fail with an
// error that looks the same. Then it lets RewriteItems fail with it after the
// first edit.
func TestOnlyRewriteItemsSaysThatItIsNotSupported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := stored(t, "rr")
		store.get = func(int) error {
			if store.gets.Load() == 1 {
				return syscall.EOPNOTSUPP
			}
			return nil
		}
		begun := editedStore{store, func(int, []encsession.Item) error { return syscall.EOPNOTSUPP }}
		for _, failing := range []encsession.Session{fourMethods{store}, begun} {
			item, err := newSession(t, failing, testKey(t, 0)).PopItem(t.Context())
			require.Nil(t, item)
			require.ErrorIs(t, err, syscall.EOPNOTSUPP)
			require.ErrorIs(t, err, errors.ErrUnsupported)
			require.Zero(t, store.pops.Load())
			require.Len(t, contents(t, store), 2)
		}
	})
}

// TestAStoreThatCannotRewriteIsPoppedFromTheEnd stands for a decorator around a
// store with four methods. It has RewriteItems, which returns
// errors.ErrUnsupported.
func TestAStoreThatCannotRewriteIsPoppedFromTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := stored(t, "rrx")
		store.rewrite = func() error { return fmt.Errorf("not over this one: %w", errors.ErrUnsupported) }
		item, err := newSession(t, store, testKey(t, 0)).PopItem(t.Context())
		require.NoError(t, err)
		require.Equal(t, string(numbered(1)), string(item))
		require.EqualValues(t, 2, store.pops.Load())
		require.Len(t, contents(t, store), 1)
	})
}

// TestARemovalThatSaysItIsNotSupported uses a store that removes the item and
// then fails. Its error looks as if the store could not rewrite.
func TestARemovalThatSaysItIsNotSupported(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := stored(t, "rrr")
		item, err := newSession(t, failsAfterwards{store}, testKey(t, 0)).PopItem(t.Context())
		require.Nil(t, item)
		require.ErrorIs(t, err, syscall.EOPNOTSUPP)
		require.Zero(t, store.pops.Load())
		require.Len(t, contents(t, store), 2)
	})
}

type failsAfterwards struct{ *faultyStore }

func (s failsAfterwards) RewriteItems(ctx context.Context, first int, edit func([]encsession.Item) ([]encsession.Item, bool)) (int, error) {
	n, err := s.faultyStore.RewriteItems(ctx, first, edit)
	if err == nil && n > 0 {
		err = fmt.Errorf("sync: %w", syscall.EOPNOTSUPP)
	}
	return n, err
}

// TestADecoratorRemovesNoPlaintextFromBelow puts a session with a wrong key
// between one with the right key and the store.
func TestADecoratorRemovesNoPlaintextFromBelow(t *testing.T) {
	store := newFaultyStore()
	require.NoError(t, store.MemorySession.AddItems(t.Context(), numbered(0)))
	require.NoError(t, newSession(t, store, testKey(t, 0), encsession.WithPlaintext()).AddItems(t.Context(), numbered(1)))
	before := contents(t, store)
	wrong := newSession(t, store, testKey(t, 1), encsession.WithPlaintext())
	item, err := newSession(t, decorated{wrong}, testKey(t, 0), encsession.WithPlaintext()).PopItem(t.Context())
	require.Nil(t, item)
	require.ErrorIs(t, err, encsession.ErrUndecryptable)
	n, err := wrong.RewriteItems(t.Context(), 1, replacing(map[string]encsession.Item{string(numbered(0)): nil}))
	require.Zero(t, n)
	require.ErrorIs(t, err, encsession.ErrUndecryptable)
	require.Equal(t, before, contents(t, store))

	require.NoError(t, store.MemorySession.AddItems(t.Context(), numbered(2))) // on top
	n, err = wrong.RewriteItems(t.Context(), 1, replacing(map[string]encsession.Item{string(numbered(2)): nil}))
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Equal(t, before, contents(t, store))
}

func TestPopItemWithInterleavedKeys(t *testing.T) {
	store := encsession.NewMemorySession(sessionID)
	a := newSession(t, store, testKey(t, 0), encsession.WithUnreadableHistory())
	b := newSession(t, store, testKey(t, 1), encsession.WithUnreadableHistory())
	for i := range 6 {
		require.NoError(t, []*encsession.EncryptedSession{a, b}[i%2].AddItems(t.Context(), numbered(i)))
	}
	for i := 4; i >= 0; i -= 2 {
		item, err := a.PopItem(t.Context())
		require.NoError(t, err)
		require.Equal(t, string(numbered(i)), string(item))
	}
	item, err := a.PopItem(t.Context())
	require.NoError(t, err)
	require.Nil(t, item)
	require.Equal(t, numberedAll(1, 3, 5), getItems(t, b, 0))
}

func TestPopItemAmongEqualPlaintextItems(t *testing.T) {
	for _, fourOnly := range []bool{false, true} {
		memory := encsession.NewMemorySession(sessionID)
		var store encsession.Session = memory
		if fourOnly {
			store = fourMethods{memory}
		}
		session := newSession(t, store, testKey(t, 0), encsession.WithPlaintext())
		same := message("again")
		require.NoError(t, memory.AddItems(t.Context(), same, numbered(1), same, same))
		for left := 3; left >= 2; left-- {
			item, err := session.PopItem(t.Context())
			require.NoError(t, err)
			require.Equal(t, string(same), string(item))
			require.Len(t, getItems(t, memory, 0), left)
		}
		require.Equal(t, []string{string(same), string(numbered(1))}, getItems(t, memory, 0))
	}
}

// TestAnotherClientIsFaster lets another client change the end of the history
// between the look and the pop.
func TestAnotherClientIsFaster(t *testing.T) {
	pop := func(t *testing.T, s *faultyStore) {
		_, err := s.MemorySession.PopItem(t.Context())
		require.NoError(t, err)
	}
	addWith := func(n byte, sealed uint64) func(*testing.T, *faultyStore) {
		return func(t *testing.T, s *faultyStore) {
			item := newForger(testIKM(n), sessionID).envelope(uint64(time.Now().Unix())-sealed, `{"i":"new"}`)
			require.NoError(t, s.MemorySession.AddItems(t.Context(), item))
		}
	}
	for _, tt := range []struct {
		name, word string
		change     func(*testing.T, *faultyStore)
		rewriter   any // the item that is popped over a Rewriter: a number, a text or nil
		fourOnly   any // the same over four methods, or the error
	}{
		{"pops the same", "rrr", pop, 1, 1},
		{"pops the only one", "r", pop, nil, nil},
		{"pops what lies above an undecryptable one", "rur", pop, 0, encsession.ErrUndecryptable},
		{"adds a readable one", "rr", addWith(0, 0), 1, "new"},
		{"adds an expired one", "rr", addWith(0, 601), 1, 1},
		{"adds an undecryptable one", "rr", addWith(9, 0), 1, encsession.ErrUndecryptable},
	} {
		check := func(t *testing.T, store *faultyStore, session *encsession.EncryptedSession, want any) {
			item, err := session.PopItem(t.Context())
			switch want := want.(type) {
			case error:
				require.ErrorIs(t, err, want)
				require.ErrorIs(t, err, errors.ErrUnsupported)
				require.Nil(t, item)
			case nil:
				require.NoError(t, err)
				require.Nil(t, item)
			default:
				require.NoError(t, err)
				if i, ok := want.(int); ok {
					require.Equal(t, string(numbered(i)), string(item))
				} else {
					require.Equal(t, fmt.Sprintf(`{"i":%q}`, want), string(item))
				}
			}
			// In every case, no item was lost that the reader cannot
			// authenticate.
			other := newSession(t, store.MemorySession, testKey(t, 9))
			foreign := 0
			for _, letter := range tt.word {
				if letter == 'u' {
					foreign++
				}
			}
			if tt.name == "adds an undecryptable one" {
				foreign++
			}
			require.Len(t, getItems(t, other, 0), foreign)
		}
		t.Run("Rewriter/"+tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, changed := stored(t, tt.word), false
				hooked := editedStore{store, func(int, []encsession.Item) error {
					if !changed {
						changed = true
						tt.change(t, store)
					}
					return nil
				}}
				check(t, store, newSession(t, hooked, testKey(t, 0)), tt.rewriter)
			})
		})
		for _, when := range []string{"before the look", "after the look"} {
			t.Run("four methods/"+tt.name+" "+when, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					store := stored(t, tt.word)
					if when == "after the look" {
						store.pop = func() error {
							store.pop = nil
							tt.change(t, store)
							return nil
						}
					} else {
						store.get = func(int) error {
							if store.gets.Load() == 2 {
								tt.change(t, store)
							}
							return nil
						}
					}
					check(t, store, newSession(t, fourMethods{store}, testKey(t, 0)), tt.fourOnly)
					if _, fails := tt.fourOnly.(error); fails && when == "before the look" {
						require.Zero(t, store.pops.Load(), "what the look shows must not be popped")
					}
				})
			})
		}
	}
}

// TestTheStoreDoesNotTakeBack is the one case in which a pop over four methods
// can lose an item. The error must say so.
func TestTheStoreDoesNotTakeBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := stored(t, "r")
		store.pop = func() error {
			return store.MemorySession.AddItems(t.Context(), seal(t, testKey(t, 9), message("foreign")))
		}
		store.add = func() error { return errBroken }
		_, err := newSession(t, fourMethods{store}, testKey(t, 0)).PopItem(t.Context())
		require.ErrorIs(t, err, errBroken)
		require.ErrorIs(t, err, encsession.ErrUndecryptable)
		require.ErrorContains(t, err, "did not take back")
	})
}

func TestStoreErrorsWhilePoppingFromTheEnd(t *testing.T) {
	for name, tt := range map[string]struct {
		fail func(*faultyStore)
		left int
	}{
		"first look": {func(s *faultyStore) { s.get = func(int) error { return errBroken } }, 2},
		"look before the pop": {func(s *faultyStore) {
			s.get = func(int) error {
				if s.gets.Load() == 3 { // windows of 1 and 2, and then the look
					return errBroken
				}
				return nil
			}
		}, 2},
		"pop": {func(s *faultyStore) { s.pop = func() error { return errBroken } }, 2},
		"second pop": {func(s *faultyStore) {
			s.pop = func() error {
				if s.pops.Load() == 2 {
					return errBroken
				}
				return nil
			}
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, log := stored(t, "rx"), dropLog{}
				tt.fail(store)
				item, err := newSession(t, fourMethods{store}, testKey(t, 0), log.option()).PopItem(t.Context())
				require.Nil(t, item)
				require.ErrorIs(t, err, errBroken)
				require.Len(t, contents(t, store), tt.left)
				require.Len(t, log.drops, 2-tt.left, "an expired item that was removed is reported even so")
			})
		})
	}
}

// missingRewriter is a Rewriter that never changes anything.
type missingRewriter struct{ *encsession.MemorySession }

func (s missingRewriter) RewriteItems(ctx context.Context, first int, edit func([]encsession.Item) ([]encsession.Item, bool)) (int, error) {
	return s.MemorySession.RewriteItems(ctx, first, func(stored []encsession.Item) ([]encsession.Item, bool) {
		_, more := edit(stored)
		return nil, more
	})
}

func TestARewriterThatChangesNothingIsNotAskedForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := missingRewriter{encsession.NewMemorySession(sessionID)}
		session := newSession(t, store, testKey(t, 0))
		require.NoError(t, session.AddItems(t.Context(), message("a")))
		require.NoError(t, store.AddItems(t.Context(), envelope("x")))
		_, err := session.PopItem(t.Context())
		require.ErrorContains(t, err, "item 1 from the newest: store lists the item but did not remove it in 64 attempts")
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err = session.PopItem(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

// laggingStore shows an item that is no longer there, as a replica may.
type laggingStore struct {
	*encsession.MemorySession
	stale    encsession.Item
	caughtUp time.Time
}

func (s *laggingStore) GetItems(context.Context, int) ([]encsession.Item, error) {
	if time.Now().Before(s.caughtUp) {
		return []encsession.Item{bytes.Clone(s.stale)}, nil
	}
	return nil, nil
}

func TestAStoreThatPopsNothingIsNotAskedForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &laggingStore{encsession.NewMemorySession(sessionID), seal(t, testKey(t, 0), message("a")), time.Now().Add(time.Hour)}
		session := newSession(t, fourMethods{store}, testKey(t, 0))
		_, err := session.PopItem(t.Context())
		require.ErrorContains(t, err, "item 0 from the newest: store lists the item but did not remove it in 64 attempts")
		store.caughtUp = time.Now().Add(10 * time.Millisecond)
		item, err := session.PopItem(t.Context())
		require.NoError(t, err)
		require.Nil(t, item)
	})
}

// TestProgressOfOthersIsNoMiss lets another client pop just before this one,
// far more often than maxMisses.
func TestProgressOfOthersIsNoMiss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := newFaultyStore()
		session := newSession(t, editedStore{store, func(int, []encsession.Item) error {
			if len(contents(t, store)) == 1 {
				return nil
			}
			_, err := store.MemorySession.PopItem(t.Context())
			return err
		}}, testKey(t, 0))
		for i := range 300 {
			require.NoError(t, session.AddItems(t.Context(), numbered(i)))
		}
		item, err := session.PopItem(t.Context())
		require.NoError(t, err)
		require.Equal(t, string(numbered(0)), string(item))
	})
}

// TestAForeignItemIsPutBackEvenIfTheCallerGivesUp cancels the context while the
// store pops an item that it must not pop.
func TestAForeignItemIsPutBackEvenIfTheCallerGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := stored(t, "r")
		ctx, cancel := context.WithCancel(t.Context())
		foreign := seal(t, testKey(t, 9), message("foreign"))
		popping := cancellingStore{store, func() {
			require.NoError(t, store.MemorySession.AddItems(t.Context(), foreign))
		}, cancel}
		_, err := newSession(t, popping, testKey(t, 0)).PopItem(ctx)
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, string(foreign), contents(t, store)[1])
	})
}

// TestAnItemIsPutBackAfterAClear lets a third client clear the session just
// before an item is put back. The item comes back. That is better than to lose
// it, since it may be newer than the clearing.
func TestAnItemIsPutBackAfterAClear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := stored(t, "r")
		foreign := seal(t, testKey(t, 9), message("foreign"))
		store.pop = func() error {
			store.pop = nil
			return store.MemorySession.AddItems(t.Context(), foreign)
		}
		store.add = func() error { return store.MemorySession.ClearSession(t.Context()) }
		item, err := newSession(t, fourMethods{store}, testKey(t, 0)).PopItem(t.Context())
		require.Nil(t, item)
		require.ErrorIs(t, err, errors.ErrUnsupported)
		require.ErrorIs(t, err, encsession.ErrUndecryptable)
		require.Equal(t, []string{string(foreign)}, contents(t, store))
	})
}

// cancellingStore calls before and after around each pop: another client adds
// an item, and the caller gives up.
type cancellingStore struct {
	encsession.Session
	before func()
	after  func()
}

func (s cancellingStore) PopItem(ctx context.Context) (encsession.Item, error) {
	s.before()
	defer s.after()
	return s.Session.PopItem(ctx)
}

func TestWaitingForAPopEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := stored(t, "rr")
		release := make(chan struct{})
		store.pop = func() error {
			<-release
			return nil
		}
		session := newSession(t, fourMethods{store}, testKey(t, 0))
		first := make(chan error)
		go func() {
			_, err := session.PopItem(t.Context())
			first <- err
		}()
		synctest.Wait() // the first pop is in the store

		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := session.PopItem(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		close(release)
		require.NoError(t, <-first)
		require.Len(t, contents(t, store), 1)
	})
}

// TestConcurrentPopsAndAdds uses several handles on one store. One of them has
// a wrong key.
func TestConcurrentPopsAndAdds(t *testing.T) {
	const adders, poppers, each = 4, 4, 50
	memory := encsession.NewMemorySession(sessionID)
	foreign := newSession(t, memory, testKey(t, 9), encsession.WithUnreadableHistory())
	handles := make([]*encsession.EncryptedSession, adders)
	for i := range handles {
		handles[i] = newSession(t, memory, testKey(t, 0), encsession.WithUnreadableHistory())
	}
	popped := make(chan string, adders*each)
	var adding, popping sync.WaitGroup
	done := make(chan struct{})
	for i := range adders {
		adding.Go(func() {
			for j := range each {
				if err := handles[i].AddItems(t.Context(), numbered(i*each+j)); err != nil {
					t.Error(err)
				}
				if j%10 == 0 {
					if err := foreign.AddItems(t.Context(), numbered(j)); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	for i := range poppers {
		popping.Go(func() {
			for {
				item, err := handles[i].PopItem(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				if item != nil {
					popped <- string(item)
					continue
				}
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	adding.Wait()
	close(done)
	popping.Wait()
	for _, item := range getItems(t, handles[0], 0) { // added after a popper had seen the end
		popped <- item
	}
	close(popped)
	seen := map[string]int{}
	for item := range popped {
		seen[item]++
	}
	require.Len(t, seen, adders*each)
	for item, n := range seen {
		require.Equal(t, 1, n, item)
	}
	require.Len(t, getItems(t, foreign, 0), adders*each/10, "the foreign items are all there")
}

// TestConcurrentPopsOverFourMethods lets the goroutines of two handles
// interfere with each other at random.
func TestConcurrentPopsOverFourMethods(t *testing.T) {
	const n = 200
	store := newFaultyStore()
	yield := func() error {
		time.Sleep(time.Duration(rand.IntN(3)) * time.Microsecond)
		return nil
	}
	store.get, store.pop = func(int) error { return yield() }, yield
	handles := []*encsession.EncryptedSession{
		newSession(t, fourMethods{store}, testKey(t, 0)),
		newSession(t, fourMethods{store}, testKey(t, 0)),
	}
	for i := range n {
		require.NoError(t, handles[0].AddItems(t.Context(), numbered(i)))
	}
	popped := make(chan string, n)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for {
				item, err := handles[i%2].PopItem(t.Context())
				if err != nil {
					t.Error(err)
				}
				if item == nil {
					return
				}
				popped <- string(item)
			}
		})
	}
	wg.Wait()
	close(popped)
	seen := map[string]bool{}
	for item := range popped {
		require.False(t, seen[item], item)
		seen[item] = true
	}
	require.Len(t, seen, n)
}
