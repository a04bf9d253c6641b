package redisstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// rewriteEach passes over a session and gives each item to edit by itself.
func rewriteEach(t testing.TB, s *Session, first int, edit func(Item) Item) int {
	t.Helper()
	changed, err := s.RewriteItems(context.Background(), first, func(stored []Item) ([]Item, bool) {
		new := make([]Item, len(stored))
		for i, item := range stored {
			new[i] = edit(item)
		}
		return new, true
	})
	require.NoError(t, err)
	return changed
}

// others stands for other clients that change the list of a session, with a
// model of the elements in the list.
type others struct {
	f      *fixture
	list   string
	rng    *rand.Rand
	stored []string // oldest first, no two equal
	added  int
}

func (o *others) push(t testing.TB, n int) {
	var pushed []any
	for range n {
		o.added++
		element := fmt.Sprintf(`{"n":%d}`, o.added)
		if o.rng.IntN(8) == 0 {
			element = fmt.Sprintf(`not JSON %d`, o.added)
		}
		o.stored = append(o.stored, element)
		pushed = append(pushed, element)
	}
	require.NoError(t, o.f.client.RPush(t.Context(), o.list, pushed...).Err())
}

// act makes one of the changes that other clients make.
func (o *others) act(t testing.TB) {
	ctx, client := t.Context(), o.f.client
	if len(o.stored) == 0 {
		o.push(t, 1)
		return
	}
	some := o.rng.IntN(len(o.stored))
	few := min(1+o.rng.IntN(4), len(o.stored))
	switch o.rng.IntN(6) {
	case 0:
		o.push(t, few)
	case 1:
		require.NoError(t, client.LRem(ctx, o.list, 1, o.stored[some]).Err())
		o.stored = slices.Delete(o.stored, some, some+1)
	case 2: // a neighbourhood
		for _, element := range o.stored[some:min(some+few, len(o.stored))] {
			require.NoError(t, client.LRem(ctx, o.list, 1, element).Err())
		}
		o.stored = slices.Delete(o.stored, some, min(some+few, len(o.stored)))
	case 3:
		require.NoError(t, client.RPopCount(ctx, o.list, few).Err())
		o.stored = o.stored[:len(o.stored)-few]
	case 4:
		o.added++
		element := fmt.Sprintf(`{"replaced":%d}`, o.added)
		require.NoError(t, client.LSet(ctx, o.list, int64(some), element).Err())
		o.stored[some] = element
	case 5:
		require.NoError(t, client.LTrim(ctx, o.list, int64(few), -1).Err())
		o.stored = o.stored[few:]
	}
}

// TestRewriteBesideOthers compares passes with a model while other clients add,
// remove, replace and pop elements between the batches. All elements differ, so
// the model knows the fate of each row.
func TestRewriteBesideOthers(t *testing.T) {
	f := newFixture(t, onServer)
	for seed := range uint64(150) {
		o := &others{f: f, list: f.config.keys("s").messages, rng: rand.New(rand.NewPCG(seed, 0))}
		require.NoError(t, f.Session("s").ClearSession(t.Context()))
		o.push(t, 5+o.rng.IntN(100))
		start := slices.Clone(o.stored)
		seen, replaced := map[string]int{}, 0
		lost := false // others have removed a whole batch
		newer := map[string]string{}
		wantChanged := 0
		changed, err := f.Session("s").RewriteItems(t.Context(), 1+o.rng.IntN(4), func(stored []Item) ([]Item, bool) {
			for range o.rng.IntN(4) {
				o.act(t)
			}
			lost = lost || !slices.ContainsFunc(stored, func(item Item) bool { return slices.Contains(o.stored, string(item)) })
			new := make([]Item, len(stored))
			for i, item := range stored {
				seen[string(item)]++
				require.True(t, isJSON(item))
				at := slices.Index(o.stored, string(item))
				switch o.rng.IntN(3) {
				case 0:
					new[i] = item
					continue
				case 1:
					replaced++
					new[i] = Item(fmt.Sprintf(`{"new":%d}`, replaced))
					newer[string(new[i])] = string(item)
					if at >= 0 {
						o.stored[at] = string(new[i])
						wantChanged++
					}
				case 2:
					if at >= 0 {
						o.stored = slices.Delete(o.stored, at, at+1)
						wantChanged++
					}
				}
			}
			return new, true
		})
		require.NoError(t, err)
		got := f.client.LRange(t.Context(), o.list, 0, -1).Val()
		require.Equal(t, o.stored, append([]string{}, got...), "seed %d", seed)
		require.Equal(t, wantChanged, changed)
		for item, times := range seen {
			if lost {
				break // edit may have seen too many
			}
			require.Equal(t, 1, times, "seed %d: %s went to edit %d times", seed, item, times)
			if !slices.Contains(start, item) {
				require.True(t, strings.HasPrefix(item, `{"replaced"`), "seed %d: %s was added after the start", seed, item)
			}
		}
		for _, element := range o.stored {
			if original, ok := newer[element]; ok {
				element = original
			}
			if slices.Contains(start, element) && isJSON([]byte(element)) {
				require.NotZero(t, seen[element], "seed %d: %s did not go to edit", seed, element)
			}
		}
	}
}

