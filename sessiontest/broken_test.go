package sessiontest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/encsession/encsession"
)

// hooked is a handle on a MemorySession. Other functions can take the place of
// its methods.
type hooked struct {
	*encsession.MemorySession // the real one
	id                        string
	all                       *memory

	get     func(ctx context.Context, limit int) ([]encsession.Item, error)
	add     func(ctx context.Context, items []encsession.Item) error
	pop     func(ctx context.Context) (encsession.Item, error)
	clear   func(ctx context.Context) error
	rewrite func(ctx context.Context, first int, edit edit) (int, error)
}

func (m *memory) hooked(id string) *hooked {
	s := &hooked{all: m, id: id, MemorySession: m.session(id)}
	s.bind()
	return s
}

// bind sets all hooks to the methods of the real session.
func (s *hooked) bind() {
	real := s.MemorySession
	s.get = real.GetItems
	s.add = func(ctx context.Context, items []encsession.Item) error { return real.AddItems(ctx, items...) }
	s.pop = real.PopItem
	s.clear = real.ClearSession
	s.rewrite = real.RewriteItems
}

// alias makes this a handle on the session with another ID.
func (s *hooked) alias(id string) {
	s.MemorySession = s.all.session(id)
	s.bind()
}

func (s *hooked) SessionID() string { return s.id }

func (s *hooked) GetItems(ctx context.Context, limit int) ([]encsession.Item, error) {
	return s.get(ctx, limit)
}

func (s *hooked) AddItems(ctx context.Context, items ...encsession.Item) error {
	return s.add(ctx, items)
}

func (s *hooked) PopItem(ctx context.Context) (encsession.Item, error) { return s.pop(ctx) }

func (s *hooked) ClearSession(ctx context.Context) error { return s.clear(ctx) }

func (s *hooked) RewriteItems(ctx context.Context, first int, edit edit) (int, error) {
	return s.rewrite(ctx, first, edit)
}

// overtaken waits until other goroutines have nothing left to do; see record.
func overtaken() { time.Sleep(time.Millisecond) }

