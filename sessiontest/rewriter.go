package sessiontest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/encsession/encsession"
)

// These checks compare the items that go to edit as JSON, because a store may
// have changed white space. They accept batches of any size that Rewriter
// allows.

var rewriteUnsupported = check{
	name: "rewrite-unsupported",
	rule: "A store that cannot rewrite returns an error that wraps errors.ErrUnsupported, before it calls edit.",
	harm: "An erasure reports removed items, but nothing was removed.",
	run: func(t *tester) {
		s := t.fresh()
		if _, ok := s.Session.(encsession.Rewriter); !ok {
			t.Skip("the session is not a Rewriter")
		}
		n := numbered(1, 3)
		s.add(n...)
		var seen batches
		changed, err := s.tryRewrite(1, seen.of(editing(func(encsession.Item) encsession.Item { return nil })))
		if !errors.Is(err, errors.ErrUnsupported) {
			s.must("RewriteItems", err)
			return
		}
		if changed != 0 || len(seen.all) != 0 {
			t.Fatalf("RewriteItems calls edit %d times and gives %d, %v", len(seen.all), changed, err)
		}
		s.want(n...)
	},
}

var rewriteOrder = check{
	name: "rewrite-order",
	rule: "Every item goes to edit exactly once, newest first, within a batch and from batch to batch.",
	harm: "A change of keys leaves items under the old key, or a pop takes back another message than the last.",
	run: func(t *tester) {
		s := t.freshRewriter()
		all := append(numbered(1, 60), numbered(50, 70)...) // some are equal
		s.add(all...)
		for _, first := range []int{1, 7, 100} {
			var seen batches
			s.rewrite(0, first, seen.of(leave))
			seen.want(s, all)
		}
		s.want(all...)

		// If edit removes or replaces items, it still gets all others, in the
		// same order.
		var seen batches
		var want []encsession.Item
		changed := 0
		s.rewrite(54, 1, seen.of(editing(func(item encsession.Item) encsession.Item {
			changed++
			switch changed % 3 {
			case 0:
				return nil
			case 1:
				item = object("replaced", fmt.Sprint(changed))
			}
			want = append(want, item)
			return item
		})))
		seen.want(s, all)
		slices.Reverse(want)
		s.want(want...)
	},
}

var rewriteAdded = check{
	name: "rewrite-added",
	rule: "Items that are added after the start of a pass do not go to edit.",
	harm: "An operation on a session in use never ends, or also changes items that have just been added.",
	run: func(t *tester) {
		s := t.freshRewriter()
		other := s.again()
		old, added := numbered(1, 20), numbered(101, 400)
		s.add(old...)
		used := 0
		add := func(s handle) {
			t.Helper()
			if used+3 > len(added) {
				t.Fatal("RewriteItems passes edit the items that edit itself adds, without end")
			}
			s.add(added[used : used+3]...)
			used += 3
		}
		var seen batches
		s.rewrite(0, 1, seen.of(func([]encsession.Item) ([]encsession.Item, bool) {
			add(s)
			add(other)
			return nil, true
		}))
		seen.want(s, old)
		s.want(append(slices.Clone(old), added[:used]...)...)

		// Added items may take the places of items that edit has seen and that
		// were popped.
		s.clear()
		s.add(old...)
		seen = batches{}
		used = 0
		s.rewrite(0, 1, seen.of(func([]encsession.Item) ([]encsession.Item, bool) {
			if used == 0 {
				other.wantPop(old[19])
				add(s)
			}
			return nil, true
		}))
		seen.want(s, old)
		s.want(append(slices.Clone(old[:19]), added[:3]...)...)
	},
}