func TestRewriteHandsOutBatchesThatGrow(t *testing.T) {
	f := newFixture(t, onServer)
	junk := make([]any, 30)
	for i := range junk {
		junk[i] = "not JSON"
	}
	add(t, f.Session("s"), numbered(1, 5000)...)
	require.NoError(t, f.client.RPush(t.Context(), f.config.keys("s").messages, junk...).Err())
	for _, first := range []int{-1, 0, 1, 2, 7, 1000, 5000} {
		var sizes []int
		var seen []Item
		changed, err := f.Session("s").RewriteItems(t.Context(), first, func(stored []Item) ([]Item, bool) {
			sizes = append(sizes, len(stored))
			seen = append(seen, stored...)
			return nil, true
		})
		require.NoError(t, err)
		require.Zero(t, changed)
		require.LessOrEqual(t, sizes[0], max(first, 1), "below what is not an item, too")
		require.LessOrEqual(t, slices.Max(sizes), 1000)
		require.Less(t, len(sizes), 20)
		want := numbered(1, 5000)
		slices.Reverse(want)
		require.Equal(t, texts(want), texts(seen))
	}
}

// TestRewriteBatchesOfLargeItems: a batch ends once it reaches 1 MiB.
func TestRewriteBatchesOfLargeItems(t *testing.T) {
	f := newFixture(t, onServer)
	large := Item(`"` + strings.Repeat("x", 300_000) + `"`)
	add(t, f.Session("s"), slices.Repeat([]Item{large}, 10)...)
	var sizes []int
	_, err := f.Session("s").RewriteItems(t.Context(), 1000, func(stored []Item) ([]Item, bool) {
		sizes = append(sizes, len(stored))
		return make([]Item, len(stored)), true
	})
	require.NoError(t, err)
	require.Equal(t, []int{4, 4, 2}, sizes)
	requireItems(t, f.Session("s"))
}

// TestRewriteRemovesInPlace: a removal moves only elements that edit has
// already seen.
func TestRewriteRemovesInPlace(t *testing.T) {
	onEach(t, func(t *testing.T, s setup) {
		f := newFixture(t, s)
		const n = 3000
		add(t, f.Session("s"), numbered(1, n)...)
		var want []string
		for i := 1; i <= n; i++ {
			switch i % 3 {
			case 0:
				want = append(want, fmt.Sprintf(`{"n":%d}`, i))
			case 1:
				want = append(want, fmt.Sprintf(`{"new":%d}`, i))
			}
		}
		changed := rewriteEach(t, f.Session("s"), 1, func(stored Item) Item {
			var i int
			_, err := fmt.Sscanf(string(stored), `{"n":%d}`, &i)
			require.NoError(t, err)
			switch i % 3 {
			case 0:
				return stored
			case 1:
				return Item(fmt.Sprintf(`{"new":%d}`, i))
			}
			return nil
		})
		require.Equal(t, 2*n/3, changed)
		// The marks of removals are no longer in the list either.
		require.Equal(t, want, f.client.LRange(t.Context(), f.config.keys("s").messages, 0, -1).Val())
	})
}