// brokenStores break one rule each. The check of that rule fails, and so do
// those checks that need the rule too.
var brokenStores = []struct {
	name   string
	breaks func(s *hooked)
	caught string
	// also has the names of those other checks, with spaces between them. A
	// check whose name ends in a question mark need not fail each time.
	also string
}{
	{"reports a trimmed ID", func(s *hooked) { s.id = strings.TrimSpace(s.id) }, "session-id", ""},
	{"sorts the items of a call", sortsItems, "order", "rewrite-order rewrite-rows"},
	{"takes limit from the oldest", takesOldest, "limits", "no-cap rewrite-in-place"},
	{"gives the newest first under a limit", givesNewestFirst, "limits", "no-cap"},
	{"gives 100 items at most", givesHundred, "no-cap", "rewrite-batches"},
	{"takes 1,000 items at most", takesThousand, "no-cap", "rewrite-batches"},
	{"does not add nothing", refusesNothing, "add-nothing", ""},
	{"keeps what comes before a bad item", keepsGoodItems, "all-or-nothing", ""},
	{"passes over bad items", passesOverBadItems, "all-or-nothing", ""},
	{"rounds numbers", roundsNumbers, "equal-json", ""},
	{"refuses long items", refusesLongItems, "equal-json", "rewrite-batches"},
	{"is a set", dropsDuplicates, "duplicates", "no-cap rewrite-order rewrite-rows rewrite-atomic"},
	{"keeps the slices that it is given", keepsInput, "input-copied", ""},
	{"changes the slices that it is given", changesInput, "input-copied", ""},
	{"gives away its own slices", sharesOutput, "output-copied", ""},
	{"has no item to pop", popOfNothingFails, "empty-session",
		"pop-order clear concurrent-pops rewrite-removes expired"},
	{"does not know new sessions", newSessionsFail, "empty-session",
		"handles add-nothing pop-order clear isolation concurrent-pops rewrite-gone rewrite-removes " +
			"rewrite-unlocked rewrite-empty reopened listed expired"},
	{"pops the oldest", popsOldest, "pop-order",
		"handles equal-json duplicates input-copied output-copied isolation rewrite-added rewrite-gone " +
			"rewrite-in-place rewrite-swaps rewrite-rows rewrite-unlocked rewrite-mix reopened listed-during-use"},
	{"clears all sessions", clearsAll, "clear", "isolation rewrite-isolated reopened listed expired"},
	{"does not clear", clearsNothing, "clear",
		"empty-session handles isolation rewrite-added rewrite-gone rewrite-swaps rewrite-rows rewrite-bytes " +
			"rewrite-unlocked rewrite-more rewrite-context rewrite-empty rewrite-concurrent reopened " +
			"listed"},
	{"has one history for each handle", hasOwnHistory, "handles",
		"concurrent-adds concurrent-mix rewrite-added rewrite-gone rewrite-in-place rewrite-swaps rewrite-rows " +
			"rewrite-unlocked rewrite-once rewrite-mix reopened listed listed-during-use expired"},
	{"ignores case in IDs", func(s *hooked) { s.alias(strings.ToLower(s.id)) }, "isolation",
		"rewrite-isolated listed"},
	{"trims IDs", func(s *hooked) { s.alias(strings.TrimSpace(s.id)) }, "isolation", "rewrite-isolated listed"},
	{"cleans IDs as paths", func(s *hooked) { s.alias(path.Clean(s.id)) }, "isolation",
		"rewrite-isolated listed"},
	{"cuts IDs at 255 bytes", func(s *hooked) { s.alias(s.id[:min(255, len(s.id))]) }, "isolation",
		"rewrite-isolated listed"},
	{"takes IDs for patterns when it clears", clearsPattern, "isolation", "rewrite-isolated"},
	{"refuses an ID, but reads under another", readsWhatItRefuses, "isolation", "rewrite-isolated listed"},
	{"refuses an ID, but pops under another", popsWhatItRefuses, "isolation", "rewrite-isolated listed"},
	{"refuses an ID, but clears under another", clearsWhatItRefuses, "isolation", "rewrite-isolated listed"},
	{"ignores contexts", ignoresContexts, "cancelled-context", "rewrite-context"},
	{"ignores deadlines", ignoresDeadlines, "cancelled-context", "rewrite-context"},
	{"stores before it looks at the context", looksAtContextLate, "cancelled-context", ""},
	{"loses concurrent adds", losesAdds, "concurrent-adds",
		"concurrent-mix rewrite-added rewrite-swaps rewrite-rows rewrite-mix"},
	{"mixes concurrent adds", mixesAdds, "concurrent-adds", ""},
	{"shows a part of an add", showsPartOfAdd, "concurrent-adds", ""},
	{"fails under load", failsUnderLoad, "concurrent-adds", "concurrent-mix rewrite-mix"},
	{"writes something else", writesSomethingElse, "concurrent-adds", ""},
	{"pops twice", popsTwice, "concurrent-pops", "concurrent-mix rewrite-mix"},
	{"pops nothing under load", popsNothing, "concurrent-mix", "rewrite-mix"},
	{"calls edit, and then cannot rewrite", cannotRewriteAfterEdit, "rewrite-unsupported", ""},
	{"hands out batches the oldest first", handsOutOldestFirst, "rewrite-order",
		"rewrite-added rewrite-gone rewrite-first rewrite-batches rewrite-once rewrite-more rewrite-context"},
	{"hands out a batch twice", handsOutTwice, "rewrite-order",
		"rewrite-added rewrite-gone rewrite-first rewrite-batches rewrite-refuses rewrite-partial rewrite-rows " +
			"rewrite-bytes rewrite-once rewrite-more rewrite-context"},
	{"hands out four batches at most", handsOutFour, "rewrite-order",
		"rewrite-added rewrite-gone rewrite-batches rewrite-once rewrite-mix?"},
	{"hands out items that edit added", handsOutAdded, "rewrite-added", "rewrite-bytes rewrite-once"},
	{"finds its place by counting", countsFromOldest, "rewrite-gone", "rewrite-mix?"},
	{"ignores first", ignoresFirst, "rewrite-first", "rewrite-partial rewrite-rows rewrite-context"},
	{"takes no first below 1", wantsFirst, "rewrite-first", "rewrite-empty"},
	{"hands out more than 1,000 items", handsOutThousands, "rewrite-batches", ""},
	{"hands out more than 1 MiB", handsOutMegabytes, "rewrite-batches", ""},
	{"takes a nil new for no items", takesNilForRemoval, "rewrite-leaves",
		"rewrite-order rewrite-added rewrite-first rewrite-rows rewrite-goroutine"},
	{"counts what edit leaves alone", countsLeft, "rewrite-leaves",
		"rewrite-order rewrite-gone rewrite-in-place rewrite-keeps-time rewrite-removes rewrite-swaps " +
			"rewrite-rows rewrite-unlocked rewrite-once rewrite-copied rewrite-isolated rewrite-concurrent? rewrite-mix?"},
	{"moves a replaced item to the end", movesToEnd, "rewrite-in-place",
		"rewrite-order rewrite-gone rewrite-leaves rewrite-keeps-time rewrite-refuses rewrite-swaps rewrite-rows " +
			"rewrite-bytes rewrite-unlocked rewrite-context rewrite-isolated rewrite-concurrent? expired"},
	{"sorts by the second of the last change", sortsByChange, "rewrite-keeps-time", ""},
	{"never removes", neverRemoves, "rewrite-removes",
		"rewrite-order rewrite-gone rewrite-batches rewrite-leaves rewrite-swaps rewrite-rows rewrite-empty " +
			"rewrite-mix?"},
	{"changes half a batch on error", changesHalf, "rewrite-refuses", "rewrite-partial"},
	{"takes a new of another length", takesAnyLength, "rewrite-refuses", ""},
	{"removes if the new item is empty", removesForEmpty, "rewrite-refuses", ""},
	{"forgets its count on error", forgetsCount, "rewrite-partial", "rewrite-context"},
	{"undoes earlier batches on error", undoesBatches, "rewrite-partial", "rewrite-context"},
	{"swaps changed rows", swapsChanged, "rewrite-swaps",
		"rewrite-gone rewrite-rows rewrite-bytes rewrite-once rewrite-mix?"},
	{"counts what it passes over", countsPassedOver, "rewrite-swaps",
		"rewrite-gone rewrite-rows rewrite-bytes rewrite-once rewrite-mix? expired"},
	{"matches by content", matchesContent, "rewrite-rows", "rewrite-order"},
	{"compares by a collation", comparesByCollation, "rewrite-bytes", ""},
	{"changes one item after another", changesOneByOne, "rewrite-atomic", ""},
	{"holds a lock in edit", holdsLock, "rewrite-unlocked",
		"rewrite-added rewrite-gone rewrite-swaps rewrite-rows rewrite-bytes rewrite-once"},
	{"runs edit in another goroutine", runsEditElsewhere, "rewrite-goroutine", ""},
	{"calls edit again after a conflict", callsEditAgain, "rewrite-once", "rewrite-gone rewrite-bytes"},
	{"does not end when edit says so", doesNotEnd, "rewrite-more", ""},
	{"does not change the last batch", forgetsLastBatch, "rewrite-more", ""},
	{"goes on with a context that is done", goesOn, "rewrite-context", ""},
	{"changes the batch of a cancelled edit", changesCancelled, "rewrite-context", ""},
	{"calls edit with no items", callsEditWithNothing, "rewrite-empty", "expired"},
	{"keeps new items", keepsNewItems, "rewrite-copied", ""},
	{"rewrites in all sessions", rewritesEverywhere, "rewrite-isolated", ""},
	{"cannot rewrite under load", cannotRewriteUnderLoad, "rewrite-concurrent", "rewrite-mix?"},
	{"rewrites in a copy of all items", rewritesInCopy, "rewrite-mix",
		"rewrite-gone rewrite-swaps rewrite-once"},
}