var rewriteGone = check{
	name: "rewrite-gone",
	rule: "Items that are popped, removed or cleared meanwhile stay gone; every other item goes to edit exactly once.",
	harm: "A message that a user takes back during a change of keys is back, or hides another one from it.",
	run: func(t *tester) {
		s := t.freshRewriter()
		other := s.again()
		old, new := numbered(1, 20), numbered(101, 120)
		for _, c := range []struct {
			gone func()
			left []int // the indices of the items that are left
		}{
			{func() { other.wantPop(old[19]) }, indices(0, 18)},
			{func() { s.wantPop(old[19]); other.wantPop(old[18]); s.wantPop(old[17]) }, indices(0, 16)},
			{func() { other.exchange(2, old[7], nil, old[8], nil) }, append(indices(0, 6), indices(9, 19)...)},
			{func() { other.exchange(1, old[0], nil) }, indices(1, 19)},
			{func() { other.clear() }, nil},
		} {
			s.clear()
			s.add(old...)
			var oldLeft, newLeft, swaps []encsession.Item
			for _, i := range c.left {
				oldLeft, newLeft = append(oldLeft, old[i]), append(newLeft, new[i])
			}
			for i := range old {
				swaps = append(swaps, old[i], new[i])
			}
			var seen batches
			swap := exchanging(swaps...)
			s.rewrite(len(c.left), 1, seen.of(func(stored []encsession.Item) ([]encsession.Item, bool) {
				if len(seen.all) == 1 {
					c.gone()
				}
				return swap(stored)
			}))
			s.want(newLeft...)
			// Edit may or may not see items that are gone.
			found := slices.DeleteFunc(seen.items(), func(item encsession.Item) bool {
				return contains(old, item) && !contains(oldLeft, item)
			})
			slices.Reverse(oldLeft)
			s.wantEqual("the items that go to edit, without those that are gone", found, oldLeft)
		}

		// Items that are added after edit has cleared the session are not those
		// that edit saw.
		s.clear()
		s.add(old...)
		cleared := false
		s.rewrite(0, 1, func(stored []encsession.Item) ([]encsession.Item, bool) {
			// A store without row IDs may take the new items for the old ones.
			if cleared {
				return nil, true
			}
			cleared = true
			other.clear()
			other.add(new...)
			return make([]encsession.Item, len(stored)), true
		})
		s.want(new...)
	},
}

var rewriteFirst = check{
	name: "rewrite-first",
	rule: "The first batch has at most first items; a first below 1 counts as 1.",
	harm: "A pop, which needs one item, reads and decrypts a long conversation each time.",
	run: func(t *tester) {
		s := t.freshRewriter()
		all := numbered(1, 10)
		s.add(all...)
		for _, first := range []int{1, 2, 5, 10, 0, -1, math.MinInt, 1_000_000, math.MaxInt} {
			var seen batches
			s.rewrite(0, first, seen.of(leave))
			seen.want(s, all)
			if got := len(seen.all[0]); got > max(first, 1) {
				t.Fatalf("with first %d the first batch has %d items", first, got)
			}
		}
	},
}

// These are the limits of a batch other than the first.
const (
	maxBatchItems = 1_000
	maxBatchBytes = 1 << 20
)

var rewriteBatches = check{
	name: "rewrite-batches",
	rule: "Later batches have at most 1,000 items and end once they reach 1 MiB; the pass takes all items.",
	harm: "The key of a long conversation cannot be changed: it takes all memory, or keeps all others waiting.",
	run: func(t *tester) {
		rewrite := func(all []encsession.Item) {
			t.Helper()
			s := t.freshRewriter()
			s.add(all...)
			var want []encsession.Item
			for i, item := range all {
				if i%3 > 0 {
					want = append(want, object("new", string(item[:30])))
				}
			}
			i := len(all)
			var seen batches
			s.rewrite(len(all), 1, seen.of(editing(func(item encsession.Item) encsession.Item {
				if i--; i < 0 || i%3 == 0 { // if there are too many, seen says so
					return nil
				}
				return object("new", string(all[i][:30]))
			})))
			seen.want(s, all)
			for i, batch := range seen.all[1:] {
				size := 0
				for _, item := range batch[:len(batch)-1] {
					size += len(item)
				}
				if len(batch) > maxBatchItems || size >= maxBatchBytes {
					t.Fatalf("batch %d has %d items, of which all but the last have %d bytes", i+1, len(batch), size)
				}
			}
			s.want(want...)
		}
		rewrite(manyItems())
		rewrite(largeItems())
	},
}

// manyItems returns small items for more than two batches: only their number
// ends a batch.
var manyItems = sync.OnceValue(func() (items []encsession.Item) {
	for i := range 2_100 {
		items = append(items, object("number", fmt.Sprintf("%030d", i)))
	}
	return items
})

// largeItems returns large items for more than two batches: their size ends a
// batch. The batches double up to 8 items, and 7 items have 1 MiB together.
var largeItems = sync.OnceValue(func() (items []encsession.Item) {
	rest := strings.Repeat("x", maxBatchBytes/7)
	for i := range 15 {
		items = append(items, object("number", fmt.Sprintf("%030d", i)+rest))
	}
	return items
})