// TestRewriteTellsEqualItemsApart by their places.
func TestRewriteTellsEqualItemsApart(t *testing.T) {
	f := newFixture(t, onServer)
	a, b := Item(`"a"`), Item(`"b"`)
	for _, removed := range [][]bool{{true, false, false, false}, {false, false, true, false}, {false, false, true, true}} {
		require.NoError(t, f.Session("s").ClearSession(t.Context()))
		add(t, f.Session("s"), a, a, b, a)
		stored := []Item{a, b, a, a} // newest first
		var want []Item
		changed, err := f.Session("s").RewriteItems(t.Context(), 4, func(got []Item) ([]Item, bool) {
			require.Equal(t, texts(stored), texts(got))
			new := slices.Clone(got)
			for i := range new {
				if removed[i] {
					new[i] = nil
				} else {
					want = append([]Item{stored[i]}, want...)
				}
			}
			return new, false
		})
		require.NoError(t, err)
		require.Equal(t, len(stored)-len(want), changed)
		requireItems(t, f.Session("s"), want...)
	}

	// An equal item further down is another item.
	require.NoError(t, f.Session("s").ClearSession(t.Context()))
	add(t, f.Session("s"), a, b, a)
	changed, err := f.Session("s").RewriteItems(t.Context(), 1, func([]Item) ([]Item, bool) {
		_, err := f.Session("s").PopItem(t.Context())
		require.NoError(t, err)
		return []Item{nil}, false
	})
	require.NoError(t, err)
	require.Zero(t, changed)
	requireItems(t, f.Session("s"), a, b)
}

func TestRewriteRefusesWhatEditReturns(t *testing.T) {
	f := newFixture(t, onServer)
	add(t, f.Session("s"), numbered(1, 3)...)
	good := Item(`{}`)
	for want, new := range map[string][]Item{
		"edit returned 2 items for a batch of 3": {nil, nil},
		"edit returned 4 items for a batch of 3": {nil, nil, nil, nil},
		"edit returned 0 items for a batch of 3": {},
		"edit: item 1 of a batch: it is not":     {nil, Item("secret"), good},
		"edit: item 2 of a batch: it is not":     {nil, good, Item("")},
	} {
		changed, err := f.Session("s").RewriteItems(t.Context(), 3, func([]Item) ([]Item, bool) { return new, true })
		require.ErrorContains(t, err, "redisstore: RewriteItems: "+want)
		require.NotContains(t, err.Error(), "secret")
		require.Zero(t, changed)
		requireItems(t, f.Session("s"), numbered(1, 3)...)
	}
}

func TestRewriteLooksAtItsContext(t *testing.T) {
	f := newFixture(t, onServer)
	add(t, f.Session("s"), numbered(1, 10)...)
	ctx, cancel := context.WithCancel(t.Context())
	edits := 0
	changed, err := f.Session("s").RewriteItems(ctx, 1, func(stored []Item) ([]Item, bool) {
		if edits++; edits == 2 {
			cancel()
		}
		return make([]Item, len(stored)), true
	})
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, 1, changed, "the first batch stays changed")
	require.Equal(t, 2, edits)
	requireItems(t, f.Session("s"), numbered(1, 9)...)
}

// TestRewriteDoesNotReviveASession checks a session that expires, or is
// cleared, during edit.
func TestRewriteDoesNotReviveASession(t *testing.T) {
	f := newFixture(t, onServer)
	add(t, f.Session("s"), numbered(1, 10)...)
	changed, err := f.Session("s").RewriteItems(t.Context(), 4, func(stored []Item) ([]Item, bool) {
		for _, key := range []string{f.config.keys("s").hash, f.config.keys("s").messages} {
			require.NoError(t, f.client.PExpire(t.Context(), key, 0).Err())
		}
		return slices.Repeat([]Item{Item(`{}`)}, len(stored)), true
	})
	require.NoError(t, err)
	require.Zero(t, changed)
	require.Empty(t, f.dump(t, "s"))
}

// TestRewriteFindsABatchThatHasMovedFar trims 5,000 elements in the middle of a
// pass.
func TestRewriteFindsABatchThatHasMovedFar(t *testing.T) {
	f := newFixture(t, onServer)
	add(t, f.Session("s"), numbered(1, 20_000)...)
	seen := 0
	changed, err := f.Session("s").RewriteItems(t.Context(), 1000, func(stored []Item) ([]Item, bool) {
		if seen += len(stored); seen == 2000 {
			require.NoError(t, f.client.LTrim(t.Context(), f.config.keys("s").messages, 5000, -1).Err())
			add(t, f.Session("s"), numbered(30_000, 36_000)...)
		}
		return make([]Item, len(stored)), true
	})
	require.NoError(t, err)
	require.Equal(t, 15_000, changed)
	require.Equal(t, 15_000, seen)
	requireItems(t, f.Session("s"), numbered(30_000, 36_000)...)
}