func TestBrokenStores(t *testing.T) {
	caught := map[string]bool{}
	for _, store := range brokenStores {
		t.Run(store.name, func(t *testing.T) {
			t.Parallel()
			failed := failing(t, sessionChecks, func() subject { return newMemory().subject(store.breaks) })
			want := []string{store.caught}
			for _, name := range strings.Fields(store.also) {
				name, sometimes := strings.CutSuffix(name, "?")
				if !sometimes || slices.Contains(failed, name) {
					want = append(want, name)
				}
			}
			require.ElementsMatch(t, want, failed)
		})
		caught[store.caught] = true
	}
	for _, store := range brokenPlaces {
		caught[store.caught] = true
	}
	for _, c := range sessionChecks {
		require.True(t, caught[c.name], "no broken store shows what %s is for", c.name)
	}
}

func init() { short = func() bool { return false } }

// failing returns the names of the checks that fail. Each check has a store of
// its own. These tests are about the suite: under the race detector they would
// take minutes and find no races. CI also runs them without it.
func failing(t *testing.T, checks []check, open func() subject) []string {
	if raced {
		t.Skip("not under the race detector")
	}
	var names []string
	for _, c := range checks {
		if r := record(t, c, open); r.Failed() {
			t.Logf("%s: %.600v", c.name, r)
			names = append(names, c.name)
		}
	}
	return names
}