var rewriteLeaves = check{
	name: "rewrite-leaves",
	rule: "A nil new leaves its batch as it is, equal bytes leave an item alone, and neither is counted.",
	harm: "An operation that finds nothing to do removes a conversation, or says that it has changed one.",
	run: func(t *tester) {
		n := numbered(0, 9)
		s := t.freshRewriter()
		s.add(n[1:6]...)
		for _, edit := range []edit{
			leave,
			func(stored []encsession.Item) ([]encsession.Item, bool) { return stored, true },
			func(stored []encsession.Item) ([]encsession.Item, bool) { return cloneAll(stored), true },
		} {
			s.rewrite(0, 1, edit)
			s.rewrite(0, 5, edit)
			s.want(n[1:6]...)
		}
		s.exchange(1, n[3], n[8])
		s.exchange(1, n[2], nil)
		s.want(n[1], n[8], n[4], n[5])
	},
}

var rewriteInPlace = check{
	name: "rewrite-in-place",
	rule: "A new item takes the place of the old one, and its neighbours stay where they are.",
	harm: "Changing the key of a session, or sealing one that was not encrypted, shuffles the conversation.",
	run: func(t *tester) {
		n := numbered(0, 9)
		s := t.freshRewriter()
		s.add(n[1], n[2], n[3], n[4])
		s.exchange(1, n[2], n[6])
		s.again().want(n[1], n[6], n[3], n[4])
		s.exchange(2, n[4], n[8], n[1], n[5])
		s.want(n[5], n[6], n[3], n[8])
		s.add(n[9])
		s.want(n[5], n[6], n[3], n[8], n[9])
		s.wantPop(n[9])
		s.wantPop(n[8])
		s.want(n[5], n[6], n[3])
		s.exchange(2, n[5], n[6], n[6], n[5])
		s.want(n[6], n[5], n[3])
		s.wantNewest(1, n[3])
	},
}

// short is testing.Short, except in the tests of this package, which need all
// checks.
var short = testing.Short

var rewriteKeepsTime = check{
	name: "rewrite-keeps-time",
	rule: "A new item keeps the time of the old one, and its place however long ago that was.",
	harm: "A store that sorts by time puts the items that Rekey has changed behind the newest message.",
	run: func(t *tester) {
		s := t.freshRewriter()
		if short() {
			t.Skip("this check waits for more than a second")
		}
		n := numbered(0, 9)
		s.add(n[1], n[2])
		s.add(n[3])
		// The store may keep times in whole seconds.
		time.Sleep(1_100 * time.Millisecond)
		s.add(n[4])
		s.exchange(2, n[1], n[7], n[2], n[8])
		s.want(n[7], n[8], n[3], n[4])
		s.exchange(1, n[3], n[6])
		s.add(n[5])
		s.want(n[7], n[8], n[6], n[4], n[5])
	},
}

var rewriteRemoves = check{
	name: "rewrite-removes",
	rule: "RewriteItems removes an item whose new one is nil.",
	harm: "What has expired cannot be purged, and PopItem of EncryptedSession returns one item for ever.",
	run: func(t *tester) {
		n := numbered(0, 6)
		s := t.freshRewriter()
		s.add(n[1], n[2], n[3], n[4])
		s.exchange(1, n[2], nil)
		s.want(n[1], n[3], n[4])
		s.exchange(2, n[4], nil, n[3], n[5])
		s.want(n[1], n[5])
		s.add(n[6])
		s.want(n[1], n[5], n[6])
		s.rewrite(3, 3, editing(func(encsession.Item) encsession.Item { return nil }))
		s.want()
		s.wantPop(nil)
		s.add(n[0])
		s.want(n[0])
	},
}