// TestRewriteUndoesABatch: the server refuses the last command of the batch.
func TestRewriteUndoesABatch(t *testing.T) {
	t.Parallel()
	store := startServer(t, "--rename-command", "lrem", "").newStore(t, nil)
	add(t, store.Session("s"), numbered(1, 5)...)
	for _, keep := range []int{0, 3} { // several removals, and one beside a replacement
		changed, err := store.Session("s").RewriteItems(t.Context(), 5, func(stored []Item) ([]Item, bool) {
			new := make([]Item, 5)
			for i := range keep + 1 {
				new[i] = Item(`"new"`)
			}
			return new, true
		})
		require.Error(t, err)
		require.NotContains(t, err.Error(), "carried it out")
		require.Zero(t, changed)
		requireItems(t, store.Session("s"), numbered(1, 5)...)
	}
}

// TestRewriteOfABrokenServer: the pass ends, whatever the server answers.
func TestRewriteOfABrokenServer(t *testing.T) {
	w := &window{top: 9, above: 1, page: 2, changes: 1, elements: []string{"1", "2", "3", "4"}}
	good := func() []any { return []any{int64(1), int64(7), int64(1), int64(2), []any{"1", "2", "3"}} }
	_, next, err := w.parse(good(), 2)
	require.NoError(t, err)
	require.Equal(t, &window{top: 7, above: 1, page: 2, elements: []string{"1", "2", "3"}}, next)
	for _, reply := range []any{nil, "OK", int64(1), []any{}, []any{int64(1)}} {
		_, _, err := w.parse(reply, 2)
		require.ErrorIs(t, err, errReply)
	}
	for at, values := range [][]any{
		{nil, "1", int64(-1), int64(2)},
		{nil, int64(-1), int64(8), int64(1 << 62), int64(1)}, // 8 would be an index in the window's own page
		{nil, int64(-1), int64(4)},
		{nil, int64(-1), int64(3)},
		{nil, "x", []any{}, []any{"1", int64(2), "3"}, []any{"1", nil, "3"}},
	} {
		for _, value := range values {
			reply := good()
			reply[at] = value
			_, _, err := w.parse(reply, 2)
			require.ErrorIs(t, err, errReply, "%d: %v", at, value)
		}
	}
}

// TestRewriteShifts gives every item the text of the one before it.
func TestRewriteShifts(t *testing.T) {
	f := newFixture(t, onServer)
	items := numbered(0, 3000)
	add(t, f.Session("s"), items[1:]...)
	next := 3000
	require.Equal(t, 3000, rewriteEach(t, f.Session("s"), 1, func(Item) Item { next--; return items[next] }))
	requireItems(t, f.Session("s"), items[:3000]...)
}

// TestRewriteLarge replaces 300 items of 16 kB, and then removes them.
func TestRewriteLarge(t *testing.T) {
	f := newFixture(t, onServer)
	item := func(n int, text string) Item {
		return Item(fmt.Sprintf(`{"n":%d,"content":"%s"}`, n, strings.Repeat(text, 16_000)))
	}
	old, want := make([]Item, 300), make([]Item, 300)
	for i := range old {
		old[i], want[i] = item(i, "x"), item(299-i, "y")
	}
	add(t, f.Session("s"), old...)
	next := -1
	require.Equal(t, 300, rewriteEach(t, f.Session("s"), 1000, func(Item) Item { next++; return item(next, "y") }))
	got, err := f.Session("s").GetItems(t.Context(), 0)
	require.NoError(t, err)
	require.True(t, slices.Equal(texts(want), texts(got)), "the items differ") // too long to print
	require.Equal(t, 300, rewriteEach(t, f.Session("s"), 1000, func(Item) Item { return nil }))
	requireItems(t, f.Session("s"))
}

func TestRewriteWithoutEdit(t *testing.T) {
	f := newFixture(t, onServer)
	add(t, f.Session("s"), Item(`{"n":1}`))
	_, err := f.Session("s").RewriteItems(t.Context(), 1, nil)
	require.EqualError(t, err, "redisstore: RewriteItems: edit is nil")
}