func TestHookedStorePasses(t *testing.T) {
	m := newMemory()
	require.Empty(t, failing(t, sessionChecks, func() subject { return m.subject(func(*hooked) {}) }))
}

func sortsItems(s *hooked) {
	add := s.add
	s.add = func(ctx context.Context, items []encsession.Item) error {
		return add(ctx, slices.SortedFunc(slices.Values(items), func(a, b encsession.Item) int { return bytes.Compare(a, b) }))
	}
}

func takesOldest(s *hooked) {
	get := s.get
	s.get = func(ctx context.Context, limit int) ([]encsession.Item, error) {
		items, err := get(ctx, 0)
		if limit > 0 && limit < len(items) {
			items = items[:limit]
		}
		return items, err
	}
}

func givesNewestFirst(s *hooked) {
	get := s.get
	s.get = func(ctx context.Context, limit int) ([]encsession.Item, error) {
		items, err := get(ctx, limit)
		if limit > 0 {
			slices.Reverse(items)
		}
		return items, err
	}
}

func givesHundred(s *hooked) {
	get := s.get
	s.get = func(ctx context.Context, limit int) ([]encsession.Item, error) {
		if limit <= 0 {
			limit = 100
		}
		return get(ctx, limit)
	}
}

func takesThousand(s *hooked) {
	add := s.add
	s.add = func(ctx context.Context, items []encsession.Item) error {
		if len(items) > 1_000 {
			return errors.New("too many parameters")
		}
		return add(ctx, items)
	}
}

func refusesNothing(s *hooked) {
	add := s.add
	s.add = func(ctx context.Context, items []encsession.Item) error {
		if len(items) == 0 {
			return errors.New("no values to insert")
		}
		return add(ctx, items)
	}
}

func keepsGoodItems(s *hooked) {
	add := s.add
	s.add = func(ctx context.Context, items []encsession.Item) error {
		for i := range items {
			if !json.Valid(items[i]) {
				return errors.Join(add(ctx, items[:i]), encsession.ErrInvalidItem)
			}
		}
		return add(ctx, items)
	}
}

func passesOverBadItems(s *hooked) {
	add := s.add
	s.add = func(ctx context.Context, items []encsession.Item) error {
		return add(ctx, slices.DeleteFunc(slices.Clone(items), func(item encsession.Item) bool { return !json.Valid(item) }))
	}
}

func roundsNumbers(s *hooked) {
	add := s.add
	s.add = func(ctx context.Context, items []encsession.Item) error {
		items = slices.Clone(items)
		for i, item := range items {
			var value any
			if json.Unmarshal(item, &value) == nil {
				items[i], _ = json.Marshal(value)
			}
		}
		return add(ctx, items)
	}
}

func refusesLongItems(s *hooked) {
	add := s.add
	s.add = func(ctx context.Context, items []encsession.Item) error {
		if slices.ContainsFunc(items, func(item encsession.Item) bool { return len(item) > 65_535 }) {
			return errors.New("data too long for column")
		}
		return add(ctx, items)
	}
}

func dropsDuplicates(s *hooked) {
	add := s.add
	s.add = func(ctx context.Context, items []encsession.Item) error {
		var fresh []encsession.Item
		stored, err := s.MemorySession.GetItems(ctx, 0)
		known := map[string]bool{}
		for _, item := range stored {
			known[string(item)] = true
		}
		for _, item := range items {
			if !known[string(item)] {
				fresh = append(fresh, item)
			}
			known[string(item)] = true
		}
		return errors.Join(err, add(ctx, fresh))
	}
}

// aliases holds slices that a store should not have kept, and copies of the
// items that they held at the time.
type aliases struct {
	mu         sync.Mutex
	kept, copy []encsession.Item
}

func (a *aliases) keep(items []encsession.Item) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.kept, a.copy = append(a.kept, items...), append(a.copy, cloneAll(items)...)
}