var rewriteRefuses = check{
	name: "rewrite-refuses",
	rule: "A new of another length, or an item of it that AddItems would refuse, is an error; the batch is unchanged.",
	harm: "A change of keys that fails halfway leaves a session that no key opens, or removes what it was to change.",
	run: func(t *tester) {
		n := numbered(1, 4)
		s := t.freshRewriter()
		s.add(n...)
		refused := func(what string, spoil func(new []encsession.Item) []encsession.Item) {
			t.Helper()
			calls := 0
			changed, err := s.tryRewrite(len(n), func(stored []encsession.Item) ([]encsession.Item, bool) {
				calls++
				new := make([]encsession.Item, len(stored))
				for i := range new {
					new[i] = object("changed", what)
				}
				return spoil(new), true
			})
			if err == nil || errors.Is(err, errors.ErrUnsupported) || changed != 0 || calls != 1 {
				t.Errorf("RewriteItems calls edit %d times and gives %d, %v for %s", calls, changed, err, what)
			}
			s.want(n...)
		}
		refused("no items", func(new []encsession.Item) []encsession.Item { return new[:0] })
		refused("an item too many", func(new []encsession.Item) []encsession.Item { return append(new, n[0]) })
		refused("a nil too many", func(new []encsession.Item) []encsession.Item { return append(new, nil) })
		refused("an item too few", func(new []encsession.Item) []encsession.Item { return new[:len(new)-1] })
		for _, bad := range notJSON() {
			for at := range n {
				refused(fmt.Sprintf("%q at %d", bad, at), func(new []encsession.Item) []encsession.Item {
					new[min(at, len(new)-1)] = bad
					return new
				})
			}
		}
	},
}

var rewritePartial = check{
	name: "rewrite-partial",
	rule: "After an error earlier batches stay changed, and the result counts these.",
	harm: "An operation that failed says that it has done nothing, and half of it is done.",
	run: func(t *tester) {
		all := numbered(1, 10)
		s := t.freshRewriter()
		s.add(all...)
		r := renewal{items: slices.Clone(all)}
		changed, err := s.tryRewrite(1, func(stored []encsession.Item) ([]encsession.Item, bool) {
			if r.done == 0 {
				return r.renew(stored), true
			}
			new := make([]encsession.Item, len(stored))
			new[len(new)-1] = notJSON()[0]
			return new, true
		})
		if err == nil || changed != r.done {
			t.Errorf("RewriteItems gives %d, %v after an item that is not JSON; want %d and an error", changed, err, r.done)
		}
		s.want(r.items...)
	},
}

var rewriteSwaps = check{
	name: "rewrite-swaps",
	rule: "An item changes only if its row still holds what edit saw; others are passed over and not counted.",
	harm: "A message that another client has changed or taken back meanwhile is overwritten, or is back.",
	run: func(t *tester) {
		n := numbered(0, 9)
		s := t.freshRewriter()
		for _, by := range []handle{s, s.again()} {
			for _, c := range []struct {
				meanwhile func()
				changed   int
				want      []encsession.Item
			}{
				{func() { by.exchange(1, n[4], n[9]) }, 3, []encsession.Item{n[5], n[6], n[7], n[9]}},
				{func() { by.exchange(1, n[4], nil) }, 3, []encsession.Item{n[5], n[6], n[7]}},
				{func() { by.wantPop(n[4]) }, 3, []encsession.Item{n[5], n[6], n[7]}},
				{func() { by.wantPop(n[4]); by.add(n[9]) }, 3, []encsession.Item{n[5], n[6], n[7], n[9]}},
				{func() { by.clear(); by.add(n[9]) }, 0, []encsession.Item{n[9]}},
			} {
				for _, last := range []encsession.Item{n[8], nil} {
					s.clear()
					s.add(n[1:5]...)
					swap, done := exchanging(n[1], n[5], n[2], n[6], n[3], n[7], n[4], last), false
					s.rewrite(c.changed, 4, func(stored []encsession.Item) ([]encsession.Item, bool) {
						if !done {
							done = true
							c.meanwhile()
						}
						return swap(stored)
					})
					s.want(c.want...)
				}
			}
		}
	},
}

