package sessiontest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/encsession/encsession"
)

// patience is after what time the context of a single call is done, so that a store which waits in vain fails its
// check. One that ignores its context hangs until go test runs out of time itself.
const patience = 30 * time.Second

// opener returns a handle on a session, and one on the session in the store underneath, which is nil but in
// RunEncrypted.
type opener func(sessionID string) (session, store encsession.Session)

// tester is what a check works with: a testing.TB that can open sessions.
type tester struct {
	testing.TB
	check string // its name
	open  opener
}

// fresh opens a session that nobody has used yet.
func (t *tester) fresh() handle {
	return t.session("sessiontest-" + t.check + "-" + random())
}

// session opens a session.
func (t *tester) session(id string) handle {
	session, store := t.open(id)
	return handle{t: t, id: id, Session: session, store: store}
}

// freshReplacer opens a session that nobody has used yet, and skips the check where it is not a Replacer.
func (t *tester) freshReplacer() handle {
	s := t.fresh()
	if !s.isReplacer() {
		t.Skip("the store is not a Replacer")
	}
	return s
}

// stored returns items as GetItems of a session of the store gives them back.
func (t *tester) stored(items ...encsession.Item) []encsession.Item {
	t.Helper()
	return t.fresh().fill(items...)
}

// together calls f n times at once, each time with a number of its own, and waits for all. The calls return their
// errors, as only the goroutine of a check may end it.
func (t *tester) together(n int, f func(i int) error) {
	t.Helper()
	start := make(chan struct{})
	results := make(chan error)
	for i := range n {
		go func() {
			<-start
			results <- f(i)
		}()
	}
	close(start)
	var errs []error
	for range n {
		errs = append(errs, <-results)
	}
	if err := errors.Join(errs...); err != nil {
		t.Fatalf("among %d goroutines: %v", n, err)
	}
}

// handle is a handle on a session under test. The methods that begin with try call the store and return its error;
// the others end the check where there is one.
type handle struct {
	encsession.Session
	t     *tester
	id    string             // what the session was opened with
	store encsession.Session // underneath, in RunEncrypted
}

// again opens another handle on the same session.
func (h handle) again() handle { return h.t.session(h.id) }

// raw returns the handle on the session in the store underneath.
func (h handle) raw() handle { return handle{t: h.t, id: h.id, Session: h.store} }

func (h handle) tryAdd(items ...encsession.Item) error {
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	return h.AddItems(ctx, slices.Clone(items)...) // what becomes of arguments is for one check alone to see
}

func (h handle) add(items ...encsession.Item) {
	h.t.Helper()
	h.must("AddItems", h.tryAdd(items...))
}

// fill adds items to an empty session and returns them as GetItems gives them back: a store may have changed white
// space, which makes them other items to ReplaceItems.
func (h handle) fill(items ...encsession.Item) []encsession.Item {
	h.t.Helper()
	h.add(items...)
	got := h.items(0)
	h.wantEqual("GetItems after AddItems", got, items)
	return got
}

func (h handle) tryItems(limit int) ([]encsession.Item, error) {
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	return h.GetItems(ctx, limit)
}

func (h handle) items(limit int) []encsession.Item {
	h.t.Helper()
	items, err := h.tryItems(limit)
	h.must("GetItems", err)
	return items
}

func (h handle) tryPop() (encsession.Item, error) {
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	return h.PopItem(ctx)
}

func (h handle) pop() encsession.Item {
	h.t.Helper()
	item, err := h.tryPop()
	h.must("PopItem", err)
	return item
}

func (h handle) tryClear() error {
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	return h.ClearSession(ctx)
}

func (h handle) clear() {
	h.t.Helper()
	h.must("ClearSession", h.tryClear())
}

// isReplacer reports whether the session is a Replacer, and over a store that is one.
func (h handle) isReplacer() bool {
	if _, ok := h.Session.(encsession.Replacer); !ok {
		return false
	}
	_, err := h.tryReplace(nil, nil)
	return !errors.Is(err, errors.ErrUnsupported)
}

func (h handle) tryReplace(old, new []encsession.Item) (int, error) {
	ctx, cancel := context.WithTimeout(h.t.Context(), patience)
	defer cancel()
	return h.Session.(encsession.Replacer).ReplaceItems(ctx, old, new)
}

// replace replaces items, and ends the check unless as many pairs match as wanted.
func (h handle) replace(want int, old, new []encsession.Item) {
	h.t.Helper()
	changed, err := h.tryReplace(old, new)
	h.must("ReplaceItems", err)
	if changed != want {
		h.t.Fatalf("session %q: ReplaceItems says that it matched %d pairs; want %d", h.id, changed, want)
	}
}

func (h handle) must(method string, err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatalf("session %q: %s: %v", h.id, method, err)
	}
}

// want ends the check unless the session holds these items.
func (h handle) want(want ...encsession.Item) {
	h.t.Helper()
	h.wantNewest(0, want...)
}

// wantNewest ends the check unless these are the newest items that GetItems returns.
func (h handle) wantNewest(limit int, want ...encsession.Item) {
	h.t.Helper()
	h.wantEqual(fmt.Sprintf("GetItems with limit %d", limit), h.items(limit), want)
}

// wantPop ends the check unless PopItem returns this item, or nil.
func (h handle) wantPop(want encsession.Item) {
	h.t.Helper()
	got := h.pop()
	if (got == nil) != (want == nil) || want != nil && !equalJSON(got, want) {
		h.t.Fatalf("session %q: PopItem returns %s; want %s", h.id, show(got), show(want))
	}
}

// wantEqual ends the check unless the items are equal JSON.
func (h handle) wantEqual(what string, got, want []encsession.Item) {
	h.t.Helper()
	for i := range min(len(got), len(want)) {
		if !equalJSON(got[i], want[i]) {
			h.t.Fatalf("session %q: %s: item %d is %s; want %s", h.id, what, i, show(got[i]), show(want[i]))
		}
	}
	if len(got) != len(want) {
		h.t.Fatalf("session %q: %s: %d items; want %d", h.id, what, len(got), len(want))
	}
}

// numbered returns items that differ by their number, in order of their text too, from the first number to the last.
func numbered(first, last int) []encsession.Item {
	var items []encsession.Item
	for n := first; n <= last; n++ {
		items = append(items, fmt.Appendf(nil, `{"number":"%04d"}`, n))
	}
	return items
}

// random returns lower-case letters and digits that no other call has returned.
func random() string { return strings.ToLower(rand.Text())[:16] }