// spoil looks for kept slices that somebody has changed since, and removes
// their items from a session.
func (a *aliases) spoil(ctx context.Context, s *encsession.MemorySession) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, item := range a.kept {
		if !bytes.Equal(item, a.copy[i]) {
			if _, err := s.RewriteItems(ctx, 1, exchanging(a.copy[i], nil)); err != nil {
				return err
			}
		}
	}
	return nil
}

func keepsInput(s *hooked) {
	var input aliases
	add, get := s.add, s.get
	s.add = func(ctx context.Context, items []encsession.Item) error {
		input.keep(items)
		return add(ctx, items)
	}
	s.get = func(ctx context.Context, limit int) ([]encsession.Item, error) {
		if err := input.spoil(ctx, s.MemorySession); err != nil {
			return nil, err
		}
		return get(ctx, limit)
	}
}

func changesInput(s *hooked) {
	add := s.add
	s.add = func(ctx context.Context, items []encsession.Item) error {
		err := add(ctx, items)
		slices.Reverse(items)
		return err
	}
}

func sharesOutput(s *hooked) {
	var mu sync.Mutex
	given := map[string][]encsession.Item{} // by the contents of the items
	get := s.get
	s.get = func(ctx context.Context, limit int) ([]encsession.Item, error) {
		items, err := get(ctx, limit)
		mu.Lock()
		defer mu.Unlock()
		key := string(bytes.Join(slices.Collect(func(yield func([]byte) bool) {
			for _, item := range items {
				if !yield(item) {
					return
				}
			}
		}), []byte("\n")))
		if given[key] == nil {
			given[key] = items
		}
		return given[key], err
	}
}

func popOfNothingFails(s *hooked) {
	pop := s.pop
	s.pop = func(ctx context.Context) (encsession.Item, error) {
		item, err := pop(ctx)
		if item == nil && err == nil {
			return nil, errors.New("no rows in result set")
		}
		return item, err
	}
}

func newSessionsFail(s *hooked) {
	get := s.get
	s.get = func(ctx context.Context, limit int) ([]encsession.Item, error) {
		items, err := get(ctx, limit)
		if len(items) == 0 && err == nil {
			return nil, errors.New("no such session")
		}
		return items, err
	}
}

func popsOldest(s *hooked) {
	s.pop = func(ctx context.Context) (encsession.Item, error) {
		items, err := s.MemorySession.GetItems(ctx, 0)
		if len(items) == 0 || err != nil {
			return nil, err
		}
		// It tries again if another call was faster. It must not also pop an
		// item twice.
		n, err := s.MemorySession.RewriteItems(ctx, 1, func(stored []encsession.Item) ([]encsession.Item, bool) {
			return removing(stored, items[0]), true
		})
		if n == 0 {
			return s.pop(ctx)
		}
		return items[0], err
	}
}

func clearsAll(s *hooked) {
	s.clear = func(ctx context.Context) error {
		return s.all.each(func(_ string, other *encsession.MemorySession) error { return other.ClearSession(ctx) })
	}
}

func clearsPattern(s *hooked) {
	s.clear = func(ctx context.Context) error {
		return s.all.each(func(id string, other *encsession.MemorySession) error {
			if matched, _ := path.Match(s.id, id); matched || id == s.id {
				return other.ClearSession(ctx)
			}
			return nil
		})
	}
}

func clearsNothing(s *hooked) { s.clear = func(ctx context.Context) error { return ctx.Err() } }

func hasOwnHistory(s *hooked) {
	s.all = newMemory()
	s.alias(s.id)
}

func readsWhatItRefuses(s *hooked) {
	const longest = 255
	if len(s.id) <= longest {
		return
	}
	s.alias(s.id[:longest])
	tooLong := errors.New("ID is too long")
	s.add = func(context.Context, []encsession.Item) error { return tooLong }
	s.pop = func(context.Context) (encsession.Item, error) { return nil, tooLong }
	s.clear = func(context.Context) error { return tooLong }
	s.get = func(context.Context, int) ([]encsession.Item, error) {
		return []encsession.Item{object("of", "another session")}, nil
	}
}

// refuseSpace makes AddItems refuse an ID with space round it. It returns the
// session with the trimmed ID, or nil if there is no space.
func (s *hooked) refuseSpace() *encsession.MemorySession {
	trimmed := strings.TrimSpace(s.id)
	if trimmed == s.id {
		return nil
	}
	s.add = func(context.Context, []encsession.Item) error { return errors.New("space in ID") }
	return s.all.session(trimmed)
}