var rewriteRows = check{
	name: "rewrite-rows",
	rule: "An equal item in another row is another item.",
	harm: "Taking back the last of two equal messages takes back the first, or both.",
	run: func(t *tester) {
		n := numbered(0, 9)
		yes := object("user", "yes")
		s := t.freshRewriter()
		other := s.again()
		for _, to := range []encsession.Item{n[8], nil} {
			// put returns these items, with the value of to in the place of
			// each nil one. If to is nil too, it leaves them out.
			put := func(items ...encsession.Item) []encsession.Item {
				for i := range items {
					if items[i] == nil {
						items[i] = to
					}
				}
				return slices.DeleteFunc(items, func(item encsession.Item) bool { return item == nil })
			}
			for number, want := range [][]encsession.Item{
				put(yes, n[1], yes, n[2], nil), put(yes, n[1], nil, n[2], yes), put(nil, n[1], yes, n[2], yes),
			} {
				s.clear()
				s.add(yes, n[1], yes, n[2], yes)
				met := -1
				s.rewrite(1, 1, editing(func(item encsession.Item) encsession.Item {
					if equalJSON(item, yes) {
						if met++; met == number {
							return to
						}
					}
					return item
				}))
				s.want(want...)
			}

			// Edit changes only the newest item, which is yes. The element of
			// want at index n is the outcome if n items were changed. The
			// second outcome is that of a store without row IDs: it may take
			// the nearest equal item below for the row.
			for _, c := range []struct {
				stored    []encsession.Item
				meanwhile func()
				want      [][]encsession.Item
			}{
				{[]encsession.Item{n[1], yes}, func() { other.wantPop(yes); other.add(n[2], yes) }, [][]encsession.Item{
					{n[1], n[2], yes},
				}},
				{[]encsession.Item{n[1], yes}, func() { other.add(yes) }, [][]encsession.Item{
					nil, put(n[1], nil, yes),
				}},
				{[]encsession.Item{n[1], yes}, func() { other.wantPop(yes); other.add(yes) }, [][]encsession.Item{
					{n[1], yes}, put(n[1], nil),
				}},
				{[]encsession.Item{yes, n[1], yes, n[2], yes}, func() { other.wantPop(yes) }, [][]encsession.Item{
					{yes, n[1], yes, n[2]}, put(yes, n[1], nil, n[2]),
				}},
			} {
				s.clear()
				s.add(c.stored...)
				calls := 0
				changed, err := s.tryRewrite(1, func(stored []encsession.Item) ([]encsession.Item, bool) {
					if calls++; calls > 1 {
						return nil, true
					}
					c.meanwhile()
					return []encsession.Item{to}, true
				})
				s.must("RewriteItems", err)
				if changed >= len(c.want) || c.want[changed] == nil {
					t.Fatalf("RewriteItems says that it changed %d items; the session holds %s", changed, s.items(0))
				}
				s.want(c.want[changed]...)
			}
		}
	},
}

var rewriteBytes = check{
	name: "rewrite-bytes",
	rule: "An item is compared byte for byte with what edit saw, not as text under a collation.",
	harm: "A message that another client has changed by a capital or an accent is overwritten.",
	run: func(t *tester) {
		stored, other := object("text", "cafe"), object("another", "item")
		s := t.freshRewriter()
		for _, text := range []string{"CAFE", "café", "cafe\u0301", "cafe ", "caf_", "caf%", "cafe\u200b", "cafe\x00"} {
			alike := object("text", text)
			s.clear()
			s.add(stored)
			s.rewrite(0, 1, func([]encsession.Item) ([]encsession.Item, bool) {
				s.exchange(1, stored, alike)
				return []encsession.Item{other}, true
			})
			s.want(alike)
		}
	},
}

var rewriteAtomic = check{
	name: "rewrite-atomic",
	rule: "A batch is one atomic step: no reader finds a part of it changed.",
	harm: "A user who reads a session while its key changes finds messages twice, or some of them gone.",
	run: func(t *tester) {
		const rounds, size = 8, 6
		item := func(round int) encsession.Item { return object("round", fmt.Sprint(round)) }
		s := t.freshRewriter()
		s.add(slices.Repeat([]encsession.Item{item(0)}, size)...)
		var mu sync.Mutex
		ends := map[int]bool{} // how many items come before the end of each batch
		rewriting := true
		s.concurrently(func(writer int, s handle) error {
			if writer > 0 {
				for more := true; more; time.Sleep(time.Millisecond) {
					mu.Lock()
					more = rewriting // the last read comes after all changes
					mu.Unlock()
					items, err := s.tryItems(0)
					if err != nil {
						return err
					}
					slices.Reverse(items)
					mu.Lock()
					for i := 1; i < len(items); i++ {
						if !equalJSON(items[i-1], items[i]) && !ends[i] {
							err = fmt.Errorf("GetItems finds a part of a batch changed: %s", items)
						}
					}
					mu.Unlock()
					if err != nil {
						return err
					}
				}
				return nil
			}
			defer func() {
				mu.Lock()
				rewriting = false
				mu.Unlock()
			}()
			for round := range rounds {
				end := 0
				_, err := s.tryRewrite(size, func(stored []encsession.Item) ([]encsession.Item, bool) {
					mu.Lock()
					end += len(stored)
					ends[end] = true
					mu.Unlock()
					return slices.Repeat([]encsession.Item{item(round + 1)}, len(stored)), true
				})
				if err != nil {
					return err
				}
			}
			return nil
		})
		s.want(slices.Repeat([]encsession.Item{item(rounds)}, size)...)
	},
}

