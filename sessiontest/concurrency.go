package sessiontest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/encsession/encsession"
)

// writers is the number of goroutines that use a session at once: half of them
// through one handle, half through another.
const writers = 6

// concurrently has all writers call f at once, each with a number of its own.
func (h handle) concurrently(f func(writer int, s handle) error) {
	h.t.Helper()
	both := []handle{h, h.again()}
	h.t.together(writers, func(i int) error { return f(i, both[i%2]) })
}

var concurrentAdds = check{
	name: "concurrent-adds",
	rule: "Concurrent AddItems lose nothing, do not mix the items of different calls, and never show a part of a call.",
	harm: "During two requests at once, messages are lost, or a tool call is stored or read apart from its output.",
	run: func(t *tester) {
		// The other two writers read meanwhile, one through each handle.
		const adders, batches = writers - 2, 8
		var adding atomic.Int32
		adding.Store(adders)
		s := t.fresh()
		// The session starts with items: other checks read a session without
		// any.
		s.add(batchOf(adders, 0)...)
		s.concurrently(func(writer int, s handle) error {
			if writer >= adders {
				for more := true; more; time.Sleep(time.Millisecond) {
					more = adding.Load() > 0 // the last read comes after all adds
					items, err := s.tryItems(0)
					if err := errors.Join(err, wantBatches(items)); err != nil {
						return err
					}
				}
				return nil
			}
			defer adding.Add(-1)
			for batch := range batches {
				if err := s.tryAdd(batchOf(writer, batch)...); err != nil {
					return err
				}
			}
			return nil
		})
		if got, want := len(s.items(0)), (1+adders*batches)*batchSize; got != want {
			t.Errorf("%d items; want %d", got, want)
		}
	},
}

// batchSize is the number of items in a batch.
const batchSize = 3

// batched is an item of a batch. A writer adds a batch in one call.
type batched struct{ Writer, Batch, Item int }

func batchOf(writer, batch int) []encsession.Item {
	var items []encsession.Item
	for i := range batchSize {
		item, _ := json.Marshal(batched{writer, batch, i}) // numbers always encode
		items = append(items, item)
	}
	return items
}

// wantBatches returns an error unless the items are whole batches. The batches
// of each writer must be its first ones, in order.
func wantBatches(items []encsession.Item) error {
	next := map[int]int{} // the next batch of each writer
	var want batched
	for i, item := range items {
		var found batched
		if err := json.Unmarshal(item, &found); err != nil {
			return fmt.Errorf("item %d is %s: %w", i, show(item), err)
		}
		if want.Item %= batchSize; want.Item == 0 {
			want = batched{found.Writer, next[found.Writer], 0}
			next[found.Writer]++
		}
		if found != want {
			return fmt.Errorf("item %d is %+v; want %+v", i, found, want)
		}
		want.Item++
	}
	if len(items)%batchSize != 0 {
		return fmt.Errorf("%d items; the last ones are only a part of the items of one call", len(items))
	}
	return nil
}

var concurrentPops = check{
	name: "concurrent-pops",
	rule: "Under concurrent PopItem each item comes back exactly once.",
	harm: "Two workers carry out the same instruction, or an instruction is lost.",
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
				if item == nil { // impossible: every writer adds before it pops
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

// collection holds numbered items. Several goroutines may add to it at once.
type collection struct {
	mu    sync.Mutex
	items []encsession.Item
}

func (c *collection) add(items ...encsession.Item) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.items = append(c.items, items...)
}

// inOrder returns the items in the order of their numbers. It does not compare
// the whole text, because a store may change white space.
func (c *collection) inOrder() []encsession.Item {
	number := func(item encsession.Item) string {
		var object struct{ Number string }
		// An item without a number comes first, and fails the comparison there.
		_ = json.Unmarshal(item, &object)
		return object.Number
	}
	return slices.SortedFunc(slices.Values(c.items), func(a, b encsession.Item) int {
		return strings.Compare(number(a), number(b))
	})
}
