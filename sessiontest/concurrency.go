package sessiontest

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/encsession/encsession"
)

// writers is how many goroutines use a session at once, half of them through one handle, half through another.
const writers = 6

// concurrently has all writers call f at once, each with a number of its own.
func (h handle) concurrently(f func(writer int, s handle) error) {
	h.t.Helper()
	both := []handle{h, h.again()}
	h.t.together(writers, func(i int) error { return f(i, both[i%2]) })
}

var concurrentAdds = check{
	name: "concurrent-adds",
	rule: "Concurrent AddItems lose nothing, and do not mix the items of different calls.",
	harm: "Two requests at once: messages are gone, or one's tool calls lie among the other's outputs.",
	run: func(t *tester) {
		const batches, size = 5, 3
		type place struct{ Writer, Batch, Item int }
		s := t.fresh()
		s.concurrently(func(writer int, s handle) error {
			for batch := range batches {
				var items []encsession.Item
				for i := range size {
					item, _ := json.Marshal(place{writer, batch, i}) // numbers always encode
					items = append(items, item)
				}
				if err := s.tryAdd(items...); err != nil {
					return err
				}
			}
			return nil
		})

		got := s.items(0)
		next := map[int]int{} // the batch to come next, of each writer
		var want place
		for i, item := range got {
			var found place
			if err := json.Unmarshal(item, &found); err != nil {
				t.Fatalf("item %d is %s: %v", i, show(item), err)
			}
			if i%size == 0 {
				want = place{found.Writer, next[found.Writer], 0}
				next[found.Writer]++
			}
			if found != want {
				t.Fatalf("item %d is %+v; want %+v", i, found, want)
			}
			want.Item++
		}
		if want := writers * batches * size; len(got) != want {
			t.Errorf("%d items; want %d", len(got), want)
		}
	},
}

var concurrentPops = check{
	name: "concurrent-pops",
	rule: "Under concurrent PopItem each item comes back exactly once.",
	harm: "Two workers carry out the same instruction, or one that nobody carries out is gone.",
	run: func(t *tester) {
		all := numbered(1, 40)
		s := t.fresh()
		s.add(all...)
		var popped collection
		s.concurrently(func(_ int, s handle) error {
			for {
				item, err := s.tryPop()
				if item == nil || err != nil {
					return err
				}
				popped.add(item)
			}
		})
		s.want()
		s.wantEqual("all that PopItem returned", popped.inOrder(), all)
	},
}

var concurrentMix = check{
	name: "concurrent-mix",
	rule: "Concurrent AddItems and PopItem neither lose nor double an item.",
	harm: "Two requests at once, one of which takes a message back: another message is gone, or comes back.",
	run: func(t *tester) {
		const added, popped = 8, 6 // by each writer
		all := numbered(1, writers*added)
		s := t.fresh()
		var found collection
		s.concurrently(func(writer int, s handle) error {
			for i, item := range all[writer*added:][:added] {
				if err := s.tryAdd(item); err != nil {
					return err
				}
				if i >= popped {
					continue
				}
				item, err := s.tryPop()
				if item == nil { // every writer adds before it pops, so there is one
					return errors.Join(errors.New("PopItem returns nothing"), err)
				}
				found.add(item)
			}
			return nil
		})
		found.add(s.items(0)...)
		s.wantEqual("what PopItem returned, and what is left", found.inOrder(), all)
	},
}

// collection holds numbered items, which several goroutines may add.
type collection struct {
	mu    sync.Mutex
	items []encsession.Item
}

func (c *collection) add(items ...encsession.Item) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.items = append(c.items, items...)
}

// inOrder returns the items in the order of their numbers. It compares those, and not the whole text, as a store may
// change white space.
func (c *collection) inOrder() []encsession.Item {
	number := func(item encsession.Item) string {
		var object struct{ Number string }
		_ = json.Unmarshal(item, &object) // what has no number comes first, and is not what is wanted there
		return object.Number
	}
	return slices.SortedFunc(slices.Values(c.items), func(a, b encsession.Item) int {
		return strings.Compare(number(a), number(b))
	})
}