var rewriteUnlocked = check{
	name: "rewrite-unlocked",
	rule: "The store holds no lock, no transaction and no connection while edit runs, which may use the session.",
	harm: "An operation waits for itself for ever, or keeps all others waiting while keys are fetched.",
	run: func(t *tester) {
		n := numbered(0, 9)
		s := t.freshRewriter()
		for _, used := range []handle{s, s.again()} {
			s.clear()
			s.add(n[1], n[2])
			calls := 0
			s.rewrite(0, 1, func([]encsession.Item) ([]encsession.Item, bool) {
				if calls++; calls > 1 {
					return nil, true
				}
				used.want(n[1], n[2])
				used.add(n[3])
				used.want(n[1], n[2], n[3])
				used.exchange(1, n[1], n[4])
				used.wantPop(n[3])
				used.want(n[4], n[2])
				used.clear()
				used.want()
				used.add(n[5])
				return nil, true
			})
			s.want(n[5])
		}
	},
}

var rewriteGoroutine = check{
	name: "rewrite-goroutine",
	rule: "RewriteItems calls edit in the goroutine of its caller.",
	harm: "What edit collects is read while it is written, and a panic of edit ends the program.",
	run: func(t *tester) {
		s := t.freshRewriter()
		s.add(numbered(1, 10)...)
		caller := goroutine()
		s.rewrite(0, 1, func([]encsession.Item) ([]encsession.Item, bool) {
			if got := goroutine(); got != caller {
				t.Errorf("RewriteItems calls edit in goroutine %s; its caller is %s", got, caller)
			}
			return nil, true
		})
	},
}

// goroutine returns the number of the goroutine that calls it.
func goroutine() string {
	stack := make([]byte, 64)
	return strings.Fields(string(stack[:runtime.Stack(stack, false)]))[1] // "goroutine 1 [running]:"
}

var rewriteOnce = check{
	name: "rewrite-once",
	rule: "The store may retry a change, but never calls edit twice for one batch.",
	harm: "What edit counts or collects is doubled if two clients are at work: a report of an erasure is wrong.",
	run: func(t *tester) {
		all := numbered(1, 20)
		s := t.freshRewriter()
		other := s.again()
		s.add(all...)
		var seen batches
		changed, err := s.tryRewrite(1, seen.of(func(stored []encsession.Item) ([]encsession.Item, bool) {
			other.exchange(1, stored[0], object("changed meanwhile", fmt.Sprint(len(seen.all))))
			new := make([]encsession.Item, len(stored))
			for i := range new {
				new[i] = object("changed", string(stored[i]))
			}
			return new, true
		}))
		s.must("RewriteItems", err)
		seen.want(s, all)
		if want := len(all) - len(seen.all); changed != want {
			t.Errorf("RewriteItems says that it changed %d items; want %d", changed, want)
		}
	},
}

var rewriteMore = check{
	name: "rewrite-more",
	rule: "If edit returns more as false, the pass ends after this batch, which is changed.",
	harm: "A pop reads the whole conversation, or removes nothing.",
	run: func(t *tester) {
		all := numbered(1, 10)
		s := t.freshRewriter()
		for last := range 3 {
			s.clear()
			s.add(all...)
			r := renewal{items: slices.Clone(all)}
			calls := 0
			changed, err := s.tryRewrite(2, func(stored []encsession.Item) ([]encsession.Item, bool) {
				calls++
				return r.renew(stored), calls <= last
			})
			s.must("RewriteItems", err)
			if calls > last+1 || calls <= last && r.done != len(all) || changed != r.done {
				t.Fatalf("RewriteItems calls edit %d times and says that it changed %d items; want %d and %d",
					calls, changed, last+1, r.done)
			}
			s.want(r.items...)
		}
	},
}