func popsWhatItRefuses(s *hooked) {
	if other := s.refuseSpace(); other != nil {
		s.pop = other.PopItem
	}
}

func clearsWhatItRefuses(s *hooked) {
	if other := s.refuseSpace(); other != nil {
		s.clear = other.ClearSession
	}
}

func ignoresContexts(s *hooked) { s.changeContexts(context.WithoutCancel) }

func ignoresDeadlines(s *hooked) {
	s.changeContexts(func(ctx context.Context) context.Context {
		if errors.Is(ctx.Err(), context.Canceled) {
			return ctx
		}
		return context.WithoutCancel(ctx)
	})
}

// changeContexts has all methods work with another context than the given one.
func (s *hooked) changeContexts(change func(context.Context) context.Context) {
	hooks := *s
	s.get = func(ctx context.Context, limit int) ([]encsession.Item, error) { return hooks.get(change(ctx), limit) }
	s.add = func(ctx context.Context, items []encsession.Item) error { return hooks.add(change(ctx), items) }
	s.pop = func(ctx context.Context) (encsession.Item, error) { return hooks.pop(change(ctx)) }
	s.clear = func(ctx context.Context) error { return hooks.clear(change(ctx)) }
	s.rewrite = func(ctx context.Context, first int, edit edit) (int, error) {
		return hooks.rewrite(change(ctx), first, edit)
	}
}

func looksAtContextLate(s *hooked) {
	add := s.add
	s.add = func(ctx context.Context, items []encsession.Item) error {
		return errors.Join(add(context.WithoutCancel(ctx), items), ctx.Err())
	}
}

// losesAdds writes back the items that it has read, and adds the new ones to
// them.
func losesAdds(s *hooked) {
	s.add = func(ctx context.Context, items []encsession.Item) error {
		stored, err := s.MemorySession.GetItems(ctx, 0)
		if err != nil {
			return err
		}
		if err := encsession.NewMemorySession("to check the items").AddItems(ctx, items...); err != nil {
			return err
		}
		overtaken()
		s.all.steps.Lock()
		defer s.all.steps.Unlock()
		if err := s.MemorySession.ClearSession(ctx); err != nil {
			return err
		}
		return s.MemorySession.AddItems(ctx, append(stored, items...)...)
	}
}

func mixesAdds(s *hooked) {
	add := s.add
	s.add = func(ctx context.Context, items []encsession.Item) error {
		if err := encsession.NewMemorySession("to check the items").AddItems(ctx, items...); err != nil {
			return err
		}
		for i, item := range items {
			if err := add(ctx, []encsession.Item{item}); err != nil {
				return err
			}
			if i < 10 { // more would take too long
				overtaken()
			}
		}
		return nil
	}
}

// showsPartOfAdd adds one item after another, as mixesAdds does, but only one
// call does so at a time.
func showsPartOfAdd(s *hooked) {
	mixesAdds(s)
	add := s.add
	s.add = func(ctx context.Context, items []encsession.Item) error {
		defer s.all.inTurn()()
		return add(ctx, items)
	}
}

func failsUnderLoad(s *hooked) {
	var busy sync.Mutex
	add := s.add
	s.add = func(ctx context.Context, items []encsession.Item) error {
		if !busy.TryLock() {
			return errors.New("database is locked")
		}
		defer busy.Unlock()
		overtaken()
		return add(ctx, items)
	}
}

func writesSomethingElse(s *hooked) {
	add := s.add
	s.add = func(ctx context.Context, items []encsession.Item) error {
		items = slices.Clone(items)
		for i, item := range items {
			if bytes.Contains(item, []byte(`"Writer"`)) {
				items[i] = encsession.Item(`{"Writer":"nobody"}`)
			}
		}
		return add(ctx, items)
	}
}

func popsTwice(s *hooked) {
	pop := s.pop
	s.pop = func(ctx context.Context) (encsession.Item, error) {
		newest, err := s.MemorySession.GetItems(ctx, 1)
		if len(newest) == 0 || err != nil {
			return nil, err
		}
		overtaken()
		_, err = pop(ctx)
		return newest[0], err
	}
}

func popsNothing(s *hooked) {
	var busy sync.Mutex
	pop := s.pop
	s.pop = func(ctx context.Context) (encsession.Item, error) {
		if !busy.TryLock() {
			return nil, ctx.Err()
		}
		defer busy.Unlock()
		overtaken()
		return pop(ctx)
	}
}