var rewriteContext = check{
	name: "rewrite-context",
	rule: "If the context is done when edit returns, nothing more is changed, and RewriteItems returns its error.",
	harm: "An operation that was broken off goes on, or cannot be told from one that is complete.",
	run: func(t *tester) {
		all := numbered(1, 10)
		s := t.freshRewriter()
		for _, more := range []bool{true, false} {
			s.clear()
			s.add(all...)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			r := renewal{items: slices.Clone(all)}
			calls := 0
			changed, err := s.Session.(encsession.Rewriter).RewriteItems(ctx, 2,
				func(stored []encsession.Item) ([]encsession.Item, bool) {
					if calls++; calls == 1 {
						return r.renew(stored), true
					}
					cancel()
					return slices.Repeat([]encsession.Item{object("changed", "too late")}, len(stored)), more
				})
			cancel()
			if !errors.Is(err, context.Canceled) || calls != 2 || changed != r.done {
				t.Errorf("RewriteItems calls edit %d times and gives %d, %v; want 2, %d and %q",
					calls, changed, err, r.done, context.Canceled)
			}
			s.want(r.items...)
		}
	},
}

var rewriteEmpty = check{
	name: "rewrite-empty",
	rule: "RewriteItems does not call edit over an empty session.",
	harm: "A pop of a new session fails, or an edit that looks at the newest item panics.",
	run: func(t *tester) {
		s := t.freshRewriter()
		rewrite := func() { // it fails if edit is called with no items
			t.Helper()
			for _, first := range []int{0, 1, 10} {
				s.rewrite(0, first, leave)
			}
			s.want()
		}
		rewrite() // nobody has written to it yet
		s.add(numbered(1, 3)...)
		s.clear()
		rewrite()
		s.add(numbered(1, 1)...)
		s.pop()
		rewrite()
		s.add(numbered(1, 7)...)
		s.rewrite(7, 7, editing(func(encsession.Item) encsession.Item { return nil }))
		rewrite()
	},
}

var rewriteCopied = check{
	name: "rewrite-copied",
	rule: "Slices that edit returns are not changed, and not kept after RewriteItems returns.",
	harm: "A caller that uses its buffer again changes what was said before.",
	run: func(t *tester) {
		n := numbered(1, 5)
		s := t.freshRewriter()
		s.add(n[:3]...)
		swap := exchanging(n[1], n[3], n[2], n[4])
		var given, before []encsession.Item
		s.rewrite(2, 3, func(stored []encsession.Item) ([]encsession.Item, bool) {
			new, more := swap(stored)
			new = cloneAll(new)
			given, before = append(given, new...), append(before, cloneAll(new)...)
			return new, more
		})
		t.wantSame("RewriteItems changed the new items", given, before)
		scribble(given)
		s.want(n[0], n[3], n[4])
	},
}

var rewriteIsolated = check{
	name: "rewrite-isolated",
	rule: "RewriteItems changes nothing in another session, even if an equal item lies there.",
	harm: "A message that two users have both sent is changed in the conversation of the other.",
	run: func(t *tester) {
		t.freshRewriter()
		one, two := object("the same", "in all sessions"), object("this too", "is the same")
		held := t.heldSessions(func(handle) (encsession.Item, encsession.Item) { return one, two })
		// Each session is changed in its turn. A change that a turn makes in
		// another session is seen only if the turn of the other one comes
		// later, so the second round goes the other way.
		for _, s := range held {
			s.want(one, two)
			s.exchange(1, two, s.mark("two"))
		}
		for _, s := range slices.Backward(held) {
			s.want(one, s.mark("two"))
			s.exchange(1, one, s.mark("one"))
		}
		for _, s := range held {
			s.want(s.mark("one"), s.mark("two"))
			s.clear()
		}
	},
}

var rewriteConcurrent = check{
	name: "rewrite-concurrent",
	rule: "If several RewriteItems change one item at once, exactly one counts it, and its new item stays.",
	harm: "Two workers both believe that they have taken the message, and both answer it.",
	run: func(t *tester) {
		n := numbered(1, 3)
		s := t.freshRewriter()
		for range 10 {
			s.clear()
			s.add(n...)
			var won collection
			s.concurrently(func(writer int, s handle) error {
				mine := numbered(100+writer, 100+writer)[0]
				changed, err := s.tryRewrite(3, exchanging(n[1], mine))
				if changed > 0 {
					won.add(mine)
				}
				return err
			})
			if len(won.items) != 1 {
				t.Fatalf("%d of %d concurrent RewriteItems of one item say that they changed it; want 1",
					len(won.items), writers)
			}
			s.want(n[0], won.items[0], n[2])
		}
	},
}

var rewriteMix = check{
	name: "rewrite-mix",
	rule: "Concurrent RewriteItems, AddItems and PopItem neither lose nor double an item.",
	harm: "While a conversation is sealed or purged, a message that arrives is gone, or one taken back is there again.",
	run: func(t *tester) {
		const rounds = 4
		s := t.freshRewriter()
		var found, want collection
		// Every writer adds before it pops, so no pop reaches these items.
		all := numbered(1, writers*rounds*2)
		s.add(all...)
		added := numbered(1_001, 1_000+writers*rounds*2)
		s.concurrently(func(writer int, s handle) error {
			for turn := (writer+1)*rounds - 1; turn >= writer*rounds; turn-- {
				// No other turn has the items of this one.
				mine, new := all[2*turn:][:2], added[2*turn:][:2]
				swapped := numbered(3_001+2*turn, 3_002+2*turn)
				if err := s.tryAdd(new...); err != nil {
					return err
				}
				changed, err := s.tryRewrite(2, exchanging(mine[0], swapped[0], mine[1], nil, new[1], swapped[1]))
				switch {
				case err != nil:
					return err
				case changed == 3:
					want.add(swapped[0], new[0], swapped[1])
				case changed == 2: // another writer has popped the item
					want.add(swapped[0], new[0], new[1])
				default:
					return fmt.Errorf("RewriteItems says that it changed %d items; want 2 or 3", changed)
				}
				item, err := s.tryPop()
				if item == nil {
					return errors.Join(errors.New("PopItem returns nothing"), err)
				}
				found.add(item)
			}
			return nil
		})
		found.add(s.items(0)...)
		s.wantEqual("what PopItem returned, and what is left", found.inOrder(), want.inOrder())
	},
}

// edit is what RewriteItems calls with each batch.
type edit = func(stored []encsession.Item) (new []encsession.Item, more bool)

// leave is an edit that changes nothing.
func leave([]encsession.Item) ([]encsession.Item, bool) { return nil, true }

// editing returns an edit that puts f(item) in the place of each item.
func editing(f func(item encsession.Item) encsession.Item) edit {
	return func(stored []encsession.Item) ([]encsession.Item, bool) {
		new := make([]encsession.Item, len(stored))
		for i, item := range stored {
			new[i] = f(item)
		}
		return new, true
	}
}

// exchanging returns an edit that puts other items in the place of some. Its
// arguments are pairs: an item, and the one that takes its place.
func exchanging(oldNew ...encsession.Item) edit {
	olds := make([]any, len(oldNew))
	for i := 0; i < len(oldNew); i += 2 {
		olds[i], _ = decode(oldNew[i])
	}
	return editing(func(item encsession.Item) encsession.Item {
		value, err := decode(item)
		for i := 0; i < len(oldNew); i += 2 {
			if err == nil && equalValues(olds[i], value) {
				return oldNew[i+1]
			}
		}
		return item
	})
}

// renewal is an edit that replaces each item of the session by a new one.
type renewal struct {
	items []encsession.Item // the items of the session afterwards, oldest first
	done  int               // how many of them are new
}

func (r *renewal) renew(stored []encsession.Item) []encsession.Item {
	new := make([]encsession.Item, len(stored))
	for i := range new {
		r.done++
		new[i] = object("changed", fmt.Sprint(r.done))
		if at := len(r.items) - r.done; at >= 0 {
			r.items[at] = new[i]
		}
	}
	return new
}

// batches holds the batches that an edit has got.
type batches struct{ all [][]encsession.Item }

// of returns an edit that keeps a copy of its batch and then calls the given
// edit.
func (b *batches) of(edit edit) edit {
	return func(stored []encsession.Item) ([]encsession.Item, bool) {
		b.all = append(b.all, cloneAll(stored))
		return edit(stored)
	}
}

func (b *batches) items() []encsession.Item { return slices.Concat(b.all...) }

// want ends the check unless the batches hold these items, once each, from the
// last to the first.
func (b *batches) want(s handle, oldestFirst []encsession.Item) {
	s.t.Helper()
	want := slices.Clone(oldestFirst)
	slices.Reverse(want)
	s.wantEqual("what goes to edit", b.items(), want)
}

func contains(items []encsession.Item, item encsession.Item) bool {
	return slices.ContainsFunc(items, func(other encsession.Item) bool { return equalJSON(item, other) })
}

// indices returns the numbers from first to last.
func indices(first, last int) (all []int) {
	for i := first; i <= last; i++ {
		all = append(all, i)
	}
	return all
}
